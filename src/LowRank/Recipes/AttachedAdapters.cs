using LowRank.Adapters;
using LowRank.Diffusion;

namespace LowRank.Recipes;

/// <summary>The adapters and learned tokens of a generation, on their model until disposed.</summary>
internal sealed class AttachedAdapters : IDisposable
{
    private readonly List<AdapterSet> sets = [];
    private readonly List<Embedding> embeddings = [];
    private readonly IDiffusionFamily family;

    public AttachedAdapters(GenerateOptions options, IDiffusionFamily family, Action<string> warn)
    {
        this.family = family;
        foreach (var use in options.Embeddings) embeddings.AddRange(Embedding.Read(use.File, use.Token));
        var components = options.Adapters.Count == 0 ? [] : family.ComponentNames.ToDictionary(name => name, family.Component);
        foreach (var use in options.Adapters)
        {
            using var file = AdapterFile.Open(use.File);
            var set = AdapterSet.Load(components, file, new AdapterLoadOptions
            {
                Strength = use.Strength,
                AllowUnmatched = options.AllowUnmatched,
                Model = $"{options.Model} ({family.Name})",
                BaseVersion = family.BaseVersion,
                EmbeddingsAreUsed = true,
            });
            sets.Add(set);
            foreach (var warning in set.Warnings) warn($"{use.File}: {warning}");
            AddNew(Embedding.Read(file), use.File);
        }
        family.Place([.. embeddings.Select(item => new LearnedToken(item.Token, item.Vectors))]);

        // two adapters may have been trained with the same word; the word can only mean one of them
        void AddNew(IReadOnlyList<Embedding> found, string path)
        {
            foreach (var embedding in found)
            {
                if (embeddings.TrueForAll(item => item.Token != embedding.Token))
                {
                    embeddings.Add(embedding);
                    continue;
                }
                embedding.Dispose();
                warn($"{path}: its token {embedding.Token} is not used, since another file has one of that name; to use both, give it another name: --embedding {path}=NAME");
            }
        }
    }

    public void Dispose()
    {
        family.Place([]);
        foreach (var embedding in embeddings) embedding.Dispose();
        foreach (var set in Enumerable.Reverse(sets)) set.Dispose();
    }
}
