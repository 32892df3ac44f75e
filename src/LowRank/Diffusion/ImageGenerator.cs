using LowRank.Diffusion.Samplers;
using LowRank.Foundation;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>What a picture starts from and keeps.</summary>
/// <param name="Pixels">(1, 3, H, W) float32 in [-1, 1].</param>
/// <param name="Strength">How much of it is replaced: above 0, up to 1.</param>
/// <param name="Mask">(1, 1, H, W) float32: at 0.5 and above the picture is painted anew; null: everywhere.</param>
internal sealed record StartPicture(Tensor Pixels, double Strength, Tensor? Mask);

/// <summary>
/// Noise to pictures by a family, a sampler and guidance: from text, from a picture, or inside a mask. Ho and Salimans 2022; for masks with
/// 4-channel models the kept part is noised anew at every step (Lugmayr et al. 2022, eq. 8, without resampling); 9-channel models see mask and picture.
/// </summary>
/// <param name="family">Text encoders, denoiser, autoencoder.</param>
/// <param name="sampler">For the family's schedule.</param>
/// <param name="guidance">Scale and rescale.</param>
internal sealed class ImageGenerator(IDiffusionFamily family, Sampler sampler, Guidance guidance)
{
    /// <summary>One picture.</summary>
    /// <param name="prompt">Conditioning of the prompt for one picture, sizes included.</param>
    /// <param name="negative">Conditioning of what it should not show, alike.</param>
    /// <param name="size">Pixels, multiples of the family's latent factor.</param>
    /// <param name="steps">Sampler steps.</param>
    /// <param name="draws">All noise of the picture, on the CPU.</param>
    /// <param name="start">A picture to start from, or null.</param>
    /// <param name="run">Hears of every call of the denoiser; stops between them.</param>
    /// <returns>(1, 3, H, W) float32, about [-1, 1].</returns>
    public Tensor Draw(Conditioning prompt, Conditioning negative, (int Height, int Width) size, int steps, Generator draws, StartPicture? start, GeneratorRun run)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var plan = sampler.Plan(steps);
        long[] shape = [1, family.LatentChannels, size.Height / family.LatentFactor, size.Width / family.LatentFactor];
        Tensor Noise() => randn(shape, ScalarType.Float32, CPU, generator: draws);

        var first = start is null ? 0 : plan.FirstCall(start.Strength);
        if (first >= plan.Timesteps.Count) throw new OptionsException($"noise-strength: {start!.Strength} of {steps} steps leaves no step to make; give more steps or a larger strength");
        var clean = start is null ? null : family.EncodeImages(start.Pixels, draws);
        var noise = Noise();
        var mask = start?.Mask is { } wanted ? LatentMask(wanted, shape) : null;
        var extra = family.DenoiserChannels == family.LatentChannels ? null : MaskedPicture(start, mask, shape, draws);
        var x = clean is null || start!.Strength >= 1 ? noise * plan.InitialScale : plan.Noised(clean, noise, first);
        var latents = sampler.Run(plan, x, new SamplerRun
        {
            Predict = Guided(prompt, negative, extra, plan, run),
            Noise = Noise,
            FirstCall = first,
            Cancellation = run.Cancellation,
            AfterCall = mask is null || extra is not null ? null : (call, next) => KeepOutside(plan, call, next, clean!, noise, mask),
        });
        return family.DecodeLatents(latents).MoveToOuterDisposeScope();
    }

    /// <summary>The denoiser under guidance: negative and prompt in one batch, in this order.</summary>
    private Denoise Guided(Conditioning prompt, Conditioning negative, Tensor? extra, SamplingPlan plan, GeneratorRun run)
    {
        var both = guidance.IsNeeded ? Conditioning.Concat(negative, prompt) : prompt;
        var calls = 0;
        return (x, timestep) =>
        {
            using var scope = NewDisposeScope();
            run.Progress?.Invoke(++calls, plan.Timesteps.Count);
            var input = extra is null ? x : cat([x, extra], 1);
            if (guidance.IsNeeded) input = cat([input, input]);
            var prediction = family.Predict(input, full([input.shape[0]], (float)timestep, ScalarType.Float32), both).to(ScalarType.Float32);
            if (!guidance.IsNeeded) return prediction.alias().MoveToOuterDisposeScope();
            return guidance.Combine(prediction.narrow(0, 0, 1), prediction.narrow(0, 1, 1)).MoveToOuterDisposeScope();
        };
    }

    /// <summary>Outside the mask the picture itself, at the noise of the next call; clean after the last.</summary>
    private static Tensor KeepOutside(SamplingPlan plan, int call, Tensor next, Tensor clean, Tensor noise, Tensor mask)
    {
        using var scope = NewDisposeScope();
        var kept = call + 1 < plan.Timesteps.Count ? plan.Noised(clean, noise, call + 1) : clean;
        return (kept * (1 - mask) + next * mask).MoveToOuterDisposeScope();
    }

    /// <summary>What a 9-channel denoiser sees besides the latents: mask (1, 1, h, w) and the latents of the picture with a hole, (1, 5, h, w).</summary>
    private Tensor MaskedPicture(StartPicture? start, Tensor? mask, long[] shape, Generator draws)
    {
        if (start is null || mask is null) throw new OptionsException("model: this is an inpainting model; it needs a picture and a mask: give --image and --mask");
        using var scope = NewDisposeScope();
        var hole = start.Mask!.lt(0.5).to(ScalarType.Float32);
        return cat([mask, family.EncodeImages(start.Pixels * hole, draws)], 1).MoveToOuterDisposeScope();
    }

    /// <summary>Binary, at latent size: the top left pixel of each block decides.</summary>
    private static Tensor LatentMask(Tensor mask, long[] shape)
    {
        using var scope = NewDisposeScope();
        var binary = mask.ge(0.5).to(ScalarType.Float32);
        return nn.functional.interpolate(binary, [shape[2], shape[3]], mode: InterpolationMode.Nearest).MoveToOuterDisposeScope();
    }
}

/// <summary>What a drawing tells and heeds.</summary>
/// <param name="Progress">Called with the denoiser's call, from 1, and how many there are at most.</param>
/// <param name="Cancellation">Stops between calls.</param>
internal readonly record struct GeneratorRun(Action<int, int>? Progress, CancellationToken Cancellation);
