using System.Globalization;
using System.Text;
using System.Text.Json;
using LowRank.Foundation;
using LowRank.Text;

namespace LowRank.Preparation;

/// <summary>
/// The words of a captioner: <c>vocab.txt</c>, a piece a line, where ## goes on with the word before (BERT's WordPiece: BLIP),
/// or <c>vocab.json</c>, pieces of bytes by number (GPT-2's: ViT-GPT2, GIT's kind). Pieces in [ ] or &lt; &gt; are marks, not text.
/// </summary>
internal sealed class CaptionVocabulary
{
    /// <summary>Marks for start and end that go together; others have to be named by the user.</summary>
    private static readonly (string Start, string End)[] KnownMarks = [("[DEC]", "[SEP]"), ("[bos]", "[eos]"), ("<s>", "</s>"), ("<|startoftext|>", "<|endoftext|>"), ("<|endoftext|>", "<|endoftext|>")];

    /// <summary>English as people write it (transformers, <c>clean_up_tokenization</c>).</summary>
    private static readonly (string Spaced, string Written)[] Punctuation =
        [(" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re")];

    private readonly Dictionary<long, string> pieces;
    private readonly bool ofBytes;
    private readonly string path;

    private CaptionVocabulary(Dictionary<long, string> pieces, bool ofBytes, string path) => (this.pieces, this.ofBytes, this.path) = (pieces, ofBytes, path);

    /// <summary>Reads a vocabulary.</summary>
    /// <exception cref="CheckpointException">The file is missing or not of either form.</exception>
    public static CaptionVocabulary Open(string path)
    {
        if (!File.Exists(path)) throw new CheckpointException($"no vocabulary: {path}; a captioner comes with one, vocab.txt or vocab.json");
        if (!path.EndsWith(".json", StringComparison.OrdinalIgnoreCase))
        {
            return new CaptionVocabulary(File.ReadAllLines(path).Select((piece, index) => (piece, index)).ToDictionary(item => (long)item.index, item => item.piece), ofBytes: false, path);
        }
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(path));
            return new CaptionVocabulary(json.RootElement.EnumerateObject().ToDictionary(item => item.Value.GetInt64(), item => item.Name), ofBytes: true, path);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException or FormatException or ArgumentException)
        {
            throw new CheckpointException($"no vocabulary: {path}: {error.Message.TrimEnd('.')}; an object of pieces and their numbers is expected", error);
        }
    }

    /// <summary>The ids that begin and end a caption.</summary>
    /// <param name="start">A piece or a number; null: a known pair of marks.</param>
    /// <param name="end">A piece or a number; null: a known pair of marks.</param>
    /// <exception cref="OptionsException">A piece is not in the vocabulary, or there is no known pair.</exception>
    public (long Start, long End) Marks(string? start, string? end)
    {
        if (start is not null && end is not null) return (Id("start-token", start), Id("end-token", end));
        foreach (var (first, last) in KnownMarks)
        {
            if (Find(first) is { } begins && Find(last) is { } ends) return (start is null ? begins : Id("start-token", start), end is null ? ends : Id("end-token", end));
        }
        throw new OptionsException($"{(start is null ? "start-token" : "end-token")}: not set, and {path} has no marks that are known; say --start-token and --end-token, each a word of it or a number (BLIP: 30522 and [SEP])");
    }

    /// <summary>The text of these ids, without marks.</summary>
    public string Decode(IEnumerable<long> ids)
    {
        var words = ids.Select(id => pieces.GetValueOrDefault(id, "")).Where(piece => piece.Length > 0 && !IsMark(piece));
        return ofBytes ? FromBytes(words) : FromPieces(words);
    }

    private static bool IsMark(string piece) => (piece.StartsWith('[') && piece.EndsWith(']')) || (piece.Length > 2 && piece.StartsWith('<') && piece.EndsWith('>'));

    private static string FromBytes(IEnumerable<string> words)
    {
        var bytes = new List<byte>();
        foreach (var word in words) BytePairVocabulary.AppendBytes(word, bytes);
        return Encoding.UTF8.GetString([.. bytes]).Trim();
    }

    private static string FromPieces(IEnumerable<string> words)
    {
        var text = new StringBuilder();
        foreach (var word in words)
        {
            if (word.StartsWith("##", StringComparison.Ordinal)) text.Append(word.AsSpan(2));
            else text.Append(text.Length == 0 ? "" : " ").Append(word);
        }
        return Punctuation.Aggregate(text.ToString(), (written, rule) => written.Replace(rule.Spaced, rule.Written, StringComparison.Ordinal));
    }

    private long? Find(string piece)
    {
        foreach (var (id, known) in pieces)
        {
            if (known == piece) return id;
        }
        return null;
    }

    private long Id(string option, string word) =>
        Find(word) ?? (long.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : throw new OptionsException($"{option}: \"{word}\" is no number and not in {path}"));
}
