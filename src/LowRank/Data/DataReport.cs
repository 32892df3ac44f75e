using System.Globalization;
using System.Text.Json.Serialization;
using LowRank.Images;

namespace LowRank.Data;

/// <summary>What was found before training, for people to check.</summary>
public sealed class DataReport
{
    [JsonConstructor]
    internal DataReport(IReadOnlyList<DataSetReport> sets) => Sets = sets;

    /// <summary>One part a data set, in the order of the options.</summary>
    [JsonInclude]
    internal IReadOnlyList<DataSetReport> Sets { get; }

    /// <summary>The report as lines of text.</summary>
    public IEnumerable<string> Lines() => Sets.SelectMany(set => set.Lines());
}

/// <summary>What was found in one data set.</summary>
internal sealed record DataSetReport
{
    /// <summary>As the options name it.</summary>
    public required string Folder { get; init; }

    /// <summary>Pictures that will be used, each counted once.</summary>
    public required int Pictures { get; init; }

    /// <summary>How many of them have a caption of their own: not the folder's class words, and not a text for all.</summary>
    public required int Captions { get; init; }

    /// <summary>The text that all pictures have as their caption, or null where they have their own.</summary>
    public required string? SharedCaption { get; init; }

    /// <summary>Uses in an epoch: pictures with their repeats.</summary>
    public required int Uses { get; init; }

    /// <summary>Pictures that are not trained on, and only measured.</summary>
    public int HeldOut { get; init; }

    /// <summary>Size of the picture with the fewest pixels, before it is resized; null where nothing is trained on, and in older logs.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public PixelSize? Smallest { get; init; }

    /// <summary>Size of the one with the most.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public PixelSize? Largest { get; init; }

    /// <summary>Pictures in each bucket, narrowest bucket first.</summary>
    public required IReadOnlyList<BucketReport> Buckets { get; init; }

    /// <summary>Files that will not be used, and why.</summary>
    public required IReadOnlyList<SkippedFile> Skipped { get; init; }

    /// <summary>What else is odd.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>The report as lines of text.</summary>
    public IEnumerable<string> Lines()
    {
        var uses = Uses == Pictures ? "" : Invariant($", {Uses} uses an epoch");
        var captions = SharedCaption is null ? Counted(Captions, "caption") : $"all captioned \"{SharedCaption}\"";
        var heldOut = HeldOut == 0 ? "" : Invariant($", {HeldOut} held out");
        yield return Invariant($"{Folder}: {Counted(Pictures, "picture")}, {captions}, {Skipped.Count} skipped{heldOut}{uses}");
        foreach (var bucket in Buckets) yield return Invariant($"  {bucket.Size}  {bucket.Pictures}");
        foreach (var file in Skipped) yield return $"  skipped {file.Path}: {file.Reason}";
        foreach (var warning in Warnings) yield return $"  warning: {warning}";
    }

    private static string Counted(int count, string what) => Invariant($"{count} {what}{(count == 1 ? "" : "s")}");

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

/// <summary>Pictures in one bucket.</summary>
/// <param name="Size">Size of its training pictures.</param>
/// <param name="Pictures">How many, each counted once.</param>
internal sealed record BucketReport(PixelSize Size, int Pictures);

/// <summary>A file that is not used.</summary>
/// <param name="Path">Relative to the data set's folder.</param>
/// <param name="Reason">Why, in words.</param>
internal sealed record SkippedFile(string Path, string Reason);
