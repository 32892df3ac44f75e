using System.Globalization;
using LowRank.Images;

namespace LowRank.Data;

/// <summary>One picture of a data set, checked and measured. Its pixels are still in the file.</summary>
internal sealed record TrainingImage
{
    /// <summary>Where the file is.</summary>
    public required string Path { get; init; }

    /// <summary>What logs call it: its path from the folder that holds all pictures of the run, with slashes on every system.</summary>
    public string Name { get; init; } = "";

    /// <summary>SHA-256 of the file's bytes, in hexadecimal.</summary>
    public required string ContentHash { get; init; }

    /// <summary>The caption before <see cref="Captions.Draw"/>; several lines only where the data set has wildcards.</summary>
    public required string Caption { get; init; }

    /// <summary>Whether that is its own: not the folder's class words, and not a text for all.</summary>
    public bool OwnCaption { get; init; }

    /// <summary>Width and height after the turn that EXIF asks for.</summary>
    public required PixelSize Size { get; init; }

    /// <summary>Bucket, and size before the cut.</summary>
    public required BucketChoice Choice { get; init; }

    /// <summary>Its mask; null where its data set has none.</summary>
    public PictureMask? Mask { get; init; }

    /// <summary>Uses in an epoch; 1 or more.</summary>
    public required int Repeats { get; init; }

    /// <summary>The data set it belongs to.</summary>
    public required DataSetOptions Options { get; init; }

    /// <summary>The one use that is always the same: cut from the middle, not mirrored, nothing of its caption dropped, shuffled or drawn.</summary>
    public Sample Settled() => new(this, Centre(false), Captions.Settled(Caption, Options.CaptionRules));

    /// <summary>The cut from the middle.</summary>
    public Placement Centre(bool flip) => new(Choice.Resized, Choice.CentreCrop.Left, Choice.CentreCrop.Top, Choice.Bucket, flip);
}

/// <summary>One use of a picture, with every random decision made.</summary>
/// <param name="Image">The picture.</param>
/// <param name="Placement">How it is resized, cut and mirrored.</param>
/// <param name="Caption">The text of this use; may be empty.</param>
internal sealed record Sample(TrainingImage Image, Placement Placement, string Caption)
{
    /// <summary>
    /// Names the pixels, so that what is computed from them can be kept: equal keys mean equal pixels, also in other folders and runs. Fit for a file name.
    /// </summary>
    public string Key => KeyFor(Image.ContentHash);

    /// <summary>Names the pixels of the mask in the same way; empty where there is none.</summary>
    public string MaskKey => Image.Mask is { } mask ? KeyFor(mask.ContentHash) + (mask.Alpha ? "-alpha" : "") : "";

    private string KeyFor(string hash) => string.Create(CultureInfo.InvariantCulture,
        $"{hash[..32]}-{Placement.Resized.Width}x{Placement.Resized.Height}-{Placement.Left}.{Placement.Top}-{Placement.Size.Width}x{Placement.Size.Height}{(Placement.Flip ? "-flip" : "")}");

    /// <summary>The six numbers for SDXL (<see cref="AspectBuckets.SizeConditioning"/>).</summary>
    public long[] SizeConditioning => AspectBuckets.SizeConditioning(Image.Choice.Bucket, Image.Size, Placement.Flip);
}
