using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Formats;

/// <summary>
/// A folder with a PEFT adapter for each part of a model, in folders of the parts' names, read as one file: <c>base_model.model.….lora_A.weight</c> in
/// <c>unet/</c> is <c>base_model.model.unet.….lora_A.weight</c>. Owns the open files.
/// </summary>
internal sealed class PeftFolder : ITensorFile
{
    private const string Prefix = "base_model.model.";

    private readonly Dictionary<string, ITensorFile> parts;
    private readonly Dictionary<string, (ITensorFile File, string Name)> places = [];
    private readonly Dictionary<string, TensorInfo> tensors = [];

    private PeftFolder(string path, Dictionary<string, ITensorFile> parts)
    {
        (Path, this.parts) = (path, parts);
        foreach (var (part, file) in parts)
        {
            foreach (var info in file.Tensors.Values)
            {
                var name = info.Name.StartsWith(Prefix, StringComparison.Ordinal) ? $"{Prefix}{part}.{info.Name[Prefix.Length..]}" : $"{part}.{info.Name}";
                tensors[name] = new TensorInfo(name, info.Type, info.Shape, info.Offset, info.Length);
                places[name] = (file, info.Name);
            }
        }
        Metadata = parts.Values.SelectMany(file => file.Metadata).GroupBy(item => item.Key).Where(group => group.Distinct().Count() == 1).ToDictionary(group => group.Key, group => group.First().Value);
    }

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, TensorInfo> Tensors => tensors;

    /// <summary>What all parts say alike.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>By part its file.</summary>
    public IReadOnlyDictionary<string, string> Files => parts.ToDictionary(part => part.Key, part => part.Value.Path);

    /// <summary>Folders of parts in a folder, with their adapters; empty where there are none.</summary>
    /// <param name="folder">To look in.</param>
    /// <param name="adapterIn">The adapter of a part's folder; null where it has none.</param>
    public static Dictionary<string, string> PartsOf(string folder, Func<string, string?> adapterIn) => Directory.GetDirectories(folder).Order(StringComparer.Ordinal)
        .Select(part => (Name: System.IO.Path.GetFileName(part), File: adapterIn(part))).Where(part => part.File is not null && part.Name is "unet" or "text_encoder" or "text_encoder_2")
        .ToDictionary(part => part.Name, part => part.File!);

    /// <summary>Opens the adapters of all parts.</summary>
    /// <param name="folder">That they lie in.</param>
    /// <param name="files">By part.</param>
    /// <exception cref="CheckpointException">One of them is no intact tensor file.</exception>
    public static PeftFolder Open(string folder, IReadOnlyDictionary<string, string> files)
    {
        var open = new Dictionary<string, ITensorFile>();
        try
        {
            foreach (var (part, file) in files) open[part] = Checkpoint.OpenFile(file);
            return new PeftFolder(folder, open);
        }
        catch
        {
            foreach (var file in open.Values) file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public Tensor Read(string name) => Place(name).File.Read(Place(name).Name);

    /// <inheritdoc/>
    public Tensor Map(string name) => Place(name).File.Map(Place(name).Name);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var file in parts.Values) file.Dispose();
    }

    private (ITensorFile File, string Name) Place(string name) => places[this.Find(name).Name];
}
