using LowRank.Adapters.Kinds;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Formats;

/// <summary>
/// The parameters of one module as another convention has them. Parameters are moved as they are stored, and only computed where the target
/// has no place for one: a scale, a Tucker core. Kinds other than LoRA and DoRA are moved by the names of their parameters, whatever they mean.
/// </summary>
internal sealed class ConvertedModule(FileModule source, ModelLayer layer)
{
    public const string Magnitude = AdapterKey.PeftMagnitude, Scale = "dora_scale";

    private const string PeftBias = "lora_B.bias";

    private static readonly string[] Plain = [AdapterKey.Down, AdapterKey.Up, AdapterKey.Alpha, LoraKind.Mid, Magnitude, Scale, PeftBias];

    public FileModule Source => source;

    public ModelLayer Layer => layer;

    /// <summary>Down and up, with a core or lengths at most.</summary>
    public bool IsLora => source.Kind!.Kind is AdapterKind.Lora or AdapterKind.Dora;

    /// <summary>Down and up, whatever stands beside them.</summary>
    public bool HasFactors => source[AdapterKey.Down] is not null && source[AdapterKey.Up] is not null;

    public bool IsDora => source.Kind!.Kind == AdapterKind.Dora;

    /// <summary>Whether its lengths are one for each input, which only LyCORIS has.</summary>
    public bool IsByInput => source[Scale] is { Shape: [1, > 1, ..] } && source[AdapterKey.Up]!.Shape[0] != 1;

    /// <summary>Whether its file writes names flattened and an alpha beside the factors, as sd-scripts and LyCORIS do.</summary>
    public bool IsFlat => source.Convention is AdapterConvention.Kohya or AdapterConvention.Lycoris;

    /// <summary>For kohya and LyCORIS. Alpha comes last.</summary>
    public IEnumerable<(string Parameter, Tensor Values)> Flat()
    {
        if (HasFactors)
        {
            yield return ("lora_down.weight", source[LoraKind.Mid] is null ? Shaped(AdapterKey.Down, layer.Shape.Down(source[AdapterKey.Down]!.Shape[0])) : source.ReadStored(AdapterKey.Down));
            if (source[LoraKind.Mid] is not null) yield return (LoraKind.Mid, source.ReadStored(LoraKind.Mid));
            yield return ("lora_up.weight", Shaped(AdapterKey.Up, layer.Shape.Up(source.Rank)));
            if (source[Scale] is not null) yield return (Scale, source.ReadStored(Scale));
            if (source[Magnitude] is not null) yield return (Scale, source.ReadStored(Magnitude).view([layer.Shape.Outputs, .. layer.Shape.Weight.Skip(1).Select(_ => 1L)]));
            if (source[PeftBias] is not null) yield return (FullKind.Bias, source.ReadStored(PeftBias).to(ScalarType.Float64).Times(source.Scale));   // PEFT scales it as the product
            foreach (var parameter in source.Parameters.Except(Plain)) yield return (parameter, source.ReadStored(parameter));
            yield return (AdapterKey.Alpha, Alpha());
            yield break;
        }
        // PEFT gives factors that are whole matrices a scale too, LyCORIS does not
        var own = !IsFlat && !source.Kind!.HasRank(source) && source.Scale != 1;
        foreach (var parameter in source.Parameters.Where(parameter => parameter != AdapterKey.Alpha))
        {
            yield return (parameter, own && parameter == "lokr_w1" ? source.ReadStored(parameter).to(ScalarType.Float64).Times(source.Scale) : source.ReadStored(parameter));
        }
        if (source[AdapterKey.Alpha] is not null || (!IsFlat && source.Kind!.HasRank(source))) yield return (AdapterKey.Alpha, Alpha());
    }

    /// <summary>Down, up and lengths for the other conventions.</summary>
    /// <param name="fold">Whether the scale goes into up, for those without an alpha.</param>
    public IEnumerable<(string Parameter, Tensor Values)> Factors(bool fold)
    {
        var down = source[LoraKind.Mid] is null
            ? Shaped(AdapterKey.Down, layer.Shape.Down(source.Rank))
            : einsum("rskl,si->rikl", source.ReadStored(LoraKind.Mid).to(ScalarType.Float64), source.ReadStored(AdapterKey.Down).to(ScalarType.Float64).flatten(1)).view(layer.Shape.Down(source.Rank));
        var up = Shaped(AdapterKey.Up, layer.Shape.Up(source.Rank));
        yield return (AdapterKey.Down, down);
        yield return (AdapterKey.Up, fold && source.Scale != 1 ? up.to(ScalarType.Float64).Times(source.Scale) : up);
        if (!IsDora) yield break;
        var lengths = source.ReadStored(source[Scale] is null ? Magnitude : Scale);
        yield return (Magnitude, layer.Shape.IsConvolution ? lengths.view(1, -1, 1, 1) : lengths.view(-1));
    }

    /// <summary>The type in which a computed parameter is stored: that of the file's own factors.</summary>
    public ScalarType StoredAs(string parameter) => (source[parameter] ?? source[source.Parameters.First(item => item != AdapterKey.Alpha)]!).Type.ToScalarType();

    /// <summary>Whether a factor has other axes than its layer: four on a linear layer, two on a convolution.</summary>
    public bool IsReshaped => HasFactors && source[LoraKind.Mid] is null
        && !(source[AdapterKey.Down]!.Shape.SequenceEqual(layer.Shape.Down(source.Rank)) && source[AdapterKey.Up]!.Shape.SequenceEqual(layer.Shape.Up(source.Rank)));

    /// <summary>A scalar of the factors' type where that holds it exactly, else float32: a rounded alpha would change every number of the module.</summary>
    private Tensor Alpha()
    {
        // as it is, but for a 0, which readers do not agree on where it is divided by the rank
        if (source[AdapterKey.Alpha] is not null && (source.Alpha != 0 || source.Kind!.AlphaIsLimit)) return source.ReadStored(AdapterKey.Alpha).view([]);
        var type = StoredAs(AdapterKey.Down);
        var value = tensor(source.EffectiveAlpha, ScalarType.Float64);
        return Holds(value, type) ? value.to(type) : value.to(ScalarType.Float32);
    }

    /// <summary>Whether a type holds a number exactly.</summary>
    public static bool Holds(Tensor value, ScalarType type) => value.to(type).to(ScalarType.Float64).item<double>() == value.to(ScalarType.Float64).item<double>();

    private Tensor Shaped(string parameter, long[] shape) => source.ReadStored(parameter).view(shape);
}
