using LowRank.Data;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Tests.Images;

namespace LowRank.Tests.Data;

/// <summary>A folder of pictures and captions for one test.</summary>
internal sealed class DataFolder : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public string FullName => folder.FullName;

    public DataFolder Picture(string name, int width = 64, int height = 64, string? caption = null, int seed = 1)
    {
        File.WriteAllBytes(folder.Path(name.Split('/')), Samples.Png(width, height, seed));
        if (caption is not null) Text(Path.ChangeExtension(name, ".txt"), caption);
        return this;
    }

    public DataFolder Text(string name, string text)
    {
        File.WriteAllText(folder.Path(name.Split('/')), text);
        return this;
    }

    public DataFolder Bytes(string name, byte[] bytes)
    {
        File.WriteAllBytes(folder.Path(name.Split('/')), bytes);
        return this;
    }

    public DataSetOptions Options => new() { Folder = FullName };

    public ImageFolder.Scan Read(Func<DataSetOptions, DataSetOptions>? change = null, int resolution = 64) =>
        ImageFolder.Read(change is null ? Options : change(Options), resolution, TestContext.Current.CancellationToken);

    /// <summary>The message of the error, with this folder called FOLDER.</summary>
    public string ErrorOf(Func<DataSetOptions, DataSetOptions>? change = null) => Hide(Assert.Throws<DatasetException>(() => Read(change)).Message);

    public string Hide(string text) => text.Replace(FullName, "FOLDER", StringComparison.Ordinal);

    public void Dispose() => folder.Dispose();
}
