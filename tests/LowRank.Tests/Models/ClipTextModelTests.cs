using System.Text;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Models;

public class ClipTextModelTests
{
    private const string Tiny = """
        "vocab_size": 20, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "max_position_embeddings": 6, "projection_dim": 5
        """;

    private static ClipTextConfig Parse(string json) => ClipTextConfig.Parse(Encoding.UTF8.GetBytes(json), "text_encoder/config.json");

    private static ClipTextModel Build(bool projection = false, string more = "")
    {
        var model = new ClipTextModel(Parse($"{{ {Tiny}{more} }}"), projection, new LayerFactory(CPU, ScalarType.Float32));
        Formula.Fill(model, 3);
        return model;
    }

    [Fact]
    public void A_forward_and_backward_leave_no_tensor_behind()
    {
        using var model = Build(projection: true);
        using var ids = tensor(new long[] { 1, 4, 19, 19 }).reshape(1, 4);
        LeakGuard.AssertNothingLeft(() =>
        {
            using var states = model.call(ids);
            using var skipped = model.SkipLayers(states, 1);
            using var sum = states.Projected!.sum();
            sum.backward();
            model.zero_grad();
        });
    }

    [Fact]
    public void Later_tokens_do_not_change_earlier_states()
    {
        using var scope = NewDisposeScope();
        using var model = Build();
        var one = model.call(tensor(new long[] { 1, 4, 7, 2 }).reshape(1, 4)).Last;
        var other = model.call(tensor(new long[] { 1, 4, 9, 3 }).reshape(1, 4)).Last;

        TensorAssert.Close(one[TensorIndex.Colon, TensorIndex.Slice(0, 2)], other[TensorIndex.Colon, TensorIndex.Slice(0, 2)], 1e-6, 1e-6);
        Assert.True((one - other)[0, 2].abs().max().item<float>() > 1e-3);
    }

    [Theory]
    [InlineData(4, 2)]   // the only one
    [InlineData(7, 1)]   // the first of two
    [InlineData(2, 3)]   // "the largest id"
    public void The_pooled_text_is_taken_where_the_configured_end_token_says(int end, int position)
    {
        using var scope = NewDisposeScope();
        using var model = Build(projection: false, $", \"eos_token_id\": {end}");
        using var states = model.call(tensor(new long[] { 1, 7, 4, 19, 7 }).reshape(1, 5));

        TensorAssert.Equal(states.Last[0, position], states.Pooled[0]);
    }

    [Fact]
    public void In_bfloat16_it_is_near_float32()
    {
        using var scope = NewDisposeScope();
        using var exact = Build(projection: true);
        using var rough = (ClipTextModel)Build(projection: true).to(ScalarType.BFloat16);
        var ids = tensor(new long[] { 1, 7, 4, 19 }).reshape(1, 4);

        var states = rough.call(ids);

        Assert.All(states.Hidden.Append(states.Last).Append(states.Pooled).Append(states.Projected!), state => Assert.Equal(ScalarType.BFloat16, state.dtype));
        TensorAssert.Close(exact.call(ids).Last, states.Last, 0, 0.06);
    }

    [Fact]
    public void Names_of_older_and_newer_files_are_the_same_keys()
    {
        Assert.Equal("text_model.encoder.layers.0.mlp.fc1.bias", ClipTextModel.KeyOf("text_model.encoder.layers.0.mlp.fc1.bias"));
        Assert.Equal("text_model.encoder.layers.0.mlp.fc1.bias", ClipTextModel.KeyOf("encoder.layers.0.mlp.fc1.bias"));
        Assert.Equal("text_projection.weight", ClipTextModel.KeyOf("text_projection.weight"));
        Assert.Null(ClipTextModel.KeyOf("text_model.embeddings.position_ids"));
        Assert.Null(ClipTextModel.KeyOf("embeddings.position_ids"));
    }

    [Fact]
    public void Ids_that_do_not_fit_are_named_with_the_shape_they_should_have()
    {
        using var scope = NewDisposeScope();
        using var model = Build();

        var error = Assert.Throws<ArgumentException>(() => model.call(zeros(1, 7, dtype: ScalarType.Int64)));
        Assert.Equal("ids is (1, 7); expected (B, T) with T up to 6", error.Message);
        Assert.Equal("ids is (6); expected (B, T) with T up to 6", Assert.Throws<ArgumentException>(() => model.call(zeros(6, dtype: ScalarType.Int64))).Message);
    }

    [Theory]
    [InlineData("\"hidden_act\": \"relu\"", "hidden_act is \"relu\"; supported: \"quick_gelu\", \"gelu\"")]
    [InlineData("\"attention_dropout\": 0.1", "attention_dropout is 0.1; supported: 0")]
    [InlineData("\"model_type\": \"bert\"", "model_type is \"bert\"; supported: \"clip_text_model\"")]
    [InlineData("\"num_attention_heads\": 3", "hidden_size is 8; num_attention_heads 3 does not divide it")]
    [InlineData("\"vocab_size\": 0", "vocab_size is 0; expected 1 or more")]
    public void A_configuration_that_cannot_be_built_is_refused_by_key_and_value(string entry, string problem)
    {
        var key = entry.Split('"')[1];
        var kept = Tiny.Replace($"\"{key}\":", $"\"_{key}\":", StringComparison.Ordinal);

        var message = Assert.Throws<CheckpointException>(() => Parse($"{{ {kept}, {entry} }}")).Message;

        Assert.Equal($"text_encoder/config.json: this CLIPTextModel cannot be built:\n  {problem}", message);
    }
}
