using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Testing;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace LowRank.Tests.Adapters;

/// <summary>What must hold for every kind of adapter on every kind of layer. A kind that is added to the enumeration is in these tests at once.</summary>
public sealed class AdapterKindsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    /// <summary>Options that make each kind take each of its forms.</summary>
    private static readonly Dictionary<string, AdapterOptions> Forms = new()
    {
        ["lora"] = new() { Rank = 3, Alpha = 1.5, ConvRank = 2, Targets = ["all"] },
        ["lora-rslora"] = new() { Rank = 4, Alpha = 1.5, UseRslora = true, Targets = ["all"] },
        ["lora-gaussian"] = new() { Rank = 3, Init = AdapterInit.Gaussian, Targets = ["all"] },
        ["lora-orthogonal"] = new() { Rank = 3, Init = AdapterInit.Orthogonal, Targets = ["all"] },
        ["lora-pissa"] = new() { Rank = 3, Alpha = 2, Init = AdapterInit.Pissa, Targets = ["all"] },
        ["dora"] = new() { Kind = AdapterKind.Dora, Rank = 3, Alpha = 1.5, ConvRank = 2, Targets = ["all"] },
        ["dora-lycoris"] = new() { Kind = AdapterKind.Dora, DoraRule = DoraRule.Lycoris, Rank = 3, Alpha = 1.5, Targets = ["all"] },
        ["loha"] = new() { Kind = AdapterKind.Loha, Rank = 2, Alpha = 1, Targets = ["all"] },
        ["lokr"] = new() { Kind = AdapterKind.Lokr, Rank = 1, Alpha = 0.5, Targets = ["all"] },
        ["lokr-factor"] = new() { Kind = AdapterKind.Lokr, Rank = 1, Alpha = 0.5, Factor = 2, DecomposeBoth = true, Targets = ["all"] },
        ["lokr-whole"] = new() { Kind = AdapterKind.Lokr, Rank = 64, Targets = ["all"] },
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

    private static AdapterSet Make(nn.Module net, string name, long seed = 1)
    {
        using var init = new Generator((ulong)seed);
        return AdapterSet.Create(TinyNet.Components(net), Forms[name], init, CPU);
    }

    /// <summary>Moves every number a little away from where it starts.</summary>
    private static AdapterSet MakeTrained(nn.Module net, string name)
    {
        var amplitude = name is "lokr" or "lokr-factor" ? 1.5 : 0.4;   // of the product of three
        var set = Make(net, name);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        foreach (var (factor, parameter) in set.NamedParameters()) parameter.AddInPlace(Formula.Noise(factor, parameter.shape, 1, amplitude));
        return set;
    }

    /// <summary>The net in float64 with every layer's change at the strength added to its weight.</summary>
    private static Sequential Merged(AdapterSet set, double strength)
    {
        var merged = TinyNet.Make(ScalarType.Float64);
        using var quiet = no_grad();
        foreach (var layer in set.Layers)
        {
            using var delta = layer.DeltaOn(LayerShape.WeightOf(layer.Module), strength);
            Assert.Equal(LayerShape.WeightOf(layer.Module).shape, delta.shape);
            merged.get_parameter(layer.Path + ".weight")!.AddInPlace(delta.to(ScalarType.Float64));
        }
        return merged;
    }

    [Fact]
    public void Every_kind_start_and_rule_is_among_the_forms()
    {
        Assert.Equal(Enum.GetValues<AdapterKind>(), Forms.Values.Select(form => form.Kind).Distinct().Order());
        Assert.Equal(Enum.GetValues<AdapterInit>(), Forms.Values.Select(form => form.Init).Distinct().Order());
        Assert.Equal(Enum.GetValues<DoraRule>(), Forms.Values.Select(form => form.DoraRule).Distinct().Order());
        Assert.All(Forms.Values, form => Assert.Empty(form.Validate()));
    }

    /// <summary>Exactly; but LyCORIS' DoRA rule adds 2⁻²³ to the norm, and lengths are float32 on a float64 base too.</summary>
    [Theory, MemberData(nameof(NamesAndTypes))]
    public void A_fresh_adapter_is_the_identity(string name, ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make(type);
        var x = Formula.Noise("x", [2, 4, 6, 6], 1).to(type);
        var before = net.call(x);
        using var set = Make(net, name);
        Assert.Equal(4, set.Layers.Count);
        if (name == "dora-lycoris" || (name == "dora" && type == ScalarType.Float64)) TensorAssert.Close(before, net.call(x), type == ScalarType.BFloat16 ? 8e-3 : 2e-6, type == ScalarType.BFloat16 ? 8e-3 : 2e-6);
        else TensorAssert.Equal(before, net.call(x));
    }

    [Theory, MemberData(nameof(NamesAndTypes))]
    public void An_attached_adapter_gives_what_merged_weights_give_at_any_strength(string name, ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make(type);
        var x = Formula.Noise("x", [2, 4, 6, 6], 1).to(type);
        var before = net.call(x);
        using var set = MakeTrained(net, name);
        foreach (var strength in new[] { 1, 0.6, -0.5, 1.7 })
        {
            set.Strength = strength;
            using var merged = Merged(set, strength);
            var expected = merged.call(x.to(ScalarType.Float64));
            var actual = net.call(x);
            Assert.Equal(type, actual.dtype);
            var tolerance = type == ScalarType.BFloat16 ? 0.05 : 5e-6;
            TensorAssert.Close(expected, actual, tolerance, tolerance, $"strength {strength}");
            Assert.True((actual - before).abs().max().to(ScalarType.Float32).item<float>() > 0.1, "the adapter under test changes nothing");
        }
    }

    /// <summary>On the weight that it is given, not on that of its module: merging works on files, and their modules are outlines.</summary>
    [Theory, MemberData(nameof(Names))]
    public void The_change_at_strength_zero_is_zero_and_the_module_of_a_file_makes_the_same_change_on_an_outline(string name)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make();
        using var set = MakeTrained(net, name);
        var path = folder.Path("kind.safetensors");
        AdapterWriter.Write(path, set, new() { Type = StoredType.F32 });
        using var file = AdapterFile.Open(path);
        using var outline = TinyNet.Make();
        outline.to(META);
        var fit = new AdapterFit(file, new ModuleNames(TinyNet.Components(outline)));
        foreach (var (layer, (module, place)) in set.Layers.Zip(fit.Matched))
        {
            var weight = LayerShape.WeightOf(layer.Module);
            TensorAssert.Equal(zeros_like(weight), layer.DeltaOn(weight, 0));
            TensorAssert.Close(layer.DeltaOn(weight, -0.6), module.LayerOn(place).DeltaOn(weight, -0.6), 1e-5, 1e-6, layer.Path);
        }
        LeakGuard.AssertNothingLeft(() =>
        {
            using var inner = NewDisposeScope();
            foreach (var (module, place) in fit.Matched) module.LayerOn(place).DeltaOn(LayerShape.WeightOf(set.Layers[0].Module).new_zeros(place.Shape.Weight), 0.5);
        });
    }

    [Theory, MemberData(nameof(Names))]
    public void Strength_zero_and_a_detached_adapter_give_the_base_bit_for_bit(string name)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make();
        var x = Formula.Noise("x", [2, 4, 6, 6], 1);
        var weights = net.parameters().Select(parameter => parameter.clone()).ToList();
        var before = net.call(x);
        using var set = MakeTrained(net, name);
        var during = net.call(x);
        set.Strength = 0;
        TensorAssert.Equal(before, net.call(x));
        set.Strength = 1;
        set.Detach();
        TensorAssert.Equal(before, net.call(x));
        set.Attach();
        TensorAssert.Equal(during, net.call(x));
        set.Dispose();
        TensorAssert.Equal(before, net.call(x));
        foreach (var (was, now) in weights.Zip(net.parameters())) TensorAssert.Equal(was, now);
    }

    /// <summary>Every factor's gradient against a difference quotient of the whole net in float64.</summary>
    [Theory, MemberData(nameof(Names))]
    public void Gradients_of_all_factors_are_those_of_the_loss(string name)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make(ScalarType.Float64);
        var x = Formula.Noise("x", [2, 4, 6, 6], 1).to(ScalarType.Float64).requires_grad_();
        using var set = MakeTrained(net, name);
        Tensor Loss() => net.call(x).Squared().mean();
        Loss().backward();
        var (gradients, values) = (set.FlatGradients.clone(), set.FlatParameters.detach().clone());
        var checkedByRule = name == "dora" ? set.NamedParameters().Where(item => item.Name.EndsWith(".magnitude", StringComparison.Ordinal)).Select(item => item.Name).ToHashSet() : null;   // by PEFT's rule the norm has none
        var direction = zeros_like(values);
        long start = 0;
        foreach (var (factor, parameter) in set.NamedParameters())
        {
            if (checkedByRule?.Contains(factor) != false) direction.narrow(0, start, parameter.numel()).copy_(Formula.Noise("direction." + factor, [parameter.numel()], 3));
            start += parameter.numel();
        }
        using var quiet = no_grad();
        double At(double step)
        {
            set.FlatParameters.copy_(values.Plus(direction.Times(step)));
            return Loss().item<double>();
        }
        var numeric = (At(1e-3) - At(-1e-3)) / 2e-3;
        Assert.Equal(1.0, (gradients.to(ScalarType.Float64) * direction.to(ScalarType.Float64)).sum().item<double>() / numeric, 2e-3);
        Assert.True(x.grad!.abs().sum().item<double>() > 0);
    }

    [Theory, MemberData(nameof(Names))]
    public void Steps_leave_no_tensor_behind_and_the_set_ends_with_all_of_its_own(string name)
    {
        using var net = TinyNet.Make(ScalarType.BFloat16);
        using var set = MakeTrained(net, name);
        LeakGuard.AssertNothingLeft(() =>
        {
            using var scope = NewDisposeScope();
            net.call(Formula.Noise("x", [2, 4, 6, 6], 1).to(ScalarType.BFloat16)).to(ScalarType.Float32).Squared().mean().backward();
            set.FlatGradients.zero_();
        });
        LeakGuard.AssertNothingLeft(() => WeightNorms.Limit(set.Layers, 1));
        LeakGuard.AssertNothingLeft(() =>
        {
            using var other = Make(net, name);
        });
    }

    [Theory, MemberData(nameof(Names))]
    public void Written_files_of_both_conventions_read_back_to_the_same_change_and_kind(string name)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make();
        using var set = MakeTrained(net, name);
        foreach (var format in Enum.GetValues<AdapterFormat>())
        {
            var path = folder.Path($"{format}.safetensors");
            AdapterWriter.Write(path, set, new() { Format = format, Type = StoredType.F32 });
            using var other = TinyNet.Make();
            using var file = AdapterFile.Open(path);
            Assert.Empty(file.Problems);
            using var again = AdapterSet.Load(TinyNet.Components(other), file);
            Assert.Empty(again.Warnings);
            foreach (var (mine, read) in set.Layers.Zip(again.Layers))
            {
                Assert.Equal((mine.Path, mine.Kind), (read.Path, read.Kind));
                TensorAssert.Close(mine.Delta(), read.Delta(), 2e-6, 2e-6, $"{format}: {mine.Path}");
            }
            // a second writing of what was read gives the same bytes: nothing is lost on the way
            var twice = folder.Path($"{format}-2.safetensors");
            AdapterWriter.Write(twice, again, new() { Format = format, Type = StoredType.F32, Title = format.ToString() });
            using var one = SafetensorsReader.Open(path);
            using var two = SafetensorsReader.Open(twice);
            Assert.Equal(one.Tensors.Keys, two.Tensors.Keys);
        }
    }

    [Theory, MemberData(nameof(Names))]
    public void Norms_are_limited_to_exactly_the_limit_and_shorter_layers_stay(string name)
    {
        if (name == "lora-pissa") return;   // refused with a limit
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make();
        using var set = MakeTrained(net, name);
        double[] Norms() => [.. set.Layers.Select(layer => layer.Target.Kind.Norm(layer.Factors, layer.Scale).item<double>())];
        var before = Norms();
        var limit = before.Order().ElementAt(1) * 1.01;
        if (set.Layers[0].Kind is AdapterKind.Lora or AdapterKind.Loha or AdapterKind.Lokr)
        {
            foreach (var (norm, layer) in before.Zip(set.Layers)) if (name != "lora-pissa") Assert.Equal(layer.Delta().norm().item<float>(), norm, 1e-4 * norm);
        }
        var limited = WeightNorms.Limit(set.Layers, limit);
        Assert.Equal(before.Count(norm => norm > limit), limited.Scaled);
        foreach (var (was, now) in before.Zip(Norms())) Assert.Equal(Math.Min(was, limit), now, 1e-5 * limit);
        Assert.Equal(Norms().Max(), limited.Largest, 1e-5 * limit);
        Assert.Equal(Norms().Average(), limited.Mean, 1e-5 * limit);
    }

    [Theory]
    [InlineData(nameof(DropoutPlace.Module))]
    [InlineData(nameof(DropoutPlace.Input))]
    [InlineData(nameof(DropoutPlace.Neuron))]
    [InlineData(nameof(DropoutPlace.Rank))]
    [InlineData(nameof(DropoutPlace.Output))]
    public void Dropout_at_every_place_acts_only_while_its_stream_is_set_and_is_the_same_for_the_same_stream(string where)
    {
        var place = Enum.Parse<DropoutPlace>(where);
        foreach (var kind in Enum.GetValues<AdapterKind>())
        {
            using var scope = NewDisposeScope();
            using var net = TinyNet.Make();
            var options = new AdapterOptions
            {
                Kind = kind,
                Rank = 3,
                Targets = ["all"],
                ModuleDropout = place == DropoutPlace.Module ? 0.5 : 0,
                Dropout = place == DropoutPlace.Input ? 0.5 : 0,
                NeuronDropout = place == DropoutPlace.Neuron ? 0.5 : 0,
                RankDropout = place == DropoutPlace.Rank ? 0.5 : 0,
                OutputDropout = place == DropoutPlace.Output ? 0.5 : 0,
            };
            if (kind is AdapterKind.Loha or AdapterKind.Lokr && place is DropoutPlace.Neuron or DropoutPlace.Rank)
            {
                Assert.Single(options.Validate());
                continue;
            }
            using var init = new Generator(1);
            using var set = AdapterSet.Create(TinyNet.Components(net), options, init, CPU);
            using (no_grad())
            {
                foreach (var (factor, parameter) in set.NamedParameters()) parameter.AddInPlace(Formula.Noise(factor, parameter.shape, 1, 0.4f));
            }
            var x = Formula.Noise("x", [3, 4, 6, 6], 1);
            var without = net.call(x);
            Tensor With(ulong seed)
            {
                using var masks = new Generator(seed);
                set.DropoutStream = masks;
                var result = net.call(x);
                set.DropoutStream = null;
                return result;
            }
            TensorAssert.Equal(With(7), With(7));
            Assert.True((With(7) - without).abs().max().item<float>() > 0.01, $"{kind}");
            Assert.True((With(7) - With(8)).abs().max().item<float>() > 0.01, $"{kind}");
            TensorAssert.Equal(without, net.call(x));
        }
    }

    [Fact]
    public void A_rank_is_dropped_for_whole_pictures_and_a_module_for_all_of_a_call()
    {
        using var scope = NewDisposeScope();
        using var net = nn.Sequential(("layer", nn.Linear(4, 4)));
        Formula.Fill(net, 1);
        using var init = new Generator(1);
        using var set = AdapterSet.Create(TinyNet.Components(net), new() { Rank = 1, Targets = ["layer"], RankDropout = 0.5 }, init, CPU);
        using (no_grad()) set.FlatParameters.copy_(tensor(0.5f));
        var x = ones(200, 5, 4);
        set.DropoutStream = init;
        set.Strength = 0;
        var plain = net.call(x);
        set.Strength = 1;
        var added = (net.call(x) - plain)[TensorIndex.Colon, TensorIndex.Colon, 0];   // (200, 5): with rank 1 each picture has all of it, doubled, or nothing
        TensorAssert.Equal(added[TensorIndex.Colon, 0].unsqueeze(1).expand(200, 5), added);
        var kept = added[TensorIndex.Colon, 0].IsAbove(0.01).sum().item<long>();
        Assert.InRange(kept, 70, 130);
        Assert.Equal(2.0, added.max().item<float>(), 1e-5);   // 4 inputs · 0.5 · 0.5, grown by 1 / (1 - 0.5)
    }
}
