using LowRank.Diffusion.Samplers;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>Where a generation stands, after a call of the denoiser.</summary>
/// <param name="Call">Calls made.</param>
/// <param name="Calls">Calls there will be.</param>
/// <param name="Timestep">What the denoiser was told.</param>
/// <param name="Latents">State after it, (pictures, C, h, w) float32; the generator's.</param>
internal readonly record struct GenerationStep(int Call, int Calls, double Timestep, Tensor Latents);

/// <summary>
/// From prompts, and pictures where given, to pictures: any family, any sampler. Latents stay float32 on the CPU, whatever the denoiser's dtype and device.
/// Order of draws and rules for pictures and masks are those of diffusers, <c>src/diffusers/pipelines/stable_diffusion</c>.
/// </summary>
/// <param name="family">The model; stays the caller's.</param>
/// <param name="sampler">For the family's schedule.</param>
internal sealed class ImageGenerator(IDiffusionFamily family, Sampler sampler)
{
    /// <summary>Called after each call of the denoiser.</summary>
    public Action<GenerationStep>? OnStep { get; init; }

    /// <summary>Draws Gaussian noise of a shape in place of the generator; for noise that comes from elsewhere.</summary>
    public Func<long[], Tensor>? Draw { get; init; }

    /// <summary>Makes latents.</summary>
    /// <param name="request">What to make.</param>
    /// <param name="generator">A CPU generator: posterior of the picture, noise, then what the sampler draws.</param>
    /// <param name="cancellation">Ends between calls of the denoiser.</param>
    /// <returns>Scaled latents (pictures, C, h, w) float32.</returns>
    /// <exception cref="OptionsException">The request cannot be honoured; every problem is listed.</exception>
    public Tensor Latents(GenerationRequest request, Generator generator, CancellationToken cancellation = default)
    {
        request.Check(family);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        long[] shape = [request.Pictures, family.LatentChannels, request.Height / family.LatentFactor, request.Width / family.LatentFactor];
        Tensor Noise() => Draw?.Invoke(shape) ?? randn(shape, ScalarType.Float32, CPU, generator: generator);
        var plan = sampler.Plan(request.Steps);
        using var with = Conditions(request, negative: false);
        using var without = request.Guidance.IsNeeded ? Conditions(request, negative: true) : null;
        // prompts of other lengths cannot stand in one tensor; they are not filled up, since the denoiser would read what fills them
        using var both = without is null || without.Hidden.size(1) != with.Hidden.size(1) ? null : Conditioning.Concat(without, with);
        using var start = Begin(request, plan, Noise, generator);
        var asked = 0;
        var steps = (plan.Timesteps.Count - start.FirstCall + plan.CallsPerStep - 1) / plan.CallsPerStep;   // PNDM makes one call more than steps
        var latents = sampler.Run(plan, start.State, new SamplerRun
        {
            Predict = (x, timestep) =>
            {
                var input = start.Beside is null ? x : cat([x, start.Beside], 1);
                var step = asked++ / plan.CallsPerStep;
                if (without is null || !request.Guidance.Covers(step, steps)) return Predict(input, timestep, with);
                if (both is null) return request.Guidance.Combine(Predict(input, timestep, without), Predict(input, timestep, with));
                var predictions = Predict(cat([input, input], 0), timestep, both).chunk(2);
                return request.Guidance.Combine(predictions[0], predictions[1]);
            },
            Noise = Noise,
            AfterCall = (call, x) =>
            {
                var next = start.Keep(plan, call, x);
                OnStep?.Invoke(new(call + 1 - start.FirstCall, plan.Timesteps.Count - start.FirstCall, plan.Timesteps[call], next));
                return next;
            },
            FirstCall = start.FirstCall,
            Cancellation = cancellation,
        });
        return latents.MoveToOuterDisposeScope();
    }

