using System.Globalization;

namespace LowRank.Adapters;

/// <summary>Which modules of a model get an adapter layer, and how large it is. Everything has a default.</summary>
public sealed record AdapterOptions
{
    /// <summary>How the change of a layer is made of small factors. Default LoRA.</summary>
    public AdapterKind Kind { get; init; } = AdapterKind.Lora;

    /// <summary>Inner size r of up·down; 1 or more. Size, memory and (slightly) time of a step grow with it. Default 8.</summary>
    public int Rank { get; init; } = 8;

    /// <summary>Numerator of the scale alpha / rank; above 0. Unset: the rank, so that the scale is 1.</summary>
    public double? Alpha { get; init; }

    /// <summary>Rank of k×k convolutions (k above 1); 1 or more. Unset: <see cref="Rank"/>. Linear layers and 1×1 convolutions never use it.</summary>
    public int? ConvRank { get; init; }

    /// <summary>Alpha of k×k convolutions; above 0. Unset: <see cref="Alpha"/> where it is set, else the convolutions' own rank.</summary>
    public double? ConvAlpha { get; init; }

    /// <summary>Divides alpha by √rank instead of the rank, so that large ranks learn as fast as small ones (arXiv:2312.03732). Default false.</summary>
    public bool UseRslora { get; init; }

    /// <summary>How down and up start. LoRA and DoRA only; PiSSA LoRA only. Default Kaiming.</summary>
    public AdapterInit Init { get; init; } = AdapterInit.Kaiming;

    /// <summary>Which rule trains a DoRA. Default PEFT's.</summary>
    public DoraRule DoraRule { get; init; } = DoraRule.Peft;

    /// <summary>LoKr: largest side of the smaller matrix; 1 or more. A larger one makes the larger matrix, and with it the file, smaller. Unset: as near to squares as it goes.</summary>
    public int? Factor { get; init; }

    /// <summary>LoKr: makes the smaller matrix a product too, where the rank is below half of it. Default false.</summary>
    public bool DecomposeBoth { get; init; }

    /// <summary>Share of the layer's inputs that training sets to zero (the rest grows by 1 / (1 - share)); 0 up to, not including, 1. Default 0.</summary>
    public double Dropout { get; init; }

    /// <summary>The same for the numbers between down and up. LoRA and DoRA only.</summary>
    public double NeuronDropout { get; init; }

    /// <summary>The same for whole rows of down, by one draw for each picture. LoRA and DoRA only.</summary>
    public double RankDropout { get; init; }

    /// <summary>Share of calls in which a layer is left out; nothing grows in its place. 0 up to, not including, 1. Default 0.</summary>
    public double ModuleDropout { get; init; }

    /// <summary>Share of what the layer adds to its module's output that training sets to zero (the rest grows); 0 up to, not including, 1. Default 0.</summary>
    public double OutputDropout { get; init; }

    /// <summary>Longest ‖scale · product‖ (Frobenius) of each layer: after every update longer ones are scaled down to it. 0 leaves them alone. Default 0.</summary>
    public double ScaleWeightNorms { get; init; }

    /// <summary>
    /// Presets (<c>attention</c>, <c>attention+feedforward</c>, <c>all-linear</c>, <c>all</c>: every linear layer and convolution) and path patterns,
    /// such as <c>unet:**.attn2.to_k</c>: an optional component, then module names; <c>*</c> stands for letters of one name, <c>**</c> for any names, <c>{a,b}</c> for either.
    /// A module is taken when any of them matches. Default attention.
    /// </summary>
    public IReadOnlyList<string> Targets { get; init; } = ["attention"];

