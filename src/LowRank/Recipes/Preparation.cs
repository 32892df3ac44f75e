using System.Globalization;
using LowRank.Data;
using LowRank.Foundation;
using LowRank.Images;

namespace LowRank.Recipes;

/// <summary>What became of one picture while data were prepared.</summary>
public sealed class PreparedPicture
{
    internal PreparedPicture(string picture) => Picture = picture;

    /// <summary>The picture, from the folder on.</summary>
    public string Picture { get; }

    /// <summary>What was made of it: the caption; or words about the mask or crop. Null where nothing was.</summary>
    public string? Made { get; internal init; }

    /// <summary>The files that were written, or would be in a dry run.</summary>
    public IReadOnlyList<string> Files { get; internal init; } = [];

    /// <summary>Why nothing was made; null where something was.</summary>
    public string? SkippedBecause { get; internal init; }

    /// <summary>Whether nothing was made because it is there already.</summary>
    public bool Kept { get; internal init; }

    /// <summary>Something its user should look at, though it was made; null otherwise.</summary>
    public string? Note { get; internal init; }
}

/// <summary>How far a preparation is.</summary>
public sealed class PreparationProgress
{
    internal PreparationProgress(int number, int pictures, PreparedPicture picture) => (Number, Pictures, Picture) = (number, pictures, picture);

    /// <summary>Which picture, from 1.</summary>
    public int Number { get; }

    /// <summary>How many there are.</summary>
    public int Pictures { get; }

    /// <summary>What became of it.</summary>
    public PreparedPicture Picture { get; }
}

/// <summary>What became of a folder of pictures.</summary>
public sealed class PreparationResult
{
    internal PreparationResult(int found, IReadOnlyList<PreparedPicture> pictures) => (Found, Pictures) = (found, pictures);

    /// <summary>How many pictures the folder has.</summary>
    public int Found { get; }

    /// <summary>Those that were looked at: all, or those before it was stopped.</summary>
    public IReadOnlyList<PreparedPicture> Pictures { get; }

    /// <summary>Whether every picture was looked at; false when it was stopped.</summary>
    public bool Finished => Pictures.Count == Found;

    /// <summary>How many were made, or would be in a dry run.</summary>
    public int Made => Pictures.Count(picture => picture.Made is not null);
}

/// <summary>What the preparing recipes share: one picture after the other, each in whole files, so that a stop leaves nothing half done.</summary>
internal static class PictureWalk
{
    /// <summary>Prepares the pictures in their order.</summary>
    /// <param name="pictures">At least one.</param>
    /// <param name="prepare">Makes of one what is to be made; a picture that it cannot read is skipped with the reason.</param>
    /// <param name="progress">Told of each.</param>
    /// <param name="cancellation">Stops between two.</param>
    /// <exception cref="DatasetException">Not one picture could be used.</exception>
    public static PreparationResult Over(IReadOnlyList<PictureFile> pictures, Func<PictureFile, PreparedPicture> prepare, IProgress<PreparationProgress>? progress, CancellationToken cancellation)
    {
        var done = new List<PreparedPicture>();
        foreach (var picture in pictures)
        {
            if (cancellation.IsCancellationRequested) return new PreparationResult(pictures.Count, done);
            done.Add(OrSkipped(picture, prepare));
            progress?.Report(new PreparationProgress(done.Count, pictures.Count, done[^1]));
        }
        if (done.Exists(picture => picture.Made is not null || picture.Kept)) return new PreparationResult(pictures.Count, done);
        List<string> lines = [.. done.Select(picture => $"{picture.Picture}: {picture.SkippedBecause}")];
        throw new DatasetException(string.Create(CultureInfo.InvariantCulture,
            $"none of the {done.Count} pictures could be prepared\n  {ImageFolder.FirstTen(lines, "\n  ")}\n  try         other pictures or options: each line says what is wrong with one"));
    }

    /// <summary>What is reported of a picture of which nothing is made.</summary>
    public static PreparedPicture Skipped(this PictureFile picture, string reason, bool kept = false) => new(picture.RelativePath) { SkippedBecause = reason, Kept = kept };

    /// <summary>What is reported of a caption that was, or was not, to be written.</summary>
    public static PreparedPicture Report(this CaptionWritten written, PictureFile picture) =>
        written.Text is null ? picture.Skipped(written.Reason!, written.NothingNew) : new(picture.RelativePath) { Made = written.Text, Files = [written.Path] };

    /// <summary>Refuses an output folder inside the folder of pictures, where its files would be taken for pictures.</summary>
    public static string? ProblemOfOutput(string folder, string output)
    {
        if (string.IsNullOrWhiteSpace(output)) return "output: empty; must be a folder";
        if (string.IsNullOrWhiteSpace(folder)) return null;   // told of when it is read
        var inside = Path.GetRelativePath(Path.GetFullPath(folder), Path.GetFullPath(output));
        return inside == "." || !(inside == ".." || inside.StartsWith(".." + Path.DirectorySeparatorChar, StringComparison.Ordinal) || Path.IsPathRooted(inside))
            ? $"output: {output}; lies in the folder of pictures, and would be taken for pictures itself; name a folder beside it" : null;
    }

    private static PreparedPicture OrSkipped(PictureFile picture, Func<PictureFile, PreparedPicture> prepare)
    {
        try
        {
            return prepare(picture);
        }
        catch (ImageDefectException defect)
        {
            return picture.Skipped(defect.Message);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return picture.Skipped($"cannot be read: {error.Message.TrimEnd('.')}");
        }
    }
}
