using System.Security.Cryptography;
using LowRank.Data;
using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Images;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>What a folder of pictures is measured by, from one walk over its files: only some pictures are held at once, so that there may be any number. Owns its tensors.</summary>
internal sealed class ScannedPictures : IDisposable
{
    private const int PicturesAtOnce = 32;
    private const long PixelsAtOnce = 20_000_000;   // 60 MB decoded; one larger picture goes alone

    private readonly IReadOnlyList<PictureFile> files;

    private ScannedPictures(IReadOnlyList<PictureFile> files, IReadOnlyList<IFeatureNetwork> networks)
    {
        this.files = files;
        Features = [.. networks.Select(network => empty(files.Count, network.Dimension).DetachFromDisposeScope())];
    }

    /// <summary>How many pictures.</summary>
    public int Count => files.Count;

    /// <summary>(n, d) float32 of each network, in their order.</summary>
    public IReadOnlyList<Tensor> Features { get; }

    /// <summary>Of each picture, as it is and mirrored.</summary>
    public List<(PictureHash Upright, PictureHash Mirrored)> Hashes { get; } = [];

    /// <summary>Of all files in their order; names do not count.</summary>
    public string Sha256 { get; private set; } = "";

    /// <summary>Walks over files.</summary>
    /// <param name="files">At least one.</param>
    /// <param name="networks">None where hashes are enough.</param>
    /// <param name="progress">Hears how many are done.</param>
    /// <param name="cancellation">Stops between groups.</param>
    /// <exception cref="DatasetException">A picture cannot be read, or its features are no numbers.</exception>
    public static ScannedPictures Of(IReadOnlyList<PictureFile> files, IReadOnlyList<IFeatureNetwork> networks, Action<int> progress, CancellationToken cancellation)
    {
        var scanned = new ScannedPictures(files, networks);
        try
        {
            scanned.Walk(networks, progress, cancellation);
            return scanned;
        }
        catch
        {
            scanned.Dispose();
            throw;
        }
    }

    /// <summary>A picture's name, from its folder on.</summary>
    public string NameOf(int index) => files[index].RelativePath.Replace('\\', '/');

    /// <summary>Reads a picture once more.</summary>
    public RgbImage Read(int index) => Decode(files[index], File.ReadAllBytes(files[index].Path));

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var features in Features) features.Dispose();
    }

    private void Walk(IReadOnlyList<IFeatureNetwork> networks, Action<int> progress, CancellationToken cancellation)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var held = new List<RgbImage>();
        for (var i = 0; i < files.Count; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            var content = ReadFile(files[i]);
            hash.AppendData(SHA256.HashData(content));
            held.Add(Decode(files[i], content));
            Hashes.Add((PictureHash.Of(held[^1]), PictureHash.Of(NearDuplicates.Mirror(held[^1]))));
            if (held.Count < PicturesAtOnce && held.Sum(picture => picture.Size.Pixels) < PixelsAtOnce && i < files.Count - 1) continue;
            for (var network = 0; network < networks.Count; network++) Measure(networks[network], held, Features[network], i + 1 - held.Count);
            held.Clear();
            progress(i + 1);
        }
        Sha256 = Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private void Measure(IFeatureNetwork network, List<RgbImage> pictures, Tensor all, int first)
    {
        using var scope = NewDisposeScope();
        var features = network.Features(pictures);
        var bad = features.isfinite().all(1).logical_not().nonzero();
        if (bad.size(0) > 0) throw new DatasetException($"{network.Name} gives no numbers for {files[first + (int)bad[0, 0].item<long>()].Path}\n  try         other weights: these may be damaged");
        all.narrow(0, first, pictures.Count).copy_(features);
    }

    private static byte[] ReadFile(PictureFile file)
    {
        try
        {
            return File.ReadAllBytes(file.Path);
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(file, problem);
        }
    }

    private static RgbImage Decode(PictureFile file, byte[] content)
    {
        try
        {
            return ImageFile.Decode(content);
        }
        catch (ImageDefectException problem)
        {
            throw Unreadable(file, problem);
        }
    }

    /// <summary>None is left out in silence: the numbers would be those of other pictures than the folder's.</summary>
    private static DatasetException Unreadable(PictureFile file, Exception problem) => new($"picture cannot be read: {file.Path}\n  {problem.Message}\n  try         to repair it, or to take it out of the folder", problem);
}
