using System.Globalization;
using LowRank.Data;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Preparation;

namespace LowRank.Recipes;

/// <summary>What a mask is made from.</summary>
public enum MaskFrom
{
    /// <summary>The picture's alpha channel.</summary>
    Alpha,

    /// <summary>A plain background: what is reached from the border through its colour is black.</summary>
    Background,

    /// <summary>A text: what a segmenter (CLIPSeg) finds of it is white.</summary>
    Text,

    /// <summary>Boxes of a detector, in YOLO's label files.</summary>
    Boxes,
}

/// <summary>Which pictures get masks, and made how. White is what training shall look at.</summary>
public sealed record PrepareMasksOptions
{
    /// <summary>Folder with the pictures; its sub-folders (one level) are looked into as well.</summary>
    public required string Folder { get; init; }

    /// <summary>What masks are made from.</summary>
    public required MaskFrom From { get; init; }

    /// <summary>The segmenter (.onnx), for <see cref="MaskFrom.Text"/>: pixel_values, input_ids, attention_mask to logits.</summary>
    public string? Model { get; init; }

    /// <summary>Folder of the segmenter's tokenizer; null: the model's own folder.</summary>
    public string? Tokenizer { get; init; }

    /// <summary>What to look for, for <see cref="MaskFrom.Text"/>; null: the picture's own caption.</summary>
    public string? Text { get; init; }

    /// <summary>For <see cref="MaskFrom.Text"/>: below 1 harder edges, above 1 softer; above 0.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Pixels to a side that the segmenter gets; null: what the model or preprocessor_config.json says.</summary>
    public int? ModelSize { get; init; }

    /// <summary>Folder of the label files, for <see cref="MaskFrom.Boxes"/>: name.txt, with a line "class centre-x centre-y width height" a box, as shares of the picture.</summary>
    public string? Boxes { get; init; }

    /// <summary>For <see cref="MaskFrom.Background"/>: how many 8-bit levels red, green and blue may be from the border's colour; 0 to 255.</summary>
    public int Tolerance { get; init; } = 16;

    /// <summary>Softens the mask's edges: the radius of Pillow's GaussianBlur, in pixels; 0 is off.</summary>
    public double Blur { get; init; }

    /// <summary>Folder for the masks; null: beside the pictures, as name.mask.png.</summary>
    public string? Output { get; init; }

    /// <summary>Whether masks that are there are replaced.</summary>
    public bool Overwrite { get; init; }

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
        Check(Enum.IsDefined(From), $"from: {From}; must be alpha, background, text or boxes");
        Check((From == MaskFrom.Text) == (Model is not null), $"model: {Model ?? "not set"}; goes with from text: a segmenter such as CLIPSeg");
        Check(From == MaskFrom.Text || (Text is null && Tokenizer is null && ModelSize is null && Temperature == 1), $"text, tokenizer, model-size, temperature: do nothing without from text");
        Check((From == MaskFrom.Boxes) == (Boxes is not null), $"boxes: {Boxes ?? "not set"}; goes with from boxes: a folder of label files");
        Check(From == MaskFrom.Background || Tolerance == 16, $"tolerance: {Tolerance}; does nothing without from background");
        Check(Tolerance is >= 0 and <= 255, $"tolerance: {Tolerance}; must be from 0 to 255");
        Check(Temperature is > 0 and < double.PositiveInfinity, $"temperature: {Temperature}; must be above 0");
        Check(Blur is >= 0 and <= 1000, $"blur: {Blur}; must be from 0 (off) to 1000 pixels");
        Check(ModelSize is null or >= 1, $"model-size: {ModelSize}; must be 1 or more pixels");
        if (Output is not null && PictureWalk.ProblemOfOutput(Folder, Output) is { } problem) problems.Add(problem);
        return problems;
    }
}

/// <summary>Pictures to masks, beside them or in a folder of their own, as <c>mask = "sidecar"</c> or <c>"folder"</c> of a recipe reads them.</summary>
public static class PrepareMasks
{
    /// <summary>Writes a mask for each picture that has none.</summary>
    /// <exception cref="LowRankException">Options, model or pictures that cannot be used.</exception>
    public static PreparationResult Run(PrepareMasksOptions options, IProgress<PreparationProgress>? progress = null, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var pictures = PictureFiles.Find(options.Folder);
        if (options.Output is { } output && !options.DryRun) OutputFolder.RequireWritable(output);
        using var texts = options.Model is null ? null : TextMasks.Open(options.Model, options.Tokenizer, options.ModelSize, options.Text, options.Temperature);
        return PictureWalk.Over(pictures, picture =>
        {
            var path = options.Output is { } folder ? picture.In(folder, ".png") : picture.Stem + PictureMask.Ending;
            if (!options.Overwrite && File.Exists(path)) return picture.Skipped("it has a mask already", kept: true);
            var content = File.ReadAllBytes(picture.Path);
            var drawn = options.From switch
            {
                MaskFrom.Alpha => FromAlpha(content),
                MaskFrom.Background => new DrawnMask(BackgroundMask.Draw(ImageFile.Decode(content), options.Tolerance)),
                MaskFrom.Boxes => FromBoxes(picture, content, options.Boxes!),
                _ => texts!.Draw(picture, ImageFile.Decode(content)),
            };
            if (drawn.Mask is not { } sharp) return picture.Skipped(drawn.Problem!);
            var mask = GaussianBlur.Apply(sharp, (float)options.Blur);
            if (!options.DryRun)
            {
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                WholeFile.Write(path, ImageFile.EncodePng(mask));
            }
            return new PreparedPicture(picture.RelativePath) { Made = Words(mask), Files = [path], Note = drawn.Note ?? OneColour(mask) };
        }, progress, cancellation);
    }

    private static DrawnMask FromAlpha(byte[] content) =>
        ImageFile.HasAlpha(content) ? new DrawnMask(ResizeCrop.LoadMask(content, alpha: true)) : new DrawnMask(null, "it has no alpha channel");

    private static DrawnMask FromBoxes(PictureFile picture, byte[] content, string folder)
    {
        var labels = picture.In(folder, ".txt");
        return File.Exists(labels) ? new DrawnMask(BoxMask.Draw(ImageFile.ReadHeader(content).Size, BoxMask.Read(labels))) : new DrawnMask(null, $"it has no boxes: {labels} is not there");
    }

    private static string Words(GreyImage mask) => string.Create(CultureInfo.InvariantCulture, $"mask {mask.Size}, {mask.Pixels.Average(value => value / 2.55):F0} % white");

    /// <summary>Such masks are seldom meant.</summary>
    private static string? OneColour(GreyImage mask) => mask.Pixels.All(value => value == 255) ? "its mask is white all over" : mask.Pixels.All(value => value <= 1) ? "its mask is black all over" : null;
}
