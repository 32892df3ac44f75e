using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Testing;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Families;

public class UnetFamilyTests
{
    private static string Pipeline(string name) => Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", name);

    private static UnetFamily Open(string name, ScalarType type = ScalarType.Float32) => (UnetFamily)FamilyDetector.Open(Pipeline(name), type);

    [Theory]
    [InlineData("sd1", "Stable Diffusion 1", "sd_v1", 4, "unet text_encoder")]
    [InlineData("sd2-v", "Stable Diffusion 2", "sd_v2_v", 4, "unet text_encoder")]
    [InlineData("sd1-inpaint", "Stable Diffusion 1 inpainting", "sd_v1", 9, "unet text_encoder")]
    [InlineData("sdxl", "Stable Diffusion XL", "sdxl_base_v1-0", 4, "unet text_encoder text_encoder_2")]
    public void A_family_knows_what_it_is(string folder, string name, string version, int channels, string components)
    {
        using var family = Open(folder);

        Assert.Equal((name, version, channels), (family.Name, family.BaseVersion, family.DenoiserChannels));
        Assert.Equal(components.Split(' '), family.ComponentNames);
        Assert.Equal((8, 4, 64, 77), (family.LatentFactor, family.LatentChannels, family.DefaultSize, family.PromptLength));
    }

    [Fact]
    public void The_embedded_base_is_found_by_its_name_and_described()
    {
        using var family = FamilyDetector.Open("icons-64");

        Assert.Equal("Stable Diffusion 1 layout, 64 px, 8.6 M parameters, v_prediction", family.Description);
        Assert.Equal((4, 32), (family.LatentFactor, family.PromptLength));
    }

    [Fact]
    public void Weights_are_loaded_when_first_used_and_can_be_let_go_and_loaded_again()
    {
        using var scope = NewDisposeScope();
        using var family = Open("sd1");
        var before = DisposeScopeManager.Statistics.ThreadTotalLiveCount;
        float[] Encoded()
        {
            using var inner = NewDisposeScope();   // what is loaded inside a scope outlives it
            return family.EncodePrompts(["a dog"]).Hidden.data<float>().ToArray();
        }

        var first = Encoded();
        Assert.True(DisposeScopeManager.Statistics.ThreadTotalLiveCount > before);
        Assert.Equal(first, Encoded());
        family.Release("text_encoder");
        Assert.Equal(before, DisposeScopeManager.Statistics.ThreadTotalLiveCount);
        Assert.Equal(first, Encoded());
    }

    [Fact]
    public void A_text_encoder_saved_without_the_classic_prefix_is_the_same()
    {
        using var scope = NewDisposeScope();
        using var folder = new ModelFolder("sd1");
        var path = folder.File("text_encoder/model.safetensors");
        using (var weights = SafetensorsReader.Open(path))
        {
            var renamed = weights.Tensors.Keys.Select(name => KeyValuePair.Create(name["text_model.".Length..], weights.Read(name))).ToArray();
            SafetensorsWriter.Write(path + ".tmp", renamed);
        }
        File.Move(path + ".tmp", path, overwrite: true);
        using var usual = Open("sd1");
        using var other = FamilyDetector.Open(folder.Path);

        TensorAssert.Equal(usual.EncodePrompts(["a dog"]).Hidden, other.EncodePrompts(["a dog"]).Hidden);
    }

    [Theory]
    [InlineData("sd1")]
    [InlineData("sdxl")]
    public void A_whole_round_leaves_no_tensor_behind(string name)
    {
        using var family = Open(name);
        using var quiet = no_grad();
        using var latents = Formula.Noise("latents", [1, 4, 4, 4], 1);
        using var times = tensor(new[] { 3f });
        using var generator = new Generator(1);
        LeakGuard.AssertNothingLeft(() =>
        {
            using var text = family.EncodePrompts(["a dog"]);
            using var none = family.EncodeNoPrompt();
            using var sized = family.WithSizes(text, [new SizeCondition(64, 64, 0, 0, 64, 64)]);
            using var prediction = family.Predict(latents, times, sized);
            using var picture = family.DecodeLatents(prediction);
            using var mean = family.EncodeImages(picture, null);
            using var drawn = family.EncodeImages(picture, generator);
        });
    }

    [Fact]
    public void In_bfloat16_denoiser_and_text_are_half_as_large_and_pictures_stay_float32()
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var exact = Open("sdxl");
        using var rough = Open("sdxl", ScalarType.BFloat16);
        var (latents, times) = (Formula.Noise("latents", [1, 4, 4, 4], 1), tensor(new[] { 981f }));
        SizeCondition[] sizes = [new(1023, 1023, 0, 0, 1024, 1024)];

        var text = rough.WithSizes(rough.EncodePrompts(["a dog"]), sizes);
        var prediction = rough.Predict(latents, times, text);

