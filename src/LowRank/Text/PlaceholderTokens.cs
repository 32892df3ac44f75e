using LowRank.Foundation;
using static System.FormattableString;

namespace LowRank.Text;

/// <summary>
/// Placeholder tokens: made-up words behind a tokenizer's own, each for one or several vectors that are learned (Gal et al. 2022, arXiv 2208.01618).
/// In a prompt such a word becomes as many ids as it has vectors, one after the other. Compare huggingface/diffusers,
/// src/diffusers/loaders/textual_inversion.py, <c>maybe_convert_prompt</c>, which writes <c>token token_1 token_2</c> into the text for the same ids.
/// </summary>
internal static class PlaceholderTokens
{
    /// <summary>The same tokenizer with these tokens behind its own, in their order.</summary>
    /// <param name="tokenizer">Stays as it is.</param>
    /// <param name="tokens">Texts, and vectors of each (1 or more). Found anywhere in the lower-cased text.</param>
    /// <exception cref="OptionsException">A token is empty, named twice, or in the vocabulary already.</exception>
    public static ClipTokenizer Add(ClipTokenizer tokenizer, IReadOnlyList<(string Text, int Vectors)> tokens)
    {
        var told = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        foreach (var (text, vectors) in tokens)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(vectors, 1);
            if (string.IsNullOrWhiteSpace(text)) throw new OptionsException("a placeholder token is empty: give it a made-up word such as <my-style>");
            if (!told.Add(text.Trim())) throw new OptionsException($"the placeholder token {text} is named twice: give each token a word of its own");
            if (tokenizer.Encode(text) is [_, _, _])
            {
                throw new OptionsException($"the placeholder token {text} is in the vocabulary of the model already, where it means something: take a made-up word, such as <{text.Trim('<', '>', ' ')}-1>; in {tokenizer.Source}");
            }
        }
        return tokens.Count == 0 ? tokenizer : tokenizer.With(tokens.Select(token => (token.Text.Trim(), token.Vectors)));
    }

    /// <summary>The ids of a text that says what a placeholder starts as: without start and end.</summary>
    /// <exception cref="OptionsException">The text has no tokens.</exception>
    public static int[] IdsOf(ClipTokenizer tokenizer, string text)
    {
        var ids = tokenizer.Encode(text)[1..^1];
        return ids.Length > 0 ? ids : throw new OptionsException(Invariant($"the text \"{text}\" has no tokens, so nothing can start as it: give a word that the model knows"));
    }
}
