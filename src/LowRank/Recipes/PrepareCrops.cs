using System.Globalization;
using LowRank.Data;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Preparation;

namespace LowRank.Recipes;

/// <summary>What a crop is laid around.</summary>
public enum CropBy
{
    /// <summary>The middle of the picture.</summary>
    Centre,

    /// <summary>The picture's mask file.</summary>
    Mask,

    /// <summary>The picture's alpha channel.</summary>
    Alpha,

    /// <summary>What a segmenter (CLIPSeg) finds of a text.</summary>
    Saliency,
}

/// <summary>Which pictures are cut square, around what, and where to.</summary>
public sealed record PrepareCropsOptions
{
    /// <summary>Folder with the pictures; its sub-folders (one level) are looked into as well.</summary>
    public required string Folder { get; init; }

    /// <summary>Folder for the crops, with their captions and masks; made when absent.</summary>
    public required string Output { get; init; }

    /// <summary>What crops are laid around: the centre of mass of the white.</summary>
    public required CropBy By { get; init; }

    /// <summary>Folder of the masks, for <see cref="CropBy.Mask"/>; null: beside the pictures, as name.mask.png.</summary>
    public string? MaskFolder { get; init; }

    /// <summary>The segmenter (.onnx), for <see cref="CropBy.Saliency"/>: pixel_values, input_ids, attention_mask to logits.</summary>
    public string? Model { get; init; }

    /// <summary>Folder of the segmenter's tokenizer; null: the model's own folder.</summary>
    public string? Tokenizer { get; init; }

    /// <summary>What to look for, for <see cref="CropBy.Saliency"/>; null: the picture's own caption.</summary>
    public string? Text { get; init; }

    /// <summary>Pixels to a side that the segmenter gets; null: what the model or preprocessor_config.json says.</summary>
    public int? ModelSize { get; init; }

    /// <summary>Pixels to a side of the crops; null keeps each as large as its picture's short side. Smaller ones are enlarged, and told of.</summary>
    public int? Size { get; init; }

    /// <summary>Whether crops that are there are replaced.</summary>
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
        Check(Enum.IsDefined(By), $"by: {By}; must be centre, mask, alpha or saliency");
        Check((By == CropBy.Saliency) == (Model is not null), $"model: {Model ?? "not set"}; goes with by saliency: a segmenter such as CLIPSeg");
        Check(By == CropBy.Saliency || (Text is null && Tokenizer is null && ModelSize is null), $"text, tokenizer, model-size: do nothing without by saliency");
        Check(By == CropBy.Mask || MaskFolder is null, $"mask-folder: {MaskFolder}; does nothing without by mask");
        Check(Size is null or >= 1, $"size: {Size}; must be 1 or more pixels");
        Check(ModelSize is null or >= 1, $"model-size: {ModelSize}; must be 1 or more pixels");
        if (PictureWalk.ProblemOfOutput(Folder, Output) is { } problem) problems.Add(problem);
        return problems;
    }
}

/// <summary>Pictures to squares around what matters in them, in a folder that training reads as it is: captions come along, and masks are cut with their pictures.</summary>
public static class PrepareCrops
{
    /// <summary>Writes a crop of each picture that has none.</summary>
    /// <exception cref="LowRankException">Options, model or pictures that cannot be used.</exception>
    public static PreparationResult Run(PrepareCropsOptions options, IProgress<PreparationProgress>? progress = null, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var pictures = PictureFiles.Find(options.Folder);
        if (!options.DryRun) OutputFolder.RequireWritable(options.Output);
        using var texts = options.Model is null ? null : TextMasks.Open(options.Model, options.Tokenizer, options.ModelSize, options.Text, temperature: 1);
        return PictureWalk.Over(pictures, picture =>
        {
            if (!options.Overwrite && File.Exists(picture.In(options.Output, ".png"))) return picture.Skipped("its crop is there already", kept: true);
            var content = File.ReadAllBytes(picture.Path);
            var pixels = ImageFile.Decode(content);
            var drawn = options.By switch
            {
                CropBy.Alpha => ImageFile.HasAlpha(content) ? new DrawnMask(ResizeCrop.LoadMask(content, alpha: true)) : new DrawnMask(null, "it has no alpha channel"),
                CropBy.Saliency => texts!.Draw(picture, pixels),
                CropBy.Mask => FromFile(picture, content, pixels.Size, options),
                _ => File.Exists(picture.Stem + PictureMask.Ending) ? FromFile(picture, content, pixels.Size, options) : new DrawnMask(null),
            };
            if (drawn.Problem is { } problem) return picture.Skipped(problem);
            var centre = options.By == CropBy.Centre || drawn.Mask is null ? null : SquareCrop.CentreOfMass(drawn.Mask);
            var box = SquareCrop.Around(pixels.Size, centre ?? SquareCrop.Middle(pixels.Size));
            var files = Write(picture, pixels, drawn.Mask, box, options);
            return new PreparedPicture(picture.RelativePath)
            {
                Made = $"{box.Size} of {pixels.Size}, from column {box.Left}, row {box.Top}",
                Files = files,
                Note = options.By != CropBy.Centre && centre is null ? "its mask is black all over: cut in the middle" : options.Size > box.Size.Width ? "it is smaller than the size asked for: enlarged" : drawn.Note,
            };
        }, progress, cancellation);
    }

    private static DrawnMask FromFile(PictureFile picture, byte[] content, PixelSize size, PrepareCropsOptions options)
    {
        try
        {
            var mask = PictureMask.Find(picture.Path, content, size, new DataSetOptions
            {
                Folder = options.Folder,
                Mask = options.MaskFolder is null ? MaskSource.Sidecar : MaskSource.Folder,
                MaskFolder = options.MaskFolder,
            });
            return new DrawnMask(ResizeCrop.LoadMask(File.ReadAllBytes(mask.Path), alpha: false));
        }
        catch (DatasetException misfit)
        {
            return new DrawnMask(null, $"its mask does not fit: {misfit.Message}");
        }
    }

    /// <summary>Captions and mask first, the picture last: where a crop is, all of it is.</summary>
    private static List<string> Write(PictureFile picture, RgbImage pixels, GreyImage? mask, CropBox box, PrepareCropsOptions options)
    {
        var files = CaptionFile.Endings.Where(ending => File.Exists(picture.Stem + ending)).ToDictionary(ending => picture.In(options.Output, ending), ending => picture.Stem + ending);
        List<string> written = [.. files.Keys];
        if (mask is not null) written.Add(picture.In(options.Output, PictureMask.Ending));
        written.Add(picture.In(options.Output, ".png"));
        if (options.DryRun) return written;
        Directory.CreateDirectory(Path.GetDirectoryName(written[^1])!);
        foreach (var (target, source) in files) WholeFile.Write(target, File.ReadAllBytes(source));
        if (mask is not null)
        {
            var (maskSize, maskPixels) = SquareCrop.Cut(mask.Pixels, mask.Size, 1, box, options.Size);
            WholeFile.Write(picture.In(options.Output, PictureMask.Ending), ImageFile.EncodePng(new GreyImage(maskSize, maskPixels)));
        }
        var (size, square) = SquareCrop.Cut(pixels.Pixels, pixels.Size, 3, box, options.Size);
        WholeFile.Write(written[^1], ImageFile.EncodePng(new RgbImage(size, square)));
        return written;
    }
}
