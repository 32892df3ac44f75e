using LowRank.Foundation;
using LowRank.Images;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>Which window the local means and variances are taken over.</summary>
internal enum SimilarityWindow
{
    /// <summary>11 × 11, Gaussian of deviation 1.5: the paper's.</summary>
    Gaussian,

    /// <summary>7 × 7, all alike, with unbiased (co)variances: scikit-image's default.</summary>
    Uniform,
}

/// <summary>
/// How alike two pictures of one size are, pixel by pixel: SSIM (Wang and others, 2004) and PSNR. Windows stay inside the picture, so that a border of half
/// a window does not count (scikit-image; torchmetrics mirrors the border and comes out lower).
/// </summary>
internal static class StructuralSimilarity
{
    private const double Range = 255;
    private const double MeanGuard = 0.01 * Range * (0.01 * Range);
    private const double VarianceGuard = 0.03 * Range * (0.03 * Range);

    /// <summary>SSIM of two colour pictures, -1 to 1: the mean over red, green and blue.</summary>
    /// <exception cref="ArgumentException">The sizes differ, or a side is smaller than the window.</exception>
    public static double Of(RgbImage first, RgbImage second, SimilarityWindow window = SimilarityWindow.Gaussian) => PerChannel(first, second, window).Average();

    /// <summary>SSIM of red, green and blue, each by itself.</summary>
    /// <exception cref="ArgumentException">The sizes differ, or a side is smaller than the window.</exception>
    public static double[] PerChannel(RgbImage first, RgbImage second, SimilarityWindow window)
    {
        var side = window == SimilarityWindow.Gaussian ? 11 : 7;
        RequireOneSize(first, second);
        if (first.Size.Width < side || first.Size.Height < side) throw new ArgumentException($"a picture of {first.Size} is smaller than the window of {new PixelSize(side, side)}", nameof(first));
        using var scope = NewDisposeScope();
        var kernel = Kernel(window, side);
        var (x, y) = (Planes(first), Planes(second));
        var (meanX, meanY) = (Blur(x), Blur(y));
        var correction = window == SimilarityWindow.Uniform ? side * side / (side * side - 1.0) : 1;
        var varianceX = (Blur(x.Squared()) - meanX.Squared()).Times(correction);
        var varianceY = (Blur(y.Squared()) - meanY.Squared()).Times(correction);
        var covariance = (Blur(x * y) - meanX * meanY).Times(correction);
        var above = (meanX.Times(2) * meanY).Plus(MeanGuard) * covariance.Times(2).Plus(VarianceGuard);
        var below = meanX.Squared().Plus(meanY.Squared()).Plus(MeanGuard) * varianceX.Plus(varianceY).Plus(VarianceGuard);
        return (above / below).mean([1, 2, 3]).data<double>().ToArray();

        Tensor Blur(Tensor planes) => nn.functional.conv2d(planes, kernel);
    }

    /// <summary>Peak signal-to-noise ratio over all values, in decibels; infinity for equal pictures.</summary>
    /// <exception cref="ArgumentException">The sizes differ.</exception>
    public static double PeakSignalToNoise(RgbImage first, RgbImage second) => 10 * Math.Log10(Range * Range / MeanSquare(first, second));

    /// <summary>Mean square of the differences of all values, 0 to 65025.</summary>
    /// <exception cref="ArgumentException">The sizes differ.</exception>
    public static double MeanSquare(RgbImage first, RgbImage second)
    {
        RequireOneSize(first, second);
        var sum = 0L;
        for (var i = 0; i < first.Pixels.Length; i++)
        {
            var difference = first.Pixels[i] - second.Pixels[i];
            sum += difference * difference;
        }
        return (double)sum / first.Pixels.Length;
    }

    /// <returns>(1, 1, side, side) float64 of sum 1.</returns>
    private static Tensor Kernel(SimilarityWindow window, int side)
    {
        if (window == SimilarityWindow.Uniform) return TensorArithmetic.Filled([1, 1, side, side], 1.0 / (side * side), ScalarType.Float64);
        var line = TensorArithmetic.Counting(side, ScalarType.Float64).Minus(side / 2).Squared().Over(-2 * 1.5 * 1.5).exp();
        line /= line.sum();
        return outer(line, line).reshape(1, 1, side, side);
    }

    /// <returns>(3, 1, height, width) float64, 0 to 255.</returns>
    private static Tensor Planes(RgbImage picture) =>
        tensor(picture.Pixels, [picture.Size.Height, picture.Size.Width, 3, 1]).to(ScalarType.Float64).permute(2, 3, 0, 1).contiguous();

    private static void RequireOneSize(RgbImage first, RgbImage second)
    {
        if (first.Size != second.Size) throw new ArgumentException($"pictures of {first.Size} and {second.Size} cannot be compared pixel by pixel", nameof(second));
    }
}
