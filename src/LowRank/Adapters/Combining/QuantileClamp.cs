using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Combining;

/// <summary>
/// Cuts the few largest numbers of a pair of factors off, as the package of 2022 (cloneofsimo/lora, cli_svd.py) and sd-scripts
/// (networks/extract_lora_from_models.py) do: the limit is a quantile of the numbers of both factors together, with their signs.
/// So it depends on the signs that the decomposition happens to give; here each row of down has its largest number positive.
/// </summary>
internal static class QuantileClamp
{
    /// <summary>Both factors, cut at ± the quantile.</summary>
    /// <param name="down">(r, n) float32.</param>
    /// <param name="up">(m, r) float32.</param>
    /// <param name="quantile">0.5 to 1; 1 cuts at the largest number, which leaves what is as large and negative.</param>
    /// <returns>Fresh tensors in the current scope, and the limit.</returns>
    public static (Tensor Down, Tensor Up, double Limit) Apply(Tensor down, Tensor up, double quantile)
    {
        var limit = Quantile(cat([up.flatten(), down.flatten()]), quantile);
        return (down.Within(-limit, limit), up.Within(-limit, limit), limit);
    }

    /// <summary>The pair with a sign for each rank that does not depend on the decomposition: the same product.</summary>
    public static (Tensor Down, Tensor Up) WithSigns(Tensor down, Tensor up)
    {
        var largest = down.gather(1, down.abs().argmax(1, keepdim: true));   // (r, 1)
        var signs = largest.IsAtLeast(0).to(down.dtype).Times(2).Minus(1);
        return (down.mul(signs), up.mul(signs.t()));
    }

    /// <summary>Between the two numbers next to the place, in proportion, as torch.quantile.</summary>
    private static double Quantile(Tensor values, double share)
    {
        var place = share * (values.numel() - 1);
        var below = (long)Math.Floor(place);
        var sorted = values.sort().Values;
        var (low, high) = (sorted[below].item<float>(), sorted[Math.Min(below + 1, values.numel() - 1)].item<float>());
        return low + ((double)high - low) * (place - below);
    }
}
