using LowRank.Adapters;
using LowRank.Adapters.Combining;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>Makes the difference of two weights a LoRA of one layer.</summary>
/// <param name="options">How much is kept.</param>
/// <param name="type">Element type that is written.</param>
/// <param name="generator">For random projections, on the CPU.</param>
internal sealed class LayerExtractor(ExtractOptions options, ScalarType type, Generator generator)
{
    /// <summary>Random projection starts with so many values where a rule has to find how many are needed.</summary>
    private const int Start = 32;

    /// <summary>With more values than this part of a layer's smaller side, random projection is no less work than LAPACK (measured: bench/RESULTS.md).</summary>
    private const double MostShare = 1.0 / 8;

    /// <summary>Below this smaller side a layer is decomposed before one has thought about it.</summary>
    private const int Small = 128;

    /// <summary>Whether a layer is left out by the rule for convolutions.</summary>
    public bool LeavesOut(LayerShape shape) => options.ConvRank == 0 && shape.IsWideConvolution;

    /// <param name="layer">Not one that is left out.</param>
    /// <param name="difference">Tuned − base as a matrix (m, n) float32; not all 0.</param>
    /// <returns>With tensors in the current scope.</returns>
    public ComputedLayer Extract(ModelLayer layer, Tensor difference)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var (spectrum, rank) = Decompose(difference, layer.Shape.IsWideConvolution ? options.ConvRank : null);
        var (down, up) = spectrum.Factors(rank);
        if (options.Clamp is { } quantile)
        {
            (down, up) = QuantileClamp.WithSigns(down, up);
            (down, up, _) = QuantileClamp.Apply(down, up, quantile);
        }
        var made = LayerChange.Layer(layer, down, up, type);
        using var written = made.Delta();
        var distance = Spectrum.NormOf(written.flatten(1).sub_(difference));
        foreach (var tensor in made.Factors.Values) tensor.MoveToOuterDisposeScope();
        return new ComputedLayer(made, spectrum.Norm, ComputedLayer.Relative(distance, spectrum.Norm), spectrum.Energy(rank));
    }

    /// <summary>The singular values that the rule needs, and how many it keeps.</summary>
    private (Spectrum Spectrum, int Rank) Decompose(Tensor difference, int? most)
    {
        var least = (int)Math.Min(difference.shape[0], difference.shape[1]);
        var exactly = options.Rank is null ? null : most ?? options.Rank;
        for (var count = Math.Min(least, exactly ?? Start); IsRandomized(count, least); count = Math.Min(least, 2 * count))
        {
            using var scope = NewDisposeScope();
            var found = Spectrum.Largest(difference, count, generator);
            if ((RankOf(found, exactly) ?? (most <= count ? most : null)) is not { } rank) continue;
            found.U.MoveToOuterDisposeScope();
            found.Vt.MoveToOuterDisposeScope();
            return (found, Math.Min(rank, most ?? rank));
        }
        var all = Spectrum.Of(difference);
        var kept = RankOf(all, exactly)!.Value;
        return (all, Math.Min(kept, most ?? kept));
    }

    /// <summary>Null where the values do not reach so far.</summary>
    private int? RankOf(Spectrum spectrum, int? exactly) => options switch
    {
        { Rank: not null } => Math.Min(exactly!.Value, spectrum.S.Length),
        { Energy: { } energy } => Ranks.WithEnergy(spectrum, energy),
        { Threshold: { } threshold } => Ranks.Above(spectrum, threshold),
        { Ratio: { } ratio } => Ranks.AboveShare(spectrum, ratio),
        { Quantile: { } share } => Ranks.BelowSum(spectrum.S, share),
        _ => throw new InvalidOperationException("no rule says how much is kept"),
    };

    private bool IsRandomized(int count, int least) => options.Quantile is null && options.Method switch
    {
        SvdMethod.Exact => false,
        SvdMethod.Randomized => count < least || options.Rank is not null,
        _ => least >= Small && count <= least * MostShare,
    };
}
