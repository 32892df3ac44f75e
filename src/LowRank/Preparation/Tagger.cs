using System.Globalization;
using LowRank.Foundation;
using LowRank.Images;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace LowRank.Preparation;

/// <summary>A tag that a tagger knows.</summary>
/// <param name="Name">With underscores, as the list has it.</param>
/// <param name="Category">0 general, 4 character, 9 rating.</param>
internal sealed record KnownTag(string Name, int Category)
{
    public const int General = 0, Character = 4, Rating = 9;
}

/// <summary>
/// A tagger in the WD14 layout (SmilingWolf's models): (N, side, side, 3) float32, blue green red, 0 to 255, in; a probability for each tag of its list out.
/// What is done to a picture is what sd-scripts does (finetune/tag_images_by_wd14_tagger.py): onto a white square, areas when shrinking, Lanczos when growing.
/// </summary>
internal sealed class Tagger : IDisposable
{
    private const string Layout = "one input float32 (?, side, side, 3), one output float32 (?, tags)";
    private readonly OnnxModel model;

    private Tagger(OnnxModel model, IReadOnlyList<KnownTag> tags, int side)
    {
        this.model = model;
        Tags = tags;
        Side = side;
    }

    /// <summary>In the order of the model's output.</summary>
    public IReadOnlyList<KnownTag> Tags { get; }

    /// <summary>Pixels to a side of the picture that the model takes.</summary>
    public int Side { get; }

    /// <summary>Opens a tagger.</summary>
    /// <param name="path">The model.</param>
    /// <param name="tagsPath">Its list of tags; null: <c>selected_tags.csv</c> beside it.</param>
    /// <exception cref="CheckpointException">A file is missing or damaged, the model is laid out otherwise, or the list is another model's.</exception>
    public static Tagger Open(string path, string? tagsPath)
    {
        var model = OnnxModel.Open(path);
        try
        {
            if (model is not { Inputs: [{ Type: TensorElementType.Float, Shape: [_, int side, var width, 3] }], Outputs: [{ Type: TensorElementType.Float, Shape: [_, var count] }] } || width != side)
            {
                throw model.OtherLayout("a WD14 tagger", Layout, "the model.onnx of a WD tagger, such as SmilingWolf's wd-vit-tagger-v3");
            }
            var list = tagsPath ?? System.IO.Path.Combine(System.IO.Path.GetDirectoryName(path) ?? "", TagList.UsualName);
            var tags = TagList.Read(list);
            if (count is { } outputs && outputs != tags.Count)
            {
                throw new CheckpointException(string.Create(CultureInfo.InvariantCulture, $"the list of tags is another model's: {list} has {tags.Count} tags, {path} gives {outputs}; take both files from the same model"));
            }
            return new Tagger(model, tags, side);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>The probability of each tag, in the order of <see cref="Tags"/>; 0 to 1.</summary>
    public float[] Probabilities(RgbImage picture)
    {
        using var input = OrtValue.CreateTensorValueFromMemory(Input(picture), [1, Side, Side, 3]);
        var (values, _) = model.Run(new Dictionary<string, OrtValue> { [model.Inputs[0].Name] = input }, model.Outputs[0].Name);
        return values.Length == Tags.Count ? values : throw new CheckpointException(string.Create(CultureInfo.InvariantCulture, $"the list of tags is another model's: it has {Tags.Count} tags, {model.Path} gives {values.Length}; take both files from the same model"));
    }

    /// <summary>A picture as the model takes it: (side, side, 3), blue green red, 0 to 255.</summary>
    internal float[] Input(RgbImage picture)
    {
        var (square, side) = OnWhite(picture);
        var (from, to) = (new PixelSize(side, side), new PixelSize(Side, Side));
        var resized = side == Side ? square : PillowResize.Resize(square, from, 3, to, side > Side ? PillowFilter.Area : PillowFilter.Lanczos);
        var input = new float[resized.Length];
        for (var i = 0; i < input.Length; i += 3) (input[i], input[i + 1], input[i + 2]) = (resized[i + 2], resized[i + 1], resized[i]);
        return input;
    }

    public void Dispose() => model.Dispose();

    /// <summary>In the middle of a white square; the smaller half of the border left and above.</summary>
    private static (byte[] Pixels, int Side) OnWhite(RgbImage picture)
    {
        var (width, height) = (picture.Size.Width, picture.Size.Height);
        var side = Math.Max(width, height);
        if (width == height) return (picture.Pixels, side);
        var square = new byte[3 * side * side];
        Array.Fill(square, (byte)255);
        var (left, top) = ((side - width) / 2, (side - height) / 2);
        for (var y = 0; y < height; y++) picture.Pixels.AsSpan(3 * y * width, 3 * width).CopyTo(square.AsSpan(3 * ((top + y) * side + left)));
        return (square, side);
    }
}
