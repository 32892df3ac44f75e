using LowRank.Adapters;
using LowRank.Adapters.Combining;
using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>A LoRA with fewer ranks, by the singular values of what it changes. The base is not needed, nor any layer's whole matrix.</summary>
public static class ResizeAdapter
{
    /// <summary>Resizes it, and says what every layer lost.</summary>
    /// <param name="options">Which, how far, and where to.</param>
    /// <exception cref="LowRankException">Options that contradict each other, a file that is damaged or holds other kinds than LoRA.</exception>
    public static WrittenAdapter Run(ResizeOptions options)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        using var files = OpenAdapters.Open([options.Input]);
        OutputFile.RequireOther(options.Output, [files.All[0].Path]);
        using var model = files.FindBase(options.Model);
        return Run(options, files.All[0], new CombineBase(model.Names, model.Title, null));
    }

    /// <summary>The same for a file that is open, and a model whose layers are known.</summary>
    internal static WrittenAdapter Run(ResizeOptions options, AdapterFile file, CombineBase model)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var inputs = new CombineInputs([file], [1], model);
        using var tokens = new CombinedTokens([file]);
        var type = options.Precision is { } precision ? AdapterFacts.TypeOf(precision) : inputs.WidestType();
        var made = inputs.All[0].Fit.Matched.Select(item => Resize(options, inputs.All[0], item.Module, item.Layer, type.ToScalarType())).ToList();
        var what = $"{inputs.All[0].Name} resized, {Rule(options)}";
        AdapterWriter.Write(options.Output, [.. made.Select(item => item.Layer)], model.Names, new AdapterSaveOptions { Type = type, Base = model.Title, BaseVersion = inputs.BaseVersion, Options = "resize: " + what, Embeddings = tokens.All });
        return WrittenAdapter.Of(options.Output, what, model.Title, made, tokens.All.Select(token => token.Token), inputs.Notes);
    }

    private static ComputedLayer Resize(ResizeOptions options, CombineInput input, FileModule module, ModelLayer layer, ScalarType type)
    {
        if (!LayerChange.IsProduct(module)) throw new CheckpointException($"{module.Name}: {module.Kind!.Name} has no rank to be resized; in {input.File.Path}; make a LoRA of it first: lora combine FILE OUT --method svd --rank R");
        using var scope = NewDisposeScope();
        var (down, up) = LayerChange.Factors(module);
        if (!(down.isfinite().all().item<bool>() && up.isfinite().all().item<bool>())) throw input.Fit.RefuseNotFinite(new());
        var spectrum = Spectrum.OfProduct(up, down);
        var most = layer.Shape.IsConvolution ? options.ConvRank ?? options.Rank : options.Rank;
        var rank = Math.Min(Math.Min(RankOf(options, spectrum.S, (int)Math.Min(up.shape[0], down.shape[1])) ?? most!.Value, most ?? int.MaxValue), spectrum.S.Length);
        var (fewer, wider) = spectrum.Factors(rank);
        var made = LayerChange.Layer(layer, fewer, wider.Times(module.Scale), type, module.Scale);
        foreach (var tensor in made.Factors.Values) tensor.MoveToOuterDisposeScope();
        return ComputedLayer.Of(made, (down, up.to(ScalarType.Float64).Times(module.Scale)), spectrum.Energy(rank));
    }

    /// <summary>Null where a rank is given alone.</summary>
    private static int? RankOf(ResizeOptions options, double[] values, int least) => options switch
    {
        { SvRatio: { } ratio } => Ranks.Resized(values, least, all => Ranks.SvRatio(all, ratio)),
        { SvFro: { } share } => Ranks.Resized(values, least, all => Ranks.SvFro(all, share)),
        { SvCumulative: { } share } => Ranks.Resized(values, least, all => Ranks.SvCumulative(all, share)),
        _ when values[0] <= 1e-6 => 1,
        _ => null,
    };

    private static string Rule(ResizeOptions options)
    {
        var rule = options switch
        {
            { SvRatio: { } ratio } => Invariant($"sv-ratio {ratio}"),
            { SvFro: { } share } => Invariant($"sv-fro {share}"),
            { SvCumulative: { } share } => Invariant($"sv-cumulative {share}"),
            _ => "",
        };
        var rank = options.Rank is { } most ? Invariant($"{(rule.Length > 0 ? "at most " : "")}rank {most}") : "";
        return string.Join(", ", new[] { rule, rank, options.ConvRank is { } convolutions ? Invariant($"convolutions rank {convolutions}") : "" }.Where(part => part.Length > 0));
    }
}
