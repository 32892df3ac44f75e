using System.Globalization;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Formats;

/// <summary>Stores computed numbers in the types of a file, and remembers what that cost.</summary>
internal sealed class RoundedTensors
{
    private readonly Dictionary<ScalarType, int> rounded = [];
    private (double Error, double Size, string Key) worst;

    /// <summary>A tensor in the type that a file stores. Numbers that the type cannot hold exactly are counted.</summary>
    /// <param name="values">Any type; float64 where they were computed.</param>
    /// <param name="type">Float16, BFloat16, Float32 or Float64.</param>
    /// <param name="key">For the report.</param>
    /// <returns>In the caller's scope.</returns>
    public Tensor Store(Tensor values, ScalarType type, string key)
    {
        if (values.dtype == type || !values.is_floating_point()) return values;
        var stored = values.to(type);
        using var scope = NewDisposeScope();
        var error = (stored.to(ScalarType.Float64) - values.to(ScalarType.Float64)).abs();
        var largest = error.numel() == 0 ? 0 : error.max().item<double>();
        if (largest > 0) rounded[type] = rounded.GetValueOrDefault(type) + 1;
        if (largest > worst.Error) worst = (largest, values.abs().max().to(ScalarType.Float64).item<double>(), key);
        return stored;
    }

    /// <summary>What was rounded, in words; null where nothing was.</summary>
    public string? Report() => rounded.Count == 0 ? null : string.Create(CultureInfo.InvariantCulture,
        $"{string.Join(", ", rounded.Select(item => $"{item.Value} tensors rounded to {item.Key.ToStoredType()}"))}: largest error {worst.Error:G2} of numbers up to {worst.Size:G2}, in {worst.Key}");
}
