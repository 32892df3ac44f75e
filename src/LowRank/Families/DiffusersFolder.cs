using LowRank.Foundation;

namespace LowRank.Families;

/// <summary>A model in the diffusers layout: <c>model_index.json</c>, and a folder for each part beside it.</summary>
internal sealed class DiffusersFolder : ModelFiles
{
    private static readonly string[] Texts = [".json", ".txt"];
    private readonly string? variant;

    private DiffusersFolder(string path, string? variant) => (Path, this.variant) = (path, variant);

    /// <inheritdoc/>
    public override string Path { get; }

    /// <summary>Reads the index.</summary>
    /// <param name="path">The folder.</param>
    /// <param name="options">How its files are read; null: as usual.</param>
    /// <param name="widen">As <see cref="ModelFiles.Widen"/>.</param>
    /// <param name="words">As <see cref="ModelFiles.Words"/>.</param>
    /// <exception cref="CheckpointException">No such file, or not an object; or an option that only files need.</exception>
    public static DiffusersFolder Open(string path, ModelFileOptions? options = null, bool widen = false, Func<IReadOnlyDictionary<string, long>>? words = null)
    {
        path = System.IO.Path.GetFullPath(path);
        if (!File.Exists(System.IO.Path.Combine(path, IndexName)))
        {
            throw new CheckpointException($"not a model in the diffusers layout: {IndexName} is missing; in {path}; give the folder that holds {IndexName} with unet, vae and text_encoder beside it");
        }
        if (options?.ForFiles.FirstOrDefault() is { } option)
        {
            throw new OptionsException($"{option} is for checkpoints of one file, and the model is a folder, which has its own; {path}; leave it out");
        }
        var folder = new DiffusersFolder(path, options?.Variant) { Widen = widen, Words = words };
        _ = folder.Named;   // an index that cannot be read is told of first
        return folder;
    }

    /// <inheritdoc/>
    public override byte[]? Read(string file)
    {
        var path = PlaceOf(file);
        return File.Exists(path) ? File.ReadAllBytes(path) : null;
    }

    /// <inheritdoc/>
    public override string PlaceOf(string file) => System.IO.Path.Combine([Path, .. file.Split('/')]);

    /// <inheritdoc/>
    public override bool Has(string part) => Directory.Exists(PlaceOf(part));

    /// <inheritdoc/>
    public override bool HasWeights(string part) => ComponentFiles.FindIn(PlaceOf(part), variant) is not null;

    /// <inheritdoc/>
    public override Checkpoint OpenWeights(string part) => Checkpoint.Open(ComponentFiles.Find(PlaceOf(part), variant));

    /// <inheritdoc/>
    public override IEnumerable<(string Name, string File)> FilesOf(string part) => !Has(part) ? []
        : Directory.GetFiles(PlaceOf(part)).Order(StringComparer.Ordinal).Select(file => ($"{part}/{System.IO.Path.GetFileName(file)}{variant}", file));

    /// <inheritdoc/>
    public override void CopyTo(string part, string target, bool weights)
    {
        var from = PlaceOf(part);
        Directory.CreateDirectory(target);
        foreach (var file in Directory.GetFiles(from, "*", SearchOption.AllDirectories).Where(file => weights || IsConfiguration(System.IO.Path.GetFileName(file))))
        {
            var copy = System.IO.Path.Combine(target, System.IO.Path.GetRelativePath(from, file));
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
            File.SetAttributes(copy, FileAttributes.Normal);   // a copy of a read-only file can be replaced
        }
    }

    private protected override CheckpointException Lacks(string part) => new($"the model lacks a part: the folder {part} is missing; in {Path}; copy the whole model, with every part that {IndexName} names");

    private protected override void RequireWeights(string part) => ComponentFiles.Find(PlaceOf(part), variant);

    private static bool IsConfiguration(string file) => Texts.Contains(System.IO.Path.GetExtension(file)) && !file.Contains(".index.", StringComparison.Ordinal);
}
