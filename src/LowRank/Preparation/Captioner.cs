using LowRank.Foundation;
using LowRank.Images;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace LowRank.Preparation;

/// <summary>
/// A captioner of two parts, as BLIP and ViT-GPT2 are exported: an encoder (<c>pixel_values</c> to hidden states) and a decoder
/// (<c>input_ids</c>, <c>encoder_hidden_states</c>, where it asks for them their masks, to <c>logits</c>). Always takes the likeliest next word, so the same
/// picture gives the same caption.
/// </summary>
internal sealed class Captioner : IDisposable
{
    private const string Ids = "input_ids", Mask = "attention_mask", Hidden = "encoder_hidden_states", HiddenMask = "encoder_attention_mask", Logits = "logits";

    private readonly OnnxModel encoder;
    private readonly OnnxModel decoder;
    private readonly CaptionVocabulary vocabulary;

    private Captioner(OnnxModel encoder, OnnxModel decoder, CaptionVocabulary vocabulary, PictureInput input) =>
        (this.encoder, this.decoder, this.vocabulary, Input) = (encoder, decoder, vocabulary, input);

    /// <summary>How pictures go in.</summary>
    public PictureInput Input { get; }

    /// <summary>What ends a caption.</summary>
    public required long End { get; init; }

    /// <summary>What begins it.</summary>
    public required long Start { get; init; }

    /// <summary>Most words (and parts of words) of a caption, the start included.</summary>
    public required int MaximumLength { get; init; }

    /// <summary>Opens a captioner.</summary>
    /// <exception cref="CheckpointException">A file is missing or damaged, or a model is laid out otherwise.</exception>
    /// <exception cref="OptionsException">The options do not say enough, or contradict the files.</exception>
    public static Captioner Open(CaptionerFiles files)
    {
        var vocabulary = CaptionVocabulary.Open(files.Vocabulary);
        var (start, end) = vocabulary.Marks(files.StartToken, files.EndToken);
        var encoder = OnnxModel.Open(files.Encoder);
        OnnxModel? decoder = null;
        try
        {
            decoder = OnnxModel.Open(files.Decoder);
            if (encoder.Inputs is not [var pixels] || !PictureInput.IsPicture(pixels) || encoder.Outputs is not [{ Type: TensorElementType.Float, Shape: [_, _, _] }, ..])
            {
                throw encoder.OtherLayout("a captioner's encoder", "pixel_values float32 (?, 3, side, side) -> last_hidden_state float32 (?, parts, width)", "encoder_model.onnx or vision_model.onnx of a BLIP or ViT-GPT2 export");
            }
            if (decoder.Inputs.Any(port => port.Name is not (Ids or Mask or Hidden or HiddenMask)) || !Has(decoder.Inputs, Ids) || !Has(decoder.Inputs, Hidden) || !Has(decoder.Outputs, Logits))
            {
                throw decoder.OtherLayout("a captioner's decoder", "input_ids int64 (?, words), encoder_hidden_states float32 (?, parts, width) -> logits float32 (?, words, vocabulary); attention_mask and encoder_attention_mask may be there",
                    "decoder_model.onnx, the export without past_key_values (not decoder_model_merged.onnx)");
            }
            return new Captioner(encoder, decoder, vocabulary, PictureInput.For(encoder, pixels, files.Size, PictureInput.Clip)) { Start = start, End = end, MaximumLength = files.MaximumLength };
        }
        catch
        {
            encoder.Dispose();
            decoder?.Dispose();
            throw;
        }
    }

    /// <summary>The caption of a picture.</summary>
    public string Caption(RgbImage picture) => vocabulary.Decode(Words(Encode(picture)).Ids);

    /// <summary>The encoder's hidden states, and their sides (1, parts, width).</summary>
    internal (float[] Values, long[] Shape) Encode(RgbImage picture)
    {
        using var pixels = OrtValue.CreateTensorValueFromMemory(Input.Planes(picture), [1, 3, Input.Side, Input.Side]);
        return encoder.Run(new Dictionary<string, OrtValue> { [encoder.Inputs[0].Name] = pixels }, encoder.Outputs[0].Name);
    }

    /// <summary>Start, the likeliest word again and again, up to the end mark or <see cref="MaximumLength"/> ids in all; and the logits of the last call.</summary>
    internal (IReadOnlyList<long> Ids, float[] LastLogits) Words((float[] Values, long[] Shape) hidden)
    {
        using var states = OrtValue.CreateTensorValueFromMemory(hidden.Values, hidden.Shape);
        using var statesMask = OrtValue.CreateTensorValueFromMemory(Ones(hidden.Shape[1]), [1, hidden.Shape[1]]);
        var ids = new List<long> { Start };
        float[] logits = [];
        while (ids.Count < MaximumLength)
        {
            long[] shape = [1, ids.Count];
            using var words = OrtValue.CreateTensorValueFromMemory(ids.ToArray(), shape);
            using var mask = OrtValue.CreateTensorValueFromMemory(Ones(ids.Count), shape);
            var offered = new Dictionary<string, OrtValue> { [Ids] = words, [Mask] = mask, [Hidden] = states, [HiddenMask] = statesMask };
            (logits, var sides) = decoder.Run(decoder.Inputs.ToDictionary(port => port.Name, port => offered[port.Name]), Logits, $"--max-length {ids.Count}, if the model knows no longer texts; or another --start-token");
            ids.Add(Largest(logits.AsSpan(^(int)sides[^1]..)));
            if (ids[^1] == End) break;
        }
        return (ids, logits);
    }

    public void Dispose()
    {
        encoder.Dispose();
        decoder.Dispose();
    }

    private static bool Has(IReadOnlyList<OnnxPort> ports, string name) => ports.Any(port => port.Name == name);

    private static long[] Ones(long count)
    {
        var ones = new long[count];
        Array.Fill(ones, 1);
        return ones;
    }

    private static int Largest(ReadOnlySpan<float> values)
    {
        var best = 0;
        for (var i = 1; i < values.Length; i++)
        {
            if (values[i] > values[best]) best = i;
        }
        return best;
    }
}

/// <summary>The files of a captioner, and what they do not say.</summary>
internal sealed record CaptionerFiles
{
    public required string Encoder { get; init; }
    public required string Decoder { get; init; }
    public required string Vocabulary { get; init; }
    public string? StartToken { get; init; }
    public string? EndToken { get; init; }
    public int? Size { get; init; }
    public int MaximumLength { get; init; } = 50;
}
