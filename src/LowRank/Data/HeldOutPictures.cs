using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using LowRank.Foundation;

namespace LowRank.Data;

/// <summary>
/// Takes pictures out of the training that are only measured. A share is chosen by the pictures' names, each for itself, so that adding pictures moves
/// none of the others from one side to the other; copies of a picture stay on one side.
/// </summary>
internal static class HeldOutPictures
{
    private const int Listed = 10;

    /// <summary>Where a name lies in [0, 1): those below the share are held out. Folders and the ending do not count.</summary>
    public static double PlaceOf(string path) =>
        BinaryPrimitives.ReadUInt32BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes(Path.GetFileNameWithoutExtension(path)))) / (uint.MaxValue + 1.0);

    /// <summary>Takes them out of what was read, whose reports count only what is left.</summary>
    /// <param name="scans">One a data set; replaced where something is held out.</param>
    /// <param name="share">Of the pictures to learn, prior pictures not counted; 0 for none.</param>
    /// <returns>What is held out: by the share, and in data sets of its own.</returns>
    /// <exception cref="DatasetException">The share holds out nothing or everything, or a picture is held out and trained on.</exception>
    public static IReadOnlyList<TrainingImage> TakeOut(List<ImageFolder.Scan> scans, double share)
    {
        var learned = scans.SelectMany(scan => scan.Images).Where(image => !image.Options.Prior && !image.Options.HeldOut).ToList();
        var chosen = share == 0 ? [] : learned.Where(image => PlaceOf(image.Path) < share).Select(image => image.ContentHash).ToHashSet();
        if (share > 0 && chosen.Count == 0) throw new DatasetException(Nothing(share, learned));
        if (share > 0 && learned.TrueForAll(image => chosen.Contains(image.ContentHash))) throw new DatasetException(Everything(share, learned.Count));
        var heldOut = new List<TrainingImage>();
        for (var i = 0; i < scans.Count; i++)
        {
            var outside = scans[i].Images.Where(image => image.Options.HeldOut || !image.Options.Prior && chosen.Contains(image.ContentHash)).ToList();
            if (outside.Count == 0) continue;
            heldOut.AddRange(outside);
            scans[i] = scans[i].Without(outside);
        }
        RequireApart(heldOut, [.. scans.SelectMany(scan => scan.Images)]);
        return heldOut;
    }

    private static void RequireApart(List<TrainingImage> heldOut, List<TrainingImage> trained)
    {
        var known = trained.DistinctBy(image => image.ContentHash).ToDictionary(image => image.ContentHash, image => image.Path);
        var both = heldOut.Where(image => known.ContainsKey(image.ContentHash)).Select(image => $"\n  {image.Path} is also {known[image.ContentHash]}").ToList();
        if (both.Count == 0) return;
        var more = both.Count > Listed ? Invariant($"\n  and {both.Count - Listed} more") : "";
        throw new DatasetException(Invariant($"{both.Count} of {heldOut.Count} held-out pictures are trained on too, so that their loss would say nothing of new pictures{string.Concat(both.Take(Listed))}{more}\n  try         to take them out of one of the folders, or validation.share in place of held_out"));
    }

    private static string Nothing(double share, List<TrainingImage> learned)
    {
        var enough = (Math.Floor(learned.Min(image => PlaceOf(image.Path)) * 100) + 1) / 100;
        return Invariant($"validation.share: {share} holds out none of the {learned.Count} pictures, whose names decide\n  try         {enough:0.##} or more, or a folder of its own: [[data]] with held_out = true");
    }

    private static string Everything(double share, int count) =>
        Invariant($"validation.share: {share} holds out all {count} pictures and leaves none to train on\n  try         less, or more pictures");

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
