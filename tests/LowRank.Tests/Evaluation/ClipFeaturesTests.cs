using System.Text;
using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Evaluation;

public class ClipFeaturesTests
{
    private const string Text = """
        { "vocab_size": 600, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 10, "projection_dim": 3, "eos_token_id": 2 }
        """;
    private const string Vision = """
        { "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 20, "patch_size": 5, "projection_dim": 4 }
        """;
    private const string Whole = $$"""
        { "model_type": "clip", "projection_dim": 6, "text_config": {{Text}}, "vision_config": {{Vision}} }
        """;
    private static readonly RgbImage[] Pictures = [InceptionFeaturesTests.Picture("a", 30, 20), InceptionFeaturesTests.Picture("b", 17, 64)];
    private static readonly LayerFactory Layers = new(CPU, ScalarType.Float32);

    [Fact]
    public void A_whole_model_gives_features_of_pictures_and_texts()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        using var vision = VisionModel(projection: 6);
        using var text = TextModel();
        Write(folder, Whole, [.. vision.state_dict(), .. text.state_dict(), new("logit_scale", tensor(4.6f)), new("vision_model.embeddings.position_ids", TensorArithmetic.Counting(17, ScalarType.Int64)), new("text_model.embeddings.position_ids", TensorArithmetic.Counting(10, ScalarType.Int64))]);

        using var opened = Assert.IsAssignableFrom<ITextFeatureNetwork>(FeatureNetworks.Open(folder.FullName));

