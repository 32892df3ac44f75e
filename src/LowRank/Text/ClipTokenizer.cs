using System.Text;
using LowRank.Foundation;

namespace LowRank.Text;

/// <summary>What of a prompt lies beyond the text encoder's window.</summary>
/// <param name="Tokens">How many tokens do not fit.</param>
/// <param name="Text">Those tokens as text, normalised as the tokenizer does (lower case, single spaces).</param>
internal sealed record CutPrompt(int Tokens, string Text);

/// <summary>
/// CLIP's tokenizer. In this order: special tokens are cut out of the raw text (exact case); NFC; runs of white space become one space;
/// lower case, each character by itself; added tokens are cut out; split into words; byte pairs (<see cref="BytePairVocabulary"/>).
/// Gives the ids of CLIPTokenizer in transformers 5 (src/transformers/models/clip/tokenization_clip.py), which repairs no text:
/// older implementations ran ftfy first, so that curly quotes and HTML entities give other ids there.
/// Immutable: <see cref="WithAddedTokens"/> returns another tokenizer.
/// </summary>
internal sealed class ClipTokenizer
{
    private static readonly string[] Contractions = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

    private readonly BytePairVocabulary vocabulary;
    private readonly SpecialTokens special;
    private readonly IReadOnlyList<AddedToken> added;
    private readonly (string Text, int Id)[] cutRaw;
    private readonly (string Text, int Id)[] cutNormalised;

    /// <param name="vocabulary">Tokens and merges.</param>
    /// <param name="special">Names of the special tokens; each must be in the vocabulary or among the added tokens.</param>
    /// <param name="added">Tokens behind the vocabulary.</param>
    /// <param name="source">The folder, for errors.</param>
    /// <exception cref="CheckpointException">A special token has no id.</exception>
    public ClipTokenizer(BytePairVocabulary vocabulary, SpecialTokens special, IReadOnlyList<AddedToken> added, string source)
    {
        this.vocabulary = vocabulary;
        this.special = special;
        this.added = added;
        Source = source;
        StartId = SpecialId(special.Start, "bos_token");
        EndId = SpecialId(special.End, "eos_token");
        PaddingId = SpecialId(special.Padding, "pad_token");
        cutRaw = LongestFirst(new[] { (special.Start, StartId), (special.End, EndId), (special.Padding, PaddingId), (special.Unknown, SpecialId(special.Unknown, "unk_token")) }
            .Concat(added.Where(token => token.Special).Select(token => (token.Text, token.Id))));
        cutNormalised = LongestFirst(added.Where(token => !token.Special).Select(token => (Normalise(token.Text), token.Id)));
    }

    /// <summary>Where it was read from.</summary>
    public string Source { get; }

    /// <summary>Id that every prompt begins with.</summary>
    public int StartId { get; }

    /// <summary>Id that every prompt ends with.</summary>
    public int EndId { get; }

    /// <summary>Id that fills up: the end token for SD 1 and SDXL's first encoder, <c>!</c> (0) for SD 2 and SDXL's second.</summary>
    public int PaddingId { get; }

    /// <summary>One more than the largest id: rows that the text encoder's embedding must have.</summary>
    public int IdCount => Math.Max(vocabulary.NextId, added.Count == 0 ? 0 : added.Max(token => token.Id + token.Vectors));

    /// <summary>Longest prompt that the tokenizer's own configuration allows, start and end included; null when it says none.</summary>
    public int? MaximumLength => special.MaximumLength;

    /// <summary>Start token, the prompt's tokens, end token: neither cut nor padded.</summary>
    public int[] Encode(string prompt)
    {
        List<int> ids = [StartId];
        foreach (var (raw, specialId) in Cut(ReplaceLoneSurrogates(prompt), cutRaw))
        {
            if (specialId is { } id)
            {
                ids.Add(id);
                continue;
            }
            foreach (var (text, addedId) in Cut(Normalise(raw), cutNormalised))
            {
                if (addedId is { } other) ids.AddRange(Enumerable.Range(other, VectorsOf(other)));
                else EncodeWords(text, ids);
            }
        }
        ids.Add(EndId);
        return [.. ids];
    }

