using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Models;

public sealed class RandomWeightsTests
{
    [Fact]
    public void Layers_begin_as_those_of_the_usual_library()
    {
        using var scope = NewDisposeScope();
        var meta = LayerFactory.Meta;
        using var module = nn.Sequential(("conv", meta.Conv2d(40, 60, 3)), ("norm", meta.GroupNorm(2, 60, 1e-5)), ("linear", meta.Linear(400, 50)), ("last", meta.LayerNorm(50, 1e-5)), ("table", meta.Embedding(300, 30)));
        using var generator = new Generator(3);
        var drawn = RandomWeights.Draw(module, generator);
        Assert.Equal(["conv.bias", "conv.weight", "last.bias", "last.weight", "linear.bias", "linear.weight", "norm.bias", "norm.weight", "table.weight"], drawn.Keys.Order(StringComparer.Ordinal));
        IsUniform(drawn["conv.weight"], 1 / Math.Sqrt(40 * 9));
        IsUniform(drawn["conv.bias"], 1 / Math.Sqrt(40 * 9));
        IsUniform(drawn["linear.weight"], 1 / Math.Sqrt(400));
        IsUniform(drawn["linear.bias"], 1 / Math.Sqrt(400));
        IsNormal(drawn["table.weight"], 1);
        foreach (var norm in (string[])["norm", "last"])
        {
            TensorAssert.Equal(ones_like(drawn[norm + ".weight"]), drawn[norm + ".weight"]);
            TensorAssert.Equal(zeros_like(drawn[norm + ".bias"]), drawn[norm + ".bias"]);
        }
        using var again = new Generator(3);
        foreach (var (key, value) in RandomWeights.Draw(module, again)) TensorAssert.Equal(value, drawn[key], key);
    }

    /// <summary>The deviations of CLIPPreTrainedModel._init_weights for width 64, 3 layers and a factor of 2.</summary>
    [Theory]
    [InlineData("text_model.embeddings.token_embedding.weight", 0.04)]
    [InlineData("text_model.embeddings.position_embedding.weight", 0.04)]
    [InlineData("text_model.encoder.layers.1.self_attn.q_proj.weight", 0.10206207)]   // 64^-0.5 · (2 · 3)^-0.5 · 2
    [InlineData("text_model.encoder.layers.1.self_attn.k_proj.weight", 0.10206207)]
    [InlineData("text_model.encoder.layers.1.self_attn.v_proj.weight", 0.10206207)]
    [InlineData("text_model.encoder.layers.1.self_attn.out_proj.weight", 0.25)]       // 64^-0.5 · 2
    [InlineData("text_model.encoder.layers.1.mlp.fc1.weight", 0.17677670)]            // (2 · 64)^-0.5 · 2
    [InlineData("text_model.encoder.layers.1.mlp.fc2.weight", 0.10206207)]
    [InlineData("text_projection.weight", 0.25)]
    [InlineData("text_model.encoder.layers.1.mlp.fc1.bias", 0)]
    [InlineData("text_model.encoder.layers.2.self_attn.q_proj.bias", 0)]
    [InlineData("text_model.final_layer_norm.bias", 0)]
    public void A_text_encoder_begins_as_CLIPs(string key, double deviation)
    {
        using var scope = NewDisposeScope();
        var config = new ClipTextConfig { VocabSize = 500, HiddenSize = 64, IntermediateSize = 128, NumHiddenLayers = 3, NumAttentionHeads = 4, MaxPositionEmbeddings = 50, ProjectionDim = 40, InitializerFactor = 2 };
        using var model = new ClipTextModel(config, projection: true, LayerFactory.Meta);
        using var generator = new Generator(3);
        var drawn = RandomWeights.Draw(model, generator, config.InitialDeviation);
        Assert.Equal(model.state_dict().Keys.Order(StringComparer.Ordinal), drawn.Keys.Order(StringComparer.Ordinal));
        if (deviation == 0) TensorAssert.Equal(zeros_like(drawn[key]), drawn[key]);
        else IsNormal(drawn[key], deviation);
    }

    /// <summary>Bounds that are nearly reached, and the deviation of a uniform distribution.</summary>
    private static void IsUniform(Tensor drawn, double bound)
    {
        Assert.InRange(drawn.abs().max().item<float>(), 0.9 * bound, bound);
        Assert.InRange(drawn.std().item<float>() / (bound / Math.Sqrt(3)), 0.8, 1.2);
    }

    private static void IsNormal(Tensor drawn, double deviation)
    {
        Assert.InRange(drawn.std().item<float>() / deviation, 0.95, 1.05);
        Assert.InRange(drawn.abs().max().item<float>() / deviation, 2.5, 6);
    }
}
