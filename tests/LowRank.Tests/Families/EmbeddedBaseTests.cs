using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Families;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Tests.Families;

/// <summary>The model that lies in the repository draws what it is asked for.</summary>
public class EmbeddedBaseTests
{
    [Theory]
    [InlineData("red apple", 0)]
    [InlineData("blue apple", 2)]
    public void An_apple_has_the_colour_that_was_asked_for(string prompt, int channel)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var family = FamilyDetector.Open("icons-64");

        var picture = Draw(family, prompt, seed: 7);

        Assert.Equal([1, 3, 64, 64], picture.shape);
        // the inner quarter is the apple: its own colour leads the others; the corners stay the white ground
        var inner = picture[0, .., 20..44, 20..44].mean([1, 2]).data<float>().ToArray();
        Assert.All(Enumerable.Range(0, 3).Where(other => other != channel), other => Assert.True(inner[channel] > inner[other] + 0.4, $"inner colour {string.Join(' ', inner)}"));
        Assert.True(picture[0, .., ..4, ..4].mean().item<float>() > 0.9);
    }

    /// <summary>DDIM, 20 steps, guidance 4: (1, 3, 64, 64), about [-1, 1].</summary>
    private static Tensor Draw(IDiffusionFamily family, string prompt, ulong seed)
    {
        var sampler = new Ddim(family.Schedule, new DdimOptions { StepsOffset = 1, SetAlphaToOne = false, ClipSample = false });
        var guidance = new Guidance(4);
        var side = family.DefaultSize / family.LatentFactor;
        var both = Conditioning.Concat(family.EncodeNoPrompt(), family.EncodePrompts([prompt]));
        using var generator = new Generator(seed);
        var latents = sampler.Run(sampler.Plan(20), randn([1, family.LatentChannels, side, side], generator: generator), new SamplerRun
        {
            Noise = () => throw new InvalidOperationException("DDIM draws none"),
            Predict = (x, timestep) =>
            {
                var halves = family.Predict(cat([x, x]), TensorArithmetic.Filled([2], timestep), both).chunk(2);
                return guidance.Combine(halves[0], halves[1]);
            },
        });
        return family.DecodeLatents(latents);
    }
}
