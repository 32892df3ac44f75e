using System.Text;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Models;

/// <summary>Gradient checkpointing: blocks that are computed again in backward give the same bits.</summary>
public class BlockRunnerTests
{
    private const string TinyUnet = """
        { "block_out_channels": [8, 16], "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
          "attention_head_dim": 2, "cross_attention_dim": 8, "layers_per_block": 2, "norm_num_groups": 4 }
        """;

    private const string TinyText = """
        { "vocab_size": 20, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "max_position_embeddings": 6 }
        """;

    /// <summary>UNet alone (no input of its blocks asks for a gradient at first) and with its text encoder; without and with dropout; several passes into one gradient.</summary>
    [Theory]
    [InlineData("attention", false, 0, 1)]
    [InlineData("all", false, 0, 1)]
    [InlineData("attention", true, 0, 1)]
    [InlineData("all", true, 0.3, 1)]
    [InlineData("all", true, 0.3, 2)]
    public void Recomputed_blocks_give_the_same_bits(string targets, bool text, double dropout, int passes)
    {
        using var kept = new Pair(targets, text, dropout);
        using var recomputed = new Pair(targets, text, dropout);
        recomputed.Recompute();
        for (var pass = 0; pass < passes; pass++) Assert.Equal(kept.Step(pass), recomputed.Step(pass));
        Assert.Equal(kept.Gradients, recomputed.Gradients);
        Assert.Contains(kept.Gradients, gradient => gradient != 0);
        Assert.Equal(kept.StreamState, recomputed.StreamState);   // what is drawn next is the same too
    }

    [Fact]
    public void Bf16_models_give_the_same_bits_too()
    {
        using var kept = new Pair("all", true, 0.3, ScalarType.BFloat16);
        using var recomputed = new Pair("all", true, 0.3, ScalarType.BFloat16);
        recomputed.Recompute();
        Assert.Equal(kept.Step(0), recomputed.Step(0));
        Assert.Equal(kept.Gradients, recomputed.Gradients);
    }

    [Fact]
    public void A_block_runs_once_more_in_backward_and_only_where_gradients_are_recorded()
    {
        using var pair = new Pair("attention", text: true, 0);
        var (unet, encoder) = (pair.CountCalls("unet"), pair.CountCalls("text_encoder"));
        pair.Step(0);
        Assert.Equal((1, 1), (unet.Calls, encoder.Calls));
        pair.Recompute();
        pair.Step(1);
        Assert.Equal((3, 3), (unet.Calls, encoder.Calls));
        using (no_grad()) pair.Step(2, backward: false);
        Assert.Equal((4, 4), (unet.Calls, encoder.Calls));
    }

    [Fact]
    public void A_step_leaves_no_tensor_behind()
    {
        using var pair = new Pair("all", true, 0.3);
        pair.Recompute();
        LeakGuard.AssertNothingLeft(() => pair.Step(0));
    }

    /// <summary>A UNet and a text encoder by formula, one adapter over what is trained.</summary>
    private sealed class Pair : IDisposable
    {
        private readonly UNet2DConditionModel unet;
        private readonly ClipTextModel encoder;
        private readonly AdapterSet adapter;
        private readonly Generator stream = new(9UL);
        private readonly ScalarType type;

        public Pair(string targets, bool text, double dropout, ScalarType type = ScalarType.Float32)
        {
            this.type = type;
            unet = Frozen(new UNet2DConditionModel(UNet2DConditionConfig.Parse(Encoding.UTF8.GetBytes(TinyUnet), "unet"), new LayerFactory(CPU, ScalarType.Float32)), type);
            encoder = Frozen(new ClipTextModel(ClipTextConfig.Parse(Encoding.UTF8.GetBytes(TinyText), "text"), projection: false, new LayerFactory(CPU, ScalarType.Float32)), type);
            var components = new Dictionary<string, nn.Module> { ["unet"] = unet };
            if (text) components["text_encoder"] = encoder;
            using var init = new Generator(4UL);
            adapter = AdapterSet.Create(components, new AdapterOptions { Rank = 2, Targets = [targets], Dropout = dropout }, init, CPU);
            using (no_grad()) adapter.FlatParameters.uniform_(-0.3, 0.3, init);
            adapter.DropoutStream = stream;
        }

        public float[] Gradients => adapter.FlatGradients.data<float>().ToArray();

        public byte[] StreamState
        {
            get
            {
                using var state = stream.get_state();
                return state.bytes.ToArray();
            }
        }

        public void Recompute()
        {
            foreach (var model in (IEnumerable<ICheckpointed>)[unet, encoder]) (model.Blocks.Recomputes, model.Blocks.Random) = (true, stream);
        }

        public float Step(long number, bool backward = true)
        {
            using var scope = NewDisposeScope();
            var loss = Loss(number);
            if (backward) loss.backward();
            return loss.item<float>();
        }

        /// <summary>Calls of a block in the middle of a model.</summary>
        public Counter CountCalls(string component)
        {
            var counter = new Counter();
            nn.Module model = component == "unet" ? unet : encoder;
            var path = component == "unet" ? "mid_block.resnets.0.conv1" : "text_model.encoder.layers.1.mlp.fc1";
            var module = (nn.Module<Tensor, Tensor>)model.named_modules().Single(item => item.name == path).module;
            module.register_forward_hook((_, _, output) =>
            {
                counter.Calls++;
                return output;
            });
            return counter;
        }

        public void Dispose()
        {
            adapter.Dispose();
            unet.Dispose();
            encoder.Dispose();
            stream.Dispose();
        }

        private Tensor Loss(long number)
        {
            using var scope = NewDisposeScope();
            using var states = encoder.call(tensor(new long[] { 1, 4, 7, 19, 3, 2, 8, 19 }).reshape(2, 4));
            var sample = Formula.Noise($"sample.{number}", [2, 4, 8, 6], 1).to(type);
            var output = unet.call(sample, tensor(new long[] { 3, 900 }), states.Last, null, null);
            return (output.to(ScalarType.Float32) - Formula.Noise("target", [2, 4, 8, 6], 2)).Squared().mean().MoveToOuterDisposeScope();
        }

        private static T Frozen<T>(T model, ScalarType type) where T : nn.Module
        {
            Formula.Fill(model, 5);
            foreach (var parameter in model.parameters()) parameter.requires_grad_(false);
            return (T)model.to(type);
        }
    }

    private sealed class Counter
    {
        public int Calls { get; set; }
    }
}
