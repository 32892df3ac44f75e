using LowRank.Adapters;
using LowRank.Adapters.Combining;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>A layer of an adapter that was computed, and how near it comes to what it should be.</summary>
/// <param name="Layer">Its factors, in the type that is written.</param>
/// <param name="Norm">‖wanted‖ (Frobenius).</param>
/// <param name="Error">‖written − wanted‖ / ‖wanted‖, rounding included; 0 where nothing is wanted.</param>
/// <param name="Energy">Share of ‖wanted‖² that the kept singular values hold.</param>
internal sealed record ComputedLayer(AdapterLayer Layer, double Norm, double Error, double Energy)
{
    /// <summary>A layer beside the product that it should be, measured without forming either.</summary>
    public static ComputedLayer Of(AdapterLayer made, (Tensor Down, Tensor Up) wanted, double energy)
    {
        using var scope = NewDisposeScope();
        var up = made.Factors["up"].to(ScalarType.Float64).Times(made.Scale);
        var norm = LayerKind.NormOfProduct(wanted.Down, wanted.Up).item<double>();
        return new ComputedLayer(made, norm, Relative(LayerChange.Distance((made.Factors["down"], up), wanted), norm), energy);
    }

    /// <summary>‖a‖ / ‖b‖, 0 for two zeros.</summary>
    public static double Relative(double distance, double norm) => norm == 0 ? distance : distance / norm;
}

/// <summary>Makes one of the changes that several adapters want in a layer.</summary>
/// <param name="options">Method and its numbers.</param>
/// <param name="type">Element type that is written.</param>
/// <param name="draw">DARE's numbers in [0, 1), float32, for a shape.</param>
/// <param name="weights">The base's weight of a layer, for kinds that need it; null where no base is given. The caller of it owns the tensor.</param>
internal sealed class LayerCombiner(CombineOptions options, ScalarType type, Func<long[], Tensor> draw, Func<ModelLayer, Tensor>? weights)
{
    /// <summary>How much of a sum may be lost to rounding where it is to be exact.</summary>
    private const double Exact = 1e-6;

