using System.Text.Json.Nodes;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Families;

/// <summary>A model whose denoiser got the input channels of an inpainting model.</summary>
public sealed class WidenedModelTests
{
    [Theory]
    [InlineData("sd1", "StableDiffusionInpaintPipeline", "Stable Diffusion 1 inpainting")]
    [InlineData("sd2-v", "StableDiffusionInpaintPipeline", "Stable Diffusion 2 inpainting")]
    [InlineData("sdxl", "StableDiffusionXLInpaintPipeline", "Stable Diffusion XL inpainting")]
    public void It_predicts_what_it_did_whatever_the_hole_and_is_written_as_an_inpainting_model(string name, string pipeline, string family)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var folder = new ModelFolder(name);
        using var model = FamilyDetector.Open(folder.Path);
        using var widened = FamilyDetector.Open(folder.Path, widen: true);
        Assert.Equal((9, family), (widened.DenoiserChannels, widened.Name));
        Assert.Equal(model.ParameterCount + 9 * 5 * model.Component("unet").get_parameter("conv_in.weight")!.size(0), widened.ParameterCount);

        var (latents, beside) = (Formula.Noise("latents", [2, 4, 8, 8], 1), Formula.Noise("beside", [2, 5, 8, 8], 1));
        using var texts = model.EncodePrompts(["a dog", "a cat"]);
        using var sized = model.WithSizes(texts, [new SizeCondition(64, 64, 0, 0, 64, 64), new SizeCondition(64, 64, 0, 0, 64, 64)]);
        var expected = model.Predict(latents, tensor(new[] { 500f, 20f }), sized);
        TensorAssert.Close(expected, widened.Predict(cat([latents, beside], 1), tensor(new[] { 500f, 20f }), sized), 1e-5, 1e-5, "prediction");

        var target = Path.Combine(folder.Path, "written");
        widened.Write(target, ScalarType.Float32, new Dictionary<string, string>());
        AssertOneKeyDiffers("unet/config.json", "in_channels", 9);
        AssertOneKeyDiffers("model_index.json", "_class_name", pipeline);
        using var opened = FamilyDetector.Open(target);
        Assert.Equal((9, family, widened.ParameterCount), (opened.DenoiserChannels, opened.Name, opened.ParameterCount));
        var (before, after) = (model.Component("unet").state_dict(), opened.Component("unet").state_dict());
        Assert.Equal(before.Keys.Order(), after.Keys.Order());
        Assert.All(before.Where(item => item.Key != "conv_in.weight"), item => TensorAssert.Equal(item.Value, after[item.Key]));
        TensorAssert.Equal(before["conv_in.weight"], after["conv_in.weight"][.., ..4]);
        Assert.Equal([before["conv_in.weight"].size(0), 5, 3, 3], after["conv_in.weight"][.., 4..].shape);
        Assert.False(after["conv_in.weight"][.., 4..].IsNotEqualTo(0).any().item<bool>());

        void AssertOneKeyDiffers(string file, string key, JsonNode value)
        {
            JsonNode Json(string root) => JsonNode.Parse(File.ReadAllText(Path.Combine(root, file)))!;
            var (mine, theirs) = (Json(target), Json(folder.Path));
            Assert.False(JsonNode.DeepEquals(theirs[key], value));
            theirs[key] = value;
            Assert.True(JsonNode.DeepEquals(theirs, mine), mine.ToJsonString());
        }
    }

    [Fact]
    public void An_inpainting_model_cannot_be_widened_again()
    {
        using var folder = new ModelFolder("sd1-inpaint");
        var problem = Assert.Throws<CheckpointException>(() => FamilyDetector.Open(folder.Path, widen: true));
        Assert.Equal($"there is nothing to widen: in_channels is 9; in {folder.File(Path.Combine("unet", "config.json"))}; leave inpainting.widen out, or take the model it was made from", problem.Message);
    }
}
