using LowRank.Adapters;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Adapters;

/// <summary>How each kind of adapter is asked for, and what its factors are at the start.</summary>
public sealed class AdapterStartsTests
{
    [Fact]
    public void Options_that_do_nothing_for_a_kind_are_refused()
    {
        var lora = new AdapterOptions { Factor = 4, DecomposeBoth = true, DoraRule = DoraRule.Lycoris };
        Assert.Equal(
            [
                "factor: 4; does nothing without kind = \"lokr\"",
                "decompose_both: true; does nothing without kind = \"lokr\"",
                "dora_rule: does nothing without kind = \"dora\"",
            ], lora.Validate());
        var loha = new AdapterOptions { Kind = AdapterKind.Loha, NeuronDropout = 0.1, RankDropout = 0.1, Init = AdapterInit.Orthogonal };
        Assert.Equal(
            [
                "neuron_dropout: 0.1; only kind = \"lora\" and \"dora\" have numbers between down and up",
                "rank_dropout: 0.1; only kind = \"lora\" and \"dora\" have rows of down",
                "init: does nothing without kind = \"lora\" or \"dora\"; the others start as LyCORIS starts them",
            ], loha.Validate());
        var pissa = new AdapterOptions { Init = AdapterInit.Pissa, ModuleDropout = 0.1, ScaleWeightNorms = 1 };
        Assert.Equal(
            [
                "init: pissa keeps part of the base in the factors, which dropout would drop; set every dropout to 0",
                "init: pissa keeps part of the base in the factors, which scale_weight_norms would shrink; set it to 0",
            ], pissa.Validate());
        Assert.Equal(["init: pissa is for kind = \"lora\""], new AdapterOptions { Kind = AdapterKind.Dora, Init = AdapterInit.Pissa }.Validate());
        Assert.Equal(["factor: 0; must be 1 or more", "module_dropout: 1; must be 0 or more and below 1", "scale_weight_norms: -1; must be 0 (off) or more"],
            new AdapterOptions { Kind = AdapterKind.Lokr, Factor = 0, ModuleDropout = 1, ScaleWeightNorms = -1 }.Validate());
    }

    [Fact]
    public void A_rate_of_up_is_refused_for_kinds_without_up()
    {
        var options = new LowRank.Recipes.TrainLoraOptions
        {
            Model = "m",
            Output = "o",
            Data = [new LowRank.Data.DataSetOptions { Folder = "f" }],
            Adapter = new() { Kind = AdapterKind.Loha },
            Training = new() { LoraplusLrRatio = 16 },
        };
        Assert.Equal(["training.loraplus_lr_ratio: does nothing without adapter.kind = \"lora\" or \"dora\": other kinds have no up"], options.Validate());
        Assert.Empty((options with { Adapter = new() { Kind = AdapterKind.Dora } }).Validate());
    }

    [Fact]
    public void Starts_have_the_statistics_they_promise()
    {
        using var scope = NewDisposeScope();
        using var net = nn.Sequential(("layer", nn.Linear(256, 64)));
        Formula.Fill(net, 1);
        AdapterLayer Layer(AdapterOptions options)
        {
            using var init = new Generator(3);
            return AdapterSet.Create(TinyNet.Components(net), options with { Rank = 16, Targets = ["layer"] }, init, CPU).Layers[0];
        }
        Assert.Equal(1 / 16.0, Layer(new() { Init = AdapterInit.Gaussian }).Factors["down"].std().item<float>(), 0.003);
        var rows = Layer(new() { Init = AdapterInit.Orthogonal }).Factors["down"];
        TensorAssert.Close(eye(16), rows.mm(rows.t()), 0, 1e-5);
        var loha = Layer(new() { Kind = AdapterKind.Loha }).Factors;
        Assert.Equal([0.1, 1, 0, 1], new[] { "w1_a", "w1_b", "w2_a", "w2_b" }.Select(name => Math.Round(loha[name].std().item<float>(), 1)));
        var lokr = Layer(new() { Kind = AdapterKind.Lokr, Factor = 4 }).Factors;
        Assert.Equal(0f, lokr["w2_b"].abs().max().item<float>());
        Assert.InRange(lokr["w1"].abs().max().item<float>(), 0.4f, 0.5f);   // ±1/√4
    }

    [Theory]
    [InlineData(16, -1, 4, 4)]
    [InlineData(320, -1, 16, 20)]
    [InlineData(1280, 8, 8, 160)]
    [InlineData(24, 5, 4, 6)]
    [InlineData(7, -1, 1, 7)]
    [InlineData(6, 4, 2, 3)]
    public void Dimensions_split_as_LyCORIS_splits_them(long size, int factor, long smaller, long larger) =>
        Assert.Equal((smaller, larger), LowRank.Adapters.Kinds.LokrKind.Split(size, factor < 0 ? null : factor));
}
