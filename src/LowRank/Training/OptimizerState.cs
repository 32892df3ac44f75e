using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

internal static class OptimizerState
{
    /// <summary>The state holds exactly these tensors, with these numbers of elements.</summary>
    /// <exception cref="CheckpointException">It does not.</exception>
    public static void Require(IReadOnlyDictionary<string, Tensor> state, params ReadOnlySpan<(string Name, long Length)> expected)
    {
        var fits = state.Count == expected.Length;
        foreach (var (name, length) in expected) fits &= state.TryGetValue(name, out var tensor) && tensor.numel() == length;
        if (fits) return;
        var wanted = string.Join(", ", expected.ToArray().Select(item => $"{item.Name} ({item.Length})"));
        var found = string.Join(", ", state.Select(item => $"{item.Key} ({item.Value.numel()})"));
        throw new CheckpointException(
            $"""
            the saved optimizer state does not fit
              expected  {Listed(wanted)}
              found     {Listed(found)}
              try       to resume with the optimizer and adapter options that the run began with
            """);
    }

    private static string Listed(string items) => items.Length == 0 ? "nothing" : items;
}
