using System.Text;
using System.Text.Json;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Models;

public class AutoencoderKLTests
{
    private const string Tiny = """
        "block_out_channels": [4, 8, 8], "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"], "norm_num_groups": 2
        """;

    private static AutoencoderKLConfig Parse(string json) => AutoencoderKLConfig.Parse(Encoding.UTF8.GetBytes(json), "vae/config.json");

    private static AutoencoderKL Build(string more = "")
    {
        var vae = new AutoencoderKL(Parse($"{{ {Tiny}{more} }}"), new LayerFactory(CPU, ScalarType.Float32));
        Formula.Fill(vae, 5);
        return vae;
    }

    [Fact]
    public void Encoding_decoding_and_a_backward_leave_no_tensor_behind()
    {
        using var vae = Build();
        foreach (var parameter in vae.parameters()) parameter.requires_grad_(false);
        using var pixels = Formula.Noise("pixels", [1, 3, 12, 8], 1).requires_grad_();
        using var noise = Formula.Noise("noise", [1, 4, 3, 2], 1);
        LeakGuard.AssertNothingLeft(() =>
        {
            using var posterior = vae.Encode(pixels);
            using var latents = posterior.Sample(noise);
            using var scaled = vae.Scale(latents);
            using var raw = vae.Unscale(scaled);
            using var picture = vae.Decode(raw);
            using var loss = picture.mean();
            loss.backward();
        });
    }

    [Fact]
    public void The_latent_factor_follows_the_number_of_levels()
    {
        using var scope = NewDisposeScope();
        using var vae = Build();

        using var posterior = vae.Encode(zeros(1, 3, 12, 8));

        Assert.Equal(4, vae.Config.LatentFactor);
        Assert.Equal([1, 4, 3, 2], posterior.Mean.shape);
        Assert.Equal([1, 3, 12, 8], vae.call(zeros(1, 3, 12, 8)).shape);
    }

    [Fact]
    public void Unscaling_undoes_scaling_with_a_shift()
    {
        using var scope = NewDisposeScope();
        using var vae = Build(", \"scaling_factor\": 0.3611, \"shift_factor\": 0.1159");
        var latents = Formula.Noise("latents", [1, 4, 3, 2], 1);

        TensorAssert.Close(latents.Minus(0.1159).Times(0.3611), vae.Scale(latents), 1e-6, 0);
        TensorAssert.Close(latents, vae.Unscale(vae.Scale(latents)), 1e-5, 1e-6);
    }

    [Fact]
    public void A_middle_without_attention_has_no_attention_keys()
    {
        using var scope = NewDisposeScope();
        using var vae = Build(", \"mid_block_add_attention\": false, \"use_quant_conv\": false, \"use_post_quant_conv\": false");

        Assert.DoesNotContain(vae.state_dict().Keys, key => key.Contains("attentions", StringComparison.Ordinal) || key.Contains("quant", StringComparison.Ordinal));
        Assert.Equal([1, 3, 4, 4], vae.call(zeros(1, 3, 4, 4)).shape);
    }

    [Fact]
    public void Old_attention_names_become_the_present_ones_and_no_other_key_changes()
    {
        using var summary = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Repository.Root, "tests", "fixtures", "models", "manifests", "summary.json")));
        var pairs = summary.RootElement.GetProperty("vae_attention_aliases").GetProperty("keys").EnumerateArray().ToArray();
        Assert.Equal(16, pairs.Length);
        Assert.All(pairs, pair => Assert.Equal(pair[0].GetString(), AutoencoderKL.PresentKey(pair[1].GetString()!)));

        using var scope = NewDisposeScope();
        using var vae = new AutoencoderKL(new AutoencoderKLConfig(), LayerFactory.Meta);
        Assert.All(vae.state_dict().Keys, key => Assert.Equal(key, AutoencoderKL.PresentKey(key)));
    }

    [Theory]
    [InlineData("\"act_fn\": \"relu\"", "act_fn is \"relu\"; supported: \"silu\", \"swish\"")]
    [InlineData("\"latents_mean\": [0, 1]", "latents_mean is [0, 1]; supported: null")]
    [InlineData("\"down_block_types\": [\"DownEncoderBlock2D\"]", "down_block_types has 1 entries; block_out_channels has 3")]
    [InlineData("\"up_block_types\": [\"Up\", \"Up\", \"Up\"]", "up_block_types has \"Up\"; supported: \"UpDecoderBlock2D\"")]
    [InlineData("\"latent_channels\": 0", "latent_channels is 0; expected 1 or more")]
    [InlineData("\"norm_num_groups\": 3", "block_out_channels has 4; norm_num_groups 3 does not divide it\n  block_out_channels has 8; norm_num_groups 3 does not divide it")]
    [InlineData("\"scaling_factor\": 0", "scaling_factor is 0; expected a positive number")]
    public void A_configuration_that_cannot_be_built_is_refused_by_key_and_value(string entry, string problem)
    {
        var kept = Tiny.Replace($"\"{entry.Split('"')[1]}\":", $"\"_{entry.Split('"')[1]}\":", StringComparison.Ordinal);

        var error = Assert.Throws<CheckpointException>(() => Parse($"{{ {kept}, {entry} }}"));

        Assert.Equal($"vae/config.json: this AutoencoderKL cannot be built:\n  {problem}", error.Message);
    }
}
