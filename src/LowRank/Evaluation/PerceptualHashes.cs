using System.Numerics;
using LowRank.Images;

namespace LowRank.Evaluation;

/// <summary>
/// Hashes of 64 bits that stay nearly the same when a picture is resized, compressed or brightened; the bits of ImageHash, on Pillow's Lanczos.
/// Bits go row by row, the first is the most significant. A mirrored picture has a hash far away: hash it too where mirrors count.
/// </summary>
internal static class PerceptualHashes
{
    /// <summary>Up to so many differing bits two pictures are near-duplicates.</summary>
    public const int NearDuplicate = 8;

    private const int Side = 8;
    private const int WaveSide = 32;
    private static readonly double[] Waves = MakeWaves();

    /// <summary>How many bits differ, 0 to 64. Unrelated pictures: about 32.</summary>
    public static int Distance(ulong first, ulong second) => BitOperations.PopCount(first ^ second);

    /// <summary>Difference hash: whether each pixel of 9 × 8 is brighter than its left neighbour.</summary>
    public static ulong Difference(RgbImage picture) => DifferenceOfGrid(Grid(picture, new PixelSize(Side + 1, Side)));

    /// <summary>Average hash: whether each pixel of 8 × 8 is brighter than their mean.</summary>
    public static ulong Average(RgbImage picture)
    {
        var grid = Grid(picture, new PixelSize(Side, Side));
        var mean = grid.Average(value => value);
        return Bits(i => grid[i] > mean);
    }

    /// <summary>Perceptual hash: whether each of the 8 × 8 slowest waves of 32 × 32 pixels is stronger than their median.</summary>
    public static ulong Perceptual(RgbImage picture) => PerceptualOfGrid(Grid(picture, new PixelSize(WaveSide, WaveSide)));

    /// <param name="grid">8 rows of 9 values.</param>
    public static ulong DifferenceOfGrid(byte[] grid) => Bits(i => grid[i / Side * (Side + 1) + i % Side + 1] > grid[i / Side * (Side + 1) + i % Side]);

    /// <param name="grid">32 rows of 32 values.</param>
    public static ulong PerceptualOfGrid(byte[] grid)
    {
        var waves = SlowWaves(grid);
        var sorted = waves.Order().ToArray();
        var median = (sorted[Side * Side / 2 - 1] + sorted[Side * Side / 2]) / 2;
        return Bits(i => waves[i] > median);
    }

    /// <summary>The 8 × 8 slowest waves, the mean among them: DCT-II without normalisation, y_k = 2 Σ x_n cos(π k (2n + 1) / 64), over columns and rows.</summary>
    /// <param name="grid">32 rows of 32 values.</param>
    public static double[] SlowWaves(byte[] grid)
    {
        var down = new double[Side * WaveSide];   // (8, 32)
        for (var at = 0; at < down.Length; at++)
        {
            for (var y = 0; y < WaveSide; y++) down[at] += 2 * grid[y * WaveSide + at % WaveSide] * Waves[at / WaveSide * WaveSide + y];
        }
        var waves = new double[Side * Side];
        for (var at = 0; at < waves.Length; at++)
        {
            for (var x = 0; x < WaveSide; x++) waves[at] += 2 * down[at / Side * WaveSide + x] * Waves[at % Side * WaveSide + x];
        }
        return waves;
    }

    /// <summary>Grey as Pillow makes it, before the resize, and Pillow's Lanczos.</summary>
    /// <returns>size.Height × size.Width bytes.</returns>
    public static byte[] Grid(RgbImage picture, PixelSize size)
    {
        var grey = new byte[picture.Size.Pixels];
        for (var i = 0; i < grey.Length; i++)
        {
            grey[i] = (byte)((19595 * picture.Pixels[3 * i] + 38470 * picture.Pixels[3 * i + 1] + 7471 * picture.Pixels[3 * i + 2] + 32768) >> 16);
        }
        return PillowResize.Resize(grey, picture.Size, 1, size, PillowFilter.Lanczos);
    }

    private static ulong Bits(Func<int, bool> bit)
    {
        var hash = 0UL;
        for (var i = 0; i < Side * Side; i++) hash = (hash << 1) | (bit(i) ? 1UL : 0UL);
        return hash;
    }

    private static double[] MakeWaves()
    {
        var waves = new double[Side * WaveSide];
        for (var i = 0; i < waves.Length; i++) waves[i] = Math.Cos(Math.PI * (i / WaveSide) * (2 * (i % WaveSide) + 1) / (2 * WaveSide));
        return waves;
    }
}
