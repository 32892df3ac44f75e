namespace LowRank.Text;

/// <summary>
/// Builds a vocabulary of CLIP's kind from counted words (Sennrich et al. 2016, arXiv:1508.07909): every byte is a symbol, the last one of a word carries
/// <c>&lt;/w&gt;</c>; the pair of neighbours that is met most often becomes a symbol, of equal ones the ordinally smallest, until no pair is met twice.
/// </summary>
internal static class BytePairTrainer
{
    private const long LeastCount = 2;

    /// <summary>Merges in order.</summary>
    /// <param name="words">Words as they stand in normalised text, and how often.</param>
    /// <param name="most">No more than so many.</param>
    public static IReadOnlyList<(string Left, string Right)> Train(IReadOnlyDictionary<string, long> words, int most)
    {
        var training = new Pairs(words);
        var merges = new List<(string, string)>();
        while (merges.Count < most && training.Best() is { } best)
        {
            merges.Add(best);
            training.Merge(best);
        }
        return merges;
    }

    /// <summary>All words as symbols, and their neighbouring pairs: how often, and in which words.</summary>
    private sealed class Pairs
    {
        private readonly List<(List<string> Symbols, long Count)> words = [];
        private readonly Dictionary<(string Left, string Right), (long Count, HashSet<int> Words)> pairs = [];

        public Pairs(IReadOnlyDictionary<string, long> counted)
        {
            foreach (var (word, count) in counted)
            {
                words.Add(([.. BytePairVocabulary.SymbolsOf(word)], count));
                Add(words.Count - 1, 1);
            }
        }

        public (string Left, string Right)? Best()
        {
            ((string Left, string Right) Pair, long Count)? best = null;
            foreach (var (pair, (count, _)) in pairs)
            {
                if (count >= LeastCount && (best is not { } known || count > known.Count || count == known.Count && Compare(pair, known.Pair) < 0)) best = (pair, count);
            }
            return best?.Pair;
        }

        public void Merge((string Left, string Right) pair)
        {
            foreach (var word in pairs[pair].Words.ToList())
            {
                Add(word, -1);
                var symbols = words[word].Symbols;
                for (var at = 0; at + 1 < symbols.Count; at++)
                {
                    if ((symbols[at], symbols[at + 1]) != pair) continue;
                    symbols[at] += symbols[at + 1];
                    symbols.RemoveAt(at + 1);
                }
                Add(word, 1);
            }
        }

        /// <summary>Counts the pairs of a word once more, or takes them off.</summary>
        private void Add(int word, int sign)
        {
            var (symbols, count) = words[word];
            for (var at = 0; at + 1 < symbols.Count; at++)
            {
                var pair = (symbols[at], symbols[at + 1]);
                var (known, where) = pairs.GetValueOrDefault(pair, (0, []));
                if (sign > 0) where.Add(word);
                else where.Remove(word);
                if (known + sign * count == 0) pairs.Remove(pair);
                else pairs[pair] = (known + sign * count, where);
            }
        }

        private static int Compare((string Left, string Right) one, (string Left, string Right) other)
        {
            var left = string.CompareOrdinal(one.Left, other.Left);
            return left != 0 ? left : string.CompareOrdinal(one.Right, other.Right);
        }
    }
}
