using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Tests.Families;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

public sealed class ExtractAdapterTests : IDisposable
{
    private const string Query = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    private const string Convolution = "down_blocks.0.resnets.0.conv1";
    private const string Text = "text_model.encoder.layers.0.mlp.fc1";

    private readonly TemporaryFolder folder = new();
    private readonly ModelFolder original = new("sd1"), tuned = new("sd1");

    public void Dispose()
    {
        original.Dispose();
        tuned.Dispose();
        folder.Dispose();
    }

    [Theory]
    [InlineData(SvdMethod.Exact)]
    [InlineData(SvdMethod.Randomized)]
    public void A_low_rank_difference_is_given_back_at_its_rank(SvdMethod method)
    {
        using var scope = NewDisposeScope();
        var changes = Change(rank: 2, (Unet, Query), (Unet, Convolution), (TextEncoder, Text));
        var result = Extract(new() { Base = "", Tuned = "", Output = "", Rank = 2, Method = method, Precision = SavePrecision.Fp32 });
        Assert.Equal(["text_encoder." + Text, "unet." + Query, "unet." + Convolution], result.Modules.Select(module => module.Module).Order(StringComparer.Ordinal).OrderBy(name => name.Contains("conv1", StringComparison.Ordinal)));
        var found = AdapterSamples.Deltas(result.Output, original.Path);
        foreach (var (layer, change) in changes) Assert.InRange(AdapterSamples.Distance(found[layer], change), 0, 2e-5);   // base + difference is rounded in float32
        Assert.All(result.Modules, module => Assert.InRange(module.Error, 0, 2e-5));
        Assert.All(result.Modules, module => Assert.InRange(module.Energy, 0.999999, 1));
        Assert.Contains(result.Notes, note => note.EndsWith(" layers do not differ and are left out", StringComparison.Ordinal));
    }

    [Fact]
    public void The_error_and_the_energy_that_are_said_are_those_of_the_file()
    {
        using var scope = NewDisposeScope();
        var changes = Change(rank: 6, (Unet, Query), (TextEncoder, Text));
        foreach (var (precision, clamp) in new[] { (SavePrecision.Fp32, (double?)null), (SavePrecision.Fp16, null), (SavePrecision.Fp32, 0.9) })
        {
            var result = Extract(new() { Base = "", Tuned = "", Output = "", Rank = 3, Precision = precision, Clamp = clamp });
            var found = AdapterSamples.Deltas(result.Output, original.Path);
            foreach (var module in result.Modules)
            {
                var layer = module.Module[(module.Module.IndexOf('.', StringComparison.Ordinal) + 1)..];
                Assert.Equal(AdapterSamples.Distance(found[layer], changes[layer]), module.Error, 1e-4);
                if (clamp is null) Assert.Equal(1 - module.Error * module.Error, module.Energy, 1e-3);
                else Assert.True(module.Error * module.Error > 1 - module.Energy + 0.01);   // clamping costs more than the rank
                Assert.Equal(changes[layer].norm().item<double>(), module.Norm, 1e-3);
            }
        }
    }

    [Fact]
    public void Energy_and_threshold_choose_the_rank_of_each_layer()
    {
        using var scope = NewDisposeScope();
        var changes = Change(rank: 6, (Unet, Query), (TextEncoder, Text));
        foreach (var method in new[] { SvdMethod.Exact, SvdMethod.Randomized })
        {
            foreach (var module in Extract(new() { Base = "", Tuned = "", Output = "", Energy = 0.8, Method = method }).Modules)
            {
                var values = linalg.svdvals(changes[module.Module[(module.Module.IndexOf('.', StringComparison.Ordinal) + 1)..]]).data<double>().Select(value => value * value).ToList();
                Assert.True(values.Take(module.Rank).Sum() >= 0.8 * values.Sum() - 1e-6);
                Assert.True(values.Take(module.Rank - 1).Sum() < 0.8 * values.Sum());
            }
            var largest = linalg.svdvals(changes[Query]).data<double>().ToArray();
            var threshold = (largest[2] + largest[3]) / 2;
            Assert.Equal(3, Extract(new() { Base = "", Tuned = "", Output = "", Threshold = threshold, Method = method, Parts = ["unet"] }).Modules.Single().Rank);
        }
    }

    [Fact]
    public void Convolutions_have_a_rank_of_their_own_or_are_left_out_and_told_of()
    {
        using var scope = NewDisposeScope();
        Change(rank: 4, (Unet, Query), (Unet, Convolution));
        var ranks = Extract(new() { Base = "", Tuned = "", Output = "", Rank = 3, ConvRank = 1 }).Modules.ToDictionary(module => module.Module, module => module.Rank);
        Assert.Equal((3, 1), (ranks["unet." + Query], ranks["unet." + Convolution]));
        var result = Extract(new() { Base = "", Tuned = "", Output = "", Rank = 3, ConvRank = 0 });
        Assert.Equal(["unet." + Query], result.Modules.Select(module => module.Module));
        Assert.Matches(@"^1 convolutions larger than 1×1 differ and are left out: \d+\.\d %? ?of the squared difference$", Assert.Single(result.Notes, note => note.Contains("convolutions", StringComparison.Ordinal)));
    }

