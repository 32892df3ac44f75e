using System.Text.Json;
using LowRank.Foundation;

namespace LowRank.Text;

/// <summary>
/// Reads a tokenizer folder: <c>vocab.json</c> with <c>merges.txt</c>, or the one <c>tokenizer.json</c> that newer tools write; and, where they are there,
/// <c>tokenizer_config.json</c>, <c>special_tokens_map.json</c> and <c>added_tokens.json</c>.
/// </summary>
internal static class TokenizerFolder
{
    /// <summary>All file names that a tokenizer may have.</summary>
    public static IReadOnlyList<string> Files { get; } = ["vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

    /// <summary>Whether there is a tokenizer.</summary>
    /// <param name="read">A file's content by its name; null where it is not there.</param>
    public static bool IsIn(Func<string, byte[]?> read) => read("vocab.json") is not null || read("tokenizer.json") is not null;

    /// <summary>The content of a file of a folder; null where it is not there.</summary>
    public static Func<string, byte[]?> In(string folder) => name => Path.Exists(Path.Combine(folder, name)) ? File.ReadAllBytes(Path.Combine(folder, name)) : null;

    /// <summary>Reads a folder on disk.</summary>
    /// <exception cref="CheckpointException">A file is missing or damaged, or asks for what CLIP's tokenizer does not do.</exception>
    public static ClipTokenizer Open(string folder) => Open(folder, In(folder));

    /// <summary>Reads a tokenizer wherever its files lie.</summary>
    /// <param name="folder">What to call the place in messages.</param>
    /// <param name="read">A file's content by its name; null where it is not there.</param>
    /// <exception cref="CheckpointException">A file is missing or damaged, or asks for what CLIP's tokenizer does not do.</exception>
    public static ClipTokenizer Open(string folder, Func<string, byte[]?> read)
    {
        using var config = ReadIfPresent(folder, "tokenizer_config.json", read);
        using var map = ReadIfPresent(folder, "special_tokens_map.json", read);
        RequireClip(config, Path.Combine(folder, "tokenizer_config.json"));
        var special = ReadSpecial(config, map, folder);
        using var older = ReadIfPresent(folder, "added_tokens.json", read);
        var added = ReadAdded(folder, config, older);
        if (read("vocab.json") is not null || read("tokenizer.json") is null)
        {
            return new ClipTokenizer(ReadVocabulary(folder, read), special, added, folder);
        }
        var path = Path.Combine(folder, "tokenizer.json");
        using var whole = Read(folder, "tokenizer.json", read);
        return new ClipTokenizer(ReadWhole(whole, path, added), special, added, folder);
    }

    private static BytePairVocabulary ReadVocabulary(string folder, Func<string, byte[]?> read)
    {
        using var json = Read(folder, "vocab.json", read);
        var ids = ReadIds(json.RootElement, Path.Combine(folder, "vocab.json"));
        return new BytePairVocabulary(ids, ReadMerges(Path.Combine(folder, "merges.txt"), Require(folder, "merges.txt", read)), folder);
    }

    private static List<(string, string)> ReadMerges(string path, byte[] text)
    {
        List<(string, string)> merges = [];
        var number = 0;
        using var lines = new StreamReader(new MemoryStream(text));
        while (lines.ReadLine() is { } line)
        {
            number++;
            if (line.Length == 0 || line.StartsWith("#version", StringComparison.Ordinal)) continue;
            merges.Add(Pair(line, $"line {number}", path));
        }
        return merges;
    }

    private static (string, string) Pair(string line, string where, string path)
    {
        var parts = line.Split(' ');
        return parts is [{ Length: > 0 } left, { Length: > 0 } right] ? (left, right)
            : throw new CheckpointException($"a merge is two tokens with a space between: \"{line}\"; in {path}, {where}; copy the file from the model's tokenizer, unchanged");
    }

    /// <summary>The tokenizers library's one file; the tokens it adds behind its vocabulary go into <paramref name="added"/>.</summary>
    private static BytePairVocabulary ReadWhole(JsonDocument whole, string path, List<AddedToken> added)
    {
        if (whole.RootElement.ValueKind != JsonValueKind.Object || !whole.RootElement.TryGetProperty("model", out var model)
            || model.ValueKind != JsonValueKind.Object || !model.TryGetProperty("vocab", out var vocab) || !model.TryGetProperty("merges", out var merges)
            || merges.ValueKind != JsonValueKind.Array)
        {
            throw new CheckpointException($"no byte-pair model: \"model\" with \"vocab\" and \"merges\" is expected; in {path}; copy the file from a CLIP tokenizer, unchanged");
        }
        if (whole.RootElement.TryGetProperty("added_tokens", out var tokens) && tokens.ValueKind == JsonValueKind.Array)
        {
            foreach (var token in tokens.EnumerateArray())
            {
                if (!token.TryGetProperty("id", out var id) || !id.TryGetInt32(out var number)) throw WrongKind("a token with an \"id\"", token, path, "added_tokens");
                Add(added, token, number, path, "added_tokens");
            }
        }
        var ids = ReadIds(vocab, path);
        var pairs = merges.EnumerateArray().Select((merge, i) => merge.ValueKind == JsonValueKind.Array
            ? Pair(string.Join(' ', merge.EnumerateArray().Select(part => part.GetString())), $"merge {i + 1}", path)
            : Pair(merge.GetString() ?? "", $"merge {i + 1}", path));
        return new BytePairVocabulary(ids, [.. pairs], path);
    }

    private static Dictionary<string, int> ReadIds(JsonElement vocab, string path)
    {
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        if (vocab.ValueKind != JsonValueKind.Object) throw WrongKind("an object of tokens and ids", vocab, path, "the vocabulary");
        foreach (var entry in vocab.EnumerateObject())
        {
            if (entry.Value.ValueKind != JsonValueKind.Number || !entry.Value.TryGetInt32(out var id) || id < 0) throw WrongKind("a whole number from 0 up", entry.Value, path, entry.Name);
            ids[entry.Name] = id;
        }
        return ids;
    }

    private static SpecialTokens ReadSpecial(JsonDocument? config, JsonDocument? map, string folder)
    {
        var defaults = new SpecialTokens();
        return new SpecialTokens
        {
            Start = Token("bos_token") ?? defaults.Start,
            End = Token("eos_token") ?? defaults.End,
            Unknown = Token("unk_token") ?? defaults.Unknown,
            Padding = Token("pad_token") ?? defaults.Padding,
            MaximumLength = MaximumLength(),
        };

        string? Token(string key) => TokenIn(config, key, Path.Combine(folder, "tokenizer_config.json")) ?? TokenIn(map, key, Path.Combine(folder, "special_tokens_map.json"));

        // "no limit" is written as a number around 1e30
        int? MaximumLength() => Property(config, "model_max_length") is { ValueKind: JsonValueKind.Number } value && value.GetDouble() is >= 2 and <= int.MaxValue and var length
            ? (int)length : null;
    }

    /// <summary>A token is written as its text, or as an object with <c>content</c>.</summary>
    private static string? TokenIn(JsonDocument? json, string key, string path)
    {
        if (Property(json, key) is not { } value) return null;
        return value.ValueKind switch
        {
            JsonValueKind.Null => null,
            JsonValueKind.String => value.GetString(),
            JsonValueKind.Object when value.TryGetProperty("content", out var content) && content.ValueKind == JsonValueKind.String => content.GetString(),
            _ => throw WrongKind("a text, or an object with \"content\"", value, path, key),
        };
    }

    private static List<AddedToken> ReadAdded(string folder, JsonDocument? config, JsonDocument? older)
    {
        List<AddedToken> added = [];
        if (Property(config, "added_tokens_decoder") is { ValueKind: JsonValueKind.Object } decoder)
        {
            var path = Path.Combine(folder, "tokenizer_config.json");
            foreach (var entry in decoder.EnumerateObject())
            {
                if (!int.TryParse(entry.Name, System.Globalization.CultureInfo.InvariantCulture, out var id)) throw WrongKind("ids as keys", entry.Value, path, entry.Name);
                Add(added, entry.Value, id, path, entry.Name);
            }
        }
        if (older is null) return added;
        foreach (var (text, id) in ReadIds(older.RootElement, Path.Combine(folder, "added_tokens.json")))
        {
            if (!added.Any(token => token.Text == text)) added.Add(new AddedToken(text, id, Special: false));
        }
        return added;
    }

    private static void Add(List<AddedToken> added, JsonElement token, int id, string path, string key)
    {
        if (token.ValueKind != JsonValueKind.Object || !token.TryGetProperty("content", out var content) || content.GetString() is not { Length: > 0 } text)
        {
            throw WrongKind("a token with a \"content\"", token, path, key);
        }
        foreach (var flag in (string[])["lstrip", "rstrip", "single_word"])
        {
            if (Flag(token, flag)) throw new CheckpointException($"unsupported value: {flag} of the token \"{text}\" is true; in {path}; only false is supported");
        }
        if (!added.Any(item => item.Text == text)) added.Add(new AddedToken(text, id, Flag(token, "special")));
    }

    private static bool Flag(JsonElement token, string name) => token.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.True;

    private static void RequireClip(JsonDocument? config, string path)
    {
        if (Property(config, "tokenizer_class") is { ValueKind: JsonValueKind.String } kind && kind.GetString() is not ("CLIPTokenizer" or "CLIPTokenizerFast"))
        {
            throw new CheckpointException($"unsupported value: tokenizer_class is \"{kind.GetString()}\"; in {path}; supported: CLIPTokenizer, CLIPTokenizerFast");
        }
        if (Property(config, "do_lower_case") is { ValueKind: JsonValueKind.False })
        {
            throw new CheckpointException($"unsupported value: do_lower_case is false; in {path}; supported: true");
        }
    }

    private static JsonElement? Property(JsonDocument? json, string key) =>
        json is not null && json.RootElement.ValueKind == JsonValueKind.Object && json.RootElement.TryGetProperty(key, out var value) ? value : null;

    private static JsonDocument? ReadIfPresent(string folder, string name, Func<string, byte[]?> read) => read(name) is null ? null : Read(folder, name, read);

    private static JsonDocument Read(string folder, string name, Func<string, byte[]?> read)
    {
        try
        {
            return JsonDocument.Parse(Require(folder, name, read));
        }
        catch (JsonException error)
        {
            throw new CheckpointException($"not JSON: {error.Message}; in {Path.Combine(folder, name)}; copy the file from the model again", error);
        }
    }

    private static byte[] Require(string folder, string name, Func<string, byte[]?> read) =>
        read(name) ?? throw new CheckpointException($"the tokenizer lacks a file: {name}; in {folder}; a tokenizer folder holds vocab.json and merges.txt, or tokenizer.json");

    private static CheckpointException WrongKind(string expected, JsonElement found, string path, string key) =>
        new($"{expected} is expected: {key} is {found.GetRawText()[..Math.Min(found.GetRawText().Length, 60)]}; in {path}; copy the file from the model again");
}
