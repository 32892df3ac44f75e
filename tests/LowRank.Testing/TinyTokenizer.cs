using System.Text.Json;

namespace LowRank.Testing;

/// <summary>A folder with a CLIP tokenizer that knows 512 byte symbols and the special tokens; single letters have the lowest ids, 3 to 28, for models of few words.</summary>
public sealed class TinyTokenizer : IDisposable
{
    public TinyTokenizer()
    {
        Folder = Directory.CreateTempSubdirectory("lowrank-tokenizer-").FullName;
        var symbols = new List<string>();
        var next = (char)256;
        for (var value = 0; value < 256; value++) symbols.Add((value is >= 33 and <= 126 or >= 161 and <= 172 or >= 174 ? (char)value : next++).ToString());
        var ids = new Dictionary<string, int> { ["<|startoftext|>"] = 1, ["<|endoftext|>"] = 2 };
        // the letters first, so that words of letters stay below 40
        foreach (var symbol in symbols.OrderBy(symbol => symbol[0] is >= 'a' and <= 'z' ? 0 : 1).SelectMany(symbol => new[] { symbol + "</w>" })) ids[symbol] = ids.Count + 1;
        foreach (var symbol in symbols) ids[symbol] = ids.Count + 1;
        File.WriteAllText(Path.Combine(Folder, "vocab.json"), JsonSerializer.Serialize(ids));
        File.WriteAllText(Path.Combine(Folder, "merges.txt"), "#version: 0.2\n");
    }

    public string Folder { get; }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