        Assert.Equal(6, opened.Dimension);
        TensorAssert.Equal(Expected(vision), opened.Features(Pictures));
        var texts = opened.TextFeatures(["a cat", "red"]);
        TensorAssert.Close(Expected(text, "a cat", "red"), texts, 1e-6, 1e-6);
        Assert.False(texts.requires_grad);
        TensorAssert.Equal(texts, opened.TextFeatures(["a cat", "red"]));
        Assert.NotEqual(0, (texts[0] - texts[1]).abs().max().item<float>());
        Assert.Equal($"clip, bicubic to 20, middle 20, mean 0.48145466 0.4578275 0.40821073, deviation 0.26862954 0.26130258 0.27577711, weights sha256 {FeatureBatches.HashOf(vision)}", opened.Identity);
        Assert.Equal($"texts of up to 10 tokens, weights sha256 {FeatureBatches.HashOf(text)}", opened.TextIdentity);
    }

    [Fact]
    public void A_picture_encoder_alone_has_no_texts_but_the_same_identity()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        using var vision = VisionModel(projection: 4);
        Write(folder, Vision.Replace("{ \"hidden", "{ \"model_type\": \"clip_vision_model\", \"hidden", StringComparison.Ordinal), vision.state_dict());

        using var opened = FeatureNetworks.Open(folder.FullName);

        Assert.IsNotAssignableFrom<ITextFeatureNetwork>(opened);
        TensorAssert.Equal(Expected(vision), opened.Features(Pictures));
        Assert.EndsWith($"weights sha256 {FeatureBatches.HashOf(vision)}", opened.Identity, StringComparison.Ordinal);
    }

    [Fact]
    public void The_preprocessing_beside_the_weights_is_used_and_part_of_the_identity()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        using var vision = VisionModel(projection: 4);
        Write(folder, Vision.Replace("{ \"hidden", "{ \"model_type\": \"clip_vision_model\", \"hidden", StringComparison.Ordinal), vision.state_dict());
        File.WriteAllText(folder.Path("preprocessor_config.json"), """{ "size": 24, "crop_size": 20, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 0.5] }""");

        using var opened = FeatureNetworks.Open(folder.FullName);

        Assert.StartsWith("clip, bicubic to 24, middle 20, mean 0.5 0.5 0.5, deviation 0.25 0.5 0.5, weights", opened.Identity, StringComparison.Ordinal);
        TensorAssert.Equal(Expected(vision, new ClipInput { ShortSide = 24, Crop = 20, Mean = [0.5, 0.5, 0.5], Deviation = [0.25, 0.5, 0.5] }), opened.Features(Pictures));
    }

    [Theory]
    [InlineData("""{ "do_center_crop": false }""", "do_center_crop is false", "true")]
    [InlineData("""{ "resample": 2 }""", "resample is 2", "3 (bicubic)")]
    [InlineData("""{ "rescale_factor": 0.0078 }""", "rescale_factor is 0.0078", "1/255")]
    [InlineData("""{ "size": { "height": 24, "width": 24 } }""", """size is { "height": 24, "width": 24 }""", "a number, or the shortest_edge")]
    [InlineData("""{ "crop_size": { "height": 24, "width": 20 } }""", """crop_size is { "height": 24, "width": 20 }""", "a number, or equal height and width")]
    [InlineData("""{ "size": 20, "crop_size": 22 }""", "crop_size is 22", "up to 20, the size")]
    [InlineData("""{ "size": 24, "crop_size": 22 }""", "crop_size is 22", "20, the image_size of the network")]
    [InlineData("""{ "image_std": [1, 2], "size": 20, "crop_size": 20 }""", "image_std is [1, 2]", "three numbers")]
    public void Preprocessing_that_is_not_done_here_is_refused(string json, string what, string supported)
    {
        using var folder = new TemporaryFolder();
        var path = folder.Path("preprocessor_config.json");
        File.WriteAllText(path, json);
        var error = Assert.Throws<CheckpointException>(() => ClipInput.Of(folder.FullName, 20));
        Assert.Equal($"unsupported value: {what}; in {path}; supported: {supported}", error.Message);
    }

    [Theory]
    [InlineData("""{ "model_type": "siglip" }""", "it is \"siglip\"")]
    [InlineData("""{ "_class_name": "UNet2DConditionModel" }""", "there is none")]
    [InlineData("""{ "model_type": "clip" }""", "it is \"clip\"")]
    public void Other_models_are_told_of(string json, string found)
    {
        using var folder = new TemporaryFolder();
        var path = folder.Path("config.json");
        File.WriteAllText(path, json);
        var error = Assert.Throws<CheckpointException>(() => FeatureNetworks.Open(folder.FullName));
        Assert.Equal($"no CLIP model: model_type \"clip\" with text_config and vision_config, or \"clip_vision_model\", is expected, and {found}; in {path}; give the folder of a CLIP model, such as openai/clip-vit-large-patch14", error.Message);
    }

    [Fact]
    public void A_configuration_that_cannot_be_built_lists_why()
    {
        var error = Assert.Throws<CheckpointException>(() => ClipVisionConfig.Parse("""{ "hidden_act": "relu", "hidden_size": 10, "num_attention_heads": 3, "num_channels": 4, "patch_size": 300 }"""u8, "config.json"));
        Assert.Equal("""
            config.json: this CLIPVisionModelWithProjection cannot be built:
              num_channels is 4; supported: 3
              hidden_act is "relu"; supported: "quick_gelu", "gelu"
              hidden_size is 10; num_attention_heads 3 does not divide it
              patch_size is 300; larger than image_size 224
            """, error.Message, ignoreLineEndingDifferences: true);
    }

    [Fact]
    public void A_forward_leaves_nothing_behind()
    {
        using var model = VisionModel(projection: 4);
        using var pictures = Formula.Noise("x", [2, 3, 20, 20], 1);
        LeakGuard.AssertNothingLeft(() =>
        {
            using var states = model.call(pictures);
        });
    }

    private static ClipVisionModel VisionModel(int projection)
    {
        var model = new ClipVisionModel(ClipVisionConfig.Parse(Encoding.UTF8.GetBytes(Vision), "config.json") with { ProjectionDim = projection }, Layers);
        Formula.Fill(model, 3);
        return model;
    }

    private static ClipTextModel TextModel()
    {
        var model = new ClipTextModel(ClipTextConfig.Parse(Encoding.UTF8.GetBytes(Text), "config.json") with { ProjectionDim = 6 }, projection: true, Layers);
        Formula.Fill(model, 3);
        return model;
    }

    private static Tensor Expected(ClipVisionModel model, ClipInput? input = null)
    {
        using var quiet = no_grad();
        input ??= new ClipInput { ShortSide = 20, Crop = 20 };
        return model.call(tensor(Pictures.SelectMany(input.Planes).ToArray(), 2, 3, 20, 20)).Projected;
    }

    /// <summary>One text after another, without padding: the end is what counts.</summary>
    private static Tensor Expected(ClipTextModel model, params string[] texts)
    {
        using var quiet = no_grad();
        using var files = new TinyTokenizer();
        var tokenizer = LowRank.Text.TokenizerFolder.Open(files.Folder);
        return cat([.. texts.Select(text => model.call(tensor(tokenizer.Encode(text).Select(id => (long)id).ToArray()).unsqueeze(0)).Projected!)]);
    }

    private static void Write(TemporaryFolder folder, string config, IEnumerable<KeyValuePair<string, Tensor>> weights)
    {
        using var tokenizer = new TinyTokenizer();
        foreach (var file in Directory.GetFiles(tokenizer.Folder)) File.Copy(file, folder.Path(Path.GetFileName(file)));
        File.WriteAllText(folder.Path("config.json"), config);
        SafetensorsWriter.Write(folder.Path("model.safetensors"), weights);
    }
}
