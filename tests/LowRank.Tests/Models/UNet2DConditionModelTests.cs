using System.Text;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Models;

public class UNet2DConditionModelTests
{
    private const string Tiny = """
        "block_out_channels": [8, 16], "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "attention_head_dim": 2, "cross_attention_dim": 10, "layers_per_block": 1, "norm_num_groups": 4
        """;

    private const string TextTime = """, "addition_embed_type": "text_time", "addition_time_embed_dim": 6, "projection_class_embeddings_input_dim": 41""";

    private static UNet2DConditionConfig Parse(string json) => UNet2DConditionConfig.Parse(Encoding.UTF8.GetBytes(json), "unet/config.json");

    private static UNet2DConditionModel Build(string more = "")
    {
        var unet = new UNet2DConditionModel(Parse($"{{ {Tiny}{more} }}"), new LayerFactory(CPU, ScalarType.Float32));
        Formula.Fill(unet, 5);
        return unet;
    }

    private static string Refusal(string json) => Assert.Throws<CheckpointException>(() => Parse(json)).Message;

    [Fact]
    public void A_forward_and_backward_leave_no_tensor_behind()
    {
        using var unet = Build(TextTime);
        foreach (var parameter in unet.parameters()) parameter.requires_grad_(false);
        using var sample = Formula.Noise("sample", [2, 4, 6, 5], 1).requires_grad_();
        using var times = tensor(new long[] { 3, 900 });
        using var text = Formula.Noise("text", [2, 3, 10], 1);
        using var pooled = Formula.Noise("pooled", [2, 5], 1);
        using var sizes = ones(2, 6);
        LeakGuard.AssertNothingLeft(() =>
        {
            using var output = unet.call(sample, times, text, pooled, sizes);
            using var loss = output.mean();
            loss.backward();
        });
    }

    [Fact]
    public void One_timestep_serves_the_whole_batch()
    {
        using var scope = NewDisposeScope();
        using var unet = Build();
        var (sample, text) = (Formula.Noise("sample", [3, 4, 4, 4], 1), Formula.Noise("text", [3, 3, 10], 1));

        var each = unet.call(sample, tensor(new long[] { 77, 77, 77 }), text, null, null);

        TensorAssert.Close(each, unet.call(sample, tensor(77L), text, null, null), 1e-6, 1e-6);
    }

