using System.Globalization;
using LowRank.Images;

namespace LowRank.Data;

/// <summary>Which part of a resized picture is trained on.</summary>
public enum CropMode
{
    /// <summary>The middle.</summary>
    Centre,

    /// <summary>Another place each time. Such pictures are encoded anew in every step: their latents cannot be cached.</summary>
    Random,
}

/// <summary>A folder of pictures with captions, and what is done with them before each use.</summary>
public sealed record DataSetOptions
{
    /// <summary>Folder with the pictures; its sub-folders (one level) are looked into as well.</summary>
    public required string Folder { get; init; }

    /// <summary>
    /// Where captions come from. <c>sidecar</c>: files beside the pictures (name.txt, else name.caption; tags of name.tags are added behind);
    /// <c>file-name</c>: the file's name, underscores as spaces; <c>metadata</c>: metadata.jsonl or metadata.json in the folder;
    /// anything else: this text for every picture, with the file's name in place of <c>{name}</c>. Default sidecar.
    /// </summary>
    public string Caption { get; init; } = "sidecar";

    /// <summary>Put before every caption, such as a trigger word; one space is put between. A dropped caption loses it as well.</summary>
    public string Prefix { get; init; } = "";

    /// <summary>Put behind every caption; one space is put between.</summary>
    public string Suffix { get; init; } = "";

    /// <summary>How often each picture is used in an epoch; 1 or more.</summary>
    public int Repeats { get; init; } = 1;

    /// <summary>
    /// Whether sub-folders named like <c>10_some words</c> mean 10 repeats (times <see cref="Repeats"/>) and those words for pictures without a caption, as in kohya's
    /// scripts. Then only such sub-folders count, and pictures in the folder itself.
    /// </summary>
    public bool FolderRepeats { get; init; }

    /// <summary>Whether tags change their order in every use.</summary>
    public bool ShuffleTags { get; init; }

    /// <summary>The first tags that are neither shuffled nor left out; 0 or more. The prefix counts as the first.</summary>
    public int KeepTokens { get; init; }

    /// <summary>A mark in the captions, such as |||: tags before it are kept, and those behind a second one. Goes before <see cref="KeepTokens"/>.</summary>
    public string KeepTokensSeparator { get; init; } = "";

    /// <summary>What stands between tags in the captions. They are joined by a comma and a space.</summary>
    public string TagSeparator { get; init; } = ",";

    /// <summary>Joins tags that stay together when shuffled, such as ;;;; becomes the tag separator in the end.</summary>
    public string SecondarySeparator { get; init; } = "";

    /// <summary>Whether one line of several is chosen, and one of {a|b|c}, in every use. Without it the first line counts, and braces are letters.</summary>
    public bool Wildcards { get; init; }

    /// <summary>Share of uses in which the whole caption is left empty (0 to 1), which keeps guidance working: 0.05 to 0.1 is usual.</summary>
    public double CaptionDropout { get; init; }

    /// <summary>Every n-th epoch uses empty captions; 0: none.</summary>
    public int CaptionDropoutEveryEpochs { get; init; }

    /// <summary>Share of the movable tags left out in each use, 0 to 1.</summary>
    public double TagDropout { get; init; }

    /// <summary>Steps over which the number of movable tags grows to all; below 1 a share of the run; 0: all from the start.</summary>
    public double TokenWarmupSteps { get; init; }

    /// <summary>Movable tags at the start of that warm-up; 1 or more.</summary>
    public int TokenWarmupMin { get; init; } = 1;

    /// <summary>Whether every other use, by chance, mirrors the picture. Doubles the latents to cache. Not for writing, or faces that must not change sides.</summary>
    public bool Flip { get; init; }

    /// <summary>Which part of a resized picture is used. Default the middle.</summary>
    public CropMode Crop { get; init; }

    /// <summary>Pixels to a side of the square whose area pictures get; default the model's own. Cost of a step grows with its square.</summary>
    public int? Resolution { get; init; }

