using System.Text.Json;
using LowRank.Foundation;
using LowRank.Images;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace LowRank.Preparation;

/// <summary>
/// How a picture becomes the input of an encoder: squeezed to a square, (value / 255 - mean) / deviation, planes of red, green and blue.
/// Hugging Face models say it in <c>preprocessor_config.json</c>.
/// </summary>
internal sealed record PictureInput
{
    private const string FileName = "preprocessor_config.json";

    /// <summary>Of CLIP and BLIP (openai/CLIP, clip/clip.py).</summary>
    public static PictureInput Clip { get; } = new() { Mean = [0.48145466, 0.4578275, 0.40821073], Deviation = [0.26862954, 0.26130258, 0.27577711] };

    /// <summary>Of networks trained on ImageNet, and CLIPSeg.</summary>
    public static PictureInput ImageNet { get; } = new() { Mean = [0.485, 0.456, 0.406], Deviation = [0.229, 0.224, 0.225] };

    /// <summary>Red, green, blue.</summary>
    public required double[] Mean { get; init; }

    /// <summary>Red, green, blue.</summary>
    public required double[] Deviation { get; init; }

    /// <summary>Pixels to a side; 0 where nothing says it.</summary>
    public int Side { get; init; }

    public PillowFilter Filter { get; init; } = PillowFilter.Bicubic;

    /// <summary>Finds out how a model wants its pictures: what its file fixes, what lies beside it, what the user says, what is usual; contradictions are errors.</summary>
    /// <param name="model">The encoder.</param>
    /// <param name="port">Its input (N, 3, H, W).</param>
    /// <param name="side">What the user says; null where nothing.</param>
    /// <param name="usual">Mean and deviation where no preprocessor_config.json lies beside it or a folder above.</param>
    /// <exception cref="CheckpointException">No size is known, two are, or preprocessor_config.json asks for what is not done here.</exception>
    public static PictureInput For(OnnxModel model, OnnxPort port, int? side, PictureInput usual)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(model.Path))!;
        var file = new[] { folder, Path.GetDirectoryName(folder) }.OfType<string>().Select(place => Path.Combine(place, FileName)).FirstOrDefault(File.Exists);
        var input = file is null ? usual : Read(file, usual);
        if (port is { Shape: [_, _, int height, int width] })
        {
            if (height != width) throw new CheckpointException($"the model takes pictures of {width}×{height}, only squares are supported: {model.Path}");
            if (side is { } wanted && wanted != width) throw new OptionsException($"model-size: {wanted}; the model takes {width} only: {model.Path}");
            return input with { Side = width };
        }
        input = input with { Side = side ?? input.Side };
        return input.Side > 0 ? input : throw new OptionsException($"model-size: not set; the model takes pictures of any size: {model.Path}; put its {FileName} beside it, or say --model-size (BLIP 384, CLIPSeg 352, ViT-GPT2 224)");
    }

    /// <summary>Whether an input takes pictures: float32 (N, 3, H, W).</summary>
    public static bool IsPicture(OnnxPort port) => port is { Type: TensorElementType.Float, Shape: [_, 3 or null, _, _] };

    /// <summary>(3, side, side) float32.</summary>
    public float[] Planes(RgbImage picture)
    {
        var size = new PixelSize(Side, Side);
        var pixels = picture.Size == size ? picture.Pixels : PillowResize.Resize(picture.Pixels, picture.Size, 3, size, Filter);
        var area = Side * Side;
        var planes = new float[3 * area];
        for (var i = 0; i < area; i++)
        {
            for (var channel = 0; channel < 3; channel++) planes[channel * area + i] = (float)((pixels[3 * i + channel] / 255.0 - Mean[channel]) / Deviation[channel]);
        }
        return planes;
    }

    private static PictureInput Read(string path, PictureInput usual)
    {
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(path));
            var root = json.RootElement;
            if (root.TryGetProperty("do_center_crop", out var cut) && cut.ValueKind == JsonValueKind.True) throw Unsupported(path, "do_center_crop is true", "false");
            return new PictureInput
            {
                Side = root.TryGetProperty("size", out var size) ? SideOf(size, path) : 0,
                Mean = Three(root, "image_mean", usual.Mean, path),
                Deviation = Three(root, "image_std", usual.Deviation, path),
                Filter = !root.TryGetProperty("resample", out var filter) ? usual.Filter : filter.GetInt32() switch
                {
                    2 => PillowFilter.Bilinear,
                    3 => PillowFilter.Bicubic,
                    1 => PillowFilter.Lanczos,
                    _ => throw Unsupported(path, $"resample is {filter}", "1 (Lanczos), 2 (bilinear), 3 (bicubic)"),
                },
            };
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or FormatException)
        {
            throw new CheckpointException($"cannot be read: {path}: {error.Message.TrimEnd('.')}; copy the file from the model again", error);
        }
    }

    /// <summary>384, or {"height": 384, "width": 384}.</summary>
    private static int SideOf(JsonElement size, string path)
    {
        if (size.ValueKind == JsonValueKind.Number) return size.GetInt32();
        if (size.TryGetProperty("height", out var height) && size.TryGetProperty("width", out var width) && height.GetInt32() == width.GetInt32()) return width.GetInt32();
        throw Unsupported(path, $"size is {size.GetRawText()}", "a number, or equal height and width");
    }

    private static double[] Three(JsonElement root, string key, double[] usual, string path)
    {
        if (!root.TryGetProperty(key, out var list)) return usual;
        double[] values = [.. list.EnumerateArray().Select(value => value.GetDouble())];
        return values.Length == 3 ? values : throw Unsupported(path, $"{key} is {list.GetRawText()}", "three numbers");
    }

    private static CheckpointException Unsupported(string path, string what, string supported) => new($"unsupported value: {what}; in {path}; supported: {supported}");
}
