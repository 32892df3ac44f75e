using System.Globalization;
using System.Security.Cryptography;
using LowRank.Foundation;
using LowRank.Images;

namespace LowRank.Data;

/// <summary>
/// Reads a data set's folder: finds pictures, pairs captions, and decodes every picture once, so that what is broken shows before training starts.
/// </summary>
internal static class ImageFolder
{
    internal static readonly string[] Endings = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".svg"];
    private static readonly string[] EndingsNotRead = [".heic", ".heif", ".jxl", ".psd", ".raw", ".cr2", ".nef", ".arw", ".dng"];

    /// <summary>What a scan gives.</summary>
    public sealed record Scan(IReadOnlyList<TrainingImage> Images, DataSetReport Report)
    {
        /// <summary>The same without pictures that are held out: the report counts what is left, and says how many are gone.</summary>
        public Scan Without(IReadOnlyCollection<TrainingImage> heldOut)
        {
            List<TrainingImage> left = [.. Images.Except(heldOut)];
            return new Scan(left, Report with { Pictures = left.Count, Captions = left.Count(image => image.OwnCaption), Uses = left.Sum(image => image.Repeats), Smallest = left.MinBy(image => image.Size.Pixels)?.Size, Largest = left.MaxBy(image => image.Size.Pixels)?.Size, Buckets = BucketsOf(left), HeldOut = heldOut.Count });
        }

        public static IReadOnlyList<BucketReport> BucketsOf(IEnumerable<TrainingImage> images) =>
            [.. images.CountBy(image => image.Choice.Bucket).OrderBy(item => item.Key.Width).ThenBy(item => item.Key.Height).Select(item => new BucketReport(item.Key, item.Value))];
    }

    /// <summary>One picture file, before it is looked into.</summary>
    private sealed record Candidate(string Path, string RelativePath, int Repeats, string ClassWords);

    /// <summary>What became of a candidate: a picture, or a reason.</summary>
    private sealed record Outcome(TrainingImage? Image, string? SkippedBecause, string? Warning, string? Misfit = null);

    /// <summary>Reads the folder.</summary>
    /// <param name="options">Valid options.</param>
    /// <param name="nativeResolution">The model's own resolution, for options that name none.</param>
    /// <param name="cancellationToken">Stops between pictures.</param>
    /// <exception cref="DatasetException">The folder is missing or nothing in it can be used.</exception>
    public static Scan Read(DataSetOptions options, int nativeResolution, CancellationToken cancellationToken = default)
    {
        if (!Directory.Exists(options.Folder)) throw new DatasetException(NoFolder(options.Folder));
        var warnings = new List<string>();
        var candidates = FindPictures(options, warnings);
        if (candidates.Count == 0) throw new DatasetException(NoPictures(options));
        var captions = CaptionsFor(options, candidates, warnings);
        var buckets = options.MakeBuckets(nativeResolution);

        var outcomes = new Outcome[candidates.Count];
        Parallel.For(0, candidates.Count, new ParallelOptions { CancellationToken = cancellationToken, MaxDegreeOfParallelism = Environment.ProcessorCount },
            index => outcomes[index] = Examine(candidates[index], captions[index], options, buckets));
        if (outcomes.Any(outcome => outcome.Misfit is not null)) throw new DatasetException(Misfits(options, [.. outcomes.Select(outcome => outcome.Misfit).OfType<string>()]));
        var images = outcomes.Select(outcome => outcome.Image).OfType<TrainingImage>().ToList();
        List<SkippedFile> skipped = [.. candidates.Zip(outcomes).Where(item => item.Second.SkippedBecause is not null).Select(item => new SkippedFile(item.First.RelativePath, item.Second.SkippedBecause!))];
        if (images.Count == 0) throw new DatasetException(NothingLeft(options, skipped));

        warnings.AddRange(outcomes.Select(outcome => outcome.Warning).OfType<string>());
        if (EnlargedMost(images) is { } enlarged) warnings.Add(enlarged);
        return new Scan(images, new DataSetReport
        {
            Folder = options.Folder,
            Pictures = images.Count,
            Captions = images.Count(image => image.OwnCaption),
            SharedCaption = options.Caption is CaptionSource.Sidecar or CaptionSource.FileName or CaptionSource.Metadata ? null : options.Caption,
            Uses = images.Sum(image => image.Repeats),
            Smallest = images.MinBy(image => image.Size.Pixels)?.Size,
            Largest = images.MaxBy(image => image.Size.Pixels)?.Size,
            Buckets = Scan.BucketsOf(images),
            Skipped = skipped,
            Warnings = warnings,
        });
    }

    private static List<Candidate> FindPictures(DataSetOptions options, List<string> warnings)
    {
        var candidates = new List<Candidate>();
        Add(options.Folder, options.Repeats, "");
        foreach (var folder in Directory.GetDirectories(options.Folder).Where(folder => IsVisible(folder) && !IsMaskFolder(folder, options)).Order(StringComparer.Ordinal))
        {
            var name = Path.GetFileName(folder);
            var repeat = RepeatFolder.Parse(name);
            if (!options.FolderRepeats)
            {
                var added = Add(folder, options.Repeats, "");
                if (added > 0 && repeat is not null) warnings.Add($"folder {name} looks like {repeat.Value.Repeats} repeats, which count only with folder_repeats = true");
            }
            else if (repeat is not null) Add(folder, options.Repeats * repeat.Value.Repeats, repeat.Value.ClassWords);
            else warnings.Add($"folder {name} is left out: its name does not begin with a number of repeats");
        }
        if (options.Drawn is { } drawn) candidates.RemoveAll(candidate => !drawn.Contains(candidate.RelativePath));
        var masks = candidates.RemoveAll(candidate => PictureMask.IsMask(candidate.Path));
        if (masks > 0 && options.Mask != MaskSource.Sidecar) warnings.Add(string.Create(CultureInfo.InvariantCulture, $"{masks} masks (name.mask.png) are left out; mask = \"sidecar\" uses them"));
        return candidates;

        int Add(string folder, int repeats, string classWords)
        {
            var found = Directory.GetFiles(folder).Where(path => IsVisible(path) && Endings.Contains(Path.GetExtension(path).ToLowerInvariant())).Order(StringComparer.Ordinal);
            var before = candidates.Count;
            candidates.AddRange(found.Select(path => new Candidate(path, Path.GetRelativePath(options.Folder, path), repeats, classWords)));
            return candidates.Count - before;
        }
    }

    private static bool IsMaskFolder(string folder, DataSetOptions options) =>
        options.MaskFolder is not null && Path.GetFullPath(folder) == Path.TrimEndingDirectorySeparator(Path.GetFullPath(options.MaskFolder));

    internal static bool IsVisible(string path) => !Path.GetFileName(path).StartsWith('.');

    /// <summary>A caption or a problem for each candidate, in their order.</summary>
    private static CaptionFound[] CaptionsFor(DataSetOptions options, List<Candidate> candidates, List<string> warnings)
    {
        switch (options.Caption)
        {
            case CaptionSource.Sidecar:
                WarnOfOrphans(options, candidates, warnings);
                return [.. candidates.Select(candidate => CaptionFile.Find(candidate.Path, candidate.ClassWords))];
            case CaptionSource.FileName:
                return [.. candidates.Select(candidate => new CaptionFound([NameOf(candidate)], null))];
            case CaptionSource.Metadata:
                return FromMetadata(options, candidates, warnings);
            default:
                return [.. candidates.Select(candidate => new CaptionFound([options.Caption.Replace("{name}", NameOf(candidate), StringComparison.Ordinal)], null))];
        }
    }

    private static string NameOf(Candidate candidate) => Path.GetFileNameWithoutExtension(candidate.Path).Replace('_', ' ').Trim();

    /// <summary>Caption files that belong to no picture are most often misspelt.</summary>
    private static void WarnOfOrphans(DataSetOptions options, List<Candidate> candidates, List<string> warnings)
    {
        var stems = new HashSet<string>(StringComparer.Ordinal);
        foreach (var candidate in candidates)
        {
            var parts = Path.GetFileNameWithoutExtension(candidate.Path).Split('_');
            var folder = Path.GetDirectoryName(candidate.Path)!;
            stems.Add(Path.Combine(folder, string.Join('_', parts)));
            if (parts.Length >= 5) stems.Add(Path.Combine(folder, string.Join('_', parts[..^4])));
        }
        var orphans = candidates.Select(candidate => Path.GetDirectoryName(candidate.Path)!).Distinct(StringComparer.Ordinal).SelectMany(Directory.GetFiles)
            .Where(path => IsVisible(path) && CaptionFile.Endings.Contains(Path.GetExtension(path)))
            .Where(path => !stems.Contains(Path.Combine(Path.GetDirectoryName(path)!, Path.GetFileNameWithoutExtension(path))))
            .Select(path => Path.GetRelativePath(options.Folder, path)).Order(StringComparer.Ordinal).ToList();
        if (orphans.Count > 0) warnings.Add($"captions without a picture: {FirstTen(orphans, ", ")}");
    }

    private static CaptionFound[] FromMetadata(DataSetOptions options, List<Candidate> candidates, List<string> warnings)
    {
        var path = CaptionMetadata.FileNames.Select(name => Path.Combine(options.Folder, name)).FirstOrDefault(File.Exists)
            ?? throw new DatasetException($"no metadata in {options.Folder}\n  caption = \"metadata\" looks for {string.Join(" or ", CaptionMetadata.FileNames)} there");
        var file = Path.GetFileName(path);
        var entries = new Dictionary<string, MetadataEntry>(StringComparer.Ordinal);
        foreach (var entry in CaptionMetadata.Read(path, options.TagSeparator, options.Wildcards)) entries[Path.GetFullPath(entry.Image, Path.GetFullPath(options.Folder))] = entry;
        var used = new HashSet<MetadataEntry>();
        var captions = candidates.Select(candidate =>
        {
            var full = Path.GetFullPath(candidate.Path);
            var found = entries.GetValueOrDefault(full) ?? entries.GetValueOrDefault(Path.ChangeExtension(full, null));
            if (found is null) return candidate.ClassWords.Length > 0 ? new CaptionFound([candidate.ClassWords], null) : CaptionFound.Missing($"no caption: {file} does not name it");
            used.Add(found);
            List<string> lines = [.. found.Caption.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0)];
            return lines.Count > 0 ? new CaptionFound(lines, null) : CaptionFound.Missing($"its caption in {file} is empty");
        }).ToArray();
        var missing = entries.Values.Where(entry => !used.Contains(entry)).Select(entry => entry.Image).Order(StringComparer.Ordinal).ToList();
        if (missing.Count > 0) warnings.Add($"{file} names pictures that are not there: {FirstTen(missing, ", ")}");
        return captions;
    }

    private static Outcome Examine(Candidate candidate, CaptionFound caption, DataSetOptions options, AspectBuckets buckets)
    {
        Outcome Skip(string reason) => new(null, reason, null);
        try
        {
            var content = File.ReadAllBytes(candidate.Path);
            var header = ImageFile.Check(content);
            if (caption.Problem is not null) return Skip(caption.Problem);
            if (buckets.Select(header.Size) is not { } choice) return Skip($"{header.Size} is too small for a bucket, and enlarge is false");
            var image = new TrainingImage
            {
                Mask = options.Mask == MaskSource.None ? null : PictureMask.Find(candidate.Path, content, header.Size, options),
                Path = candidate.Path,
                ContentHash = Convert.ToHexStringLower(SHA256.HashData(content)),
                Caption = options.Wildcards ? string.Join('\n', caption.Lines) : caption.Lines[0],
                OwnCaption = options.Caption is CaptionSource.Sidecar or CaptionSource.FileName or CaptionSource.Metadata && !(candidate.ClassWords.Length > 0 && caption.Lines[0] == candidate.ClassWords),
                Size = header.Size,
                Choice = choice,
                Repeats = candidate.Repeats,
                Options = options,
            };
            var warning = header.ProfileIgnored ? $"the colour profile of {candidate.RelativePath} cannot be read; its colours are taken as sRGB" : null;
            return new Outcome(image, null, warning);
        }
        catch (ImageDefectException defect)
        {
            return Skip(defect.Message);
        }
        catch (DatasetException misfit)
        {
            return new Outcome(null, null, null, misfit.Message);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return Skip($"cannot be read: {error.Message}");
        }
    }

    private static string? EnlargedMost(List<TrainingImage> images)
    {
        var factors = images.Select(image => (double)image.Choice.Resized.Width / image.Size.Width).Where(factor => factor > 1.001).ToList();
        return factors.Count == 0 ? null : string.Create(CultureInfo.InvariantCulture, $"{factors.Count} of {images.Count} pictures are smaller than their bucket and are enlarged, up to {factors.Max():0.0} times");
    }

    private static string Misfits(DataSetOptions options, List<string> misfits) =>
        $"masks in {options.MaskFolder ?? options.Folder} that do not fit their pictures\n  {FirstTen(misfits, "\n  ")}\n  try         masks of exactly their picture's size: they are resized, cut and mirrored together";

    private static string NoFolder(string folder)
    {
        var full = Path.GetFullPath(folder);
        return $"no such folder of pictures: {folder}{(full == folder ? "" : $"\n  looked for  {full}")}\n  try         a folder that exists; a recipe's data folders are relative to the recipe file";
    }

    internal static string NoPictures(DataSetOptions options)
    {
        var others = Directory.EnumerateFiles(options.Folder, "*", new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 1 })
            .Select(path => Path.GetExtension(path).ToLowerInvariant()).Where(EndingsNotRead.Contains).CountBy(ending => ending).OrderByDescending(item => item.Value).ToList();
        var found = others.Count == 0
            ? options.Prior ? "\n  try         another folder, pictures of the class in this one, or [prior] in place of this table: then the model draws them" : "\n  try         another folder, or put pictures into this one"
            : $"\n  found       {string.Join(", ", others.Select(item => string.Create(CultureInfo.InvariantCulture, $"{item.Value} {item.Key}")))}, which cannot be read here\n  try         to convert them to PNG or JPEG";
        return $"no pictures in {options.Folder}\n  looked for  {string.Join(' ', Endings)} in it and one level down{found}";
    }

    private static string NothingLeft(DataSetOptions options, List<SkippedFile> skipped)
    {
        var lines = FirstTen([.. skipped.Select(file => $"{file.Path}: {file.Reason}")], "\n  ");
        var hint = skipped.All(file => file.Reason.StartsWith("no caption", StringComparison.Ordinal))
            ? "\n  try         captions beside the pictures, or caption set to a text for all of them, or to \"file-name\""
            : "\n  try         other pictures: each line says what is wrong with one";
        return string.Create(CultureInfo.InvariantCulture, $"none of the {skipped.Count} pictures in {options.Folder} can be used\n  {lines}{hint}");
    }

    internal static string FirstTen(List<string> items, string separator)
    {
        var text = string.Join(separator, items.Take(10));
        return items.Count <= 10 ? text : string.Create(CultureInfo.InvariantCulture, $"{text}{separator}and {items.Count - 10} more");
    }
}
