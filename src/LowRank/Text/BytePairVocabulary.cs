using System.Text;
using LowRank.Foundation;

namespace LowRank.Text;

/// <summary>
/// The byte-pair half of CLIP's tokenizer: every byte is a symbol, the last one of a word carries <c>&lt;/w&gt;</c>,
/// and the best-ranked neighbouring pair is merged, everywhere at once, until none is left.
/// Sennrich et al. 2016 (arXiv:1508.07909) on the bytes of Radford et al. 2019; compare openai/CLIP clip/simple_tokenizer.py.
/// Immutable.
/// </summary>
internal sealed class BytePairVocabulary
{
    private const string EndOfWord = "</w>";
    private static readonly char[] ByteSymbols = MakeByteSymbols();

    private readonly Dictionary<string, int> ids;
    private readonly Dictionary<int, string> tokens;
    private readonly Dictionary<(int Left, int Right), (int Rank, int Merged)> merges = [];
    private readonly int[] inner = new int[256];
    private readonly int[] last = new int[256];

    /// <param name="ids">Token to id.</param>
    /// <param name="merges">Pairs, best first.</param>
    /// <param name="source">The file or files, for errors.</param>
    /// <exception cref="CheckpointException">A byte has no symbol, or a merge speaks of a token that the vocabulary lacks.</exception>
    public BytePairVocabulary(Dictionary<string, int> ids, IReadOnlyList<(string Left, string Right)> merges, string source)
    {
        this.ids = ids;
        tokens = new Dictionary<int, string>(ids.Count);
        foreach (var (token, id) in ids)
        {
            if (!tokens.TryAdd(id, token)) throw Broken($"\"{token}\" and \"{tokens[id]}\" both have id {id}", source);
        }
        for (var value = 0; value < 256; value++)
        {
            inner[value] = Id(ByteSymbols[value].ToString(), $"the symbol of byte {value}", source);
            last[value] = Id(ByteSymbols[value] + EndOfWord, $"the symbol of byte {value} at the end of a word", source);
        }
        for (var rank = 0; rank < merges.Count; rank++)
        {
            var (left, right) = merges[rank];
            var what = $"merge {rank + 1}, \"{left} {right}\"";
            this.merges.TryAdd((Id(left, what, source), Id(right, what, source)), (rank, Id(left + right, what, source)));
        }
    }

    /// <summary>The tokens that every such vocabulary begins with: the symbols of all bytes, printable ones first, then the same at the end of a word.</summary>
    public static IEnumerable<string> ByteTokens
    {
        get
        {
            var inOrder = ByteSymbols.Order().ToList();   // printable Latin-1 lies below U+0100
            return [.. inOrder.Select(symbol => symbol.ToString()), .. inOrder.Select(symbol => symbol + EndOfWord)];
        }
    }

    /// <summary>A word as the symbols of its bytes, the last one marked.</summary>
    public static IEnumerable<string> SymbolsOf(string word)
    {
        var bytes = Encoding.UTF8.GetBytes(word);
        return bytes.Select((value, at) => at == bytes.Length - 1 ? ByteSymbols[value] + EndOfWord : ByteSymbols[value].ToString());
    }

    /// <summary>Number of tokens.</summary>
    public int Count => ids.Count;

    /// <summary>One more than the largest id: where added tokens go on.</summary>
    public int NextId => tokens.Keys.Max() + 1;

    /// <summary>The token's id, or null.</summary>
    public int? Find(string token) => ids.TryGetValue(token, out var id) ? id : null;

    /// <summary>Appends the ids of one word (no white space inside) to <paramref name="result"/>.</summary>
    public void EncodeWord(string word, List<int> result)
    {
        var bytes = Encoding.UTF8.GetBytes(word);
        var symbols = new int[bytes.Length];
        for (var i = 0; i < symbols.Length; i++) symbols[i] = i == symbols.Length - 1 ? last[bytes[i]] : inner[bytes[i]];
        var count = symbols.Length;
        while (BestPair(symbols.AsSpan(0, count)) is { } best)
        {
            var kept = 0;
            for (var i = 0; i < count; i++)
            {
                var pair = i + 1 < count && (symbols[i], symbols[i + 1]) == best.Pair;
                symbols[kept++] = pair ? best.Merged : symbols[i];
                if (pair) i++;
            }
            count = kept;
        }
        result.AddRange(symbols.AsSpan(0, count));
    }

    /// <summary>Appends the bytes that a token stands for; a space after a word's end.</summary>
    public void Decode(int id, List<byte> result)
    {
        if (!tokens.TryGetValue(id, out var token)) throw new ArgumentOutOfRangeException(nameof(id), id, "the vocabulary has no such token");
        var ends = token.EndsWith(EndOfWord, StringComparison.Ordinal);
        AppendBytes(ends ? token.AsSpan(0, token.Length - EndOfWord.Length) : token, result);
        if (ends) result.Add((byte)' ');
    }

    /// <summary>Appends the bytes that these symbols of GPT-2's table stand for.</summary>
    public static void AppendBytes(ReadOnlySpan<char> symbols, List<byte> result)
    {
        foreach (var symbol in symbols)
        {
            var value = Array.IndexOf(ByteSymbols, symbol);
            if (value >= 0) result.Add((byte)value);
        }
    }

    private ((int Left, int Right) Pair, int Merged)? BestPair(ReadOnlySpan<int> symbols)
    {
        var bestRank = int.MaxValue;
        ((int, int), int)? best = null;
        for (var i = 0; i + 1 < symbols.Length; i++)
        {
            var pair = (symbols[i], symbols[i + 1]);
            if (!merges.TryGetValue(pair, out var merge) || merge.Rank >= bestRank) continue;
            bestRank = merge.Rank;
            best = (pair, merge.Merged);
        }
        return best;
    }

    private int Id(string token, string what, string source) =>
        ids.TryGetValue(token, out var id) ? id : throw Broken($"{what} needs the token \"{token}\", which is not there", source);

    private static CheckpointException Broken(string what, string source) =>
        new($"the vocabulary is not CLIP's kind: {what}; in {source}; copy vocab.json and merges.txt from the same tokenizer, unchanged");

    /// <summary>GPT-2's table: printable Latin-1 stands for itself, the 68 other bytes are U+0100 and up, in order.</summary>
    private static char[] MakeByteSymbols()
    {
        var table = new char[256];
        var next = (char)256;
        for (var value = 0; value < 256; value++) table[value] = value is >= 33 and <= 126 or >= 161 and <= 172 or >= 174 ? (char)value : next++;
        return table;
    }
}