    /// <summary>Whether pictures keep about their shape, in buckets of equal area. If not, all are cut square.</summary>
    public bool Buckets { get; init; } = true;

    /// <summary>Smallest side of a bucket in pixels; default half the resolution.</summary>
    public int? BucketMin { get; init; }

    /// <summary>Largest side of a bucket in pixels; default twice the resolution.</summary>
    public int? BucketMax { get; init; }

    /// <summary>Sides of buckets are multiples of this, in pixels; default an eighth of the resolution, from 8 up to 64.</summary>
    public int? BucketStep { get; init; }

    /// <summary>Whether pictures smaller than their bucket are enlarged. If not, they make smaller buckets of their own.</summary>
    public bool Enlarge { get; init; } = true;

    /// <summary>
    /// Where masks come from, white where a picture counts: they weigh the loss (<c>[loss] unmasked_weight</c> and others). A picture without one is skipped.
    /// Masks have the size of their picture, and are resized, cut and mirrored with it.
    /// </summary>
    public MaskSource Mask { get; init; }

    /// <summary>Folder of the masks with <see cref="Mask"/> folder: files of the same name, or of that name with .png.</summary>
    public string? MaskFolder { get; init; }

    /// <summary>
    /// Whether these are prior pictures: others of the class, with its plain words, that keep the model from forgetting what the class is.
    /// They are repeated, or left out, until they are as many as all other pictures.
    /// </summary>
    public bool Prior { get; init; }

    /// <summary>Whether these pictures are held out: not trained on, and only measured, as <c>[validation]</c> says.</summary>
    public bool HeldOut { get; init; }

