using LowRank.Diffusion;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>What models are tried on, small and always the same: noise, a prompt, and the middle of the noise schedule. Owns its tensors.</summary>
internal sealed class Trial : IDisposable
{
    private const int Largest = 16, Seed = 1;
    private static readonly string[] Prompts = ["a red heart"];

    private readonly IDiffusionFamily family;
    private readonly Tensor timestep;

    /// <param name="family">Its text encoders are run, as they are now. Stays the caller's, and is used until dispose.</param>
    public Trial(IDiffusionFamily family)
    {
        this.family = family;
        Side = Math.Min(Largest, family.DefaultSize / family.LatentFactor);
        Timestep = family.Schedule.AlphasCumprod.Length / 2;
        using var generator = new Generator(Seed);
        Noise = randn([1, family.DenoiserChannels, Side, Side], ScalarType.Float32, generator: generator);
        timestep = tensor([(float)Timestep]);
        var size = Side * family.LatentFactor;
        using var text = family.EncodePrompts(Prompts);
        Text = family.WithSizes(text, [new SizeCondition(size, size, 0, 0, size, size)]);
    }

    /// <summary>Of the latents.</summary>
    public int Side { get; }

    /// <summary>Where in the noise schedule.</summary>
    public int Timestep { get; }

    /// <summary>In words.</summary>
    public static string Prompt => Prompts[0];

    /// <summary>What the denoiser gets: (1, DenoiserChannels, Side, Side) float32.</summary>
    public Tensor Noise { get; }

    /// <summary>The prompt, encoded.</summary>
    public Conditioning Text { get; }

    /// <summary>What the denoiser makes of it: (1, C, Side, Side) float32. The caller owns it.</summary>
    public Tensor Predict()
    {
        using var scope = NewDisposeScope();
        return family.Predict(Noise, timestep, Text).to(ScalarType.Float32).MoveToOuterDisposeScope();
    }

    /// <summary>All that the text encoders, as they are now, give for the prompt: (n) float32. The caller owns it.</summary>
    public Tensor Encode()
    {
        using var scope = NewDisposeScope();
        var text = family.EncodePrompts(Prompts);
        return cat([text.Hidden.flatten(), .. text.Pooled is null ? Array.Empty<Tensor>() : [text.Pooled.flatten()]]).to(ScalarType.Float32).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Noise.Dispose();
        timestep.Dispose();
        Text.Dispose();
    }
}
