using LowRank.Images;

namespace LowRank.Evaluation;

/// <summary>The ways in which known programs bring a picture to Inception's 299 × 299. Each gives other distances: compare within one only.</summary>
internal enum InceptionInput
{
    /// <summary>pytorch-fid: bilinear between pixel centres, without antialiasing; 2 v / 255 - 1.</summary>
    PytorchFid,

    /// <summary>torch-fidelity, and torchmetrics by it: bilinear as TensorFlow 1 did it, by the corners of pixels; (v - 128) / 128.</summary>
    TorchFidelity,

    /// <summary>clean-fid: Pillow's bicubic with antialiasing on floats, clipped but not rounded; (v - 128) / 128.</summary>
    CleanFid,
}

/// <summary>Pictures as Inception takes them.</summary>
internal static class InceptionPicture
{
    /// <summary>The side that the network was trained with.</summary>
    public const int Side = 299;

    /// <summary>The ways by the names of the programs.</summary>
    public static IReadOnlyDictionary<string, InceptionInput> Ways { get; } = new Dictionary<string, InceptionInput>
    {
        ["pytorch-fid"] = InceptionInput.PytorchFid,
        ["torch-fidelity"] = InceptionInput.TorchFidelity,
        ["clean-fid"] = InceptionInput.CleanFid,
    };

    /// <summary>The planes of a picture.</summary>
    /// <param name="picture">Of any size.</param>
    /// <param name="way">How it is resized and scaled.</param>
    /// <param name="side">Of the result, in pixels.</param>
    /// <returns>(3, side, side) float32, about -1 to 1.</returns>
    public static float[] Planes(RgbImage picture, InceptionInput way, int side = Side)
    {
        var planes = new float[3 * side * side];
        for (var channel = 0; channel < 3; channel++)
        {
            var plane = new float[picture.Size.Pixels];
            for (var i = 0; i < plane.Length; i++) plane[i] = picture.Pixels[3 * i + channel];
            Scaled(plane, picture.Size, way, side).CopyTo(planes, channel * side * side);
        }
        return planes;
    }

    private static float[] Scaled(float[] plane, PixelSize size, InceptionInput way, int side)
    {
        switch (way)
        {
            case InceptionInput.PytorchFid:
                for (var i = 0; i < plane.Length; i++) plane[i] /= 255;
                return Array.ConvertAll(Bilinear(plane, size, side, centres: true), value => 2 * value - 1);
            case InceptionInput.TorchFidelity:
                return Array.ConvertAll(Bilinear(plane, size, side, centres: false), value => (value - 128) / 128);
            default:
                return Array.ConvertAll(PillowResize.Resize(plane, size, new PixelSize(side, side), PillowFilter.Bicubic), value => (Math.Clamp(value, 0, 255) - 128) / 128);
        }
    }

    private static float[] Bilinear(float[] plane, PixelSize size, int side, bool centres)
    {
        var (columns, rows) = (Neighbours(size.Width, side, centres), Neighbours(size.Height, side, centres));
        var result = new float[side * side];
        for (var y = 0; y < side; y++)
        {
            var (top, bottom, down) = (rows[y].First * size.Width, rows[y].Second * size.Width, rows[y].Share);
            for (var x = 0; x < side; x++)
            {
                var (left, right, across) = columns[x];
                var upper = plane[top + left] + (plane[top + right] - plane[top + left]) * across;
                var lower = plane[bottom + left] + (plane[bottom + right] - plane[bottom + left]) * across;
                result[y * side + x] = upper + (lower - upper) * down;
            }
        }
        return result;
    }

    /// <summary>For every place of the result: the two places in the picture between which it lies, and how near it is to the second.</summary>
    private static (int First, int Second, float Share)[] Neighbours(int inputs, int outputs, bool centres)
    {
        var scale = (float)((double)inputs / outputs);
        var places = new (int, int, float)[outputs];
        for (var output = 0; output < outputs; output++)
        {
            var place = centres ? Math.Max((output + 0.5f) * scale - 0.5f, 0) : output * scale;
            var first = Math.Min((int)place, inputs - 1);
            places[output] = (first, Math.Min(first + 1, inputs - 1), place - first);
        }
        return places;
    }
}
