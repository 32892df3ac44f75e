using LowRank.Foundation;
using LowRank.Images;
using LowRank.Text;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace LowRank.Preparation;

/// <summary>
/// A segmenter that is asked in words, as CLIPSeg is exported: <c>pixel_values</c>, <c>input_ids</c> and <c>attention_mask</c> to <c>logits</c> (N, H, W).
/// It sees the picture twice, with the text and with none; <see cref="SegmentationMask"/> makes the mask of both answers.
/// </summary>
internal sealed class Segmenter : IDisposable
{
    private const string Pixels = "pixel_values", Ids = "input_ids", Mask = "attention_mask", Logits = "logits";

    /// <summary>CLIP's window, where neither model nor tokenizer says another.</summary>
    private const int UsualWindow = 77;

    private readonly OnnxModel model;
    private readonly ClipTokenizer tokenizer;
    private readonly int? fixedLength;

    private Segmenter(OnnxModel model, ClipTokenizer tokenizer, PictureInput input, int? fixedLength) =>
        (this.model, this.tokenizer, Input, this.fixedLength) = (model, tokenizer, input, fixedLength);

    /// <summary>How pictures go in.</summary>
    public PictureInput Input { get; }

    /// <summary>Opens a segmenter.</summary>
    /// <param name="path">The model.</param>
    /// <param name="tokenizerFolder">Folder of its tokenizer; null: the model's own folder.</param>
    /// <param name="size">Pixels to a side that pictures go in with, where the model takes any.</param>
    /// <exception cref="CheckpointException">A file is missing or damaged, or the model is laid out otherwise.</exception>
    /// <exception cref="OptionsException">The options do not say enough, or contradict the files.</exception>
    public static Segmenter Open(string path, string? tokenizerFolder, int? size)
    {
        var model = OnnxModel.Open(path);
        try
        {
            var byName = model.Inputs.ToDictionary(port => port.Name);
            if (byName.Count != 3 || !byName.TryGetValue(Pixels, out var pixels) || !PictureInput.IsPicture(pixels) || !IsText(byName, Ids) || !IsText(byName, Mask)
                || model.Outputs.FirstOrDefault(port => port.Name == Logits) is not { Type: TensorElementType.Float, Shape: [_, _, _] })
            {
                throw model.OtherLayout("a text-guided segmenter", "pixel_values float32 (?, 3, side, side), input_ids int64 (?, words), attention_mask int64 (?, words) -> logits float32 (?, height, width)", "model.onnx of a CLIPSeg export");
            }
            var tokenizer = TokenizerFolder.Open(tokenizerFolder ?? System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!);
            return new Segmenter(model, tokenizer, PictureInput.For(model, pixels, size, PictureInput.ImageNet), byName[Ids].Shape[1]);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Where the text's things are.</summary>
    /// <param name="picture">Any size.</param>
    /// <param name="text">What to look for.</param>
    /// <param name="temperature">Below 1 harder edges, above 1 softer.</param>
    /// <returns>A mask of the picture's size.</returns>
    public GreyImage Draw(RgbImage picture, string text, float temperature)
    {
        var (ids, mask, length) = Words(text);
        var (logits, size) = Answer(Input.Planes(picture), Input.Side, ids, mask, length);
        var area = (int)size.Pixels;
        return SegmentationMask.Enlarged(SegmentationMask.Small(logits.AsSpan(0, area), logits.AsSpan(area, area), size, temperature), picture.Size);
    }

    /// <summary>Words beyond the model's window, which it does not see; null where all are seen.</summary>
    public CutPrompt? CutText(string text)
    {
        tokenizer.EncodePadded(text, Window, out var cut);
        return cut;
    }

    public void Dispose() => model.Dispose();

    /// <summary>The answers for the text and for none: logits (2, height, width).</summary>
    /// <param name="planes">(3, side, side).</param>
    /// <param name="side">Pixels to a side.</param>
    /// <param name="ids">(2, length): the text, and the empty text.</param>
    /// <param name="mask">(2, length): 1 where a word is.</param>
    /// <param name="length">Words.</param>
    internal (float[] Logits, PixelSize Size) Answer(float[] planes, int side, long[] ids, long[] mask, int length)
    {
        using var pixels = OrtValue.CreateTensorValueFromMemory([.. planes, .. planes], [2, 3, side, side]);
        using var words = OrtValue.CreateTensorValueFromMemory(ids, [2, length]);
        using var seen = OrtValue.CreateTensorValueFromMemory(mask, [2, length]);
        var (logits, shape) = model.Run(new Dictionary<string, OrtValue> { [Pixels] = pixels, [Ids] = words, [Mask] = seen }, Logits);
        return shape is [2, var height, var width] ? (logits, new PixelSize((int)width, (int)height))
            : throw new CheckpointException($"the ONNX model gave ({string.Join(", ", shape)}) for two pictures, where (2, height, width) is expected: {model.Path}");
    }

    private int Window => fixedLength ?? Math.Min(tokenizer.MaximumLength ?? UsualWindow, UsualWindow);

    private static bool IsText(Dictionary<string, OnnxPort> ports, string name) => ports.GetValueOrDefault(name) is { Type: TensorElementType.Int64, Shape: [_, _] };

    /// <summary>The text and the empty text, the shorter one padded and masked.</summary>
    private (long[] Ids, long[] Mask, int Length) Words(string text)
    {
        var length = fixedLength ?? Math.Min(tokenizer.Encode(text).Length, Window);
        var ids = new List<long>();
        var mask = new List<long>();
        foreach (var words in (string[])[text, ""])
        {
            var count = Math.Min(tokenizer.Encode(words).Length, length);
            ids.AddRange(tokenizer.EncodePadded(words, length, out _).Select(id => (long)id));
            mask.AddRange(Enumerable.Range(0, length).Select(i => i < count ? 1L : 0L));
        }
        return ([.. ids], [.. mask], length);
    }
}
