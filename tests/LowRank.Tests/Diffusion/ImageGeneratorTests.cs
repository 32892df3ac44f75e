using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Diffusion;

public class ImageGeneratorTests
{
    private static IDiffusionFamily Open(string folder) => FamilyDetector.Open(Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", folder));

    private static readonly GenerationRequest Request = new() { Prompts = ["a dog"], Height = 64, Width = 64, Steps = 2 };

    private static ImageGenerator Generator(IDiffusionFamily family, Action<GenerationStep>? onStep = null) => new(family, SamplerCatalog.Create("euler-a", family.Schedule)) { OnStep = onStep };

    [Fact]
    public void The_same_generator_state_makes_the_same_picture_and_nothing_is_left()
    {
        using var family = Open("sd1");
        using var scope = NewDisposeScope();
        Tensor Make()
        {
            using var streams = new RandomStreams(4);
            return Generator(family).Latents(Request, streams["preview"], TestContext.Current.CancellationToken);
        }
        var first = Make();
        LeakGuard.AssertNothingLeft(() =>
        {
            using var again = Make();
            TensorAssert.Equal(first, again);
        });
    }

    [Fact]
    public void Every_call_is_told_and_a_stop_is_honoured()
    {
        using var family = Open("sd1");
        using var source = new CancellationTokenSource();
        using var streams = new RandomStreams(4);
        var seen = new List<(int, int)>();
        var generator = Generator(family, step =>
        {
            seen.Add((step.Call, step.Calls));
            source.Cancel();
        });
        Assert.Throws<OperationCanceledException>(() => generator.Latents(Request, streams["preview"], source.Token));
        Assert.Equal([(1, 2)], seen);
    }

    [Fact]
    public void A_request_that_cannot_be_honoured_lists_every_problem()
    {
        using var family = Open("sd1");
        var image = zeros(1, 3, 64, 64);
        var request = Request with { NegativePrompts = ["a", "b"], Width = 60, Steps = 0, Strength = 2, Mask = image };
        Assert.Equal("negative prompts: 2 for 1 prompts; give one for each\n" +
            "size: 60 x 64; width and height must be multiples of 8 for Stable Diffusion 1\nsteps: 0; 1 or more\nnoise strength: 2; above 0, at most 1\n" +
            "a mask needs a picture to paint in; give both", Assert.Throws<OptionsException>(() => request.Check(family)).Message);
        Assert.Equal("noise strength 0.3 of 2 steps leaves none; give more steps or more strength",
            Assert.Throws<OptionsException>(() => (Request with { Image = image, Strength = 0.3 }).Check(family)).Message);
        Assert.Equal("pictures of each prompt: 0; 1 or more", Assert.Throws<OptionsException>(() => (Request with { PicturesPerPrompt = 0 }).Check(family)).Message);
        Assert.Equal("no prompt is given; give one or more", Assert.Throws<OptionsException>(() => (Request with { Prompts = [] }).Check(family)).Message);
        Assert.Equal("second negative prompts need negative prompts beside them",
            Assert.Throws<OptionsException>(() => (Request with { SecondNegativePrompts = ["a"] }).Check(family)).Message);
    }

    [Fact]
    public void An_inpainting_model_asks_for_picture_and_mask()
    {
        using var family = Open("sd1-inpaint");
        Assert.Equal("Stable Diffusion 1 inpainting paints in pictures; give a picture and a mask", Assert.Throws<OptionsException>(() => Request.Check(family)).Message);
    }

    [Fact]
    public void A_picture_of_another_size_is_refused()
    {
        using var family = Open("sd1");
        using var streams = new RandomStreams(4);
        var error = Assert.Throws<OptionsException>(() => Generator(family).Latents(Request with { Image = zeros(1, 3, 32, 64) }, streams["preview"], TestContext.Current.CancellationToken));
        Assert.Equal("a picture or mask is 64 x 32, the pictures to make are 64 x 64; resize it first", error.Message);
        error = Assert.Throws<OptionsException>(() => Generator(family).Latents(Request with { Image = zeros(3, 3, 64, 64) }, streams["preview"], TestContext.Current.CancellationToken));
        Assert.Equal("3 pictures or masks for 1 prompts; give one, or one for each", error.Message);
    }

    [Fact]
    public void Where_the_mask_is_black_the_picture_stays()
    {
        using var family = Open("sd1");
        using var scope = NewDisposeScope();
        using var streams = new RandomStreams(4);
        using var same = new RandomStreams(4);
        var image = Formula.Noise("image", [1, 3, 64, 64], 1, 0.5);
        var mask = zeros(1, 1, 64, 64);
        mask[.., .., 32.., ..] = 1;
        var kept = Generator(family).Latents(Request with { Image = image, Mask = mask }, streams["preview"], TestContext.Current.CancellationToken);
        var encoded = family.EncodeImages(image, same["preview"]);
        TensorAssert.Equal(encoded[.., .., ..4, ..], kept[.., .., ..4, ..]);
        Assert.False(encoded[.., .., 4.., ..].equal(kept[.., .., 4.., ..]).all().item<bool>());
    }

    [Fact]
    public void An_unguided_interval_follows_the_prompt_alone()
    {
        using var family = Open("sd1");
        using var scope = NewDisposeScope();
        Tensor Make(Guidance guidance)
        {
            using var streams = new RandomStreams(4);
            return Generator(family).Latents(Request with { Guidance = guidance }, streams["preview"], TestContext.Current.CancellationToken);
        }
        TensorAssert.Equal(Make(new Guidance(1)), Make(new Guidance(7) { Stop = 0 }));
        Assert.False(Make(new Guidance(1)).equal(Make(new Guidance(7))).all().item<bool>());
    }

    [Fact]
    public void Pixels_are_clipped_and_rounded_to_even()
    {
        using var scope = NewDisposeScope();
        var pixels = tensor(new float[] { -2, -1, 0, 1, 3, 1 / 255f }, 1, 3, 1, 2);
        var bytes = ImageGenerator.ToPixels(pixels);
        Assert.Equal([1L, 1, 2, 3], bytes.shape);
        Assert.Equal(new byte[] { 0, 128, 255, 0, 255, 128 }, bytes.data<byte>().ToArray());
    }
}
