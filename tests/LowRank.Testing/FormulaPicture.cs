using System.Security.Cryptography;

namespace LowRank.Testing;

/// <summary>Pictures by formula, as the golden cases name them: waves and noise with hard edges, in 8 bit.</summary>
public static class FormulaPicture
{
    private static readonly int[] Across = [7, 4, 11, 5];
    private static readonly int[] Down = [5, 13, 3, 9];
    private static readonly int[] Offsets = [0, 100, 200, 50];

    /// <summary>height × width × channels bytes.</summary>
    public static byte[] Of(string name, int height, int width, int channels, int seed)
    {
        var noise = Formula.Uniform(name, (long)height * width * channels, seed);
        var pixels = new byte[height * width * channels];
        for (var i = 0; i < pixels.Length; i++)
        {
            var (channel, x, y) = (i % channels, i / channels % width, i / channels / width);
            var wave = (Across[channel] * x + Down[channel] * y + Offsets[channel] + seed) % 512;
            var value = (3 * (wave < 256 ? wave : 511 - wave) + (int)Math.Floor((noise[i] + 1.0) * 128)) >> 2;
            var inside = x >= width / 3 && x < width / 2 && y >= height / 4 && y < height / 2;
            pixels[i] = (byte)(inside ? 255 - value : value);
        }
        return pixels;
    }

    public static string Sha256(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));
}
