using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using LowRank.Foundation;

namespace LowRank.Data;

/// <summary>All pictures of a run, from all its data sets.</summary>
/// <param name="Images">Data set by data set, each in the order of its files' names.</param>
/// <param name="Report">What was found, for people.</param>
internal sealed record TrainingData(IReadOnlyList<TrainingImage> Images, DataReport Report)
{
    /// <summary>Pictures that are not trained on, and only measured.</summary>
    public IReadOnlyList<TrainingImage> HeldOut { get; init; } = [];

    /// <summary>Reads every data set's folder.</summary>
    /// <param name="sets">Valid options; at least one.</param>
    /// <param name="nativeResolution">The model's own resolution in pixels, for data sets that name none.</param>
    /// <param name="heldOutShare">Of the pictures, those that are only measured; 0 for none.</param>
    /// <param name="cancellationToken">Stops between pictures.</param>
    /// <exception cref="DatasetException">Something is missing; the message lists the problems of all data sets.</exception>
    public static TrainingData Read(IReadOnlyList<DataSetOptions> sets, int nativeResolution, double heldOutShare, CancellationToken cancellationToken = default)
    {
        var scans = new List<ImageFolder.Scan>();
        var problems = new List<string>();
        foreach (var set in sets)
        {
            try
            {
                scans.Add(ImageFolder.Read(set, nativeResolution, cancellationToken));
            }
            catch (DatasetException problem)
            {
                problems.Add(problem.Message);
            }
        }
        if (problems.Count > 0) throw new DatasetException(string.Join('\n', problems));
        var heldOut = HeldOutPictures.TakeOut(scans, heldOutShare);
        RepeatForDrawn(scans);
        BalancePriors(scans);
        return new TrainingData(Named([.. scans.SelectMany(scan => scan.Images)], sets), new DataReport([.. scans.Select(scan => scan.Report)])) { HeldOut = Named(heldOut, sets) };
    }

    /// <summary>Gives pictures the names that logs have: short, the same wherever the folders lie, and no two alike.</summary>
    private static IReadOnlyList<TrainingImage> Named(IReadOnlyList<TrainingImage> images, IReadOnlyList<DataSetOptions> sets)
    {
        var folders = sets.Select(set => Path.TrimEndingDirectorySeparator(Path.GetFullPath(set.Folder))).ToList();
        var root = folders[0];
        while (Path.GetDirectoryName(root) is { } parent && folders.Exists(folder => folder != root && !folder.StartsWith(root + Path.DirectorySeparatorChar, StringComparison.Ordinal))) root = parent;
        return [.. images.Select(image => image with { Name = Path.GetRelativePath(root, image.Path).Replace('\\', '/') })];
    }

    /// <summary>Repeats the other pictures until they are as many as the prior pictures that were drawn for them: those took time, and all of them are to be used.</summary>
    private static void RepeatForDrawn(List<ImageFolder.Scan> scans)
    {
        var drawn = scans.SelectMany(scan => scan.Images).Count(image => image.Options.Drawn is not null);
        var others = scans.SelectMany(scan => scan.Images).Where(image => !image.Options.Prior).Sum(image => image.Repeats);
        var times = others == 0 ? 1 : (drawn + others - 1) / others;
        if (times <= 1) return;
        for (var i = 0; i < scans.Count; i++)
        {
            if (scans[i].Images.Any(image => image.Options.Prior)) continue;
            List<TrainingImage> images = [.. scans[i].Images.Select(image => image with { Repeats = image.Repeats * times })];
            scans[i] = new ImageFolder.Scan(images, scans[i].Report with { Uses = images.Sum(image => image.Repeats) });
        }
    }

    /// <summary>Gives prior pictures the repeats that make them as many as the others; those that are not needed go, and the report says so.</summary>
    private static void BalancePriors(List<ImageFolder.Scan> scans)
    {
        var priors = scans.SelectMany(scan => scan.Images).Where(image => image.Options.Prior).ToList();
        var repeats = new Queue<int>(PriorImages.Balance(scans.SelectMany(scan => scan.Images).Where(image => !image.Options.Prior).Sum(image => image.Repeats), [.. priors.Select(image => image.Repeats)]));
        for (var i = 0; i < scans.Count; i++)
        {
            var (images, report) = (scans[i].Images, scans[i].Report);
            if (!images.Any(image => image.Options.Prior)) continue;
            List<TrainingImage> kept = [.. images.Select(image => image with { Repeats = repeats.Dequeue() }).Where(image => image.Repeats > 0)];
            var left = images.Count - kept.Count;
            scans[i] = new ImageFolder.Scan(kept, report with
            {
                Uses = kept.Sum(image => image.Repeats),
                Warnings = left == 0 ? report.Warnings : [.. report.Warnings, string.Create(CultureInfo.InvariantCulture, $"{left} of {images.Count} prior pictures are not needed: there are as many without them as of the other pictures")],
            });
        }
    }

    /// <summary>Refuses data whose batches cannot be half prior pictures, half others.</summary>
    /// <exception cref="DatasetException">A bucket holds pictures to learn and no prior picture.</exception>
    public void RequirePriorsInEveryBucket()
    {
        var without = Images.GroupBy(image => image.Choice.Bucket).Where(bucket => bucket.All(image => !image.Options.Prior)).Select(bucket => bucket.Key.ToString()).Order(StringComparer.Ordinal).ToList();
        if (without.Count == 0) return;
        throw new DatasetException($"prior_rule = \"two-means\" needs prior pictures in every bucket; there are none in {string.Join(", ", without)}\n  try         buckets = false in every [[data]] table, more prior pictures, or prior_rule = \"per-sample\"");
    }

    /// <summary>Whether some pictures have masks.</summary>
    public bool HasMasks => Images.Any(image => image.Mask is not null);

    /// <summary>Every picture of the run as it can be encoded ahead: each cut from the middle, and mirrored where its data set mirrors; equal ones once.</summary>
    /// <exception cref="InvalidOperationException">A data set cuts at random, so that there is nothing to encode ahead.</exception>
    public IReadOnlyList<Sample> FixedSamples()
    {
        if (Images.Any(image => image.Options.Crop == CropMode.Random)) throw new InvalidOperationException("pictures that are cut at random cannot be encoded ahead");
        return [.. Images.SelectMany(image => image.Options.Flip ? [image.Centre(false), image.Centre(true)] : new[] { image.Centre(false) }, (image, placement) => new Sample(image, placement, ""))
            .DistinctBy(sample => (sample.Key, sample.MaskKey))];
    }

    /// <summary>Changes with every picture, caption and use: SHA-256 in hexadecimal.</summary>
    public string Fingerprint()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var image in Images) hash.AppendData(Encoding.UTF8.GetBytes($"{image.ContentHash}\0{image.Caption}\0{image.Repeats}\0{image.Mask?.ContentHash}\0"));
        foreach (var image in HeldOut) hash.AppendData(Encoding.UTF8.GetBytes($"{image.ContentHash}\0{image.Caption}\0held out\0"));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
