using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>
/// Measures the held-out pictures of a run with the weights that a save would write. Draws from streams of its own, so that a run that measures trains
/// exactly as one that does not.
/// </summary>
internal sealed class Validation
{
    private readonly IRunOptions options;
    private readonly EncodedData data;
    private readonly AdapterSet? adapter;
    private readonly Func<IDisposable>? weights;
    private readonly HeldOutLoss loss;

    private Validation(IRunOptions options, IDiffusionFamily family, EncodedData data, AdapterSet? adapter, Func<IDisposable>? weights)
    {
        (this.options, this.data, this.adapter, this.weights) = (options, data, adapter, weights);
        loss = new HeldOutLoss(family.Schedule, family.PredictionType, family.Predict, [.. options.Validation.Timesteps.Select(timestep => (long)timestep)]);
    }

    /// <summary>What to give to <see cref="TrainingRun.Watch"/>.</summary>
    /// <param name="options">The recipe.</param>
    /// <param name="family">The model.</param>
    /// <param name="data">Holds the held-out pictures; stays the caller's.</param>
    /// <param name="adapter">Whose dropout is off meanwhile; null for none.</param>
    /// <param name="weights">Puts the weights to measure into place, until disposed; null: as they are.</param>
    /// <returns>Null where nothing is held out.</returns>
    public static Validation? Of(IRunOptions options, IDiffusionFamily family, EncodedData data, AdapterSet? adapter = null, Func<IDisposable>? weights = null) =>
        data.HeldOut.Count == 0 ? null : new Validation(options, family, data, adapter, weights);

    /// <summary>Whether a measure is due after so many updates.</summary>
    public bool IsDue(long step) => options.Validation.IsDue(step, options.TotalSteps);

    /// <summary>The loss on every held-out picture now, after so many updates.</summary>
    public HeldOutMeasured Measure(long step)
    {
        using var output = weights?.Invoke();
        var dropout = adapter?.DropoutStream;
        if (adapter is not null) adapter.DropoutStream = null;
        try
        {
            return HeldOutMeasured.Of(step, options.Validation.Timesteps, [.. data.HeldOut.Select(sample => (sample.Image.Name, Errors(sample)))]);
        }
        finally
        {
            if (adapter is not null) adapter.DropoutStream = dropout;
        }
    }

    private IReadOnlyList<float> Errors(Sample sample)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        // by the name alone, so that the noise of a picture depends neither on the others nor on the folder it lies in
        var name = Path.GetFileNameWithoutExtension(sample.Image.Path);
        using var streams = new RandomStreams(options.Validation.Seed);
        var batch = data.EncodedAlone(sample, new StreamDraws(streams["hole of " + name]));
        using var conditioning = batch.Conditioning;
        var noise = randn(batch.Latents.shape, ScalarType.Float32, CPU, generator: streams["noise of " + name]);
        return loss.Of(new HeldOutPicture(batch.Latents, conditioning, noise, batch.Beside));
    }
}
