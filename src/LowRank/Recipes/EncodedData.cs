using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>What one forward pass of training receives. The tensors belong to the dispose scope they were made in.</summary>
/// <param name="Plan">The samples, and where the sampler stood.</param>
/// <param name="Latents">(B, C, h, w) float32, scaled.</param>
/// <param name="Conditioning">For B pictures, sizes included.</param>
internal sealed record EncodedBatch(PlannedBatch Plan, Tensor Latents, Conditioning Conditioning)
{
    public IReadOnlyList<string> Names => [.. Plan.Samples.Select(sample => sample.Image.Path)];
}

/// <summary>
/// Latents and text states of the training data. Pictures that are always cut alike are encoded once, before training, and the autoencoder's
/// encoder rests; pictures that are cut at random are encoded in their step. Latents are the posterior's mean. Texts are encoded once each.
/// </summary>
internal sealed class EncodedData(IDiffusionFamily family, TrainingData data, LatentCache cache, string model, IProgress<TrainingEvent> events) : IDisposable
{
    private const int PicturesAtOnce = 4;
    private const string LatentsName = "latents";

    private BatchLoader? loader;

    private bool CutAtRandom => data.Images.Any(image => image.Options.Crop == CropMode.Random);

    /// <summary>Encodes what can be encoded before the first step, and says what of captions is cut.</summary>
    public void EncodeAhead(CancellationToken cancellation)
    {
        foreach (var caption in data.Images.Select(image => image.Caption).Distinct())
        {
            if (family.CutText(caption) is { } cut) events.Report(new RunWarning($"a caption is longer than the model's {family.PromptLength} tokens; cut away: {cut}; of: {caption}"));
        }
        if (CutAtRandom) return;
        foreach (var plan in data.FixedSamples(PicturesAtOnce))
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var missing = plan.Samples.Where(sample => cache.Find(KeyOf(sample)) is null).ToList();
            if (missing.Count == 0) continue;
            Encode(BatchLoader.Load(new PlannedBatch(missing, null), cancellation), keep: true);
        }
        family.Release("vae");
    }

    /// <summary>Batches as a sampler draws them, read ahead where pictures are still to be read.</summary>
    public Func<EncodedBatch> Batches(BatchSampler sampler)
    {
        if (!CutAtRandom) return () => Cached(sampler.Next());
        loader = new BatchLoader(sampler.Next);
        return () =>
        {
            var batch = loader.Next()!;
            return With(batch.Plan, Encode(batch, keep: false));
        };
    }

    /// <inheritdoc/>
    public void Dispose() => loader?.Dispose();

    private EncodedBatch Cached(PlannedBatch plan)
    {
        var rows = plan.Samples.Select(sample => cache.Find(KeyOf(sample)) is { } found ? found[LatentsName] : Again(sample)).ToList();
        return With(plan, cat([.. rows]));
    }

    /// <summary>A latent whose file was damaged since it was made.</summary>
    private Tensor Again(Sample sample) => Encode(BatchLoader.Load(new PlannedBatch([sample], null)), keep: true);

    private EncodedBatch With(PlannedBatch plan, Tensor latents)
    {
        using var texts = ConditioningEntries.Stack([.. plan.Samples.Select(sample => Text(sample.Caption))]);
        var sizes = plan.Samples.Select(sample => sample.SizeConditioning).Select(six => new SizeCondition((int)six[0], (int)six[1], (int)six[2], (int)six[3], (int)six[4], (int)six[5])).ToList();
        return new EncodedBatch(plan, latents, family.WithSizes(texts, sizes));
    }

    private IReadOnlyDictionary<string, Tensor> Text(string caption)
    {
        var key = CacheKey.Of("text", model, caption);
        if (cache.Find(key) is { } found) return found;
        using var quiet = no_grad();
        using var conditioning = family.EncodePrompts([caption]);
        var entry = ConditioningEntries.Split(conditioning)[0];
        cache.Add(key, entry);
        return cache.Find(key)!;
    }

    private Tensor Encode(Batch batch, bool keep)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var latents = family.EncodeImages(batch.ToTensor(), null);
        for (var i = 0; keep && i < batch.Samples.Count; i++)
        {
            cache.Add(KeyOf(batch.Samples[i]), new Dictionary<string, Tensor> { [LatentsName] = latents.narrow(0, i, 1).clone() });
        }
        return latents.MoveToOuterDisposeScope();
    }

    private CacheKey KeyOf(Sample sample) => CacheKey.Of(LatentsName, model, sample.Key);
}