        Assert.Equal(ScalarType.BFloat16, text.Hidden.dtype);
        Assert.Equal(ScalarType.Float32, text.TimeIds!.dtype);
        Assert.Equal(ScalarType.BFloat16, prediction.dtype);
        Assert.All(rough.Component("text_encoder_2").parameters(), parameter => Assert.Equal(ScalarType.BFloat16, parameter.dtype));
        TensorAssert.Close(exact.Predict(latents, times, exact.WithSizes(exact.EncodePrompts(["a dog"]), sizes)), prediction, 0, 0.05);
        TensorAssert.Equal(exact.DecodeLatents(latents), rough.DecodeLatents(latents));
    }

    [Fact]
    public void The_posterior_draws_from_the_given_generator_only()
    {
        using var scope = NewDisposeScope();
        using var family = Open("sd1");
        var pixels = Formula.Noise("image", [2, 3, 16, 24], 1, 1);
        using Generator one = new(5), same = new(5);

        var drawn = family.EncodeImages(pixels, one);

        Assert.Equal([2, 4, 2, 3], drawn.shape);
        TensorAssert.Equal(drawn, family.EncodeImages(pixels, same));
        using var posterior = family.Pictures.Posterior(pixels);
        var noise = randn([2, 4, 2, 3], generator: new Generator(5));
        TensorAssert.Close(posterior.Mean.Plus(posterior.LogVariance.Times(0.5).exp() * noise).Times(0.18215), drawn, 1e-5, 1e-6);
    }

    [Fact]
    public void An_absent_negative_prompt_is_zero_where_the_family_says_so_and_the_empty_prompt_elsewhere()
    {
        using var scope = NewDisposeScope();
        using var folder = new ModelFolder("sdxl");
        using var xl = Open("sdxl");
        using var other = Open("sd1");
        folder.Replace("model_index.json", "\"force_zeros_for_empty_prompt\": true", "\"force_zeros_for_empty_prompt\": false");
        using var encoding = FamilyDetector.Open(folder.Path);

        var none = xl.EncodeNoPrompt();

        TensorAssert.Equal(zeros(1, 77, 40), none.Hidden);
        TensorAssert.Equal(zeros(1, 20), none.Pooled!);
        TensorAssert.Equal(other.EncodePrompts([""]).Hidden, other.EncodeNoPrompt().Hidden);
        TensorAssert.Equal(xl.EncodePrompts([""]).Pooled!, encoding.EncodeNoPrompt().Pooled!);
    }

    [Fact]
    public void Skipped_layers_and_second_prompts_reach_the_encoders()
    {
        using var scope = NewDisposeScope();
        using var sd = Open("sd1");
        using var xl = Open("sdxl");
        using var states = sd.Encoders[0].Encode(["a dog"]);
        using var first = xl.Encoders[0].Encode(["a dog"]);
        using var second = xl.Encoders[1].Encode(["a cat"]);

        TensorAssert.Equal(sd.Encoders[0].Model.SkipLayers(states, 1), sd.EncodePrompts(["a dog"], new PromptOptions { SkippedLayers = 1 }).Hidden);
        var both = xl.EncodePrompts(["a dog"], new PromptOptions { SkippedLayers = 1, SecondPrompts = ["a cat"] });
        TensorAssert.Equal(cat([first.Hidden[^3], second.Hidden[^3]], -1), both.Hidden);
        TensorAssert.Equal(second.Projected!, both.Pooled!);
    }

    [Fact]
    public void Prompt_options_that_a_family_cannot_honour_are_refused()
    {
        using var sd = Open("sd1");
        using var xl = Open("sdxl");

        void Refused(string message, UnetFamily family, PromptOptions options) =>
            Assert.Equal(message, Assert.Throws<OptionsException>(() => family.EncodePrompts(["a dog"], options)).Message);

        Refused("second prompts: Stable Diffusion 1 has one text encoder; give them to models with two", sd, new PromptOptions { SecondPrompts = ["a cat"] });
        Refused("skipped layers: 3 (clip skip 4); text_encoder of this model can leave out 0 to 2", sd, new PromptOptions { SkippedLayers = 3 });
        Refused("skipped layers: 3 (clip skip 4); text_encoder of this model can leave out 0 to 2", xl, new PromptOptions { SkippedLayers = 3 });
        Refused("second prompts: 2 for 1 pictures; give one for each", xl, new PromptOptions { SecondPrompts = ["a cat", "a cow"] });
    }

    [Fact]
    public void A_prompt_beyond_the_window_says_what_is_cut()
    {
        using var family = FamilyDetector.Open("icons-64");

        Assert.Null(family.CutText("a red apple"));
        Assert.Equal("2 tokens: \"green leaf\"", family.CutText(string.Concat(Enumerable.Repeat("red ", 30)) + "GREEN leaf"));
        Assert.Equal("1 token: \"red\"", family.CutText(string.Concat(Enumerable.Repeat("red ", 31))));
    }

    [Fact]
    public void Inputs_that_do_not_fit_are_refused_with_the_shape_they_should_have()
    {
        using var scope = NewDisposeScope();
        using var inpaint = Open("sd1-inpaint");
        using var xl = Open("sdxl");
        var text = inpaint.EncodePrompts(["a dog"]);

        void Refused(string message, Action action) => Assert.Equal(message, Assert.Throws<ArgumentException>(action).Message);

        Refused("latents has shape [1,4,8,8], expected (B,9,h,w): axis 1 is 4, not 9 (Parameter 'latents')", () => inpaint.Predict(zeros(1, 4, 8, 8), tensor(1f), text));
        Refused("conditioning has shape [1,77,24], expected (2,T,24): axis 0 is 1, not 2 (Parameter 'conditioning')", () => inpaint.Predict(zeros(2, 9, 8, 8), tensor(1f), text));
        Refused("pixels has shape [1,3,20,16]; height and width must be multiples of 8 (Parameter 'pixels')", () => inpaint.EncodeImages(zeros(1, 3, 20, 16), null));
        Refused("2 sizes for 1 pictures; give one for each (Parameter 'sizes')", () => xl.WithSizes(xl.EncodeNoPrompt(), new SizeCondition[2]));
        Refused("no component is named \"text_encoder_3\" (did you mean \"text_encoder\"?); Stable Diffusion 1 inpainting has vae, unet, text_encoder (Parameter 'name')", () => inpaint.Component("text_encoder_3"));
    }
}
