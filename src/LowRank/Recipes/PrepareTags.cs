using System.Globalization;
using LowRank.Data;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Preparation;

namespace LowRank.Recipes;

/// <summary>Which pictures get tags as captions, from which tagger, and which tags.</summary>
public sealed record PrepareTagsOptions
{
    /// <summary>Folder with the pictures; its sub-folders (one level) are looked into as well.</summary>
    public required string Folder { get; init; }

    /// <summary>A tagger in the WD14 layout (.onnx).</summary>
    public required string Model { get; init; }

    /// <summary>Its list of tags; null: <c>selected_tags.csv</c> beside the model.</summary>
    public string? Tags { get; init; }

    /// <summary>General tags from this probability on, 0 to 1. The default is that of the WD taggers' own demonstration.</summary>
    public double GeneralThreshold { get; init; } = 0.35;

    /// <summary>Names of characters from this probability on, 0 to 1. The default is that of the WD taggers' own demonstration.</summary>
    public double CharacterThreshold { get; init; } = 0.85;

    /// <summary>Whether tags keep their underscores, as <c>long_hair</c>. If not, those longer than three letters get spaces.</summary>
    public bool KeepUnderscores { get; init; }

    /// <summary>Whether characters go before all other tags.</summary>
    public bool CharactersFirst { get; init; }

    /// <summary>Where the rating goes (general, sensitive, questionable, explicit). Default nowhere.</summary>
    public RatingPlace Rating { get; init; }

    /// <summary>Tags that are left out, with underscores or spaces.</summary>
    public IReadOnlyList<string> Exclude { get; init; } = [];

    /// <summary>Put in front of every caption, such as a trigger word.</summary>
    public string Trigger { get; init; } = "";

    /// <summary>Whether captions that are there are replaced.</summary>
    public bool Overwrite { get; init; }

    /// <summary>Whether captions that are there get the tags that they lack.</summary>
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
        Check(GeneralThreshold is >= 0 and <= 1, $"general-threshold: {GeneralThreshold}; must be from 0 to 1");
        Check(CharacterThreshold is >= 0 and <= 1, $"character-threshold: {CharacterThreshold}; must be from 0 to 1");
        Check(Enum.IsDefined(Rating), $"rating: {Rating}; must be none, first or last");
        Check(!(Overwrite && Append), $"append: goes not with overwrite: captions that are there are replaced, or added to");
        return problems;
    }
}

/// <summary>Pictures to captions of tags: open the tagger, look at each picture, choose tags, write them beside it.</summary>
public static class PrepareTags
{
    /// <summary>Writes a caption for each picture that has none.</summary>
    /// <exception cref="LowRankException">Options, model or pictures that cannot be used.</exception>
    public static PreparationResult Run(PrepareTagsOptions options, IProgress<PreparationProgress>? progress = null, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var pictures = PictureFiles.Find(options.Folder);
        using var tagger = Tagger.Open(options.Model, options.Tags);
        RequireKnown(options.Exclude, tagger.Tags);
        var rules = new TagRules
        {
            GeneralThreshold = options.GeneralThreshold,
            CharacterThreshold = options.CharacterThreshold,
            KeepUnderscores = options.KeepUnderscores,
            CharactersFirst = options.CharactersFirst,
            Rating = options.Rating,
            Excluded = options.Exclude,
        };
        var captions = new CaptionWriter { Overwrite = options.Overwrite, Append = options.Append, Trigger = options.Trigger, DryRun = options.DryRun };
        return PictureWalk.Over(pictures, picture =>
        {
            if (captions.Keeps(picture)) return picture.Skipped(CaptionWriter.IsThere, kept: true);
            var probabilities = tagger.Probabilities(ImageFile.Decode(File.ReadAllBytes(picture.Path)));
            var written = captions.Write(picture, rules.Choose(tagger.Tags, probabilities));
            return written.Report(picture);
        }, progress, cancellation);
    }

    /// <summary>A tag that the model does not know would be left out for ever without an effect.</summary>
    private static void RequireKnown(IReadOnlyList<string> excluded, IReadOnlyList<KnownTag> tags)
    {
        var known = tags.Select(tag => tag.Name).ToHashSet(StringComparer.Ordinal);
        RunOptions.ThrowIfAny([.. excluded.Select(tag => tag.Replace(' ', '_')).Where(tag => !known.Contains(tag)).Select(tag => $"exclude: {tag}; the tagger knows no such tag{NearestName.Hint(tag, known)}")], "the options");
    }
}
