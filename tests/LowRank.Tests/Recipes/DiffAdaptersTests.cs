using System.Text.Json;
using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>Distances between adapters, held against ΔW multiplied out.</summary>
public sealed class DiffAdaptersTests : IDisposable
{
    private static readonly string Model = MadeAdapter.Model("sd1");
    private static readonly AdapterOptions Two = new() { Rank = 2, Targets = ["all"] };
    private static readonly AdapterOptions Three = new() { Rank = 3, Alpha = 1.5, ConvRank = 1, Targets = ["all"] };

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    public static TheoryData<AdapterKind, AdapterKind> Kinds() => new(
        from first in Enum.GetValues<AdapterKind>()
        from second in Enum.GetValues<AdapterKind>()
        where first <= second
        select (first, second));

    [Theory, MemberData(nameof(Kinds))]
    public void Every_pair_of_kinds_is_compared_as_if_multiplied_out(AdapterKind first, AdapterKind second)
    {
        var (a, b) = (Write("a", Two with { Kind = first }), Write("b", Three with { Kind = second }));
        var difference = DiffAdapters.Run(a, b, Model);
        using var scope = NewDisposeScope();
        using var family = FamilyDetector.Open(Model);
        var (left, right) = (Dense(family, a), Dense(family, b));
        Assert.Equal(left.Count, difference.Modules.Count);
        foreach (var module in difference.Modules)
        {
            var (x, y) = (left[module.Module], right[module.Module]);
            Near(x.norm(), module.First!.Norm);
            Near(y.norm(), module.Second!.Norm);
            Near(x.sub(y).norm(), module.Distance);
            Assert.Equal(x.mul(y).sum().item<double>() / (x.norm().item<double>() * y.norm().item<double>()), module.Cosine!.Value, 1e-5);
            Assert.Equal(first == AdapterKind.Lora, module.First.SingularValues is not null);
            Assert.Equal(first == AdapterKind.Lora && second == AdapterKind.Lora, module.InputCosines is not null);
            if (module.First.SingularValues is { } values) Assert.All(values.Zip(linalg.svdvals(x).data<double>().ToArray()), pair => Assert.Equal(pair.Second, pair.First, 1e-5 * values[0]));
        }
        var (wholeLeft, wholeRight) = (cat([.. left.Values.Select(item => item.flatten())]), cat([.. right.Values.Select(item => item.flatten())]));
        Near(wholeLeft.norm(), difference.FirstNorm);
        Near(wholeLeft.sub(wholeRight).norm(), difference.Distance);
        Assert.Equal(wholeLeft.dot(wholeRight).item<double>() / (difference.FirstNorm * difference.SecondNorm), difference.Cosine!.Value, 1e-6);
    }

    [Fact]
    public void Adapters_that_are_nearly_equal_keep_the_digits_of_their_distance()
    {
        var (a, b) = (Write("a", Two), Write("b", Two, set => set.Layers.ToList().ForEach(layer => layer.Factors["up"].MultiplyInPlace(1 + 1e-5))));
        var difference = DiffAdapters.Run(a, b);
        using var scope = NewDisposeScope();
        using var family = FamilyDetector.Open(Model);
        var (left, right) = (Dense(family, a, Product), Dense(family, b, Product));
        foreach (var module in difference.Modules) Assert.Equal(left[module.Module].sub(right[module.Module]).norm().item<double>(), module.Distance, 1e-6 * module.Distance);
        Assert.False(difference.IsSame);
    }

