using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Adapters;

/// <summary>Strengths of parts and blocks of a model multiply the adapter's own.</summary>
public sealed class PartStrengthsTests : IDisposable
{
    private static readonly IReadOnlyDictionary<string, double> NoParts = new Dictionary<string, double>();

    private readonly TorchSharp.DisposeScope scope = NewDisposeScope();
    private readonly TinyModel model = new();

    public void Dispose()
    {
        model.Dispose();
        scope.Dispose();
    }

    [Fact]
    public void Ones_everywhere_equal_none_and_zeros_equal_the_base_to_the_bit()
    {
        var (set, blocks) = (model.Adapter, model.Adapter.Names.Blocks);
        var (with, without) = (model.Outputs(), model.Outputs(strength: 0));
        Assert.NotEqual(with, without);
        new PartStrengths(NoParts, [.. blocks.Names.Select(_ => 1.0)]).ApplyTo(set);
        Assert.Equal(with, model.Outputs());
        new PartStrengths(NoParts, [.. blocks.WithAttention.Select(_ => 1.0)]).ApplyTo(set);
        Assert.Equal(with, model.Outputs());
        new PartStrengths(NoParts, [.. blocks.Names.Select(_ => 0.0)]).ApplyTo(set);
        Assert.Equal(without, model.Outputs());
        new PartStrengths(new Dictionary<string, double> { ["unet"] = 0, ["text_encoder"] = 0 }, []).ApplyTo(set);
        Assert.Equal(without, model.Outputs());
        new PartStrengths(NoParts, []).ApplyTo(set);
        Assert.Equal(with, model.Outputs());
    }

    [Fact]
    public void A_factor_everywhere_is_that_strength()
    {
        var half = model.Outputs(strength: 0.5);
        new PartStrengths(new Dictionary<string, double> { ["unet"] = 0.5, ["text_encoder"] = 0.5 }, []).ApplyTo(model.Adapter);
        Assert.Equal(half, model.Outputs());
        new PartStrengths(NoParts, [.. model.Adapter.Names.Blocks.Names.Select(_ => 0.5)]).ApplyTo(model.Adapter);
        Assert.Equal(half, model.Outputs());
    }

    [Fact]
    public void A_block_alone_has_its_layers_alone()
    {
        var blocks = model.Adapter.Names.Blocks;
        var place = blocks.Names.ToList().IndexOf("MID");
        new PartStrengths(new Dictionary<string, double> { ["unet"] = 0.5 }, [.. blocks.Names.Select((_, i) => i == place ? 3.0 : 0)]).ApplyTo(model.Adapter);
        foreach (var layer in model.Adapter.Layers) Assert.Equal(layer.Path.StartsWith("mid_block", StringComparison.Ordinal) ? 1.5 : 0, layer.StrengthFactor);
        Assert.Contains(model.Adapter.Layers, layer => layer.StrengthFactor != 0);
    }

    [Fact]
    public void What_does_not_fit_the_model_is_refused_and_changes_nothing()
    {
        var before = model.Outputs();
        Assert.Equal(
            "3 block strengths; this model takes 17 (BASE, IN01, IN02, IN04, IN05, IN07, IN08, MID, OUT03, OUT04, OUT05, OUT06, OUT07, OUT08, OUT09, OUT10, OUT11) or 26 (BASE, IN00, IN01, IN02, IN03, IN04, IN05, IN06, IN07, IN08, IN09, IN10, IN11, MID, OUT00, OUT01, OUT02, OUT03, OUT04, OUT05, OUT06, OUT07, OUT08, OUT09, OUT10, OUT11)",
            Assert.Throws<OptionsException>(() => new PartStrengths(NoParts, [1, 0, 1]).ApplyTo(model.Adapter)).Message);
        Assert.Equal(
            "no part of this model is named text_encodr (did you mean \"text_encoder\"?); it has unet, text_encoder",
            Assert.Throws<OptionsException>(() => new PartStrengths(new Dictionary<string, double> { ["text_encodr"] = 1 }, []).ApplyTo(model.Adapter)).Message);
        Assert.Equal(before, model.Outputs());
    }

    /// <summary>A tiny SD 1 with an adapter on every layer of UNet and text encoder.</summary>
    private sealed class TinyModel : IDisposable
    {
        private readonly UnetFamily family = (UnetFamily)FamilyDetector.Open(Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sd1"));

        public TinyModel()
        {
            using var init = new Generator(1);
            Adapter = AdapterSet.Create(family.ComponentNames.ToDictionary(name => name, family.Component), new() { Rank = 2, Targets = ["**"] }, init, CPU);
            using var quiet = no_grad();
            Adapter.FlatParameters.copy_(randn(Adapter.FlatParameters.shape, generator: init).MultiplyInPlace(0.05));
        }

        public AdapterSet Adapter { get; }

        public float[] Outputs(double strength = 1)
        {
            using var inner = NewDisposeScope();
            using var quiet = no_grad();
            using var init = new Generator(2);
            Adapter.Strength = strength;
            var text = family.EncodePrompts(["a dog"]);
            var result = family.Predict(randn(1, family.DenoiserChannels, 8, 8, generator: init), tensor(new[] { 500f }), text).data<float>().ToArray();
            Adapter.Strength = 1;
            return result;
        }

        public void Dispose()
        {
            Adapter.Dispose();
            family.Dispose();
        }
    }
}
