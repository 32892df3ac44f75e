using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Testing;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace LowRank.Tests.Adapters;

/// <summary>What must hold for every kind that files hold and that is not trained, on every layer that it can sit on. Their numbers are held by the golden case.</summary>
public sealed class ReadKindsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    /// <summary>Parameters of each kind: what stands behind the name of the module, and its shape.</summary>
    private static readonly Dictionary<string, (string Key, long[] Shape)[]> Forms = new()
    {
        ["full"] =
        [
            ("lora_net_wide.diff", [6, 4, 3, 3]), ("lora_net_wide.diff_b", [6]), ("lora_net_narrow.diff", [8, 6]), ("lora_net_first.diff_b", [7]),
            ("lora_net_last.diff", [5, 7]), ("lora_net_group.diff", [6]), ("lora_net_group.diff_b", [6]), ("lora_net_layer.diff_b", [8]),
        ],
        ["norm"] = [("lora_net_group.w_norm", [6]), ("lora_net_group.b_norm", [6]), ("lora_net_layer.w_norm", [8])],
        ["ia3"] =
        [
            ("lora_net_wide.weight", [1, 6, 1, 1]), ("lora_net_wide.on_input", []), ("lora_net_narrow.weight", [1, 6, 1, 1]), ("lora_net_narrow.on_input", [1]),
            ("lora_net_first.weight", [7]), ("lora_net_first.on_input", []), ("lora_net_last.weight", [7]), ("lora_net_last.on_input", []),
        ],
        ["oft"] =
        [
            ("lora_net_wide.oft_blocks", [2, 3, 3]), ("lora_net_wide.alpha", []), ("lora_net_narrow.oft_blocks", [4, 2, 2]), ("lora_net_narrow.rescale", [8, 1, 1, 1]),
            ("lora_net_first.oft_blocks", [1, 7, 7]), ("lora_net_last.oft_blocks", [1, 5, 5]), ("lora_net_last.alpha", []),
        ],
        ["oft of sd-scripts"] = [("oft_net_wide.oft_blocks", [2, 3, 3]), ("oft_net_wide.alpha", []), ("oft_net_first.oft_blocks", [1, 7, 7]), ("oft_net_first.alpha", [])],
        ["boft"] = [("lora_net_wide.oft_blocks", [1, 3, 2, 2]), ("lora_net_narrow.oft_blocks", [3, 4, 2, 2]), ("lora_net_narrow.rescale", [8, 1, 1, 1]), ("lora_net_narrow.alpha", [])],
        ["glora"] =
        [
            ("lora_net_wide.a1.weight", [4, 2, 1, 1]), ("lora_net_wide.a2.weight", [2, 4, 1, 1]), ("lora_net_wide.b1.weight", [6, 2, 1, 1]), ("lora_net_wide.b2.weight", [2, 4, 3, 3]),
            ("lora_net_wide.alpha", []), ("lora_net_first.a1.weight", [8, 3]), ("lora_net_first.a2.weight", [3, 8]), ("lora_net_first.b1.weight", [7, 3]), ("lora_net_first.b2.weight", [3, 8]),
        ],
        ["lora with biases"] =
        [
            ("lora_net_wide.lora_down.weight", [2, 4, 3, 3]), ("lora_net_wide.lora_up.weight", [6, 2, 1, 1]), ("lora_net_wide.diff_b", [6]), ("lora_net_wide.alpha", []),
            ("net.first.lora_A.weight", [3, 8]), ("net.first.lora_B.weight", [7, 3]), ("net.first.lora_B.bias", [7]),
        ],
    };

    public static TheoryData<string> Names => [.. Forms.Keys];

    public static TheoryData<string, ScalarType> NamesAndTypes
    {
        get
        {
            var all = new TheoryData<string, ScalarType>();
            foreach (var name in Forms.Keys) foreach (var type in new[] { ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float64 }) all.Add(name, type);
            return all;
        }
    }

    public void Dispose() => folder.Dispose();

    /// <summary>A file of the kind by formula numbers; alphas are 0.3, the (IA)³ of narrow and last are for inputs.</summary>
    private string Write(string name)
    {
        var path = folder.Path("kind.safetensors");
        SafetensorsWriter.Write(path, Forms[name].Select(item => KeyValuePair.Create(item.Key, Value(item.Key, item.Shape))));
        return path;

        static Tensor Value(string key, long[] shape) => key switch
        {
            _ when key.EndsWith(".alpha", StringComparison.Ordinal) => tensor(0.3f),
            _ when key.EndsWith(".on_input", StringComparison.Ordinal) => key is "lora_net_narrow.on_input" or "lora_net_last.on_input" ? ones(shape, ScalarType.Int64) : zeros(shape, ScalarType.Int64),
            _ when key.EndsWith(".rescale", StringComparison.Ordinal) => Formula.Noise(key, shape, 1, 0.2f).Plus(1),
            _ => Formula.Noise(key, shape, 1, 0.4f),
        };
    }

    private AdapterSet Load(nn.Module net, string name)
    {
        using var file = AdapterFile.Open(Write(name));
        Assert.Empty(file.Problems);
        var set = AdapterSet.Load(TinyNet.Components(net), file);
        Assert.Empty(set.Warnings);
        return set;
    }

    /// <summary>The net in float64 with every layer's change at the strength in its weights and biases.</summary>
    private static Sequential Merged(AdapterSet set, double strength)
    {
        var merged = TinyNet.WithNorms(ScalarType.Float64);
        using var quiet = no_grad();
        using var scope = NewDisposeScope();
        foreach (var layer in set.Layers)
        {
            merged.get_parameter(layer.Path + ".weight")!.AddInPlace(layer.DeltaOn(LayerShape.WeightOf(layer.Module), strength).to(ScalarType.Float64));
            if (layer.BiasDelta(strength) is { } bias) merged.get_parameter(layer.Path + ".bias")!.AddInPlace(bias.to(ScalarType.Float64));
        }
        return merged;
    }

    [Theory, MemberData(nameof(NamesAndTypes))]
    public void An_attached_adapter_gives_what_merged_weights_give_at_any_strength(string name, ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.WithNorms(type);
        var x = Formula.Noise("x", [2, 4, 6, 6], 1).to(type);
        var before = net.call(x);
        using var set = Load(net, name);
        Assert.Equal(Forms[name].Select(item => string.Join('_', item.Key.Split('.')[..(item.Key.StartsWith("net.", StringComparison.Ordinal) ? 2 : 1)])).Distinct().Count(), set.Layers.Count);
        foreach (var strength in new[] { 1, 0.6, 0.6, -0.5, 1.7, 1 })   // there and back: what a layer keeps belongs to a strength
        {
            set.Strength = strength;
            using var merged = Merged(set, strength);
            var actual = net.call(x);
            Assert.Equal(type, actual.dtype);
            var tolerance = type == ScalarType.BFloat16 ? 0.08 : 1e-5;
            TensorAssert.Close(merged.call(x.to(ScalarType.Float64)), actual, tolerance, tolerance, $"strength {strength}");
            Assert.True((actual - before).abs().max().to(ScalarType.Float32).item<float>() > 0.05, "the adapter under test changes nothing");
        }
    }

    [Theory, MemberData(nameof(Names))]
    public void Strength_zero_and_a_detached_adapter_give_the_base_bit_for_bit(string name)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.WithNorms();
        var x = Formula.Noise("x", [2, 4, 6, 6], 1);
        var weights = net.parameters().Select(parameter => parameter.clone()).ToList();
        var before = net.call(x);
        using var set = Load(net, name);
        var during = net.call(x);
        set.Strength = 0;
        TensorAssert.Equal(before, net.call(x));
        foreach (var layer in set.Layers) TensorAssert.Equal(zeros_like(LayerShape.WeightOf(layer.Module)), layer.DeltaOn(LayerShape.WeightOf(layer.Module), 0));
        set.Strength = 1;
        set.Detach();
        TensorAssert.Equal(before, net.call(x));
        set.Attach();
        TensorAssert.Equal(during, net.call(x));
        set.Dispose();
        TensorAssert.Equal(before, net.call(x));
        foreach (var (was, now) in weights.Zip(net.parameters())) TensorAssert.Equal(was, now);
    }

    [Theory, MemberData(nameof(Names))]
    public void A_file_written_again_holds_the_same_change(string name)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.WithNorms();
        using var set = Load(net, name);
        AdapterWriter.Write(folder.Path("again.safetensors"), set, new() { Type = StoredType.F32 });
        using var file = AdapterFile.Open(folder.Path("again.safetensors"));
        using var again = AdapterSet.Load(TinyNet.Components(net), file);
        foreach (var (mine, read) in set.Layers.Zip(again.Layers))
        {
            Assert.Equal((mine.Path, mine.KindName), (read.Path, read.KindName));
            var weight = LayerShape.WeightOf(mine.Module);
            TensorAssert.Close(mine.DeltaOn(weight, 0.6), read.DeltaOn(weight, 0.6), 1e-6, 1e-6, mine.Path);
            if (mine.BiasDelta(0.6) is { } bias) TensorAssert.Close(bias, read.BiasDelta(0.6)!, 1e-6, 1e-6, mine.Path);
        }
    }

    [Theory, MemberData(nameof(Names))]
    public void Pictures_leave_no_tensor_behind_at_changing_strengths_and_the_set_ends_with_what_it_kept(string name)
    {
        using var net = TinyNet.WithNorms();
        using var x = Formula.Noise("x", [2, 4, 6, 6], 1);
        LeakGuard.AssertNothingLeft(() =>
        {
            using var scope = NewDisposeScope();
            using var set = Load(net, name);
            foreach (var strength in new[] { 1, 0.5, 0.5 })
            {
                set.Strength = strength;
                using var inner = NewDisposeScope();
                net.call(x);
            }
        });
    }

    [Theory, MemberData(nameof(Names))]
    public void A_gradient_goes_through_to_the_input_and_none_to_the_factors(string name)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.WithNorms(ScalarType.Float64);
        using var set = Load(net, name);
        set.Strength = 0.8;
        var x = Formula.Noise("x", [2, 4, 6, 6], 1).to(ScalarType.Float64).requires_grad_();
        var direction = Formula.Noise("direction", [2, 4, 6, 6], 1).to(ScalarType.Float64);
        net.call(x).Squared().mean().backward();
        double At(double step)
        {
            using var quiet = no_grad();
            return net.call(x.Plus(direction.Times(step))).Squared().mean().item<double>();
        }
        Assert.Equal(1.0, (x.grad! * direction).sum().item<double>() / ((At(1e-4) - At(-1e-4)) / 2e-4), 1e-4);
        Assert.All(set.NamedParameters(), item => Assert.False(item.Parameter.requires_grad));
    }

    [Fact]
    public void Norms_are_no_targets_of_low_rank_kinds()
    {
        using var net = TinyNet.WithNorms();
        using var init = new Generator(1);
        using var set = AdapterSet.Create(TinyNet.Components(net), new() { Targets = ["all"] }, init, CPU);
        Assert.Equal(["wide", "narrow", "first", "last"], set.Layers.Select(layer => layer.Path));
        Assert.Equal(["wide", "narrow", "first", "last"], set.Names.Layers.Select(layer => layer.Path));
    }

    [Theory]
    [InlineData("oft", "OFT")]
    [InlineData("full", "full weight difference")]
    public void A_kind_that_PEFT_does_not_know_is_not_written_for_it(string name, string kind)
    {
        using var net = TinyNet.WithNorms();
        using var set = Load(net, name);
        Assert.Equal(
            $"the adapter is not written: net.wide is of the kind {kind}, which PEFT does not know; write it in kohya's convention",
            Assert.Throws<CheckpointException>(() => AdapterWriter.Write(folder.Path("peft.safetensors"), set, new() { Format = AdapterFormat.Peft })).Message);
    }

    /// <summary>Faults inside a module and against its layer: what is said of each.</summary>
    [Theory]
    [InlineData("diff: 5 8", "diff has the shape [5,8], the layer's weight [7,8]")]
    [InlineData("diff: 7 8 1", "diff has the shape [7,8,1]; one, two or four axes are read")]
    [InlineData("diff: 7 8; diff_b: 5", "diff_b has 5 numbers, the layer has 7 outputs")]
    [InlineData("diff_b: 7 1", "diff_b has the shape [7,1]; one axis is read")]
    [InlineData("w_norm: 8", "w_norm is for a norm, the layer is linear")]
    [InlineData("w_norm: 8 1", "w_norm has the shape [8,1]; one axis is read")]
    [InlineData("on_input: 1", "on_input without weight")]
    [InlineData("on_input: 1; weight: 9", "weight has 9 numbers, the layer has 8 inputs")]
    [InlineData("on_input: 1; weight: 2 4", "weight has the shape [2,4]; one number for each output or input is read")]
    [InlineData("on_input: 2; weight: 8", "on_input has the shape [2]; one number is read")]
    [InlineData("oft_blocks: 2 3 3", "oft_blocks turns 6 outputs, the layer has 7")]
    [InlineData("oft_blocks: 2 3 4", "oft_blocks has the shape [2,3,4]; (blocks, size, size) is read")]
    [InlineData("oft_blocks: 1 7 7; rescale: 6 1", "rescale has the shape [6,1]; one number for each of the 7 outputs is read")]
    [InlineData("rescale: 7 1", "rescale without oft_blocks")]
    [InlineData("oft_blocks: 1 3 2 2", "oft_blocks turns 6 outputs, the layer has 7")]
    [InlineData("oft_blocks: 2 3 2 2", "oft_blocks has the shape [2,3,2,2]; (stages, blocks, size, size) is read, with an even size and 2^(stages - 1) dividing the blocks")]
    [InlineData("a1.weight: 8 2; a2.weight: 2 8; b1.weight: 7 2", "a1, a2, b1 without b2")]
    [InlineData("a1.weight: 8 2; a2.weight: 2 8; b1.weight: 7 3; b2.weight: 3 8", "a1 [8,2], a2 [2,8], b1 [7,3] and b2 [3,8] do not fit each other")]
    [InlineData("a1.weight: 6 2; a2.weight: 2 6; b1.weight: 7 2; b2.weight: 2 6", "a2 has 6 input columns, the layer has 8")]
    [InlineData("lora_down.weight: 2 8; lora_up.weight: 7 2; diff_b: 6", "diff_b has the shape [6]; one number for each of the 7 outputs is read")]
    [InlineData("lora_down.weight: 2 8; lora_up.weight: 7 2; diff_b: 7; lora_B.bias: 7", "lora_B.bias and diff_b: two biases")]
    [InlineData("lora_down.weight: 2 8; lora_up.weight: 7 2; diff: 7 8", "full weight difference on LoRA (diff) is not read by this version")]
    public void What_does_not_fit_is_said_in_words(string parameters, string words)
    {
        using var net = TinyNet.WithNorms();
        var path = folder.Path("bad.safetensors");
        SafetensorsWriter.Write(path, parameters.Split("; ").Select(item => item.Split(": ")).Select(item => KeyValuePair.Create("lora_net_first." + item[0], ones(item[1].Split(' ').Select(long.Parse).ToArray()))));
        using var file = AdapterFile.Open(path);
        var message = Assert.Throws<CheckpointException>(() => AdapterSet.Load(TinyNet.Components(net), file)).Message;
        Assert.Contains($"lora_net_first: {words}", message.Split('\n').Select(line => line[Math.Min(line.Length, 10)..]));
    }

    [Fact]
    public void What_is_for_layers_does_not_fit_a_norm_and_sd_scripts_OFT_needs_its_alpha()
    {
        using var net = TinyNet.WithNorms();
        var path = folder.Path("bad.safetensors");
        SafetensorsWriter.Write(path, [new("lora_net_group.lora_down.weight", ones(1, 6)), new("lora_net_group.lora_up.weight", ones(6, 1))]);
        using (var file = AdapterFile.Open(path)) Assert.Contains("lora_net_group: LoRA is for linear layers and convolutions, the layer is a norm\n", Assert.Throws<CheckpointException>(() => AdapterSet.Load(TinyNet.Components(net), file)).Message);
        SafetensorsWriter.Write(path, [new("oft_net_first.oft_blocks", ones(1, 7, 7))]);
        using (var file = AdapterFile.Open(path)) Assert.Contains("oft_net_first: oft_blocks without alpha, which limits how far sd-scripts' OFT turns\n", Assert.Throws<CheckpointException>(() => AdapterSet.Load(TinyNet.Components(net), file)).Message);
    }
}
