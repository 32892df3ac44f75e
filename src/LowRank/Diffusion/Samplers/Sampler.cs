using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>A denoiser as samplers see it.</summary>
/// <param name="latents">Model input (B, C, h, w), of unit variance where the latents have it; stays the sampler's.</param>
/// <param name="timestep">0…T − 1, may be fractional.</param>
/// <returns>Its prediction, like <paramref name="latents"/>; the sampler's from then on.</returns>
internal delegate Tensor Denoise(Tensor latents, double timestep);

/// <summary>
/// A way from noise to a picture, for one noise schedule. Immutable: what a run must remember lives in the run.
/// Formulas follow the papers named in each class; time grids and roundings those of diffusers, <c>src/diffusers/schedulers</c>.
/// </summary>
/// <param name="schedule">The schedule the denoiser was trained with.</param>
internal abstract class Sampler(NoiseSchedule schedule)
{
    protected NoiseSchedule Schedule { get; } = schedule;

    protected PredictionType Prediction => Schedule.PredictionType;

    /// <summary>The calls of a run.</summary>
    /// <param name="steps">1 or more.</param>
    public abstract SamplingPlan Plan(int steps);

    /// <summary>Walks a plan.</summary>
    /// <param name="plan">Of this sampler.</param>
    /// <param name="x">State before the first call, (B, C, h, w) float32: noise times <see cref="SamplingPlan.InitialScale"/>, or a noised picture.</param>
    /// <param name="run">The denoiser and what else the run needs.</param>
    /// <returns>Latents (B, C, h, w).</returns>
    public Tensor Run(SamplingPlan plan, Tensor x, SamplerRun run)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var step = Begin(plan, run);
        x = x.alias();
        for (var call = run.FirstCall; call < plan.Timesteps.Count; call++)
        {
            run.Cancellation.ThrowIfCancellationRequested();
            using var inner = NewDisposeScope();
            var next = step(call, x);
            if (run.AfterCall is { } afterCall) next = afterCall(call, next);
            x.Dispose();
            x = next.MoveToOuterDisposeScope();
        }
        return x.MoveToOuterDisposeScope();
    }

    /// <summary>The function that makes one call and returns the next state, a fresh tensor. What it remembers is kept in <see cref="History"/>.</summary>
    protected abstract Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run);
}

/// <summary>What a run of a sampler needs besides plan and start.</summary>
internal sealed record SamplerRun
{
    /// <summary>The denoiser, guided or not.</summary>
    public required Denoise Predict { get; init; }

    /// <summary>The next draw of Gaussian noise, like the latents, on their device; the run owns it. Called only by samplers that add noise.</summary>
    public required Func<Tensor> Noise { get; init; }

    /// <summary>Called with each call's index and result; what it returns goes on in its place. Null changes nothing.</summary>
    public Func<int, Tensor, Tensor>? AfterCall { get; init; }

    /// <summary>The call to begin with, see <see cref="SamplingPlan.FirstCall"/>.</summary>
    public int FirstCall { get; init; }

    /// <summary>Ends the run between calls.</summary>
    public CancellationToken Cancellation { get; init; }
}

/// <summary>The last tensors of a kind that a run remembers; they live in the run's dispose scope.</summary>
/// <param name="capacity">How many; older ones are disposed.</param>
internal sealed class History(int capacity)
{
    private readonly List<Tensor> kept = [];

    public int Count => kept.Count;

    /// <summary>The tensor kept <paramref name="back"/> calls before the newest.</summary>
    public Tensor this[int back] => kept[^(1 + back)];

    /// <summary>Keeps a tensor of the innermost scope beyond it; the caller may go on using it. To keep the state itself, give an alias.</summary>
    public Tensor Keep(Tensor tensor)
    {
        if (kept.Count == capacity)
        {
            kept[0].Dispose();
            kept.RemoveAt(0);
        }
        kept.Add(tensor.MoveToOuterDisposeScope());
        return tensor;
    }
}
