using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Tests.Families;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>A model's folder is whole, or the report names what is wrong.</summary>
public class VerifyModelTests
{
    private const string Unet = "unet/diffusion_pytorch_model.safetensors", Vae = "vae/diffusion_pytorch_model.safetensors", Text = "text_encoder/model.safetensors";
    private const string Pair = "\nthe file and the model's configuration belong to different models, or to different versions of one: use the pair as published";

    [Theory]
    [InlineData("sd1")]
    [InlineData("sd1-inpaint")]
    [InlineData("sd2-v")]
    [InlineData("sdxl")]
    public void Models_as_published_are_whole(string pipeline)
    {
        using var model = new ModelFolder(pipeline);
        var report = VerifyModel.Run(model.Path);
        Assert.Empty(report.Trouble);
        Assert.Matches(@"^one step at \d+ px and its picture are finite: pixels from -?\d+\.\d\d to -?\d+\.\d\d$", report.Trial);
        Assert.EndsWith("verdict   whole: every name, shape and number is there that this layout asks for", report.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void The_embedded_base_is_whole_and_its_parts_are_told()
    {
        var report = VerifyModel.Run("icons-64");
        Assert.True(report.IsWhole, report.ToString());
        Assert.Equal(["scheduler", "text_encoder", "tokenizer", "unet", "vae"], report.Parts.Select(part => part.Name).Order(StringComparer.Ordinal));
        Assert.All(report.Parts.Where(part => part.File is not null), part => Assert.True(part is { Tensors: > 0, Numbers: > 0, Bytes: > 0, Types.Count: > 0 }));
        Assert.StartsWith("Stable Diffusion 1 layout, 64 px, ", report.Description, StringComparison.Ordinal);
    }

    /// <summary>Every trouble by itself: how the folder is broken, and all that the report says, with {0} for the folder.</summary>
    public static TheoryData<string, string> Troubles() => new()
    {
        { "no vae", "vae: the folder vae is missing" },
        { "no weights", "unet: the folder holds no weights: it has config.json; in {0}/unet; expected diffusion_pytorch_model.safetensors, model.safetensors or pytorch_model.bin" },
        { "no configuration", "vae: the part has no config.json; in {0}/vae; copy the whole model again" },
        { "a renamed weight", "unet: the weights do not fit the model: 1 missing, 1 unexpected, 0 mis-shaped of 684; in {0}/" + Unet + "\n  missing: conv_in.bias\n  unexpected: conv_in.bais (did you mean \"conv_in.bias\"?)" + Pair },
        { "a turned weight", "unet: the weights do not fit the model: 0 missing, 0 unexpected, 1 mis-shaped of 684; in {0}/" + Unet + "\n  mis-shaped: conv_in.bias is [1,8], the model has [8]" + Pair },
        { "no number", "unet: 1 tensors have numbers that are not finite: conv_in.bias (1 of 8); in {0}/" + Unet },
        { "zeros", "vae: every number is 0: the weights were never written; in {0}/" + Vae },
        { "huge", "the denoiser predicts numbers that are not finite from noise; the weights are too large, or belong to another configuration" },
        { "no format", "text_encoder: the metadata has no \"format\", without which transformers does not load the file; in {0}/" + Text + "; save it with the metadata format = \"pt\"" },
        { "another end", "eos_token_id of text_encoder is 5; tokenizer ends prompts with 639" },
        { "another start", "bos_token_id of text_encoder is 5; tokenizer begins prompts with 638" },
        { "another target", "prediction_type is \"noise\" in the scheduler configuration, which is not supported. Supported: epsilon, v_prediction, sample, flow_prediction; in {0}/scheduler/scheduler_config.json; use the file as published" },
        { "a checker without weights", "safety_checker: it has a config.json and no weights; in {0}/safety_checker; copy the whole model again" },
        { "another class", "unsupported value: unet is of class DiTTransformer2DModel; in {0}/model_index.json; supported: UNet2DConditionModel" },
    };

    [Theory]
    [MemberData(nameof(Troubles))]
    public void Trouble_is_named(string broken, string expected)
    {
        using var model = new ModelFolder("sd1");
        Break(model, broken);
        var report = VerifyModel.Run(model.Path);
        Assert.Equal(expected.Replace("{0}", report.Folder, StringComparison.Ordinal), Assert.Single(report.Trouble));
        Assert.False(report.IsWhole);
        Assert.Null(report.Trial);
        Assert.EndsWith("verdict   not usable as it is: 1 problem", report.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Parts_of_different_models_disagree_in_all_that_is_told()
    {
        using var model = new ModelFolder("sd1");
        model.Set("unet/config.json", "cross_attention_dim", "48");
        model.Set("vae/config.json", "latent_channels", "8");
        var report = VerifyModel.Run(model.Path);
        Assert.Equal(3, report.Trouble.Count);
        Assert.StartsWith("unet: the weights do not fit the model: 0 missing, 0 unexpected, ", report.Trouble[0], StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_without_an_index_is_refused()
    {
        using var model = new ModelFolder("sd1");
        File.Delete(model.File("model_index.json"));
        var error = Assert.Throws<CheckpointException>(() => VerifyModel.Run(model.Path));
        Assert.Equal($"not a model in the diffusers layout: model_index.json is missing; in {model.Path}; give the folder that holds model_index.json with unet, vae and text_encoder beside it", error.Message);
    }

    private static void Break(ModelFolder model, string how)
    {
        switch (how)
        {
            case "no vae": Directory.Delete(model.File("vae"), recursive: true); break;
            case "no weights": File.Delete(model.File(Unet)); break;
            case "no configuration": File.Delete(model.File("vae/config.json")); break;
            case "a renamed weight": Rewrite(model.File(Unet), (name, value) => (name == "conv_in.bias" ? "conv_in.bais" : name, value)); break;
            case "a turned weight": Rewrite(model.File(Unet), (name, value) => (name, name == "conv_in.bias" ? value.unsqueeze(0) : value)); break;
            case "no number": Rewrite(model.File(Unet), (name, value) => (name, name == "conv_in.bias" ? value.where(TensorArithmetic.Counting(value.numel(), ScalarType.Int64).IsNotEqualTo(1), tensor(float.NaN, value.dtype)) : value)); break;
            case "zeros": Rewrite(model.File(Vae), (name, value) => (name, zeros_like(value))); break;
            case "huge": Rewrite(model.File(Unet), (name, value) => (name, name == "conv_out.weight" ? TensorArithmetic.Filled(value.shape, 3e38) : value)); break;
            case "no format": Rewrite(model.File(Text), (name, value) => (name, value), format: false); break;
            case "another end": Tokens(model, start: 638, end: 5); break;
            case "another start": Tokens(model, start: 5, end: 639); break;
            case "another target": model.Set("scheduler/scheduler_config.json", "prediction_type", "\"noise\""); break;
            case "a checker without weights":
                Directory.CreateDirectory(model.File("safety_checker"));
                File.WriteAllText(model.File("safety_checker/config.json"), "{}");
                model.Set("model_index.json", "safety_checker", "[\"stable_diffusion\", \"StableDiffusionSafetyChecker\"]");
                break;
            case "another class": model.Set("model_index.json", "unet", "[\"diffusers\", \"DiTTransformer2DModel\"]"); break;
        }
    }

    private static void Tokens(ModelFolder model, int start, int end)
    {
        model.Set("text_encoder/config.json", "bos_token_id", $"{start}");
        model.Set("text_encoder/config.json", "eos_token_id", $"{end}");
    }

    private static void Rewrite(string path, Func<string, Tensor, (string Name, Tensor Value)> change, bool format = true)
    {
        using var scope = NewDisposeScope();
        Dictionary<string, Tensor> changed;
        using (var file = SafetensorsReader.Open(path)) changed = file.Tensors.Keys.Select(name => change(name, file.Read(name))).ToDictionary(item => item.Name, item => item.Value);
        SafetensorsWriter.Write(path, changed, format ? new Dictionary<string, string> { ["format"] = "pt" } : null);
    }
}