    /// <summary>Decodes latents, one picture at a time.</summary>
    /// <param name="latents">(B, C, h, w), scaled.</param>
    /// <returns>(B, 3, H, W) float32, about [-1, 1], not clipped.</returns>
    public Tensor Decode(Tensor latents)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        return cat([.. Enumerable.Range(0, (int)latents.size(0)).Select(index => family.DecodeLatents(latents[index..(index + 1)]).cpu())], 0).MoveToOuterDisposeScope();
    }

    /// <summary>Bytes of pictures: clipped to [-1, 1], spread over 0 to 255, halves to even.</summary>
    /// <param name="pixels">(B, 3, H, W) float32.</param>
    /// <returns>(B, H, W, 3) uint8.</returns>
    public static Tensor ToPixels(Tensor pixels)
    {
        using var scope = NewDisposeScope();
        var unit = pixels.to(ScalarType.Float32).Times(0.5).Plus(0.5).Within(0, 1);
        return unit.Times(255).round().to(ScalarType.Byte).permute(0, 2, 3, 1).contiguous().MoveToOuterDisposeScope();
    }

    /// <summary>Conditioning of all pictures with their prompts, or without them, sizes told.</summary>
    private Conditioning Conditions(GenerationRequest request, bool negative)
    {
        var size = request.Size ?? new SizeCondition(request.Height, request.Width, 0, 0, request.Height, request.Width);
        if (!negative)
        {
            using var prompted = family.EncodePrompts(request.Prompts, new PromptOptions { SecondPrompts = request.SecondPrompts, SkippedLayers = request.SkippedLayers, Weighted = request.Weighted });
            return Sized(prompted, request.PicturesPerPrompt, size);
        }
        using var without = request.NegativePrompts is { } texts
            ? family.EncodePrompts(texts, new PromptOptions { SecondPrompts = request.SecondNegativePrompts, SkippedLayers = request.NegativeSkippedLayers, Weighted = request.Weighted })
            : family.EncodeNoPrompt(new PromptOptions { SkippedLayers = request.NegativeSkippedLayers });
        return Sized(without, request.NegativePrompts is null ? request.Pictures : request.PicturesPerPrompt, request.NegativeSize ?? size);
    }

    private Conditioning Sized(Conditioning conditioning, int copies, SizeCondition size)
    {
        using var repeated = conditioning.Repeat(copies);
        return family.WithSizes(repeated, [.. Enumerable.Repeat(size, (int)repeated.Hidden.size(0))]);
    }

    /// <summary>Where the walk begins, and what it must keep of the picture given.</summary>
    private GenerationStart Begin(GenerationRequest request, SamplingPlan plan, Func<Tensor> draw, Generator generator)
    {
        Tensor Noise() => request.StartNoise?.alias() ?? draw();
        if (request.Image is null) return new GenerationStart { State = Noise().Times(plan.InitialScale) };
        var image = ForEach(request.Image, request);
        if (request.Mask is null)
        {
            var picture = family.EncodeImages(image, generator);
            var first = plan.FirstCall(request.Strength);
            return new GenerationStart { State = plan.Noised(picture, Noise(), first), FirstCall = first };
        }

        var inpainting = family.Inpaints;
        var hole = InpaintingInput.Hole(ForEach(request.Mask, request));
        var latents = inpainting && request.Strength >= 1 ? null : family.EncodeImages(image, generator);
        var noise = Noise();
        // models with four channels never see the masked picture, but its posterior is drawn all the same, so that a seed means the same in every tool
        var beside = inpainting ? InpaintingInput.Of(family, image, hole, generator) : null;
        if (!inpainting) draw().Dispose();
        var call = plan.FirstCall(request.Strength);
        return new GenerationStart
        {
            State = request.Strength >= 1 ? noise.Times(plan.InitialScale) : plan.Noised(latents!, noise, call),
            FirstCall = call,
            Beside = beside,
            Picture = inpainting ? null : (latents!, noise, InpaintingInput.Shrink(hole, family.LatentFactor)),
        };
    }

    /// <summary>The picture or mask of each picture that is made.</summary>
    private static Tensor ForEach(Tensor given, GenerationRequest request)
    {
        if (given.size(2) != request.Height || given.size(3) != request.Width)
        {
            throw new OptionsException(FormattableString.Invariant($"a picture or mask is {given.size(3)} x {given.size(2)}, the pictures to make are {request.Width} x {request.Height}; resize it first"));
        }
        if (given.size(0) == 1) return given.expand(request.Pictures, -1, -1, -1);
        return given.size(0) == request.Prompts.Count
            ? given.repeat_interleave(request.PicturesPerPrompt, 0)
            : throw new OptionsException(FormattableString.Invariant($"{given.size(0)} pictures or masks for {request.Prompts.Count} prompts; give one, or one for each"));
    }

    /// <summary>The denoiser's prediction, float32 on the CPU.</summary>
    private Tensor Predict(Tensor latents, double timestep, Conditioning conditioning) =>
        family.Predict(latents, TensorArithmetic.Filled([latents.size(0)], timestep), conditioning).to(ScalarType.Float32).cpu();
}

/// <summary>Where a generation begins. Owns its tensors.</summary>
internal sealed class GenerationStart : IDisposable
{
    /// <summary>State before the first call, (B, C, h, w).</summary>
    public required Tensor State { get; init; }

    /// <summary>The first call.</summary>
    public int FirstCall { get; init; }

    /// <summary>What an inpainting denoiser sees beside the latents: mask and masked picture's latents, (B, 1 + C, h, w).</summary>
    public Tensor? Beside { get; init; }

    /// <summary>For other denoisers: the picture's latents, the noise that the walk began with, and the mask (B, 1, h, w), 1 where it is painted.</summary>
    public (Tensor Latents, Tensor Noise, Tensor Mask)? Picture { get; init; }

    /// <summary>Puts the kept part of the picture back, noised to the next call's level, or clean after the last.</summary>
    public Tensor Keep(SamplingPlan plan, int call, Tensor x)
    {
        if (Picture is not { } picture) return x;
        var kept = call + 1 < plan.Timesteps.Count ? plan.Noised(picture.Latents, picture.Noise, call + 1) : picture.Latents;
        return (picture.Mask.SubtractedFrom(1) * kept).Plus(picture.Mask * x);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        State.Dispose();
        Beside?.Dispose();
        Picture?.Latents.Dispose();
        Picture?.Noise.Dispose();
        Picture?.Mask.Dispose();
    }
}
