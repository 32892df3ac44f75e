using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using LowRank.Foundation;

namespace LowRank.Text;

/// <summary>A tokenizer of CLIP's kind that was built from texts: bytes, bytes at the end of a word, merges, start and end.</summary>
internal sealed class BuiltTokenizer
{
    private const int OtherTokens = 2 * 256 + 2;
    private static readonly SpecialTokens Special = new();
    private static readonly JsonSerializerOptions Readable = new() { WriteIndented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly IReadOnlyList<(string Left, string Right)> merges;
    private readonly int longest;

    private BuiltTokenizer(IReadOnlyList<(string Left, string Right)> merges, int longest) => (this.merges, this.longest) = (merges, longest);

    /// <summary>Fewest ids that such a tokenizer has.</summary>
    public static int FewestIds => OtherTokens;

    /// <summary>Counts the words of texts, each text once.</summary>
    /// <param name="texts">Captions; equal ones count once.</param>
    /// <param name="more">Words that people will type beside those; each counts twice wherever it stands in the list, and is not taken apart.</param>
    public static IReadOnlyDictionary<string, long> Count(IEnumerable<string> texts, IEnumerable<string> more)
    {
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var word in texts.Distinct(StringComparer.Ordinal).SelectMany(ClipTokenizer.Words)) counts[word] = counts.GetValueOrDefault(word) + 1;
        foreach (var word in more.Select(word => word.Trim().ToLowerInvariant())) counts[word] = counts.GetValueOrDefault(word) + 2;
        return counts;
    }

    /// <summary>Builds one.</summary>
    /// <param name="words">Words as they stand in normalised text, and how often (<see cref="Count"/>).</param>
    /// <param name="most">No more ids than these; <see cref="FewestIds"/> or more.</param>
    /// <param name="longest">Longest prompt in tokens, start and end included.</param>
    public static BuiltTokenizer Of(IReadOnlyDictionary<string, long> words, int most, int longest) => new(BytePairTrainer.Train(words, most - OtherTokens), longest);

    /// <summary>Tokens in the order of their ids.</summary>
    public IEnumerable<string> Tokens => [.. BytePairVocabulary.ByteTokens, .. merges.Select(pair => pair.Left + pair.Right), Special.Start, Special.End];

    /// <summary>Ready for use.</summary>
    /// <param name="source">What to call it in messages.</param>
    public ClipTokenizer Open(string source)
    {
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var token in Tokens) ids.TryAdd(token, ids.Count);
        return new ClipTokenizer(new BytePairVocabulary(ids, merges, source), Special with { MaximumLength = longest }, [], source);
    }

    /// <summary>Writes the files of a tokenizer folder, as transformers reads them.</summary>
    /// <param name="folder">Made where it is not there.</param>
    public void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        void Text(string name, string text) => WholeFile.Write(Path.Combine(folder, name), Encoding.UTF8.GetBytes(text));
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var token in Tokens) ids.TryAdd(token, ids.Count);
        var special = new Dictionary<string, object> { ["bos_token"] = Special.Start, ["eos_token"] = Special.End, ["pad_token"] = Special.Padding, ["unk_token"] = Special.Unknown };
        Text("vocab.json", JsonSerializer.Serialize(ids, Readable) + "\n");
        Text("merges.txt", "#version: 0.2\n" + string.Concat(merges.Select(pair => $"{pair.Left} {pair.Right}\n")));
        Text("special_tokens_map.json", JsonSerializer.Serialize(special, Readable) + "\n");
        Text("tokenizer_config.json", JsonSerializer.Serialize(new Dictionary<string, object>(special)
        {
            ["add_prefix_space"] = false,
            ["errors"] = "replace",
            ["do_lower_case"] = true,
            ["model_max_length"] = longest,
            ["tokenizer_class"] = "CLIPTokenizer",
        }, Readable) + "\n");
    }
}
