using LowRank.Diffusion;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>Conditionings as cache entries, one prompt each, and several of them as one for a micro-batch. Size conditions are added later, by the family.</summary>
internal static class ConditioningEntries
{
    /// <summary>Each prompt's part of a conditioning, (1, …) each. The caller owns the tensors.</summary>
    public static IReadOnlyList<IReadOnlyDictionary<string, Tensor>> Split(Conditioning conditioning)
    {
        using var quiet = no_grad();
        var entries = new List<IReadOnlyDictionary<string, Tensor>>();
        for (var item = 0L; item < conditioning.Hidden.shape[0]; item++)
        {
            var entry = new Dictionary<string, Tensor> { ["hidden"] = Row(conditioning.Hidden, item) };
            if (conditioning.Pooled is { } pooled) entry["pooled"] = Row(pooled, item);
            entries.Add(entry);
        }
        return entries;
    }

    /// <summary>One conditioning for as many prompts as there are entries, in their order. The caller owns it, and still the entries.</summary>
    public static Conditioning Stack(IReadOnlyList<IReadOnlyDictionary<string, Tensor>> entries) => new()
    {
        Hidden = cat([.. entries.Select(entry => entry["hidden"])]),
        Pooled = entries[0].ContainsKey("pooled") ? cat([.. entries.Select(entry => entry["pooled"])]) : null,
    };

    private static Tensor Row(Tensor tensor, long item)
    {
        using var scope = NewDisposeScope();
        return tensor.narrow(0, item, 1).clone().MoveToOuterDisposeScope();
    }
}
