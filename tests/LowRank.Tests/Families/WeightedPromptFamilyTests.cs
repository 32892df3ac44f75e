using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Families;

/// <summary>Weighted prompts through whole families.</summary>
public class WeightedPromptFamilyTests
{
    private static readonly PromptOptions Weighted = new() { Weighted = true };

    [Theory]
    [InlineData("sd1")]
    [InlineData("sd2-v")]
    [InlineData("sdxl")]
    public void Weight_1_everywhere_is_the_plain_prompt_to_the_bit(string name)
    {
        using var scope = NewDisposeScope();
        using var family = Open(name);
        foreach (var prompt in new[] { "", "a dog", "a red house, night", string.Concat(Enumerable.Repeat("a ", 75)) })
        {
            var (plain, weighted, brackets) = (family.EncodePrompts([prompt]), family.EncodePrompts([prompt], Weighted), family.EncodePrompts([$"({prompt}:1)"], Weighted));
            foreach (var other in new[] { weighted, brackets })
            {
                TensorAssert.Equal(plain.Hidden, other.Hidden, prompt);
                if (plain.Pooled is not null) TensorAssert.Equal(plain.Pooled, other.Pooled!, prompt);
            }
        }
    }

    [Theory]
    [InlineData("sd1", 0)]
    [InlineData("sd1", 1)]
    [InlineData("sd2-v", 1)]
    [InlineData("sdxl", 0)]
    [InlineData("sdxl", 1)]
    public void Weights_scale_the_vectors_of_their_words_and_the_mean_stays(string name, int skipped)
    {
        using var scope = NewDisposeScope();
        using var family = Open(name);
        var (plain, weighted) = (family.EncodePrompts(["a dog"], new() { SkippedLayers = skipped }), family.EncodePrompts(["a (dog:2)"], new() { SkippedLayers = skipped, Weighted = true }));
        var from = 0L;
        foreach (var encoder in family.Encoders)
        {
            var (a, b) = (plain.Hidden.narrow(2, from, encoder.Config.HiddenSize), weighted.Hidden.narrow(2, from, encoder.Config.HiddenSize));
            Assert.Equal(a.mean().item<float>(), b.mean().item<float>(), 1e-5);
            var factor = (b[0, 0] / a[0, 0]).mean();                                       // of the start token: what restores the mean
            TensorAssert.Close(a[0, 2] * factor.Times(2), b[0, 2], 1e-4, 1e-5);            // "dog" stands third
            TensorAssert.Close(a[0, 1] * factor, b[0, 1], 1e-4, 1e-5);
            from += encoder.Config.HiddenSize;
        }
        if (plain.Pooled is not null) TensorAssert.Equal(plain.Pooled, weighted.Pooled!);
    }

    [Fact]
    public void Chunks_stand_side_by_side_and_the_first_gives_the_pooled_text()
    {
        using var scope = NewDisposeScope();
        using var family = Open("sdxl");
        var both = family.EncodePrompts(["a dog BREAK a cat", "a cow"], Weighted);
        var (dog, kitten, cow, none) = (family.EncodePrompts(["a dog"]), family.EncodePrompts(["a cat"]), family.EncodePrompts(["a cow"]), family.EncodePrompts([""]));
        TensorAssert.Close(cat([cat([dog.Hidden, kitten.Hidden], 1), cat([cow.Hidden, none.Hidden], 1)], 0), both.Hidden, 1e-5, 1e-5);
        TensorAssert.Close(cat([dog.Pooled!, cow.Pooled!], 0), both.Pooled!, 1e-5, 1e-5);
    }

    /// <summary>A second prompt with more chunks than the first, as an SDXL user may give.</summary>
    [Fact]
    public void The_shorter_prompt_of_two_encoders_goes_on_with_empty_chunks()
    {
        using var scope = NewDisposeScope();
        using var family = Open("sdxl");
        var text = family.EncodePrompts(["a dog"], new PromptOptions { Weighted = true, SecondPrompts = ["a cat BREAK a cow"] });
        Assert.Equal([1, 154, family.Encoders.Sum(encoder => encoder.Config.HiddenSize)], text.Hidden.shape);
    }

    /// <summary>The picture of a long prompt and no negative one: the two predictions have conditioning of other lengths.</summary>
    [Theory]
    [InlineData("sd1")]
    [InlineData("sdxl")]
    public void A_negative_prompt_of_another_length_is_not_filled_up(string name)
    {
        using var scope = NewDisposeScope();
        using var family = Open(name);
        float[] Latents(string prompt, string? negative)
        {
            using var streams = new RandomStreams(1);
            return new ImageGenerator(family, SamplerCatalog.Create("euler", family.Schedule)).Latents(new GenerationRequest
            {
                Prompts = [prompt],
                NegativePrompts = negative is null ? null : [negative],
                Weighted = true,
                Height = 32,
                Width = 32,
                Steps = 2,
                Guidance = new Guidance(5),
            }, streams["preview"]).data<float>().ToArray();
        }
        var (shorter, empty, longer) = (Latents("a dog BREAK a cat", "blurry"), Latents("a dog BREAK a cat", "blurry BREAK BREAK"), Latents("a dog", "blurry"));
        Assert.NotEqual(shorter, longer);
        Assert.NotEqual(shorter, empty);
        Assert.All(shorter, value => Assert.True(float.IsFinite(value)));
    }

    [Fact]
    public void Encoding_leaves_no_tensor_behind()
    {
        using var family = Open("sdxl");
        family.EncodePrompts(["a dog"]).Dispose();
        LeakGuard.AssertNothingLeft(() => family.EncodePrompts(["a (dog:1.3) BREAK [a] cat", "a"], Weighted).Dispose());
    }

    private static UnetFamily Open(string name) => (UnetFamily)FamilyDetector.Open(Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", name));
}
