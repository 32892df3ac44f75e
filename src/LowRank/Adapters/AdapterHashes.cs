using System.Security.Cryptography;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>The two hashes by which web UIs know an adapter (kohya-ss/sd-scripts, library/train_util.py, precalculate_safetensors_hashes).</summary>
internal static class AdapterHashes
{
    /// <summary>Where the old hash looks, and how many bytes it takes.</summary>
    private const long LegacyStart = 0x100000, LegacyLength = 0x10000;

    /// <summary>What a file must say of itself: <c>sshs_model_hash</c> and <c>sshs_legacy_hash</c>.</summary>
    /// <param name="tensors">All of the file.</param>
    /// <param name="metadata">Of the file; the old hash sees the length of its <c>ss_</c> entries.</param>
    public static Dictionary<string, string> Of(IReadOnlyCollection<KeyValuePair<string, Tensor>> tensors, IEnumerable<KeyValuePair<string, string>> metadata)
    {
        using var model = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var legacy = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        long at = 0;
        var header = true;
        SafetensorsWriter.Visit(tensors, metadata.Where(item => item.Key.StartsWith("ss_", StringComparison.Ordinal)), piece =>
        {
            if (!header) model.AppendData(piece);
            header = false;   // it comes in one piece
            var (from, to) = (Math.Max(0, LegacyStart - at), Math.Min(piece.Length, LegacyStart + LegacyLength - at));
            if (from < to) legacy.AppendData(piece[(int)from..(int)to]);
            at += piece.Length;
        });
        return new() { ["sshs_model_hash"] = Convert.ToHexStringLower(model.GetHashAndReset()), ["sshs_legacy_hash"] = Convert.ToHexStringLower(legacy.GetHashAndReset())[..8] };
    }
}
