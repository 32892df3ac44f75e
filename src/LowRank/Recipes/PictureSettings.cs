using System.Globalization;
using System.Security.Cryptography;
using LowRank.Adapters;
using LowRank.Images;

namespace LowRank.Recipes;

/// <summary>A file that a picture was made with, and the hash that web UIs know it by.</summary>
internal sealed record NamedHash(string Name, string Hash, string Shown);

/// <summary>The "parameters" text that web UIs read from pictures, which they keep under that key.</summary>
internal static class PictureSettings
{
    /// <summary>Prompts as they were written, and what else made the picture.</summary>
    public static string Of(PictureOptions options, PixelSize size, string model, IReadOnlyList<StudioAdapter> adapters, IReadOnlyList<NamedHash> embeddings)
    {
        var lines = new List<string> { options.Prompt };
        if (options.NegativePrompt is { } negative) lines.Add("Negative prompt: " + negative);
        var settings = string.Create(CultureInfo.InvariantCulture,
            $"Steps: {options.Steps}, Sampler: {Title(options.Sampler)}, CFG scale: {options.Guidance}, Seed: {options.Seed}, Size: {size.Width}x{size.Height}, Model: {Path.GetFileName(model.TrimEnd('/', '\\'))}");
        if (options.ClipSkip > 1) settings += string.Create(CultureInfo.InvariantCulture, $", Clip skip: {options.ClipSkip}");
        if (options.Image is not null) settings += string.Create(CultureInfo.InvariantCulture, $", Denoising strength: {options.NoiseStrength}");
        settings += List("Embeddings", embeddings.Select(item => item.Shown));
        settings += List("TI hashes", embeddings.Select(item => $"{Plain(item.Name)}: {item.Hash}"));
        settings += List("Adapters", adapters.Select(adapter => $"{Path.GetFileName(adapter.File)}: {adapter.Use.InWords()}"));
        settings += List("Lora hashes", adapters.Select(adapter => $"{Plain(adapter.Name)}: {adapter.Hash}"));
        lines.Add(settings + ", Version: LowRank");
        return string.Join('\n', lines);

        static string List(string key, IEnumerable<string> items) => string.Join(", ", items) is { Length: > 0 } joined ? $", {key}: \"{joined}\"" : "";

        // as the web UI does: both are its separators
        static string Plain(string name) => name.Replace(":", "", StringComparison.Ordinal).Replace(",", "", StringComparison.Ordinal);
    }

    /// <summary>What web UIs call a sampler.</summary>
    private static string Title(string sampler) => sampler switch
    {
        "ddim" => "DDIM",
        "euler" => "Euler",
        "euler-a" => "Euler a",
        "heun" => "Heun",
        "dpmpp-2m" => "DPM++ 2M",
        "dpmpp-2m-karras" => "DPM++ 2M Karras",
        "unipc" => "UniPC",
        "lcm" => "LCM",
        "pndm" => "PLMS",
        "dpm2" => "DPM2",
        "dpm2-a" => "DPM2 a",
        "dpmpp-sde" => "DPM++ SDE",
        "lms" => "LMS",
        _ => sampler.ToUpperInvariant(),
    };
}

/// <summary>Hashes of files by which web UIs know adapters and embeddings: the first twelve digits.</summary>
internal static class FileHash
{
    private const int Digits = 12;

    /// <summary>sd-scripts' <c>sshs_model_hash</c>, from the metadata, else computed: SHA-256 of what stands behind the header; of a file that is no safetensors, of all of it.</summary>
    public static string OfAdapter(AdapterFile file)
    {
        if (file.Metadata.TryGetValue("sshs_model_hash", out var known) && known.Length >= Digits) return known[..Digits].ToLowerInvariant();
        using var stream = File.OpenRead(file.Path);
        if (file.Path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase))
        {
            var length = new byte[8];
            stream.ReadExactly(length);
            stream.Position = 8 + BitConverter.ToInt64(length);
        }
        return Convert.ToHexStringLower(SHA256.HashData(stream))[..Digits];
    }

    /// <summary>SHA-256 of the whole file.</summary>
    public static string Of(string path)
    {
        using var stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream))[..Digits];
    }
}