    /// <param name="layer">The layer.</param>
    /// <param name="parts">At least one.</param>
    /// <returns>With tensors in the current scope.</returns>
    /// <exception cref="CheckpointException">A kind that the method cannot take, other ranks, or numbers that are none.</exception>
    public ComputedLayer Combine(ModelLayer layer, IReadOnlyList<Contribution> parts)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var products = parts.All(part => LayerChange.IsProduct(part.Module));
        if (!products) RequireMatrices(layer, parts);
        var result = options.Factors ? Merged(layer, parts) : options.IsSum && products ? Stacked(layer, parts) : Whole(layer, parts);
        foreach (var tensor in result.Layer.Factors.Values) tensor.MoveToOuterDisposeScope();
        return result;
    }

    /// <summary>The sum of products is the product of the factors beside each other: (u₁ u₂)(d₁; d₂) = u₁d₁ + u₂d₂.</summary>
    private ComputedLayer Stacked(ModelLayer layer, IReadOnlyList<Contribution> parts)
    {
        var factors = parts.Select(part => (Part: part, Factors: Read(part))).ToList();
        (Tensor Down, Tensor Up) wanted = (cat([.. factors.Select(item => item.Factors.Down)]), cat([.. factors.Select(item => item.Factors.Up.Times(item.Part.Module.Scale * item.Part.Input.Weight))], 1));
        if (options.Method == CombineMethod.Concat) return ComputedLayer.Of(LayerChange.Layer(layer, wanted.Down, wanted.Up, type), wanted, energy: 1);
        var spectrum = Spectrum.OfProduct(wanted.Up, wanted.Down);
        var rank = RankOf(spectrum);
        var (down, up) = spectrum.Factors(rank);
        return ComputedLayer.Of(LayerChange.Layer(layer, down, up, type), wanted, spectrum.Energy(rank));
    }

    /// <summary>Changes as matrices, merged number by number, and the nearest product of a rank.</summary>
    private ComputedLayer Whole(ModelLayer layer, IReadOnlyList<Contribution> parts)
    {
        var matrices = parts.Select(part => Matrix(layer, part)).ToList();
        var wanted = Merge(matrices, [.. parts.Select(part => part.Input.Weight)]);
        var spectrum = Spectrum.Of(wanted);
        var rank = RankOf(spectrum);
        var (down, up) = spectrum.Factors(rank);
        var made = LayerChange.Layer(layer, down, up, type);
        using var written = made.Delta();
        var distance = Spectrum.NormOf(written.flatten(1).sub(wanted));
        return new ComputedLayer(made, spectrum.Norm, ComputedLayer.Relative(distance, spectrum.Norm), spectrum.Energy(rank));
    }

    /// <summary>As PEFT merges factors (peft/tuners/lora/model.py, _generalized_task_arithmetic_weighted_adapter): √|weight · scale| on both, the sign on down.</summary>
    private ComputedLayer Merged(ModelLayer layer, IReadOnlyList<Contribution> parts)
    {
        if (parts.Select(part => part.Module.Rank).Distinct().Count() > 1)
        {
            throw Refuse(parts[0], $"ranks differ: {string.Join(", ", parts.Select(part => $"{part.Module.Rank} in {part.Input.Name}"))}", "factors of one rank are merged; leave --factors away to merge what they change");
        }
        var factors = parts.Select(Read).ToList();
        var shares = parts.Select(part => part.Input.Weight * part.Module.Scale).ToList();
        var down = Merge([.. factors.Select(item => item.Down)], [.. shares.Select(share => Math.Sign(share) * Math.Sqrt(Math.Abs(share)))]);
        var up = Merge([.. factors.Select(item => item.Up)], [.. shares.Select(share => Math.Sqrt(Math.Abs(share)))]);
        return ComputedLayer.Of(LayerChange.Layer(layer, down, up, type), (down, up), energy: 1);
    }

    private Tensor Merge(IReadOnlyList<Tensor> tensors, IReadOnlyList<double> shares)
    {
        var density = options.Density ?? 0.5;
        return options.Method switch
        {
            CombineMethod.Ties => Elementwise.ElectSign([.. tensors.Select(x => Elementwise.KeepLargest(x, density))], shares, options.Sign != SignRule.Frequency),
            CombineMethod.Magnitude => Elementwise.Sum([.. tensors.Select(x => Elementwise.KeepLargest(x, density))], shares),
            CombineMethod.Dare when options.Sign is { } sign => Elementwise.ElectSign([.. tensors.Select(x => Elementwise.KeepByChance(x, density, draw))], shares, sign == SignRule.Total),
            CombineMethod.Dare => Elementwise.Sum([.. tensors.Select(x => Elementwise.KeepByChance(x, density, draw))], shares),
            _ => Elementwise.Sum(tensors, shares),
        };
    }

    private int RankOf(Spectrum spectrum) => options.Rank is { } rank
        ? Math.Min(rank, spectrum.S.Length)
        : Ranks.WithinError(spectrum, options.Error ?? Exact)!.Value;

    private void RequireMatrices(ModelLayer layer, IReadOnlyList<Contribution> parts)
    {
        foreach (var part in parts)
        {
            var name = part.Module.Kind!.Name;
            if (LayerChange.IsProduct(part.Module)) continue;
            if (!LayerChange.IsMatrix(part.Module, layer)) throw Refuse(part, $"{name} cannot be combined", "LoRA, DoRA, LoHa, LoKr and full differences of weights can; not biases and norms");
            if (options.Method == CombineMethod.Concat || options.Factors) throw Refuse(part, $"{name} has no down and up to put beside others", "a method that works on what they change: svd, linear, ties, dare or magnitude without --factors");
            if (LayerChange.NeedsBase(part.Module) && weights is null) throw Refuse(part, $"{name} changes a layer by the base's own weights", "name the base with --model");
        }
    }

    private (Tensor Down, Tensor Up) Read(Contribution part)
    {
        var (down, up) = LayerChange.Factors(part.Module);
        return down.isfinite().all().item<bool>() && up.isfinite().all().item<bool>() ? (down, up) : throw part.Input.Fit.RefuseNotFinite(new());
    }

    private Tensor Matrix(ModelLayer layer, Contribution part)
    {
        using var weight = LayerChange.NeedsBase(part.Module) ? weights!(layer) : null;
        var matrix = LayerChange.Matrix(part.Module, layer, weight);
        return matrix.isfinite().all().item<bool>() ? matrix : throw part.Input.Fit.RefuseNotFinite(new());
    }

    private static CheckpointException Refuse(Contribution part, string what, string advice) => new($"{part.Module.Name}: {what}; in {part.Input.File.Path}; {advice}");
}