    [Fact]
    public void A_file_against_itself_is_at_distance_0_exactly()
    {
        var path = Write("a", Two);
        var difference = DiffAdapters.Run(path, path);
        Assert.Equal((0, 1.0, true), (difference.Distance, difference.Cosine!.Value, difference.IsSame));
        Assert.All(difference.Modules, module => Assert.Equal((0, 1.0), (module.Distance, module.Cosine!.Value)));
        Assert.Empty(difference.Metadata);
        Assert.Contains("\napart     ‖ΔA − ΔB‖ 0   cosine 1.0000   the same change, but for rounding\n", difference.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void The_same_adapter_in_two_conventions_is_the_same_change()
    {
        var kohya = Write("a", Three);
        var peft = MadeAdapter.Write(folder.Path("peft.safetensors"), Model, Three, save: new AdapterSaveOptions { Type = StoredType.F32, Format = AdapterFormat.Peft });
        var difference = DiffAdapters.Run(kohya, peft, Model);
        Assert.True(difference.IsSame);
        Assert.Equal(1, difference.Cosine!.Value, 1e-6);
        Assert.Equal(Model, difference.Base);
    }

    [Fact]
    public void A_difference_reads_as_a_screen()
    {
        const string unet = "unet:down_blocks.0.**.attn1.";
        var a = Write("a", Two with { Targets = [unet + "{to_q,to_k}", "text_encoder:**.layers.0.**.q_proj"] });
        var b = Write("b", Three with { Targets = [unet + "{to_q,to_v}", "text_encoder:**.layers.0.**.q_proj"] }, set => set.Layers[0].Factors["up"].zero_());
        var text = DiffAdapters.Run(a, b, Model).ToString();
        Assert.Matches(
            $"""
            ^{a} \(A\) and {b} \(B\)
            A         kohya keys, rank 2   ‖ΔA‖ 0\.\d+
            B         kohya keys, rank 3   ‖ΔB‖ 0\.\d+
            base      {Model}: modules are matched by its layers
            modules   3 in both; 2 only in A: (lora_unet_down_blocks_0_\S+_attn1_to_k(, )?)+; 2 only in B: (lora_unet_down_blocks_0_\S+_attn1_to_v(, )?)+
            apart     ‖ΔA − ΔB‖ 0\.\d+   cosine -?0\.\d\d\d\d
                      of these, ranks differ in 3, alphas in 3
                      B changes nothing in lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q
            by block     ‖ΔA‖    ‖ΔB‖   apart  cosine
                      [ 0-9.E–-]+  unet down\.0
                      [ 0-9.E–-]+  text_encoder
            furthest     ‖ΔA‖    ‖ΔB‖   apart  cosine
                      [ 0-9.E–-]+  (unet down_blocks_0|text_encoder text_model)_\S+
            """.ReplaceLineEndings("\n"), text);
    }

    [Fact]
    public void Modules_that_a_file_only_numbers_are_told_by_their_layers()
    {
        var path = Path.Combine(Repository.SampleData("ancestor-adapters"), "lora_disney.safetensors");
        var difference = DiffAdapters.Run(path, path);
        Assert.Equal("Stable Diffusion 1", difference.Base);
        Assert.Contains("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", difference.Modules.Select(module => module.Module));
        Assert.Contains("  unet down.0\n", difference.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Numbers_that_are_none_are_told_and_not_computed_with()
    {
        using var scope = NewDisposeScope();
        const string name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
        var up = ones(64, 2);
        up[0, 0] = tensor(float.NaN);
        string Save(string file, Tensor up) => MadeAdapter.Write(folder.Path(file), new() { [name + ".lora_down.weight"] = ones(2, 64), [name + ".lora_up.weight"] = up });
        var difference = DiffAdapters.Run(Save("good.safetensors", ones(64, 2)), Save("nan.safetensors", up));
        Assert.Contains($"\n          B is not finite in {name}\n", difference.ToString(), StringComparison.Ordinal);
        Assert.Null(difference.Modules[0].Second!.SingularValues);
        using var json = JsonDocument.Parse(difference.ToJson());
        Assert.Equal("NaN", json.RootElement.GetProperty("distance").GetString());
    }

    [Fact]
    public void A_change_that_depends_on_its_base_asks_for_the_base()
    {
        var path = MadeAdapter.Write(folder.Path("dora.safetensors"), "icons-64", new AdapterOptions { Rank = 2, Kind = AdapterKind.Dora, Targets = ["unet:mid_block.**.attn1.to_q"] });
        Assert.Equal("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q: the change of a DoRA depends on the weights of its base, and no base is named; name it with --model",
            Assert.Throws<CheckpointException>(() => DiffAdapters.Run(path, path)).Message);
    }

    [Fact]
    public void A_file_that_cannot_be_used_is_not_compared()
    {
        var bad = Path.Combine(Repository.Root, "tests", "fixtures", "adapters", "files", "bad", "rank_mismatch.safetensors");
        Assert.Equal($"adapter cannot be used: lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q: rank 3 in lora_down, 2 in lora_up; in {bad}; look at it with: lora inspect",
            Assert.Throws<CheckpointException>(() => DiffAdapters.Run(bad, bad)).Message);
    }

    [Fact]
    public void Every_field_is_in_the_json()
    {
        var path = Write("a", Two with { Targets = ["unet:**.attn1.to_q"] });
        using var json = JsonDocument.Parse(DiffAdapters.Run(path, path).ToJson());
        Assert.Equal(["first", "second", "base", "first_norm", "second_norm", "distance", "cosine", "modules", "metadata", "is_same"], json.RootElement.EnumerateObject().Select(item => item.Name));
        var module = json.RootElement.GetProperty("modules")[0];
        Assert.Equal(["module", "first", "second", "distance", "cosine", "input_cosines"], module.EnumerateObject().Select(item => item.Name));
        Assert.Equal(["kind", "rank", "alpha", "norm", "dead", "singular_values", "stable_rank", "factors"], module.GetProperty("first").EnumerateObject().Select(item => item.Name));
        Assert.Equal(["largest", "at_largest"], module.GetProperty("first").GetProperty("factors").GetProperty("lora_up").EnumerateObject().Select(item => item.Name));
    }

    private string Write(string name, AdapterOptions options, Action<AdapterSet>? change = null) => MadeAdapter.Write(folder.Path(name + ".safetensors"), Model, options, change);

    /// <summary>ΔW of every layer by its name in kohya's files, (out, n) float64.</summary>
    private static Dictionary<string, Tensor> Dense(IDiffusionFamily family, string path, Func<AdapterLayer, Tensor>? delta = null)
    {
        delta ??= layer => layer.Delta();
        using var file = AdapterFile.Open(path);
        using var set = AdapterSet.Load(family.ComponentNames.ToDictionary(name => name, family.Component), file);
        return set.Layers.ToDictionary(layer => set.Names.Kohya(layer.Component, layer.Path), layer => delta(layer).to(ScalarType.Float64).flatten(1));
    }

    /// <summary>Of a LoRA, without rounding to float32.</summary>
    private static Tensor Product(AdapterLayer layer) =>
        layer.Factors["up"].to(ScalarType.Float64).flatten(1).mm(layer.Factors["down"].to(ScalarType.Float64).flatten(1)).MultiplyInPlace(layer.Alpha / layer.Rank);

    private static void Near(Tensor expected, double actual) => Assert.Equal(expected.item<double>(), actual, 1e-5 * expected.item<double>());
}
