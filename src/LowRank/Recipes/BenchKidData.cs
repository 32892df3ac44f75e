using System.Globalization;
using System.Text;
using LowRank.Data;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>A picture of the set, with its caption as it stands beside the copy.</summary>
/// <param name="Name">File name in the folds' folders.</param>
/// <param name="Source">The user's file.</param>
/// <param name="Caption">Its caption.</param>
internal sealed record BenchKidPicture(string Name, string Source, string Caption);

/// <summary>
/// The set cut into folds, as ordinary folders that ordinary recipes name: picture i is in the test part of fold i mod folds. Of the others, in their
/// order, every so-manieth is in the part that chooses the learning rate.
/// </summary>
internal sealed class BenchKidData
{
    private const int LeastOfKid = 2;
    private readonly BenchKidOptions options;

    private readonly IReadOnlyList<BenchKidPicture> others;

    private BenchKidData(BenchKidOptions options, IReadOnlyList<BenchKidPicture> pictures, IReadOnlyList<BenchKidPicture> others) => (this.options, Pictures, this.others) = (options, pictures, others);

    /// <summary>All pictures of the set, in the order of their names.</summary>
    public IReadOnlyList<BenchKidPicture> Pictures { get; }

    /// <summary>Looks at the set and the other pictures; writes nothing.</summary>
    /// <exception cref="DatasetException">Folders that are missing or empty, or too few pictures.</exception>
    public static BenchKidData Read(BenchKidOptions options, CancellationToken cancellation = default)
    {
        const int AnySize = 64;   // only names and captions are looked at
        PictureFiles.Find(options.Pictures);   // tells of two pictures with one caption
        List<BenchKidPicture> Pictures(DataSetOptions set)
        {
            var images = TrainingData.Read([set], AnySize, 0, cancellation).Images;
            return [.. images.Zip(FlatNames(images.Select(image => image.Name)), (image, name) => new BenchKidPicture(name, image.Path, image.Caption))];
        }
        var found = Pictures(new DataSetOptions { Folder = options.Pictures, Caption = options.Caption });
        var data = new BenchKidData(options, found, options.Others is { } others ? Pictures(new DataSetOptions { Folder = others }) : []);
        var needed = Enumerable.Range(1, int.MaxValue).First(count => count / options.Folds >= LeastOfKid && count - (count + options.Folds - 1) / options.Folds >= options.ValidationEvery);
        if (found.Count >= needed) return data;
        throw new DatasetException(string.Create(CultureInfo.InvariantCulture,
            $"{found.Count} picture{(found.Count == 1 ? "" : "s")} in {options.Pictures} {(found.Count == 1 ? "is" : "are")} too few: {options.Folds} folds need {needed} or more, so that KID has {LeastOfKid} of each to judge by and every {Nth(options.ValidationEvery)} of the others can choose a rate\n  try         more pictures, or smaller folds and validation_every"));
    }

    /// <summary>
    /// Names for one folder: a/b.png is a-b.png, or a-b-2.png where there is an a-b before it. Endings do not tell pictures apart, since those of one name
    /// share a caption and the name of what is drawn; nor do capitals, which not every disk does.
    /// </summary>
    internal static IEnumerable<string> FlatNames(IEnumerable<string> names)
    {
        var taken = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        foreach (var flat in names.Select(name => name.Replace('/', '-')))
        {
            var stem = Path.GetFileNameWithoutExtension(flat);
            var free = stem;
            for (var number = 2; !taken.Add(free); number++) free = string.Create(CultureInfo.InvariantCulture, $"{stem}-{number}");
            yield return free + Path.GetExtension(flat);
        }
    }

    /// <summary>Pictures of the fold's test part.</summary>
    public IReadOnlyList<BenchKidPicture> Test(int fold) => [.. Pictures.Where((_, index) => index % options.Folds == fold)];

    /// <summary>Those that choose the learning rate.</summary>
    public IReadOnlyList<BenchKidPicture> Validation(int fold) => [.. Training(fold).Where((_, index) => index % options.ValidationEvery == options.ValidationEvery - 1)];

    /// <summary>Those that are learned while it is chosen; afterwards these and <see cref="Validation"/> are.</summary>
    public IReadOnlyList<BenchKidPicture> Learned(int fold) => [.. Training(fold).Where((_, index) => index % options.ValidationEvery != options.ValidationEvery - 1)];

    /// <summary>Folder of a part of a fold.</summary>
    public static string Folder(BenchKidOptions options, int fold, string part) =>
        Path.Combine(Path.GetFullPath(options.Output), "data", string.Create(CultureInfo.InvariantCulture, $"fold-{fold}"), part);

    /// <summary>Names of the folders.</summary>
    public const string TestPart = "test", ValidationPart = "validation", LearnedPart = "learn";

    /// <summary>Copies pictures and captions into the folds' folders; what is there already stays.</summary>
    public void Write(CancellationToken cancellation)
    {
        for (var fold = 0; fold < options.Folds; fold++)
        {
            foreach (var (part, pictures) in new[] { (TestPart, Test(fold)), (ValidationPart, Validation(fold)), (LearnedPart, Learned(fold)) })
            {
                var folder = Folder(options, fold, part);
                Directory.CreateDirectory(folder);
                foreach (var picture in pictures)
                {
                    cancellation.ThrowIfCancellationRequested();
                    var target = Path.Combine(folder, picture.Name);
                    if (File.Exists(target)) continue;   // the picture is written last: where it is, its caption is too
                    WholeFile.Write(Path.ChangeExtension(target, ".txt"), Encoding.UTF8.GetBytes(picture.Caption));
                    WholeFile.Write(target, File.ReadAllBytes(picture.Source));
                }
            }
        }
    }

    /// <summary>Changes with every picture and caption of the set.</summary>
    public string Fingerprint() => Fingerprint(Pictures);

    /// <summary>The same of the other pictures; null where there are none.</summary>
    public string? FingerprintOfOthers() => others.Count == 0 ? null : Fingerprint(others);

    private static string Fingerprint(IReadOnlyList<BenchKidPicture> pictures)
    {
        using var hash = System.Security.Cryptography.IncrementalHash.CreateHash(System.Security.Cryptography.HashAlgorithmName.SHA256);
        foreach (var picture in pictures)
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{picture.Name}\0{picture.Caption}\0"));
            hash.AppendData(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(picture.Source)));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
    }

    private IEnumerable<BenchKidPicture> Training(int fold) => Pictures.Where((_, index) => index % options.Folds != fold);

    private static string Nth(int number) => string.Create(CultureInfo.InvariantCulture, $"{number}{number switch { 2 => "nd", 3 => "rd", _ => "th" }}");
}
