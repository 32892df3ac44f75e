using LowRank.Adapters;
using LowRank.Adapters.Formats;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>Where a converted adapter goes: one file, PEFT's folder, or the lists of the package of 2022, with learned tokens beside where they have no place inside.</summary>
internal sealed class ConvertedOutput
{
    private const string Model = "adapter_model.safetensors", Diffusers = "pytorch_lora_weights.safetensors";

    private readonly WrittenConvention to;
    private readonly string path;

    private ConvertedOutput(WrittenConvention to, string path) => (this.to, this.path) = (to, path);

    /// <summary>Whether bare lists are written.</summary>
    public bool IsLists => to == WrittenConvention.Legacy && path.EndsWith(".pt", StringComparison.OrdinalIgnoreCase);

    /// <summary>Checks the name before any work.</summary>
    /// <exception cref="OptionsException">It does not fit what is written, or would replace the input or a folder of something else.</exception>
    public static ConvertedOutput For(ConvertOptions options, AdapterFile file)
    {
        var path = options.Output;
        var isFolder = Directory.Exists(path) || Path.EndsInDirectorySeparator(path);
        if (options.To == WrittenConvention.Peft)
        {
            if (File.Exists(path)) throw Refuse("PEFT is written as a folder, and this is a file", path, "name a folder");
            var input = Path.GetFullPath(file.Files[0]);
            if (input.StartsWith(Path.GetFullPath(path).TrimEnd(Path.DirectorySeparatorChar) + Path.DirectorySeparatorChar, StringComparison.Ordinal)) throw Refuse("the input lies in the output folder and would be replaced", path, "name another folder");
            if (isFolder && Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path, "*", SearchOption.AllDirectories).Any(item => !Directory.Exists(item) && Path.GetFileName(item) is not (Model or PeftScaling.ConfigFile)))
            {
                throw Refuse("the output folder holds other things than a PEFT adapter, which would be gone", path, "name a folder that is new or empty");
            }
            return new ConvertedOutput(options.To, Path.TrimEndingDirectorySeparator(path));
        }
        if (isFolder)
        {
            if (options.To is not (WrittenConvention.Diffusers or WrittenConvention.DiffusersOld or WrittenConvention.AttnProcs)) throw Refuse($"{options.To.InWords()} is written as a file, and this is a folder", path, "name a file");
            path = Path.Combine(path, Diffusers);
        }
        var lists = options.To == WrittenConvention.Legacy && path.EndsWith(".pt", StringComparison.OrdinalIgnoreCase);
        if (!lists && !path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase)) throw Refuse($"the output must end with .safetensors{(options.To == WrittenConvention.Legacy ? " or .pt" : "")}", path, "give it that ending");
        if (Path.GetFullPath(path) == Path.GetFullPath(file.Path)) throw Refuse("the output would replace the input", path, "name another file");
        return new ConvertedOutput(options.To, path);
    }

    /// <summary>Writes everything; the adapter last, so that it is not there without what belongs to it.</summary>
    /// <returns>The files, the adapter's first.</returns>
    /// <exception cref="CheckpointException">A file cannot be written, or a learned token's file is there already.</exception>
    public IReadOnlyList<string> Write(ConvertedAdapter adapter, AdapterFile file)
    {
        var tokens = adapter.Beside.Count == 0 ? [] : WriteTokens(adapter.Beside, file);
        if (to == WrittenConvention.Peft) return [.. WriteFolder(adapter.Parts), .. tokens];
        if (IsLists) return [.. WriteLists(adapter.Parts), .. tokens];
        var part = adapter.Parts.Single();
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        SafetensorsWriter.Write(path, part.Tensors, part.Metadata);
        return [path, .. tokens];
    }

    /// <summary>One part in the folder itself, several in folders of their own.</summary>
    private List<string> WriteFolder(IReadOnlyList<ConvertedPart> parts)
    {
        var written = new List<string>();
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        WholeFolder.Write(path, folder =>
        {
            foreach (var part in parts)
            {
                var own = parts.Count == 1 ? "" : part.Component!;
                Directory.CreateDirectory(Path.Combine(folder, own));
                SafetensorsWriter.Write(Path.Combine(folder, own, Model), part.Tensors, part.Metadata);
                File.WriteAllText(Path.Combine(folder, own, PeftScaling.ConfigFile), part.Config);
                written.Add(Path.Combine(path, own, Model));
            }
        });
        return written;
    }

    /// <summary><c>x.pt</c>, <c>x.text_encoder.pt</c>, <c>x.ti.pt</c>: the package finds the others by the name of one.</summary>
    private List<string> WriteLists(IReadOnlyList<ConvertedPart> parts)
    {
        var stem = path[..^".pt".Length];
        foreach (var ending in new[] { ".text_encoder", ".ti" })
        {
            if (stem.EndsWith(ending, StringComparison.Ordinal)) stem = stem[..^ending.Length];
        }
        var written = new List<string>();
        foreach (var part in parts)
        {
            var target = part.Component switch { "unet" => $"{stem}.pt", null => path, var component => $"{stem}.{component}.pt" };
            if (part.Component == ConvertedEmbeddings.TokenPart) TorchFileWriter.WriteDictionary(target, part.Tensors);
            else TorchFileWriter.WriteList(target, [.. part.Tensors.Select(item => item.Value)]);
            written.Add(target);
        }
        return written;
    }

    private List<string> WriteTokens(IReadOnlyList<AdapterEmbedding> tokens, AdapterFile file)
    {
        var stem = to == WrittenConvention.Peft ? path : Path.ChangeExtension(path, null);
        var written = new List<string>();
        foreach (var group in tokens.GroupBy(token => token.Name))
        {
            var target = $"{stem}-{EmbeddingWriter.FileName(group.Key)}.safetensors";
            if (File.Exists(target)) throw new CheckpointException($"the learned token {group.Key} has no place in a {to.InWords()} file and goes into one of its own, which is there already; {target}; move it away, or name another output");
            var embedding = new Embedding(group.Key, group.ToDictionary(item => item.Component, item => file.Read(item).view(-1, item.Shape[^1])));
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(target))!);
            EmbeddingWriter.Write(target, embedding, to == WrittenConvention.Lycoris ? EmbeddingFormat.A1111 : EmbeddingFormat.Diffusers, embedding.Vectors.First().Value.dtype.ToStoredType());
            written.Add(target);
        }
        return written;
    }

    private static OptionsException Refuse(string what, string path, string advice) => new($"{what}: {path}\n  try     {advice}");
}
