using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>
/// The weights of one model or component: a file (<c>.safetensors</c>, or a torch zip file such as <c>.ckpt</c>, <c>.bin</c>, <c>.pt</c>;
/// told apart by content), a set of files with an index, or a component's folder such as <c>unet/</c>.
/// Owns the open files. Tensors and modules that were given mapped weights stay valid after it is disposed.
/// </summary>
internal sealed class Checkpoint : IDisposable
{
    private readonly Dictionary<string, ITensorFile> files;
    private readonly ITensorFile? only;

    private Checkpoint(string path, Dictionary<string, ITensorFile> files, ITensorFile? only)
    {
        Path = path;
        this.files = files;
        this.only = only;
    }

    /// <summary>The file or index that is open.</summary>
    public string Path { get; }

    /// <summary>The names of all tensors.</summary>
    public IReadOnlyCollection<string> Names => files.Keys;

    /// <summary>The safetensors metadata; empty for other formats and for sets of files.</summary>
    public IReadOnlyDictionary<string, string> Metadata => only?.Metadata ?? new Dictionary<string, string>();

    /// <summary>Opens a file, an index, or a component's folder. Reads headers only.</summary>
    /// <param name="path">E.g. <c>sd15/unet</c>, <c>sd15/unet/diffusion_pytorch_model.safetensors</c>, <c>model.safetensors.index.json</c>, <c>old.ckpt</c>.</param>
    /// <exception cref="CheckpointException">Nothing is there, or it is damaged, or of a kind that is not read.</exception>
    public static Checkpoint Open(string path)
    {
        if (Directory.Exists(path)) path = ComponentFiles.Find(path);
        if (path.EndsWith(".json", StringComparison.OrdinalIgnoreCase)) return new Checkpoint(path, ComponentFiles.OpenIndex(path, OpenFile), null);
        return Over(OpenFile(path));
    }

    /// <summary>Over one file that is open, which it comes to own.</summary>
    public static Checkpoint Over(ITensorFile file) => new(file.Path, file.Tensors.Keys.ToDictionary(name => name, _ => file), file);

    /// <summary>Whether there is a tensor of the name.</summary>
    public bool Has(string name) => files.ContainsKey(name);

    /// <summary>What the file's header says of a tensor.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <exception cref="CheckpointException">No such tensor.</exception>
    public TensorInfo Info(string name) => FileOf(name).Tensors[name];

    /// <summary>Reads one tensor into fresh memory. The caller owns it.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <exception cref="CheckpointException">No such tensor, or an 8-bit float.</exception>
    public Tensor Read(string name) => FileOf(name).Read(name);

    /// <summary>A tensor as it is, for a file that is to be written; this stays open until then.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="written">Its name there; null: the same.</param>
    /// <exception cref="CheckpointException">No such tensor.</exception>
    public StreamedTensor Copy(string name, string? written = null) => StreamedTensor.Copy(written ?? name, FileOf(name), Info(name));

    /// <summary>One tensor over the file's own memory where the format allows it (see <see cref="SafetensorsReader.Map"/>), else a copy. The caller owns it.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <exception cref="CheckpointException">No such tensor, or an 8-bit float.</exception>
    public Tensor Map(string name) => FileOf(name).Map(name);

    /// <summary>
    /// Gives a module all its weights: each parameter and persistent buffer becomes the file's tensor, without a copy where it is on the CPU
    /// and of the wanted type already, else converted. Meant for modules built on the meta device, which take no time and no memory.
    /// Parameters are replaced, so make optimizers afterwards; they do not require gradients. Nothing is changed when anything does not fit.
    /// </summary>
    /// <param name="module">The module; its keys are those of its <c>state_dict</c>.</param>
    /// <param name="rename">From a name in the file to the module's key, or null for a tensor that the module does not need; none: names are keys.</param>
    /// <param name="type">Element type of floating-point weights; others keep the module's type.</param>
    /// <param name="device">Where to; none: the CPU.</param>
    /// <exception cref="CheckpointException">Keys are missing, unexpected or mis-shaped: the first ten of each and their count. Shapes are never broadcast.</exception>
    public void LoadInto(nn.Module module, Func<string, string?>? rename = null, ScalarType type = ScalarType.Float32, Device? device = null) =>
        LoadInto(module, Sources(rename), type, device);

    /// <summary>Checks that a module would get all its weights, and that none is left over. Loads nothing.</summary>
    /// <param name="module">As for <see cref="LoadInto(nn.Module, Func{string, string?}?, ScalarType, Device?)"/>.</param>
    /// <param name="rename">As there.</param>
    /// <exception cref="CheckpointException">As there.</exception>
    public void RequireFit(nn.Module module, Func<string, string?> rename) => ModuleWeights.RequireFit(module, Sources(rename), Path);

    private List<WeightSource> Sources(Func<string, string?>? rename)
    {
        var sources = new List<WeightSource>();
        foreach (var (name, file) in files)
        {
            if ((rename is null ? name : rename(name)) is not { } key) continue;
            sources.Add(new WeightSource(key, name, file.Tensors[name].Shape, () => file.Map(name)));
        }
        return sources;
    }

    /// <summary>
    /// The same from tensors that are cut, turned or reshaped on the way: <see cref="WeightSource.Read"/> returns a fresh tensor,
    /// usually a view of one that <see cref="Map"/> gave.
    /// </summary>
    internal void LoadInto(nn.Module module, IReadOnlyList<WeightSource> sources, ScalarType type = ScalarType.Float32, Device? device = null) =>
        ModuleWeights.Assign(module, sources, type, device ?? CPU, Path);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var file in files.Values.Append(only).OfType<ITensorFile>().Distinct()) file.Dispose();
    }

    private ITensorFile FileOf(string name) => files.TryGetValue(name, out var file)
        ? file
        : throw TensorFile.Refuse(Path, $"no tensor is named \"{name}\"{NearestName.Hint(name, files.Keys)}", "list the file's names with: lora inspect");

    /// <summary>By content, as names lie: a safetensors file has a small number and an opening brace, a torch file is a zip archive or a pickle.</summary>
    internal static ITensorFile OpenFile(string path)
    {
        var start = new byte[9];
        using (var stream = TensorFile.OpenForReading(path)) stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
        if (start is [_, _, _, _, 0, 0, 0, 0, (byte)'{']) return SafetensorsReader.Open(path);
        return start is [(byte)'P', (byte)'K', 3, 4, ..] or [0x80, < 6, ..] ? PickleTensorReader.Open(path) : SafetensorsReader.Open(path);
    }
}