    /// <summary>Exactly <paramref name="length"/> ids: padded, or the first <c>length − 1</c> and the end token.</summary>
    /// <param name="prompt">Any text.</param>
    /// <param name="length">At least 2.</param>
    /// <param name="cut">What did not fit; null when all did.</param>
    public int[] EncodePadded(string prompt, int length, out CutPrompt? cut)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 2);
        var ids = Encode(prompt);
        cut = ids.Length <= length ? null : new CutPrompt(ids.Length - length, Decode(ids.AsSpan((length - 1)..^1)));
        var padded = new int[length];
        Array.Fill(padded, PaddingId);
        ids.AsSpan(0, Math.Min(ids.Length, length)).CopyTo(padded);
        if (cut is not null) padded[^1] = EndId;
        return padded;
    }

    /// <summary>Tokens as text: words parted by spaces, bytes that are no whole character as U+FFFD.</summary>
    public string Decode(ReadOnlySpan<int> ids)
    {
        List<byte> bytes = [];
        foreach (var id in ids)
        {
            var of = added.FirstOrDefault(token => id >= token.Id && id < token.Id + token.Vectors);
            if (of is not null && id > of.Id && bytes.Count > 0) continue;   // the rest of a token with several vectors
            var written = of?.Text ?? cutRaw.FirstOrDefault(token => token.Id == id).Text;
            if (written is null) vocabulary.Decode(id, bytes);
            else bytes.AddRange(Encoding.UTF8.GetBytes(written + ' '));
        }
        return Encoding.UTF8.GetString([.. bytes]).TrimEnd(' ');
    }

    /// <summary>
    /// The same tokenizer with more tokens, which get the next ids in order (a token that exists keeps its id).
    /// They are found in the lower-cased text, so <c>&lt;S1&gt;</c> finds <c>&lt;s1&gt;</c>.
    /// </summary>
    public ClipTokenizer WithAddedTokens(IReadOnlyList<string> texts)
    {
        var tokens = added.ToList();
        var next = IdCount;
        foreach (var text in texts)
        {
            ArgumentException.ThrowIfNullOrWhiteSpace(text);
            if (tokens.Any(token => token.Text == text)) continue;
            tokens.Add(new AddedToken(text, vocabulary.Find(text) ?? next++, Special: false));
        }
        return new ClipTokenizer(vocabulary, special, tokens, Source);
    }

    /// <summary>The same tokenizer with tokens that it does not know yet; they get the next ids in order, as many as each has vectors.</summary>
    internal ClipTokenizer With(IEnumerable<(string Text, int Vectors)> tokens)
    {
        var (all, next) = (added.ToList(), IdCount);
        foreach (var (text, vectors) in tokens)
        {
            all.Add(new AddedToken(text, next, Special: false) { Vectors = vectors });
            next += vectors;
        }
        return new ClipTokenizer(vocabulary, special, all, Source);
    }

    /// <summary>The same tokenizer with another padding token, which every text is searched for.</summary>
    public ClipTokenizer WithPadding(string token) => new(vocabulary, special with { Padding = token }, added, Source);

    /// <summary>How many ids a token stands for whose first id this is.</summary>
    internal int VectorsOf(int id) => added.FirstOrDefault(token => token.Id == id)?.Vectors ?? 1;

    /// <summary>NFC, one space for a run of white space, lower case.</summary>
    private static string Normalise(string text)
    {
        var result = new StringBuilder(text.Length);
        var inSpace = false;
        foreach (var rune in Composed(text).EnumerateRunes())
        {
            var space = Rune.IsWhiteSpace(rune);
            if (!space) AppendLower(result, rune);
            else if (!inSpace) result.Append(' ');
            inSpace = space;
        }
        return result.ToString();
    }

    /// <summary>NFC. Without ICU the runtime leaves text as it is and says nothing; then only text that NFC cannot change passes (below U+0300).</summary>
    private static string Composed(string text)
    {
        if (text.All(letter => letter < '\u0300')) return text;
        RequireNormalisation(text, "e\u0301".Normalize(NormalizationForm.FormC));
        return text.Normalize(NormalizationForm.FormC);
    }

    /// <param name="text">For the message.</param>
    /// <param name="composed">What the runtime makes of an e and an accent: one character, if it can normalise.</param>
    internal static void RequireNormalisation(string text, string composed)
    {
        if (composed.Length == 1) return;
        throw new OptionsException($"this text needs Unicode normalisation, which this program runs without: \"{text}\"; "
            + "install ICU (libicu) and leave DOTNET_SYSTEM_GLOBALIZATION_INVARIANT unset, or write the text without characters beyond U+02FF");
    }

    /// <summary>Full lower-case mapping of one character: only U+0130 becomes two, and sigma knows no final form.</summary>
    private static void AppendLower(StringBuilder result, Rune rune)
    {
        if (rune.Value == 0x130) result.Append("i\u0307");
        else result.Append(Rune.ToLowerInvariant(rune).ToString());
    }

    /// <summary>Splits normalised text as CLIP's pattern does: contractions, runs of letters, single digits, runs of anything else but spaces.</summary>
    private void EncodeWords(string text, List<int> ids)
    {
        foreach (var word in Split(text)) vocabulary.EncodeWord(word, ids);
    }

    /// <summary>The words that a text is taken apart into before byte pairs, normalised.</summary>
    public static IEnumerable<string> Words(string text) => Split(Normalise(ReplaceLoneSurrogates(text)));

    private static IEnumerable<string> Split(string text)
    {
        for (var at = 0; at < text.Length;)
        {
            var end = WordEnd(text, at);
            if (text[at] != ' ') yield return text[at..end];
            at = end;
        }
    }

    private static int WordEnd(string text, int at)
    {
        var contraction = Contractions.FirstOrDefault(item => string.CompareOrdinal(text, at, item, 0, item.Length) == 0);
        if (contraction is not null) return at + contraction.Length;
        var kind = KindAt(text, at, out var length);
        var end = at + length;
        if (kind is Kind.Number or Kind.Space) return end;
        while (end < text.Length && KindAt(text, end, out length) == kind) end += length;
        return end;
    }

    private enum Kind { Letter, Number, Space, Other }

    private static Kind KindAt(string text, int at, out int length)
    {
        Rune.DecodeFromUtf16(text.AsSpan(at), out var rune, out length);
        return Rune.IsLetter(rune) ? Kind.Letter : Rune.IsNumber(rune) ? Kind.Number : rune.Value == ' ' ? Kind.Space : Kind.Other;
    }

    /// <summary>The text in pieces: between tokens (no id) and tokens. Leftmost first, the longest at a place.</summary>
    private static IEnumerable<(string Text, int? Id)> Cut(string text, (string Text, int Id)[] longestFirst)
    {
        var start = 0;
        for (var at = 0; at < text.Length; at++)
        {
            var index = Array.FindIndex(longestFirst, token => string.CompareOrdinal(text, at, token.Text, 0, token.Text.Length) == 0);
            if (index < 0) continue;
            if (at > start) yield return (text[start..at], null);
            yield return longestFirst[index];
            start = at + longestFirst[index].Text.Length;
            at = start - 1;
        }
        if (start < text.Length) yield return (text[start..], null);
    }

    private static (string Text, int Id)[] LongestFirst(IEnumerable<(string Text, int Id)> tokens) =>
        [.. tokens.Where(token => token.Text.Length > 0).DistinctBy(token => token.Text).OrderByDescending(token => token.Text.Length)];

    /// <summary>A surrogate without its partner is no character; it becomes U+FFFD, as it would in any UTF-8 file.</summary>
    private static string ReplaceLoneSurrogates(string text) => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));

    private int SpecialId(string token, string key) =>
        added.FirstOrDefault(item => item.Text == token)?.Id ?? vocabulary.Find(token) ?? throw new CheckpointException(
            $"the tokenizer's {key} is \"{token}\", which its vocabulary does not have; in {Source}; special_tokens_map.json and vocab.json belong to different models; copy both from the same one");
}

/// <summary>A token behind the vocabulary.</summary>
/// <param name="Text">As written.</param>
/// <param name="Id">Its id.</param>
/// <param name="Special">Cut out of the raw text in exact case; others are found in the lower-cased text.</param>
internal sealed record AddedToken(string Text, int Id, bool Special)
{
    /// <summary>How many ids it stands for in a prompt, from <see cref="Id"/> on: a learned token may have several vectors.</summary>
    public int Vectors { get; init; } = 1;
}

/// <summary>What a tokenizer's configuration says; the values that published CLIP tokenizers have when it says nothing.</summary>
internal sealed record SpecialTokens
{
    public string Start { get; init; } = "<|startoftext|>";
    public string End { get; init; } = "<|endoftext|>";
    public string Unknown { get; init; } = "<|endoftext|>";

    /// <summary>Being special, it is cut out of every text: where <c>!</c> pads, <c>wow!</c> ends with id 0.</summary>
    public string Padding { get; init; } = "<|endoftext|>";

    /// <summary>In tokens, start and end included; null: no limit stated.</summary>
    public int? MaximumLength { get; init; }
}
