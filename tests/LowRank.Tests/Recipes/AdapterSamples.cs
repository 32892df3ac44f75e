using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>Small adapter files by formula for some layers of Stable Diffusion 1, in several conventions, and what they change.</summary>
internal sealed class AdapterSamples(TemporaryFolder folder)
{
    /// <summary>Cross-attention of the outermost block: its width says which model it is for.</summary>
    public const string Key = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k";

    /// <summary>Another layer of the same block.</summary>
    public const string Query = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q";

    /// <summary>A convolution of the same block, 3×3.</summary>
    public const string Convolution = "down_blocks.0.resnets.0.conv1";

    /// <summary>The layers of Stable Diffusion 1, found once.</summary>
    private static readonly Lazy<ModuleNames> StableDiffusion1 = new(() => new ModuleNames(ModelOutline.Of(PublishedModel.All.Single(model => model.Title == "Stable Diffusion 1")).Components));

    private static readonly Dictionary<string, long[]> Shapes = new() { [Key] = [320, 768], [Query] = [320, 320], [Convolution] = [320, 320, 3, 3] };

    /// <summary>A LoRA with sd-scripts' keys.</summary>
    public string Kohya(string name, int rank, double? alpha, params string[] layers) => Kohya(name, rank, alpha, ScalarType.Float32, layers);

    /// <summary>A LoRA with sd-scripts' keys, in another type.</summary>
    public string Kohya(string name, int rank, double? alpha, ScalarType type, params string[] layers) => Write(name, layers.SelectMany(layer =>
    {
        var module = Flat(layer);
        List<(string, Tensor)> tensors = [($"{module}.lora_down.weight", Down(name, layer, rank)), ($"{module}.lora_up.weight", Up(name, layer, rank))];
        if (alpha is { } number) tensors.Add(($"{module}.alpha", tensor((float)number)));
        return tensors;
    }), type);

    /// <summary>A LoRA with the keys of today's diffusers, which have no alpha.</summary>
    public string Peft(string name, int rank, params string[] layers) =>
        Write(name, layers.SelectMany(layer => new[] { ($"unet.{layer}.lora_A.weight", Down(name, layer, rank)), ($"unet.{layer}.lora_B.weight", Up(name, layer, rank)) }), ScalarType.Float32);

    /// <summary>A LoHa, whose change is no product of two factors.</summary>
    public string Loha(string name, int rank, string layer) => Write(name,
    [
        ($"{Flat(layer)}.hada_w1_a", Up(name + "1", layer, rank)), ($"{Flat(layer)}.hada_w1_b", Down(name + "1", layer, rank)),
        ($"{Flat(layer)}.hada_w2_a", Up(name + "2", layer, rank)), ($"{Flat(layer)}.hada_w2_b", Down(name + "2", layer, rank)),
        ($"{Flat(layer)}.alpha", tensor((float)rank)),
    ], ScalarType.Float32);

    /// <summary>Any tensors.</summary>
    public string Write(string name, IEnumerable<(string Key, Tensor Value)> tensors, ScalarType type = ScalarType.Float32)
    {
        using var scope = NewDisposeScope();
        SafetensorsWriter.Write(folder.Path(name), tensors.Select(item => KeyValuePair.Create(item.Key, item.Value.to(type))));
        return folder.Path(name);
    }

    /// <summary>ΔW of every layer of a file, as a matrix of float64. The caller's scope owns them.</summary>
    public static Dictionary<string, Tensor> Deltas(string path, string? model = null)
    {
        using var file = AdapterFile.Open(path);
        using var found = model is null ? null : AdapterBase.Find(file, model);
        var fit = new AdapterFit(file, found?.Names ?? StableDiffusion1.Value);
        Assert.True(fit.IsWhole);
        return fit.Matched.ToDictionary(item => item.Layer.Path, item => Matrix(item.Module, item.Layer));
    }

    /// <summary>Σ weight · ΔW over files, by layer.</summary>
    public static Dictionary<string, Tensor> Sum(params (string Path, double Weight)[] files)
    {
        var sums = new Dictionary<string, Tensor>();
        foreach (var (path, weight) in files)
        {
            foreach (var (layer, delta) in Deltas(path))
            {
                if (sums.TryGetValue(layer, out var sum)) sum.AddInPlace(delta, weight);
                else sums[layer] = delta.Times(weight);
            }
        }
        return sums;
    }

    /// <summary>‖a − b‖ / ‖b‖.</summary>
    public static double Distance(Tensor a, Tensor b) => a.sub(b).norm().item<double>() / b.norm().item<double>();

    public static string Flat(string layer) => "lora_unet_" + layer.Replace('.', '_');

    public static Tensor Down(string name, string layer, int rank) => Formula.Noise($"{name} {layer} down", [rank, .. Shapes[layer][1..]], 7, 0.05);

    public static Tensor Up(string name, string layer, int rank) => Formula.Noise($"{name} {layer} up", [Shapes[layer][0], rank, .. Shapes[layer][2..].Select(_ => 1L)], 7, 0.05);

    private static Tensor Matrix(FileModule module, ModelLayer layer)
    {
        using var scope = NewDisposeScope();
        if (module.Kind!.Kind != AdapterKind.Lora) return module.LayerOn(layer).Delta().flatten(1).to(ScalarType.Float64).MoveToOuterDisposeScope();
        var factors = module.ReadFactors();   // in float64, so that a test measures the file and not its own arithmetic
        return factors["up"].to(ScalarType.Float64).mm(factors["down"].to(ScalarType.Float64)).Times(module.Scale).MoveToOuterDisposeScope();
    }
}