    /// <summary>Other ranks and alphas for some of the target modules. The first pattern that matches a module decides.</summary>
    public IReadOnlyList<AdapterOverride> Overrides { get; init; } = [];

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(Rank >= 1, $"rank: {Rank}; must be 1 or more");
        Check(Alpha is null or (> 0 and < double.PositiveInfinity), $"alpha: {Alpha}; must be a number above 0");
        Check(ConvRank is null or >= 1, $"conv_rank: {ConvRank}; must be 1 or more (to leave convolutions out, take a target without them)");
        Check(ConvAlpha is null or (> 0 and < double.PositiveInfinity), $"conv_alpha: {ConvAlpha}; must be a number above 0");
        Check(Factor is null or >= 1, $"factor: {Factor}; must be 1 or more");
        foreach (var (key, share) in new[] { ("dropout", Dropout), ("neuron_dropout", NeuronDropout), ("rank_dropout", RankDropout), ("module_dropout", ModuleDropout), ("output_dropout", OutputDropout) })
        {
            Check(share is >= 0 and < 1, $"{key}: {share}; must be 0 or more and below 1");
        }
        Check(ScaleWeightNorms is >= 0 and < double.PositiveInfinity, $"scale_weight_norms: {ScaleWeightNorms}; must be 0 (off) or more");
        CheckKind(Check);
        Check(Targets.Count > 0, $"targets: empty; must name a preset ({string.Join(", ", TargetSelector.Presets)}) or path patterns");
        for (var i = 0; i < Targets.Count; i++) CheckPattern($"targets[{i}]", Targets[i]);
        for (var i = 0; i < Overrides.Count; i++)
        {
            var item = Overrides[i];
            CheckPattern($"overrides[{i}].pattern", item.Pattern);
            Check(item.Rank is null or >= 0, $"overrides[{i}].rank: {item.Rank}; must be 1 or more, or 0 to leave the modules out");
            Check(item.Rank is 0 || item.Alpha is null or (> 0 and < double.PositiveInfinity), $"overrides[{i}].alpha: {item.Alpha}; must be a number above 0");
            Check(item.Rank is not null || item.Alpha is not null, $"overrides[{i}]: sets neither rank nor alpha");
        }
        return problems;

        void CheckPattern(string key, string pattern)
        {
            if (PathPattern.ProblemOf(pattern) is { } problem) problems.Add($"{key}: {problem}");
        }
    }

    private delegate void Checking(bool good, FormattableString problem);

    /// <summary>A value that was set for another kind would do nothing, and nobody would know.</summary>
    private void CheckKind(Checking check)
    {
        var lowRank = Kind is AdapterKind.Lora or AdapterKind.Dora;
        check(Kind == AdapterKind.Lokr || Factor is null, $"factor: {Factor}; does nothing without kind = \"lokr\"");
        check(Kind == AdapterKind.Lokr || !DecomposeBoth, $"decompose_both: true; does nothing without kind = \"lokr\"");
        check(Kind == AdapterKind.Dora || DoraRule == DoraRule.Peft, $"dora_rule: does nothing without kind = \"dora\"");
        check(lowRank || NeuronDropout == 0, $"neuron_dropout: {NeuronDropout}; only kind = \"lora\" and \"dora\" have numbers between down and up");
        check(lowRank || RankDropout == 0, $"rank_dropout: {RankDropout}; only kind = \"lora\" and \"dora\" have rows of down");
        check(lowRank || Init == AdapterInit.Kaiming, $"init: does nothing without kind = \"lora\" or \"dora\"; the others start as LyCORIS starts them");
        if (Init != AdapterInit.Pissa) return;
        check(Kind != AdapterKind.Dora, $"init: pissa is for kind = \"lora\"");
        check(!DropoutShares.Any, $"init: pissa keeps part of the base in the factors, which dropout would drop; set every dropout to 0");
        check(ScaleWeightNorms == 0, $"init: pissa keeps part of the base in the factors, which scale_weight_norms would shrink; set it to 0");
    }

    internal DropoutShares DropoutShares => new(ModuleDropout, Dropout, NeuronDropout, RankDropout, OutputDropout);

    /// <summary>Rank and alpha of one target module, alpha as the numerator of alpha / rank.</summary>
    internal (int Rank, double Alpha) SizeOf(LayerShape shape, AdapterOverride? change)
    {
        var wide = shape.IsWideConvolution;
        var rank = change?.Rank ?? (wide ? ConvRank : null) ?? Rank;
        var alpha = change?.Alpha ?? (wide ? ConvAlpha : null) ?? Alpha ?? rank;
        return (rank, UseRslora ? alpha * Math.Sqrt(rank) : alpha);
    }
}

/// <summary>Another rank or alpha for the target modules whose path matches a pattern.</summary>
public sealed record AdapterOverride
{
    /// <summary>Preset or path pattern, as in <see cref="AdapterOptions.Targets"/>.</summary>
    public required string Pattern { get; init; }

    /// <summary>Rank of these modules; 0 leaves them out. Unset: the rank they would have.</summary>
    public int? Rank { get; init; }

    /// <summary>Alpha of these modules. Unset: the alpha of the options where it is set, else their rank.</summary>
    public double? Alpha { get; init; }
}
