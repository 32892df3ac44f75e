using System.Globalization;
using LowRank.Evaluation;
using LowRank.Images;

namespace LowRank.Recipes;

/// <summary>Generated pictures beside the training pictures nearest to them: what was learned by heart.</summary>
internal sealed class TrainingRepeats
{
    private const int PairsShown = 12;
    private const int CellSide = 128;

    private readonly ScannedPictures generated, training;
    private readonly IReadOnlyList<(int Generated, NearestPicture Training)> pairs;

    private TrainingRepeats(ScannedPictures generated, ScannedPictures training, IReadOnlyList<(int Generated, NearestPicture Training)> pairs, EvaluatedDuplicates report) =>
        (this.generated, this.training, this.pairs, Report) = (generated, training, pairs, report);

    /// <summary>The numbers, and the pairs that are near or shown.</summary>
    public EvaluatedDuplicates Report { get; }

    /// <summary>Searches.</summary>
    /// <param name="generated">Kept for the sheet.</param>
    /// <param name="training">Likewise.</param>
    /// <param name="folder">Of the training pictures, for the report.</param>
    public static TrainingRepeats Of(ScannedPictures generated, ScannedPictures training, string folder)
    {
        var upright = training.Hashes.ConvertAll(hash => hash.Upright);
        var nearest = NearDuplicates.Nearest(generated.Hashes, upright, itself: false);
        var own = training.Count < 2 ? [] : NearDuplicates.Nearest(training.Hashes, upright, itself: true);
        var near = nearest.Count(IsNear);
        var pairs = nearest.Select((found, index) => (Generated: index, Training: found)).OrderBy(pair => pair.Training.Distance).ThenBy(pair => pair.Generated).Take(Math.Max(near, PairsShown)).ToList();
        return new TrainingRepeats(generated, training, pairs, new EvaluatedDuplicates(folder, training.Count, training.Sha256, PerceptualHashes.NearDuplicate, near, own.Count(IsNear), Histogram(nearest), Histogram(own),
            [.. pairs.Select(pair => new EvaluatedPair(generated.NameOf(pair.Generated), training.NameOf(pair.Training.Index), pair.Training.Distance, pair.Training.Mirrored))]));

        static bool IsNear(NearestPicture found) => found.Distance <= PerceptualHashes.NearDuplicate;
    }

    /// <summary>Writes the nearest pairs as a picture.</summary>
    public void WriteSheet(string path)
    {
        var shown = pairs.Take(PairsShown).ToList();
        var rows = shown.ConvertAll(pair => (IReadOnlyList<RgbImage>)[Cell(generated.Read(pair.Generated), mirrored: false), Cell(training.Read(pair.Training.Index), pair.Training.Mirrored)]);
        var labels = Report.Pairs.Take(PairsShown).Select(pair => string.Create(CultureInfo.InvariantCulture, $"{pair.Generated}\n{pair.Training}\n{pair.Distance} of 64 bits differ{(pair.Mirrored ? ", mirrored" : "")}{(pair.Distance <= Report.Limit ? ": near-duplicate" : "")}")).ToList();
        ImageFile.WritePng(path, ImageGrid.Sheet(rows, ["generated", "training"], labels));
    }

    private static int[] Histogram(NearestPicture[] nearest)
    {
        var counts = new int[65];
        foreach (var found in nearest) counts[found.Distance]++;
        return counts;
    }

    /// <summary>In the middle of a white square, as large as fits.</summary>
    private static RgbImage Cell(RgbImage picture, bool mirrored)
    {
        var scale = (double)CellSide / Math.Max(picture.Size.Width, picture.Size.Height);
        var size = new PixelSize(Math.Max(1, (int)Math.Round(picture.Size.Width * scale)), Math.Max(1, (int)Math.Round(picture.Size.Height * scale)));
        var resized = ResizeCrop.Resize(mirrored ? NearDuplicates.Mirror(picture) : picture, size);
        var square = new byte[CellSide * CellSide * 3];
        Array.Fill(square, byte.MaxValue);
        var (left, top) = ((CellSide - size.Width) / 2, (CellSide - size.Height) / 2);
        for (var row = 0; row < size.Height; row++) resized.Pixels.AsSpan(3 * row * size.Width, 3 * size.Width).CopyTo(square.AsSpan(3 * ((top + row) * CellSide + left)));
        return new RgbImage(new PixelSize(CellSide, CellSide), square);
    }
}
