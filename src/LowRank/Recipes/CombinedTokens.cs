using LowRank.Adapters;
using static System.FormattableString;

namespace LowRank.Recipes;

/// <summary>The learned tokens of several adapters, together. Owns them.</summary>
internal sealed class CombinedTokens : IDisposable
{
    private readonly List<Embedding> all = [];
    private readonly List<string> notes = [];

    /// <summary>
    /// Takes the tokens of every file. Where files mean different vectors by one name, each gets the name that the package of 2022 gave when it joined
    /// adapters (cloneofsimo/lora, lora_manager.py, lora_join): <c>&lt;s0-1&gt;</c> is the second token, by name, of the first file.
    /// </summary>
    public CombinedTokens(IReadOnlyList<AdapterFile> files)
    {
        var found = files.Select((file, place) => (File: file, Place: place, Tokens: Embedding.Read(file).OrderBy(token => token.Token, StringComparer.Ordinal).ToList())).ToList();
        var clashing = found.SelectMany(item => item.Tokens).GroupBy(token => token.Token).Where(group => group.Skip(1).Any(other => !Same(group.First(), other))).Select(group => group.Key).ToHashSet();
        var taken = found.SelectMany(item => item.Tokens).Select(token => token.Token).Except(clashing).ToHashSet();
        foreach (var (file, place, tokens) in found)
        {
            for (var i = 0; i < tokens.Count; i++) Add(tokens[i], file, Invariant($"<s{place}-{i}>"));
        }

        void Add(Embedding token, AdapterFile file, string joined)
        {
            if (!clashing.Contains(token.Token))
            {
                if (all.Exists(other => other.Token == token.Token)) token.Dispose();   // the same vectors again
                else all.Add(token);
                return;
            }
            while (!taken.Add(joined)) joined = joined[..^1] + "+>";   // somebody's own word
            notes.Add($"the token {token.Token} of {Path.GetFileName(file.Path)} is called {joined} now: other files mean other vectors by that name");
            all.Add(new Embedding(joined, token.Vectors));
        }
    }

    /// <summary>Their final names.</summary>
    public IReadOnlyList<Embedding> All => all;

    /// <summary>Which were renamed.</summary>
    public IReadOnlyList<string> Notes => notes;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var token in all) token.Dispose();
    }

    private static bool Same(Embedding a, Embedding b) =>
        a.Vectors.Keys.Order(StringComparer.Ordinal).SequenceEqual(b.Vectors.Keys.Order(StringComparer.Ordinal))
        && a.Vectors.All(item => item.Value.shape.SequenceEqual(b.Vectors[item.Key].shape) && item.Value.bytes.SequenceEqual(b.Vectors[item.Key].bytes));
}
