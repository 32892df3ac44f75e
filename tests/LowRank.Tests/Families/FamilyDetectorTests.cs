using LowRank.Families;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Tests.Families;

public class FamilyDetectorTests
{
    private static string Refusal(string model) => Assert.Throws<CheckpointException>(() => FamilyDetector.Open(model)).Message;

    [Fact]
    public void A_name_that_is_no_model_is_refused_with_the_nearest_known_name()
    {
        Assert.Equal("no model is there; icons-46 (did you mean \"icons-64\"?); name a folder that holds model_index.json, a checkpoint of one file (.safetensors, .ckpt), or an embedded model: icons-64", Refusal("icons-46"));
        Assert.Equal("no model is there; /nowhere/sd15; name a folder that holds model_index.json, a checkpoint of one file (.safetensors, .ckpt), or an embedded model: icons-64", Refusal("/nowhere/sd15"));
    }

    [Fact]
    public void A_precision_that_is_not_built_is_refused()
    {
        var message = Assert.Throws<OptionsException>(() => FamilyDetector.Open("icons-64", ScalarType.Float16)).Message;

        Assert.Equal("precision: Float16 is not supported; use Float32 or BFloat16 (float16 files are converted when loaded)", message);
    }

    [Theory]
    [InlineData("sd1", "model_index.json", "not a model in the diffusers layout: model_index.json is missing; in {0}; give the folder that holds model_index.json with unet, vae and text_encoder beside it")]
    [InlineData("sd1", "vae", "the model lacks a part: the folder vae is missing; in {0}; copy the whole model, with every part that model_index.json names")]
    [InlineData("sdxl", "text_encoder_2", "the model lacks a part: the folder text_encoder_2 is missing; in {0}; copy the whole model, with every part that model_index.json names")]
    [InlineData("sd1", "tokenizer/merges.txt", "the tokenizer lacks a file: merges.txt; in {0}/tokenizer; a tokenizer folder holds vocab.json and merges.txt, or tokenizer.json")]
    [InlineData("sd1", "unet/config.json", "the part has no config.json; in {0}/unet; copy the whole model again")]
    [InlineData("sd1", "scheduler/scheduler_config.json", "the model lacks a file: scheduler_config.json; in {0}/scheduler; copy the whole model again")]
    [InlineData("sd1", "unet/diffusion_pytorch_model.safetensors", "the folder holds no weights: it has config.json; in {0}/unet; expected diffusion_pytorch_model.safetensors, model.safetensors or pytorch_model.bin")]
    public void A_model_that_lacks_something_is_refused_before_anything_is_loaded(string pipeline, string missing, string message)
    {
        using var folder = new ModelFolder(pipeline);
        if (Directory.Exists(folder.File(missing))) Directory.Delete(folder.File(missing), recursive: true);
        else File.Delete(folder.File(missing));

        Assert.Equal(string.Format(System.Globalization.CultureInfo.InvariantCulture, message, folder.Path), Refusal(folder.Path));
    }

