using System.Globalization;
using LowRank.Data;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Preparation;

namespace LowRank.Recipes;

/// <summary>Which pictures get captions in words, and from which captioner.</summary>
public sealed record PrepareCaptionsOptions
{
    /// <summary>Folder with the pictures; its sub-folders (one level) are looked into as well.</summary>
    public required string Folder { get; init; }

    /// <summary>The captioner's encoder (.onnx): pixel_values to hidden states.</summary>
    public required string Encoder { get; init; }

    /// <summary>The captioner's decoder (.onnx): input_ids and encoder_hidden_states to logits.</summary>
    public required string Decoder { get; init; }

    /// <summary>Its words: vocab.txt (BERT's) or vocab.json (GPT-2's).</summary>
    public required string Vocabulary { get; init; }

    /// <summary>What a caption begins with, a word of the vocabulary or a number; null: a mark that is known.</summary>
    public string? StartToken { get; init; }

    /// <summary>What ends a caption, a word of the vocabulary or a number; null: a mark that is known.</summary>
    public string? EndToken { get; init; }

    /// <summary>Pixels to a side that the encoder gets; null: what the model or preprocessor_config.json says.</summary>
    public int? ModelSize { get; init; }

    /// <summary>Most words (and parts of words) of a caption, the start included; 2 or more. Time grows with its square.</summary>
    public int MaxLength { get; init; } = 50;

    /// <summary>Put in front of every caption, such as a trigger word.</summary>
    public string Trigger { get; init; } = "";

    /// <summary>Whether captions that are there are replaced.</summary>
    public bool Overwrite { get; init; }

    /// <summary>Whether the new caption is put behind one that is there.</summary>
    public bool Append { get; init; }

    /// <summary>Whether everything is done but the writing.</summary>
    public bool DryRun { get; init; }

    /// <summary>All problems of these options, each as <c>option: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(ModelSize is null or >= 1, $"model-size: {ModelSize}; must be 1 or more pixels");
        Check(MaxLength >= 2, $"max-length: {MaxLength}; must be 2 or more");
        Check(!(Overwrite && Append), $"append: goes not with overwrite: captions that are there are replaced, or added to");
        return problems;
    }
}

/// <summary>Pictures to captions in words: open the captioner, look at each picture, write what it says beside it.</summary>
public static class PrepareCaptions
{
    /// <summary>Writes a caption for each picture that has none.</summary>
    /// <exception cref="LowRankException">Options, models or pictures that cannot be used.</exception>
    public static PreparationResult Run(PrepareCaptionsOptions options, IProgress<PreparationProgress>? progress = null, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var pictures = PictureFiles.Find(options.Folder);
        using var captioner = Captioner.Open(new CaptionerFiles
        {
            Encoder = options.Encoder,
            Decoder = options.Decoder,
            Vocabulary = options.Vocabulary,
            StartToken = options.StartToken,
            EndToken = options.EndToken,
            Size = options.ModelSize,
            MaximumLength = options.MaxLength,
        });
        var captions = new CaptionWriter { Overwrite = options.Overwrite, Append = options.Append, Trigger = options.Trigger, DryRun = options.DryRun };
        return PictureWalk.Over(pictures, picture =>
        {
            if (captions.Keeps(picture)) return picture.Skipped(CaptionWriter.IsThere, kept: true);
            var caption = captioner.Caption(ImageFile.Decode(File.ReadAllBytes(picture.Path)));
            var written = captions.Write(picture, caption.Length == 0 ? [] : [caption]);
            return written.Report(picture);
        }, progress, cancellation);
    }
}
