using LowRank.Adapters.Kinds;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Combining;

/// <summary>What a module of a file changes in its layer at strength 1: as a product of factors where it is one, else whole.</summary>
internal static class LayerChange
{
    /// <summary>Whether all that it changes is one matrix, which can be computed: no bias, no norm.</summary>
    public static bool IsMatrix(FileModule module, ModelLayer layer) => !layer.Shape.IsNorm
        && (module.Kind is FullKind ? module[FullKind.Weight] is not null && module[FullKind.Bias] is null : module.Kind!.Kind is AdapterKind.Lora or AdapterKind.Loha or AdapterKind.Lokr || NeedsBase(module));

    /// <summary>Whether its factors as they are make the change: down and up.</summary>
    public static bool IsProduct(FileModule module) => module.Kind!.Kind == AdapterKind.Lora;

    /// <summary>Whether the change depends on the weight that it is for.</summary>
    public static bool NeedsBase(FileModule module) => module.Kind!.Kind == AdapterKind.Dora;

    /// <summary>The factors of a module for which <see cref="IsProduct"/> holds, without its scale.</summary>
    /// <returns>down (r, n) and up (m, r), float32, in the current scope.</returns>
    public static (Tensor Down, Tensor Up) Factors(FileModule module)
    {
        var factors = module.ReadFactors();
        return (factors["down"], factors["up"]);
    }

    /// <summary>ΔW as a matrix.</summary>
    /// <param name="module">Fits the layer.</param>
    /// <param name="layer">Its weight is not looked at.</param>
    /// <param name="weight">That of the base, any float type, of the layer's shape; needed where <see cref="NeedsBase"/> holds.</param>
    /// <returns>(m, n) float32, in the current scope.</returns>
    public static Tensor Matrix(FileModule module, ModelLayer layer, Tensor? weight)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        return module.LayerOn(layer).DeltaOn(weight ?? LayerShape.WeightOf(layer.Module), 1).flatten(1).MoveToOuterDisposeScope();
    }

    /// <summary>A layer of computed factors, to be written.</summary>
    /// <param name="layer">Where it lies.</param>
    /// <param name="down">(r, n)</param>
    /// <param name="up">(m, r): the change is up · down.</param>
    /// <param name="type">In which it will be written: its factors are of this type already.</param>
    /// <param name="scale">alpha / rank in the file; not 0.</param>
    /// <returns>Its alpha is scale · rank, or the number next to it that the type has; its tensors lie in the current scope.</returns>
    public static AdapterLayer Layer(ModelLayer layer, Tensor down, Tensor up, ScalarType type, double scale = 1)
    {
        var rank = (int)down.shape[0];
        var alpha = tensor(scale * rank).to(type).to(ScalarType.Float64).item<double>();
        var kind = new LoraKind();
        var target = new AdapterTarget(layer.Component, layer.Path, layer.Module, rank, alpha, kind, LoraKind.Factors(layer.Shape, rank));
        return kind.Make(target, new Dictionary<string, Tensor>
        {
            ["down"] = down.to(type).contiguous().view(layer.Shape.Down(rank)),
            ["up"] = up.Times(rank / alpha).to(type).contiguous().view(layer.Shape.Up(rank)),
        });
    }

    /// <summary>‖a.Up · a.Down − b.Up · b.Down‖ without forming either, in float64.</summary>
    public static double Distance((Tensor Down, Tensor Up) a, (Tensor Down, Tensor Up) b)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var down = cat([Wide(a.Down), Wide(b.Down)]);
        var up = cat([Wide(a.Up), Wide(b.Up).neg_()], 1);
        return LayerKind.NormOfProduct(down, up).item<double>();

        static Tensor Wide(Tensor x) => x.flatten(1).to(ScalarType.Float64, copy: true);
    }
}