    [Theory]
    [InlineData("sd1", "model_index.json", "_class_name", "\"FluxPipeline\"",
        "unsupported value: _class_name is \"FluxPipeline\"; in {0}/model_index.json; supported: StableDiffusionPipeline, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionXLPipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline")]
    [InlineData("sd1", "model_index.json", "_class_name", "null", "the key _class_name is missing, which names the pipeline; in {0}/model_index.json; copy the file from the model again")]
    [InlineData("sd1", "model_index.json", "text_encoder", "[null, null]", "the model has no text_encoder, which StableDiffusionPipeline needs; in {0}/model_index.json; copy the whole model: the index names the part and the folder text_encoder holds it")]
    [InlineData("sd1", "model_index.json", "text_encoder", "[\"transformers\", \"T5EncoderModel\"]", "unsupported value: text_encoder is of class T5EncoderModel; in {0}/model_index.json; supported: CLIPTextModel, CLIPTextModelWithProjection")]
    [InlineData("sd1", "model_index.json", "vae", "\"AutoencoderKL\"", "vae is \"AutoencoderKL\", expected [library, class]; in {0}/model_index.json; copy the file from the model again")]
    [InlineData("sdxl", "model_index.json", "force_zeros_for_empty_prompt", "1", "force_zeros_for_empty_prompt is 1, expected true or false; in {0}/model_index.json; copy the file from the model again")]
    [InlineData("sd1", "unet/config.json", "act_fn", "\"relu\"", "{0}/unet/config.json: this UNet2DConditionModel cannot be built:\n  act_fn is \"relu\"; supported: \"silu\", \"swish\"")]
    [InlineData("sd1", "unet/config.json", "in_channels", "8", "unsupported value: in_channels is 8; in {0}/unet/config.json; supported: 4 (latents), 9 (inpainting: latents, mask, masked picture's latents)")]
    [InlineData("sd1", "unet/config.json", "out_channels", "8", "out_channels is 8, the autoencoder's latent_channels is 4; in {0}/unet/config.json; take all parts from one model")]
    [InlineData("sd1", "unet/config.json", "cross_attention_dim", "768", "cross_attention_dim is 768, the text is 24 wide; in {0}/unet/config.json; take all parts from one model")]
    [InlineData("sdxl", "unet/config.json", "projection_class_embeddings_input_dim", "70",
        "projection_class_embeddings_input_dim leaves 22 for the pooled text, which is 20 wide (projection_dim of text_encoder_2); in {0}/unet/config.json; take all parts from one model")]
    [InlineData("sdxl", "unet/config.json", "addition_embed_type", "null", "unsupported value: addition_embed_type is null; in {0}/unet/config.json; Stable Diffusion XL needs \"text_time\"")]
    [InlineData("sdxl", "tokenizer_2/tokenizer_config.json", "model_max_length", "40", "the text encoders read 77 and 40 tokens; in {0}; set model_max_length of tokenizer and tokenizer_2 as published (77)")]
    [InlineData("sdxl", "model_index.json", "_class_name", "\"StableDiffusionPipeline\"", "cross_attention_dim is 40, the text is 16 wide; in {0}/unet/config.json; take all parts from one model")]
    [InlineData("sd1", "vae/config.json", "in_channels", "1", "unsupported value: in_channels is 1, out_channels is 3; in {0}/vae/config.json; supported: 3 (red, green, blue)")]
    [InlineData("sd1", "text_encoder/config.json", "hidden_act", "\"relu\"", "{0}/text_encoder/config.json: this CLIPTextModel cannot be built:\n  hidden_act is \"relu\"; supported: \"quick_gelu\", \"gelu\"")]
    [InlineData("sd1", "text_encoder/config.json", "vocab_size", "600", "vocab_size is 600, but the tokenizer has ids up to 639; in {0}/text_encoder/config.json; take text encoder and tokenizer ({0}/tokenizer) from the same model")]
    [InlineData("sd1", "text_encoder/config.json", "max_position_embeddings", "32",
        "max_position_embeddings is 32, but the tokenizer's model_max_length is 77; in {0}/text_encoder/config.json; take text encoder and tokenizer ({0}/tokenizer) from the same model")]
    [InlineData("sd1", "scheduler/scheduler_config.json", "prediction_type", "\"score\"",
        "prediction_type is \"score\" in the scheduler configuration, which is not supported. Supported: epsilon, v_prediction, sample, flow_prediction; in {0}/scheduler/scheduler_config.json; use the file as published")]
    public void A_value_that_is_not_supported_is_refused_by_file_key_and_value(string pipeline, string file, string key, string value, string message)
    {
        using var folder = new ModelFolder(pipeline);
        folder.Set(file, key, value);

        Assert.Equal(message.Replace("{0}", folder.Path, StringComparison.Ordinal), Refusal(folder.Path));
    }

    [Fact]
    public void Damaged_json_is_refused_by_file()
    {
        using var folder = new ModelFolder("sd1");
        File.WriteAllText(folder.File("model_index.json"), "{ \"_class_name\": ");

        var message = Refusal(folder.Path);

        Assert.StartsWith("the configuration cannot be read: ", message, StringComparison.Ordinal);
        Assert.EndsWith($"; in {folder.File("model_index.json")}; compare it with the published file", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Weights_of_another_model_are_refused_when_they_are_loaded()
    {
        using var folder = new ModelFolder("sd1");
        folder.Set("text_encoder/config.json", "intermediate_size", "40");
        using var family = FamilyDetector.Open(folder.Path);

        var message = Assert.Throws<CheckpointException>(() => family.EncodePrompts(["a dog"])).Message;

        Assert.Equal(
            $"the weights do not fit the model: 0 missing, 0 unexpected, 6 mis-shaped of 36; in {folder.File("text_encoder/model.safetensors")}\n"
            + "  mis-shaped: text_model.encoder.layers.0.mlp.fc1.bias is [48], the model has [40], text_model.encoder.layers.0.mlp.fc1.weight is [48,24], the model has [40,24], "
            + "text_model.encoder.layers.0.mlp.fc2.weight is [24,48], the model has [24,40], text_model.encoder.layers.1.mlp.fc1.bias is [48], the model has [40], "
            + "text_model.encoder.layers.1.mlp.fc1.weight is [48,24], the model has [40,24], text_model.encoder.layers.1.mlp.fc2.weight is [24,48], the model has [24,40]\n"
            + "the file and the model's configuration belong to different models, or to different versions of one: use the pair as published", message);
    }
}
