using LowRank.Adapters;
using LowRank.Foundation;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace LowRank.Tests.Adapters;

public sealed class TargetSelectorTests : IDisposable
{
    /// <summary>The names of a Stable Diffusion block and a text-encoder layer, at toy sizes.</summary>
    private readonly Dictionary<string, nn.Module> components = new()
    {
        ["unet"] = Sequential(
            ("conv_in", Conv2d(4, 8, 3, padding: 1)),
            ("down_blocks", Sequential(("0", Sequential(
                ("attn1", Sequential(("to_q", Linear(8, 8)), ("to_k", Linear(8, 8)), ("to_v", Linear(8, 8)), ("to_out", Sequential(("0", Linear(8, 8)), ("1", Dropout()))))),
                ("attn2", Sequential(("to_q", Linear(8, 8)), ("to_k", Linear(8, 8)), ("to_v", Linear(8, 8)), ("to_out", Sequential(("0", Linear(8, 8)), ("1", Dropout()))))),
                ("norm", LayerNorm(8)),
                ("ff", Sequential(("net", Sequential(("0", Sequential(("proj", Linear(8, 64)))), ("1", Dropout()), ("2", Linear(32, 8))))))))))),
        ["text_encoder"] = Sequential(("layer", Sequential(
            ("self_attn", Sequential(("k_proj", Linear(6, 6)), ("out_proj", Linear(6, 6)))),
            ("mlp", Sequential(("fc1", Linear(6, 12)), ("fc2", Linear(12, 6))))))),
    };

    public void Dispose()
    {
        foreach (var component in components.Values) component.Dispose();
    }

    private IEnumerable<string> Paths(AdapterOptions options) => TargetSelector.Select(components, options).Select(target => $"{target.Component}:{target.Path}");

    private string Problem(AdapterOptions options) => Assert.Throws<OptionsException>(() => TargetSelector.Select(components, options)).Message;

    [Fact]
    public void Presets_take_attention_feedforward_linear_layers_or_everything_in_module_order()
    {
        Assert.Equal(
            [
                "unet:down_blocks.0.attn1.to_q", "unet:down_blocks.0.attn1.to_k", "unet:down_blocks.0.attn1.to_v", "unet:down_blocks.0.attn1.to_out.0",
                "unet:down_blocks.0.attn2.to_q", "unet:down_blocks.0.attn2.to_k", "unet:down_blocks.0.attn2.to_v", "unet:down_blocks.0.attn2.to_out.0",
                "text_encoder:layer.self_attn.k_proj", "text_encoder:layer.self_attn.out_proj",
            ],
            Paths(new() { Targets = ["attention"] }));
        Assert.Equal(
            ["unet:down_blocks.0.ff.net.0.proj", "unet:down_blocks.0.ff.net.2", "text_encoder:layer.mlp.fc1", "text_encoder:layer.mlp.fc2"],
            Paths(new() { Targets = ["attention+feedforward"] }).Except(Paths(new() { Targets = ["attention"] })));
        Assert.Equal(14, Paths(new() { Targets = ["all-linear"] }).Count());
        Assert.Equal("unet:conv_in", Paths(new() { Targets = ["all"] }).First());
        Assert.Equal(15, Paths(new() { Targets = ["all"] }).Count());
    }

    [Theory]
    [InlineData("unet:**.attn2.to_k", "unet:down_blocks.0.attn2.to_k")]
    [InlineData("down_blocks.*.attn2.to_{q,k}", "unet:down_blocks.0.attn2.to_q unet:down_blocks.0.attn2.to_k")]
    [InlineData("**.ff.**", "unet:down_blocks.0.ff.net.0.proj unet:down_blocks.0.ff.net.2")]
    [InlineData("**.conv_in", "unet:conv_in")]
    [InlineData("text_encoder:**.fc*", "text_encoder:layer.mlp.fc1 text_encoder:layer.mlp.fc2")]
    [InlineData("down_blocks.0.attn?.to_k", null)]
    public void Patterns_match_whole_paths_by_names(string pattern, string? expected)
    {
        var options = new AdapterOptions { Targets = [pattern] };
        if (expected is null) Assert.Equal("targets[0]: \"down_blocks.0.attn?.to_k\" contains '?', which no pattern has; patterns are like \"unet:**.attn2.to_{k,v}\"", Problem(options));
        else Assert.Equal(expected.Split(' '), Paths(options));
    }

