using LowRank.Adapters;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>Another learning rate for some of what is trained: a part of the model, a block, some layers. The recipe's <c>[[training.rates]]</c>.</summary>
public sealed record LearningRateOverride
{
    /// <summary>A path pattern over the trained layers, such as <c>unet:mid_block.**</c> or <c>text_encoder:**</c>.</summary>
    public required string Pattern { get; init; }

    /// <summary>Their step size at the top of the schedule; 0 leaves them as they begin.</summary>
    public double LearningRate { get; init; }
}

/// <summary>Sorts what is trained into groups by rate.</summary>
/// <param name="LearningRate">Where nothing else is said.</param>
/// <param name="WeightDecay">Of all.</param>
/// <param name="UpRatio">LoRA+ (Hayou et al. 2024, "LoRA+: Efficient Low Rank Adaptation of Large Models"): the rate of <c>up</c> as a multiple of that of <c>down</c>.</param>
/// <param name="Overrides">Other rates; the first pattern that matches decides.</param>
internal sealed record ParameterRates(double LearningRate, double WeightDecay = 0, double UpRatio = 1, IReadOnlyList<LearningRateOverride>? Overrides = null)
{
    /// <summary>Rates and ends of whole components, by name; overrides go before.</summary>
    public IReadOnlyDictionary<string, ParameterGroup> Parts { get; init; } = new Dictionary<string, ParameterGroup>();

    /// <summary>Describes parameters that lie one after the other; groups stand in the order in which they are first met.</summary>
    /// <param name="named">Every parameter as <c>component.path.factor</c>, in order.</param>
    /// <param name="values">(N) float32, all of them.</param>
    /// <param name="gradients">(N) float32, theirs.</param>
    /// <exception cref="OptionsException">A pattern that matches nothing.</exception>
    public TrainedParameters Sort(IEnumerable<(string Name, Tensor Parameter)> named, Tensor values, Tensor gradients)
    {
        var (segments, groups, start) = (new List<ParameterSegment>(), new List<ParameterGroup>(), 0L);
        var patterns = (Overrides ?? []).Select(item => PathPattern.Parse(item.Pattern)).ToList();
        var used = new bool[patterns.Count];
        foreach (var (name, parameter) in named)
        {
            var (first, last) = (name.IndexOf('.', StringComparison.Ordinal), name.LastIndexOf('.'));
            var (component, path) = (name[..first], name[(first + 1)..Math.Max(first + 1, last)]);
            for (var i = 0; i < patterns.Count; i++) used[i] |= patterns[i].Matches(component, path);
            var decided = patterns.FindIndex(pattern => pattern.Matches(component, path));
            var part = Parts.GetValueOrDefault(component);
            var rate = (decided < 0 ? part?.LearningRate ?? LearningRate : Overrides![decided].LearningRate) * (name.EndsWith(".up", StringComparison.Ordinal) ? UpRatio : 1);
            var group = new ParameterGroup(rate, WeightDecay) { StopStep = part?.StopStep };
            if (!groups.Contains(group)) groups.Add(group);
            segments.Add(new ParameterSegment(name, start, parameter.numel(), groups.IndexOf(group)) { Shape = parameter.shape });
            start += parameter.numel();
        }
        var idle = Array.IndexOf(used, false);
        if (idle >= 0) throw new OptionsException($"training.rates[{idle}].pattern: \"{Overrides![idle].Pattern}\" matches none of the trained layers, such as {Example(segments[0].Name)}");
        return new TrainedParameters(values, gradients, segments, groups);
    }

    /// <summary>component.path.factor as a pattern would name it.</summary>
    private static string Example(string name)
    {
        var first = name.IndexOf('.', StringComparison.Ordinal);
        return $"{name[..first]}:{name[(first + 1)..name.LastIndexOf('.')]}";
    }
}