    [Fact]
    public void What_a_LoRA_has_no_place_for_is_told_of()
    {
        using var scope = NewDisposeScope();
        Change(rank: 1, (Unet, Query));
        Edit(Unet, "conv_norm_out.bias", bias => bias.Plus(0.5));
        Assert.Single(Extract(new() { Base = "", Tuned = "", Output = "", Rank = 1 }).Notes, note => note.StartsWith("1 biases, norms and embeddings differ, for which a LoRA has no place: ", StringComparison.Ordinal));
    }

    [Fact]
    public void Small_differences_are_left_out_where_asked_for()
    {
        using var scope = NewDisposeScope();
        Change(rank: 1, (Unet, Query));
        Edit(TextEncoder, Text + ".weight", weight => weight.Plus(1e-4));
        Assert.Equal(2, Extract(new() { Base = "", Tuned = "", Output = "", Rank = 1 }).Modules.Count);
        Assert.Equal(["unet." + Query], Extract(new() { Base = "", Tuned = "", Output = "", Rank = 1, MinDiff = 1e-3 }).Modules.Select(module => module.Module));
    }

    [Fact]
    public void Random_projection_comes_as_near_as_the_exact_decomposition()
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(3);
        var matrix = randn([300, 500], ScalarType.Float32, generator: generator);   // nothing decays: the hardest case
        var (exact, found) = (LowRank.Adapters.Combining.Spectrum.Of(matrix), LowRank.Adapters.Combining.Spectrum.Largest(matrix, 16, generator));
        double Error(LowRank.Adapters.Combining.Spectrum spectrum) => matrix.sub(spectrum.Factors(16).Up.mm(spectrum.Factors(16).Down)).norm().item<float>();
        Assert.InRange(Error(found) / Error(exact), 1, 1.01);
        Assert.InRange(found.S[0] / exact.S[0], 0.98, 1.0001);
        TensorAssert.Close(eye(16), found.U.t().mm(found.U), 0, 1e-5);
    }

    [Fact]
    public void A_checkpoint_of_one_file_is_a_model_too()
    {
        using var scope = NewDisposeScope();
        var single = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "single-file", "sd1.safetensors");   // the weights of the folder
        var changes = Change(rank: 2, (Unet, Query));
        var result = ExtractAdapter.Run(new() { Base = tuned.Path, Tuned = single, Output = folder.Path("out.safetensors"), Rank = 2, Precision = SavePrecision.Fp32 });
        Assert.Equal("unet." + Query, Assert.Single(result.Modules).Module);
        Assert.InRange(AdapterSamples.Distance(AdapterSamples.Deltas(result.Output, original.Path)[Query], changes[Query].neg()), 0, 2e-5);   // the changed one is the base here
        Assert.StartsWith("difference of sd1.safetensors to ", result.What, StringComparison.Ordinal);
    }

    [Fact]
    public void A_base_of_one_file_has_the_configurations_of_the_other_model_or_those_that_are_named()
    {
        using var scope = NewDisposeScope();
        var single = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "single-file", "sd1.safetensors");
        var changes = Change(rank: 2, (Unet, Query));
        var changed = folder.Path("changed.safetensors");
        ConvertModel.Run(new() { Input = tuned.Path, Output = changed });
        foreach (var (other, config) in new[] { (tuned.Path, (string?)null), (tuned.Path, original.Path), (changed, original.Path) })
        {
            var result = ExtractAdapter.Run(new() { Base = single, Tuned = other, Config = config, Output = folder.Path("out.safetensors"), Rank = 2, Precision = SavePrecision.Fp32 });
            Assert.Equal("unet." + Query, Assert.Single(result.Modules).Module);
            Assert.Equal($"{single} (Stable Diffusion 1)", result.Base);
            Assert.InRange(AdapterSamples.Distance(AdapterSamples.Deltas(result.Output, original.Path)[Query], changes[Query]), 0, 2e-5);
        }
        Assert.Equal(
            $"config is for checkpoints of one file, and both models are folders; {original.Path} and {tuned.Path}; leave it out",
            Assert.Throws<OptionsException>(() => Extract(new() { Base = "", Tuned = "", Output = "", Rank = 1, Config = original.Path })).Message);
    }

    [Fact]
    public void Equal_models_give_nothing_to_extract() => Assert.Equal(
        $"nothing to extract: no layer of unet and text_encoder differs; {original.Path} and {tuned.Path}; compare a model with what was trained from it",
        Assert.Throws<CheckpointException>(() => Extract(new() { Base = "", Tuned = "", Output = "", Rank = 1 })).Message.Replace("text_encoder and unet", "unet and text_encoder", StringComparison.Ordinal));

    [Fact]
    public void Models_of_other_networks_are_refused()
    {
        using var other = new ModelFolder("sd2-v");
        var error = Assert.Throws<CheckpointException>(() => ExtractAdapter.Run(new() { Base = original.Path, Tuned = other.Path, Output = folder.Path("x.safetensors"), Rank = 1 }));
        Assert.StartsWith("the models are not of one kind: ", error.Message, StringComparison.Ordinal);
        Assert.Contains($"layers have other shapes; {original.Path} and {other.Path}\n  ", error.Message, StringComparison.Ordinal);
        Assert.EndsWith("\n  compare a model with what was trained from it", error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(folder.Path("x.safetensors")));
    }

    [Fact]
    public void Numbers_that_are_none_and_parts_that_are_missing_are_told_of()
    {
        Assert.Equal($"the model has no text_encoder_2, only {Parts()}; {original.Path}; leave that part out, or give a model with it",
            Assert.Throws<CheckpointException>(() => Extract(new() { Base = "", Tuned = "", Output = "", Rank = 1, Parts = ["text_encoder_2"] })).Message);
        Edit(Unet, Query + ".weight", weight => weight.Times(double.NaN));
        Assert.Equal($"unet.{Query}.weight has numbers that are not finite; in {tuned.Path}; take another save of the model",
            Assert.Throws<CheckpointException>(() => Extract(new() { Base = "", Tuned = "", Output = "", Rank = 1 })).Message);

        string Parts() => string.Join(", ", LowRank.Families.DiffusersFolder.Open(original.Path).Named.Select(part => part.Name).Where(LowRank.Families.ModelOutline.Knows));
    }

    [Fact]
    public void Weights_of_a_model_are_never_overwritten()
    {
        var weights = Directory.GetFiles(original.File("unet"), "*.safetensors").Single();
        Assert.Equal($"the output would overwrite an input; {weights}; give another name: inputs are never changed",
            Assert.Throws<OptionsException>(() => ExtractAdapter.Run(new() { Base = original.Path, Tuned = tuned.Path, Output = weights, Rank = 1 })).Message);
    }

    [Fact]
    public void Options_that_contradict_each_other_are_all_told_of() => Assert.Equal("""
        10 problems in the options

        base       empty; must name a folder, a file or icons-64
        tuned      empty; must name a folder, a file or icons-64
        output     "a.ckpt"; must be a file that ends in .safetensors
        rank       several rules say how much to keep; give one of rank, energy, threshold, ratio and quantile
        rank       0; must be 1 or more
        quantile   1.5; must be above 0 and below 1
        conv-rank  -1; must be 1 or more, or 0 to leave such convolutions out
        clamp      0.2; must be between 0.5 and 1, such as 0.99
        quantile   1.5; needs all singular values; leave method randomized away
        parts      vae; must be of unet, text_encoder and text_encoder_2
        """, Assert.Throws<OptionsException>(() => ExtractAdapter.Run(new() { Base = "", Tuned = "", Output = "a.ckpt", Rank = 0, Quantile = 1.5, ConvRank = -1, Clamp = 0.2, Method = SvdMethod.Randomized, Parts = ["vae"] })).Message, ignoreLineEndingDifferences: true);

    [Fact]
    public void More_problems_of_options() => Assert.Equal(
        ["rank: nothing says how much to keep; give one of rank, energy, threshold, ratio and quantile", "min-diff: -1; must be 0 or more"],
        new ExtractOptions { Base = "a", Tuned = "b", Output = "o.safetensors", MinDiff = -1 }.Validate());

    [Fact]
    public void Nothing_is_left_in_memory()
    {
        using (NewDisposeScope()) Change(rank: 1, (Unet, Query));
        LeakGuard.AssertNothingLeft(() => Extract(new() { Base = "", Tuned = "", Output = "", Rank = 1 }));
    }

    private const string Unet = "unet/diffusion_pytorch_model.safetensors", TextEncoder = "text_encoder/model.safetensors";

    private WrittenAdapter Extract(ExtractOptions options) => ExtractAdapter.Run(options with { Base = original.Path, Tuned = tuned.Path, Output = folder.Path("out.safetensors") });

    /// <summary>Adds a random change of a rank to layers of the tuned model.</summary>
    /// <returns>As matrices of float64, by path.</returns>
    private Dictionary<string, Tensor> Change(int rank, params (string File, string Layer)[] layers)
    {
        var changes = new Dictionary<string, Tensor>();
        foreach (var (file, layer) in layers)
        {
            Edit(file, layer + ".weight", weight =>
            {
                var columns = weight.numel() / weight.shape[0];
                var change = Formula.Noise(layer + "u", [weight.shape[0], rank], 3, 0.1).mm(Formula.Noise(layer + "d", [rank, columns], 3, 0.1));
                changes[layer] = change.to(ScalarType.Float64);
                return weight.Plus(change.view(weight.shape));
            });
        }
        return changes;
    }

    /// <summary>Replaces one tensor of the tuned model.</summary>
    private void Edit(string name, string key, Func<Tensor, Tensor> edit)
    {
        using var reader = SafetensorsReader.Open(tuned.File(name));
        var tensors = reader.Tensors.Keys.ToDictionary(item => item, reader.Read);
        var found = tensors.ContainsKey(key) ? key : key["text_model.".Length..];
        tensors[found] = edit(tensors[found]);
        SafetensorsWriter.Write(tuned.File(name), tensors, reader.Metadata);
    }
}