    [Fact]
    public void Ranks_and_alphas_follow_the_options_and_the_first_override_that_matches()
    {
        var targets = TargetSelector.Select(components, new()
        {
            Rank = 4,
            ConvRank = 2,
            ConvAlpha = 0.5,
            Targets = ["conv_in", "**.attn1.to_*"],
            Overrides = [new() { Pattern = "**.to_q", Rank = 6 }, new() { Pattern = "**.to_{q,k}", Rank = 5, Alpha = 1 }, new() { Pattern = "**.to_v", Rank = 0 }],
        });
        Assert.Equal(
            [("conv_in", 2, 0.5), ("down_blocks.0.attn1.to_q", 6, 6.0), ("down_blocks.0.attn1.to_k", 5, 1.0)],
            targets.Select(target => (target.Path, target.Rank, target.Alpha)));
        Assert.Equal([2 * 4 * 9 + 8 * 2, 6 * 16, 5 * 16], targets.Select(target => target.ParameterCount));

        var alpha = TargetSelector.Select(components, new() { Rank = 4, Alpha = 2, Targets = ["conv_in", "**.attn1.to_{q,k}"], Overrides = [new() { Pattern = "**.to_k", Alpha = 8 }] });
        Assert.Equal([(4, 2.0), (4, 2.0), (4, 8.0)], alpha.Select(target => (target.Rank, target.Alpha)));
        var plain = TargetSelector.Select(components, new() { Rank = 3, Targets = ["conv_in"] });
        Assert.Equal((3, 3.0), plain.Select(target => (target.Rank, target.Alpha)).Single());
    }

    [Fact]
    public void A_pattern_that_matches_nothing_is_an_error_with_the_nearest_names()
    {
        Assert.Equal(
            """
            targets[0]: "down_blocks.0.atn1.to_q" matches no module; nearest: unet:down_blocks.0.attn1.to_q, unet:down_blocks.0.attn1.to_k, unet:down_blocks.0.attn1.to_v
            targets[2]: "vae:**" names the component vae; there is unet, text_encoder
            targets[3]: "**.norm" matches 1 modules (unet:down_blocks.0.norm, …), none of which can be adapted (Linear, or Conv2d with one group and zero padding)
            """,
            Problem(new() { Targets = ["down_blocks.0.atn1.to_q", "conv_in", "vae:**", "**.norm"] }));
        Assert.Equal(
            "overrides[0].pattern: \"**.to_k\" matches no module; nearest: unet:conv_in",
            Problem(new() { Targets = ["conv_in"], Overrides = [new() { Pattern = "**.to_k", Rank = 2 }] }));
        components.Remove("unet", out var unet);
        using (unet)
        {
            components["other"] = Sequential(("fc", Linear(2, 2)));
            components.Remove("text_encoder", out var text);
            text!.Dispose();
            Assert.Equal("targets[0]: the preset attention finds no module in other that can be adapted; name modules by patterns instead", Problem(new()));
        }
    }

    [Fact]
    public void Impossible_options_are_all_reported_at_once()
    {
        Assert.Equal(
            """
            rank: 0; must be 1 or more
            alpha: -1; must be a number above 0
            conv_rank: 0; must be 1 or more (to leave convolutions out, take a target without them)
            conv_alpha: NaN; must be a number above 0
            dropout: 1; must be 0 or more and below 1
            targets[0]: "unet:" names no module; write "unet:**" for all of it
            targets[1]: "a.{b" has braces that do not pair
            overrides[0].pattern: an empty pattern
            overrides[0].rank: -2; must be 1 or more, or 0 to leave the modules out
            overrides[1]: sets neither rank nor alpha
            """,
            Problem(new()
            {
                Rank = 0,
                Alpha = -1,
                ConvRank = 0,
                ConvAlpha = double.NaN,
                Dropout = 1,
                Targets = ["unet:", "a.{b"],
                Overrides = [new() { Pattern = "", Rank = -2 }, new() { Pattern = "**" }],
            }));
        Assert.Equal("targets: empty; must name a preset (attention, attention+feedforward, all-linear, all) or path patterns", Problem(new() { Targets = [] }));
        Assert.Equal("overrides: rank 0 leaves out every target module; nothing would be trained", Problem(new() { Targets = ["conv_in"], Overrides = [new() { Pattern = "**", Rank = 0 }] }));
    }

    [Fact]
    public void A_module_that_two_names_share_is_adapted_once()
    {
        using var shared = Linear(2, 2);
        using var net = Sequential(("a", shared), ("b", shared));
        Assert.Equal("a", TargetSelector.Select(new Dictionary<string, nn.Module> { ["net"] = net }, new() { Targets = ["all"] }).Single().Path);
    }
}