    [Fact]
    public void Layers_per_block_and_depth_may_differ_from_level_to_level()
    {
        using var scope = NewDisposeScope();
        var config = Parse($"{{ {Tiny.Replace("\"layers_per_block\": 1", "\"layers_per_block\": [1, 2]", StringComparison.Ordinal)}, \"transformer_layers_per_block\": [2, 1] }}");
        using var unet = new UNet2DConditionModel(config, new LayerFactory(CPU, ScalarType.Float32));
        var names = unet.named_modules().Select(item => item.name).ToHashSet();

        Assert.Contains("up_blocks.0.resnets.2", names);
        Assert.Contains("up_blocks.1.resnets.1", names);
        Assert.DoesNotContain("up_blocks.1.resnets.2", names);
        Assert.Contains("down_blocks.0.attentions.0.transformer_blocks.1", names);
        Assert.DoesNotContain("mid_block.attentions.0.transformer_blocks.1", names);
        Assert.Equal([1, 4, 4, 4], unet.call(Formula.Noise("sample", [1, 4, 4, 4], 1), tensor(1L), Formula.Noise("text", [1, 3, 10], 1), null, null).shape);
    }

    [Fact]
    public void Inputs_that_do_not_fit_are_named_with_the_shape_they_should_have()
    {
        using var scope = NewDisposeScope();
        using var plain = Build();
        using var sized = Build(TextTime);
        var (sample, times, text) = (zeros(2, 4, 4, 4), tensor(new long[] { 1, 2 }), zeros(2, 3, 10));

        void Refused(string message, UNet2DConditionModel unet, Tensor x, Tensor t, Tensor c, Tensor? pooled = null, Tensor? ids = null) =>
            Assert.Equal(message, Assert.Throws<ArgumentException>(() => unet.call(x, t, c, pooled, ids)).Message);

        Refused("sample is (2, 9, 4, 4); expected (B, 4, h, w)", plain, zeros(2, 9, 4, 4), times, text);
        Refused("timesteps is (3); expected (2) or one number", plain, sample, tensor(new long[] { 1, 2, 3 }), text);
        Refused("encoder_hidden_states is (2, 3, 768); expected (2, S, 10)", plain, sample, times, zeros(2, 3, 768));
        Refused("text_embeds is (2, 5); expected null: this network has no pooled text", plain, sample, times, text, zeros(2, 5));
        Refused("time_ids is (2, 6); expected null: this network has no size conditions", plain, sample, times, text, null, zeros(2, 6));
        Refused("text_embeds is null; expected (2, 5)", sized, sample, times, text, null, zeros(2, 6));
        Refused("time_ids is (1, 6); expected (2, 6)", sized, sample, times, text, zeros(2, 5), zeros(1, 6));
    }

    [Fact]
    public void Keys_that_do_not_matter_are_kept_and_absent_ones_have_the_published_defaults()
    {
        var config = Parse("""{ "_diffusers_version": "0.6.0", "upcast_attention": true, "sample_size": 64 }""");

        Assert.Equal(["_diffusers_version", "upcast_attention"], config.Unread!.Keys.Order());
        Assert.Equal([320, 640, 1280, 1280], config.BlockOutChannels);
        Assert.Equal(1280, config.CrossAttentionDim);
        Assert.Equal(64, config.SampleSize![0]);
        Assert.True(config.FlipSinToCos);
    }

    [Theory]
    [InlineData("\"act_fn\": \"gelu\"", "act_fn is \"gelu\"; supported: \"silu\", \"swish\"")]
    [InlineData("\"time_cond_proj_dim\": 256", "time_cond_proj_dim is 256; supported: null")]
    [InlineData("\"mid_block_scale_factor\": 1.5", "mid_block_scale_factor is 1.5; supported: 1")]
    [InlineData("\"down_block_types\": [\"AttnDownBlock2D\", \"DownBlock2D\"]", "down_block_types has \"AttnDownBlock2D\"; supported: \"DownBlock2D\", \"CrossAttnDownBlock2D\"")]
    [InlineData("\"up_block_types\": [\"UpBlock2D\"]", "up_block_types has 1 entries; block_out_channels has 2")]
    [InlineData("\"attention_head_dim\": [2, 2, 2]", "attention_head_dim has 3 entries; block_out_channels has 2")]
    [InlineData("\"attention_head_dim\": 3", "block_out_channels has 8; attention_head_dim 3 (the number of heads) does not divide it\n  block_out_channels has 16; attention_head_dim 3 (the number of heads) does not divide it")]
    [InlineData("\"norm_num_groups\": 5", "block_out_channels has 8; norm_num_groups 5 does not divide it\n  block_out_channels has 16; norm_num_groups 5 does not divide it")]
    [InlineData("\"layers_per_block\": 0", "layers_per_block is 0; expected 1 or more")]
    [InlineData("\"freq_shift\": 4", "freq_shift is 4; expected less than half of 8")]
    [InlineData("\"addition_embed_type\": \"image\"", "addition_embed_type is \"image\"; supported: null, \"text_time\"")]
    [InlineData("\"addition_embed_type\": \"text_time\"", "addition_time_embed_dim is null; \"text_time\" needs an even number")]
    [InlineData("\"addition_embed_type\": \"text_time\", \"addition_time_embed_dim\": 6", "projection_class_embeddings_input_dim is null; \"text_time\" needs more than six times addition_time_embed_dim, 36")]
    public void A_configuration_that_cannot_be_built_is_refused_by_key_and_value(string entry, string problem)
    {
        var key = entry.Split('"')[1];
        var kept = Tiny.Replace($"\"{key}\":", $"\"_{key}\":", StringComparison.Ordinal);

        Assert.Equal($"unet/config.json: this UNet2DConditionModel cannot be built:\n  {problem}", Refusal($"{{ {kept}, {entry} }}"));
    }

    [Fact]
    public void A_value_of_the_wrong_type_is_refused_with_its_key_and_file()
    {
        var message = Refusal("""{ "in_channels": "four" }""");

        Assert.StartsWith("the configuration cannot be read: The JSON value could not be converted to System.Int32. Path: $.in_channels |", message, StringComparison.Ordinal);
        Assert.EndsWith("; in unet/config.json; compare it with the published file", message, StringComparison.Ordinal);
        Assert.Contains("$.attention_head_dim", Refusal("""{ "attention_head_dim": [2, "2"] }"""), StringComparison.Ordinal);
    }

    [Fact]
    public void Every_problem_of_a_configuration_is_listed_at_once()
    {
        Assert.Equal(
            "unet/config.json: this UNet2DConditionModel cannot be built:\n  dropout is 0.1; supported: 0\n  class_embed_type is \"timestep\"; supported: null",
            Refusal($"{{ {Tiny}, \"dropout\": 0.1, \"class_embed_type\": \"timestep\" }}"));
    }
}
