using LowRank.Foundation;
using static System.FormattableString;

namespace LowRank.Text;

/// <summary>One window of a text encoder: the start token, up to two tokens less than its length, the end token, padding; and the weight of each.</summary>
/// <param name="Ids">As many as the window.</param>
/// <param name="Weights">Of each id; 1 for start, end and what fills up.</param>
internal sealed record PromptChunk(int[] Ids, float[] Weights)
{
    /// <summary>How far back a comma is looked for at the end of a full chunk, in tokens: the web UI's usual setting.</summary>
    private const int CommaReach = 20;

    /// <summary>Whether every weight is 1.</summary>
    public bool IsPlain => Weights.All(weight => weight == 1);

    /// <summary>A prompt of any length with weights, in as many chunks as it needs (AUTOMATIC1111's web UI, modules/sd_hijack_clip.py, <c>tokenize_line</c>).</summary>
    /// <param name="tokenizer">Learned tokens included; one with several vectors is never parted.</param>
    /// <param name="prompt">With brackets, see <see cref="WeightedPrompt"/>.</param>
    /// <param name="length">Of the window, start and end included.</param>
    /// <exception cref="OptionsException">A learned token that is longer than a chunk, or a weight that is no number.</exception>
    public static IReadOnlyList<PromptChunk> Of(ClipTokenizer tokenizer, string prompt, int length)
    {
        var chunks = new Builder(tokenizer, length);
        foreach (var piece in WeightedPrompt.Parse(prompt))
        {
            if (piece.IsBreak) chunks.Close();
            else chunks.Add(tokenizer.Encode(piece.Text)[1..^1], (float)piece.Weight);
        }
        return chunks.Finish();
    }

    /// <summary>A chunk without a prompt.</summary>
    public static PromptChunk Empty(ClipTokenizer tokenizer, int length) => Closed(tokenizer, length, [], []);

    /// <summary>A prompt as it stands, cut at the end of the window and filled up with the tokenizer's padding.</summary>
    public static PromptChunk Literal(ClipTokenizer tokenizer, string prompt, int length) => new(tokenizer.EncodePadded(prompt, length, out _), Enumerable.Repeat(1f, length).ToArray());

    private static PromptChunk Closed(ClipTokenizer tokenizer, int length, List<int> ids, List<float> weights)
    {
        var rest = length - 2 - ids.Count;
        return new([tokenizer.StartId, .. ids, tokenizer.EndId, .. Enumerable.Repeat(tokenizer.PaddingId, rest)], [1, .. weights, .. Enumerable.Repeat(1f, rest + 1)]);
    }

    /// <summary>Fills chunks, one after the other.</summary>
    private sealed class Builder(ClipTokenizer tokenizer, int length)
    {
        private readonly List<PromptChunk> closed = [];
        private readonly int room = length - 2;
        private readonly int comma = tokenizer.Encode(",") is [_, var id, _] ? id : -1;
        private List<int> ids = [];
        private List<float> weights = [];
        private int lastComma = -1;

        public void Add(int[] tokens, float weight)
        {
            for (var at = 0; at < tokens.Length;)
            {
                var count = tokenizer.VectorsOf(tokens[at]);
                if (count > room) throw new OptionsException(Invariant($"the learned token {tokenizer.Decode(tokens.AsSpan(at, count))} has {count} vectors, and a chunk of a prompt has room for {room}; take an embedding with fewer"));
                MakeRoom(tokens[at], count);
                ids.AddRange(tokens.AsSpan(at, count));
                weights.AddRange(Enumerable.Repeat(weight, count));
                at += count;
            }
        }

        public void Close()
        {
            closed.Add(Closed(tokenizer, length, ids, weights));
            (ids, weights, lastComma) = ([], [], -1);
        }

        public List<PromptChunk> Finish()
        {
            if (ids.Count > 0 || closed.Count == 0) Close();
            return closed;
        }

        /// <summary>Before a token that finds a chunk full, what follows a near comma moves to the next chunk.</summary>
        private void MakeRoom(int token, int count)
        {
            if (token == comma) lastComma = ids.Count;
            else if (ids.Count == room && lastComma >= 0 && room - lastComma <= CommaReach)
            {
                var (kept, movedIds, movedWeights) = (lastComma + 1, ids[(lastComma + 1)..], weights[(lastComma + 1)..]);
                (ids, weights) = (ids[..kept], weights[..kept]);
                Close();
                (ids, weights) = (movedIds, movedWeights);
            }
            if (ids.Count + count > room) Close();
        }
    }
}