    /// <summary>How much each picture of this set counts in the loss; above 0.</summary>
    public double LossWeight { get; init; } = 1;

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(!string.IsNullOrWhiteSpace(Folder), $"folder: empty; must name a folder of pictures");
        Check(Repeats >= 1, $"repeats: {Repeats}; must be 1 or more");
        Check(KeepTokens >= 0, $"keep_tokens: {KeepTokens}; must be 0 or more");
        Check(TagSeparator.Length > 0, $"tag_separator: empty; must be what stands between tags");
        Check(CaptionDropout is >= 0 and <= 1, $"caption_dropout: {CaptionDropout}; must be from 0 to 1");
        Check(CaptionDropoutEveryEpochs >= 0, $"caption_dropout_every_epochs: {CaptionDropoutEveryEpochs}; must be 0 or more");
        Check(TagDropout is >= 0 and <= 1, $"tag_dropout: {TagDropout}; must be from 0 to 1");
        Check(TokenWarmupSteps is >= 0 and < double.PositiveInfinity, $"token_warmup_steps: {TokenWarmupSteps}; must be a number of steps, or a share of the run below 1");
        Check(TokenWarmupMin >= 1, $"token_warmup_min: {TokenWarmupMin}; must be 1 or more");
        Check((Mask == MaskSource.Folder) == (MaskFolder is not null), $"mask_folder: {MaskFolder ?? "not set"}; goes with mask = \"folder\"");
        Check(!(HeldOut && Prior), $"held_out: true; prior pictures are there to be trained on");
        Check(LossWeight is > 0 and < double.PositiveInfinity, $"loss_weight: {LossWeight}; must be a number above 0");
        Check(Enum.IsDefined(Crop), $"crop: {Crop}; must be centre or random");
        CheckCaption(Check);
        CheckSizes(Check);
        return problems;
    }

    /// <summary>Replacements that a recipe makes in the captions; no key of its own.</summary>
    internal IReadOnlyList<CaptionReplacement> Replacements { get; init; } = [];

    /// <summary>Names of the only files that count, all of which are used: prior pictures that were drawn for the run; no key of its own.</summary>
    internal IReadOnlyCollection<string>? Drawn { get; init; }

    /// <summary>The rules that <see cref="Captions.Draw"/> follows.</summary>
    internal CaptionRules CaptionRules => new()
    {
        Prefix = Prefix.TrimEnd(),
        Suffix = Suffix.TrimStart(),
        DropoutRate = CaptionDropout,
        DropoutEveryEpochs = CaptionDropoutEveryEpochs,
        Wildcards = Wildcards,
        ShuffleTags = ShuffleTags,
        TagSeparator = TagSeparator,
        KeepTokens = KeepTokens,
        KeepTokensSeparator = KeepTokensSeparator,
        SecondarySeparator = SecondarySeparator,
        TagDropoutRate = TagDropout,
        TokenWarmupMin = TokenWarmupMin,
        TokenWarmupSteps = TokenWarmupSteps,
        Replacements = Replacements,
    };

    /// <summary>The buckets of these options.</summary>
    /// <param name="nativeResolution">The model's own resolution, for options that name none.</param>
    internal AspectBuckets MakeBuckets(int nativeResolution)
    {
        var side = Resolution ?? nativeResolution;
        var square = new PixelSize(side, side);
        if (!Buckets) return AspectBuckets.Single(square);
        var step = BucketStep ?? Math.Clamp(side / 8 / 8 * 8, 8, 64);
        return new AspectBuckets(square, BucketMin ?? side / 2, BucketMax ?? side * 2, step, Enlarge);
    }

    private delegate void Checking(bool good, FormattableString problem);

    private void CheckCaption(Checking check)
    {
        check(Caption.Length > 0, $"caption: empty; must be sidecar, file-name, metadata or a text for every picture");
        string Letters(string text) => new([.. text.Where(char.IsLetter).Select(char.ToLowerInvariant)]);
        foreach (var known in (string[])[CaptionSource.Sidecar, CaptionSource.FileName, CaptionSource.Metadata])
        {
            var meant = Caption != known && Letters(Caption).TrimEnd('s') == Letters(known);
            check(!meant, $"caption: {Caption}; did you mean {known}?");
        }
        var changesTags = CaptionRules.ChangesTags;
        check(changesTags || KeepTokens == 0, $"keep_tokens: {KeepTokens}; does nothing without shuffle_tags, tag_dropout or token_warmup_steps");
        check(changesTags || KeepTokensSeparator.Length == 0, $"keep_tokens_separator: {KeepTokensSeparator}; would stay in the text without shuffle_tags, tag_dropout or token_warmup_steps");
        check(TokenWarmupSteps > 0 || TokenWarmupMin == 1, $"token_warmup_min: {TokenWarmupMin}; does nothing without token_warmup_steps");
    }

    private void CheckSizes(Checking check)
    {
        check(Resolution is null or >= 8, $"resolution: {Resolution}; must be 8 or more");
        check(Resolution is null || Resolution % 8 == 0, $"resolution: {Resolution}; must be a multiple of 8, since a latent pixel is 8 picture pixels");
        check(BucketStep is null or >= 8, $"bucket_step: {BucketStep}; must be 8 or more");
        check(BucketStep is null || BucketStep % 8 == 0, $"bucket_step: {BucketStep}; must be a multiple of 8, since a latent pixel is 8 picture pixels");
        check(BucketMin is null or >= 8, $"bucket_min: {BucketMin}; must be 8 or more");
        check(BucketMax is null or >= 8, $"bucket_max: {BucketMax}; must be 8 or more");
        check(BucketMin is null || BucketMax is null || BucketMin <= BucketMax, $"bucket_max: {BucketMax}; is below bucket_min: {BucketMin}");
        if (Buckets) return;
        check(BucketMin is null && BucketMax is null && BucketStep is null, $"bucket_min, bucket_max, bucket_step: do nothing with buckets = false");
        check(Enlarge, $"enlarge: false; does nothing with buckets = false");
    }
}

/// <summary>The words of <see cref="DataSetOptions.Caption"/> that are not a text.</summary>
internal static class CaptionSource
{
    public const string Sidecar = "sidecar";
    public const string FileName = "file-name";
    public const string Metadata = "metadata";
}
