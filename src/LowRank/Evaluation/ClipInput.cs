using System.Text.Json;
using LowRank.Foundation;
using LowRank.Images;
using static System.FormattableString;

namespace LowRank.Evaluation;

/// <summary>
/// How a picture becomes the input of CLIP: its shorter side resized, the middle cut out, (value / 255 - mean) / deviation. A model's folder says
/// it in <c>preprocessor_config.json</c> (huggingface/transformers, src/transformers/models/clip/image_processing_clip.py).
/// </summary>
internal sealed record ClipInput
{
    private const string FileName = "preprocessor_config.json";

    /// <summary>What the shorter side becomes, in pixels.</summary>
    public required int ShortSide { get; init; }

    /// <summary>Side of the cut in pixels.</summary>
    public required int Crop { get; init; }

    /// <summary>Red, green, blue.</summary>
    public double[] Mean { get; init; } = [0.48145466, 0.4578275, 0.40821073];

    /// <summary>Red, green, blue.</summary>
    public double[] Deviation { get; init; } = [0.26862954, 0.26130258, 0.27577711];

    /// <summary>Reads the file of a model's folder; a folder without one has CLIP's usual preprocessing at the side that the network takes.</summary>
    /// <param name="folder">The model.</param>
    /// <param name="side">Pixels that the network takes.</param>
    /// <exception cref="CheckpointException">The file is damaged, or asks for what is not done here.</exception>
    public static ClipInput Of(string folder, int side)
    {
        var path = Path.Combine(folder, FileName);
        if (!File.Exists(path)) return new ClipInput { ShortSide = side, Crop = side };
        var input = Parse(File.ReadAllBytes(path), path);
        return input.Crop == side ? input : throw Unsupported(path, Invariant($"crop_size is {input.Crop}"), Invariant($"{side}, the image_size of the network"));
    }

    /// <summary>Reads a configuration.</summary>
    /// <param name="json">Contents of the file.</param>
    /// <param name="path">What to call the file in messages.</param>
    /// <exception cref="CheckpointException">Not JSON, or an unsupported value.</exception>
    public static ClipInput Parse(ReadOnlyMemory<byte> json, string path)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            var root = document.RootElement;
            foreach (var step in (string[])["do_resize", "do_center_crop", "do_rescale", "do_normalize"])
            {
                if (root.TryGetProperty(step, out var flag) && flag.ValueKind == JsonValueKind.False) throw Unsupported(path, $"{step} is false", "true");
            }
            if (root.TryGetProperty("resample", out var filter) && filter.GetInt32() != 3) throw Unsupported(path, $"resample is {filter}", "3 (bicubic)");
            if (root.TryGetProperty("rescale_factor", out var factor) && Math.Abs(factor.GetDouble() * 255 - 1) > 1e-6) throw Unsupported(path, $"rescale_factor is {factor}", "1/255");
            var shortSide = root.TryGetProperty("size", out var size) ? SideOf(size, "size", path) : 224;
            var input = new ClipInput { ShortSide = shortSide, Crop = root.TryGetProperty("crop_size", out var crop) ? SideOf(crop, "crop_size", path) : 224 };
            if (input.Crop > input.ShortSide) throw Unsupported(path, Invariant($"crop_size is {input.Crop}"), Invariant($"up to {input.ShortSide}, the size"));
            return input with { Mean = Three(root, "image_mean", input.Mean, path), Deviation = Three(root, "image_std", input.Deviation, path) };
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or FormatException)
        {
            throw new CheckpointException($"cannot be read: {path}: {error.Message.TrimEnd('.')}; copy the file from the model again", error);
        }
    }

    /// <summary>The resized and cut picture: the longer side is cut to whole pixels, not rounded; the cut begins at the whole half of what is left.</summary>
    public RgbImage Cut(RgbImage picture)
    {
        var (width, height) = (picture.Size.Width, picture.Size.Height);
        var size = width <= height
            ? new PixelSize(ShortSide, (int)((long)ShortSide * height / width))
            : new PixelSize((int)((long)ShortSide * width / height), ShortSide);
        var resized = PillowResize.Resize(picture.Pixels, picture.Size, 3, size, PillowFilter.Bicubic);
        var (left, top) = ((size.Width - Crop) / 2, (size.Height - Crop) / 2);
        var pixels = new byte[Crop * Crop * 3];
        for (var y = 0; y < Crop; y++) Array.Copy(resized, ((top + y) * size.Width + left) * 3, pixels, y * Crop * 3, Crop * 3);
        return new RgbImage(new PixelSize(Crop, Crop), pixels);
    }

    /// <summary>(3, crop, crop) float32.</summary>
    public float[] Planes(RgbImage picture)
    {
        var pixels = Cut(picture).Pixels;
        var area = Crop * Crop;
        var planes = new float[3 * area];
        for (var i = 0; i < area; i++)
        {
            for (var channel = 0; channel < 3; channel++) planes[channel * area + i] = (float)((pixels[3 * i + channel] / 255.0 - Mean[channel]) / Deviation[channel]);
        }
        return planes;
    }

    /// <summary>In a few words, for the identity of features.</summary>
    public override string ToString() =>
        Invariant($"bicubic to {ShortSide}, middle {Crop}, mean {string.Join(' ', Mean.Select(value => Invariant($"{value}")))}, deviation {string.Join(' ', Deviation.Select(value => Invariant($"{value}")))}");

    /// <summary>224, {"shortest_edge": 224}, or {"height": 224, "width": 224}.</summary>
    private static int SideOf(JsonElement size, string key, string path)
    {
        var side = 0;
        if (size.ValueKind == JsonValueKind.Number) side = size.GetInt32();
        else if (key == "size" && size.TryGetProperty("shortest_edge", out var shortest)) side = shortest.GetInt32();
        else if (key == "crop_size" && size.TryGetProperty("height", out var height) && size.TryGetProperty("width", out var width) && height.GetInt32() == width.GetInt32()) side = width.GetInt32();
        return side > 0 ? side : throw Unsupported(path, $"{key} is {size.GetRawText()}", key == "size" ? "a number, or the shortest_edge" : "a number, or equal height and width");
    }

    private static double[] Three(JsonElement root, string key, double[] usual, string path)
    {
        if (!root.TryGetProperty(key, out var list)) return usual;
        double[] values = [.. list.EnumerateArray().Select(value => value.GetDouble())];
        return values.Length == 3 ? values : throw Unsupported(path, $"{key} is {list.GetRawText()}", "three numbers");
    }

    private static CheckpointException Unsupported(string path, string what, string supported) => new($"unsupported value: {what}; in {path}; supported: {supported}");
}
