using System.Text;
using System.Text.Json;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class VaeTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("vae");

    public static IEnumerable<TheoryDataRow<string>> Distributions() => GoldenCase.OfKind("vae_distribution");

    [Theory, MemberData(nameof(Cases))]
    public void Posterior_reconstruction_blocks_and_gradients_are_the_published_models(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        using var vae = Build(golden.Json);
        using var taps = new Taps(vae, golden.TensorInfos.Keys.Where(name => name.StartsWith("tap/", StringComparison.Ordinal)).Select(name => name[4..]));
        var image = Input(golden.Json, "image", Shape(golden.Json, "image_shape"));

        using var posterior = vae.Encode(image);
        var sample = posterior.Sample(Input(golden.Json, "eps", Shape(golden.Json, "latent_shape")));
        var tensors = new Dictionary<string, Tensor>
        {
            ["mean"] = posterior.Mean,
            ["logvar"] = posterior.LogVariance,
            ["sample"] = sample,
            ["reconstruction"] = vae.Decode(sample),
            ["latents_for_the_unet"] = vae.Scale(sample),
            ["decoded_latents"] = vae.Decode(vae.Unscale(Input(golden.Json, "latents", Shape(golden.Json, "latent_shape")))),
            ["kl"] = posterior.KlDivergence(),
        };
        foreach (var (name, value) in taps.Tensors) tensors["tap/" + name] = value;
        if (golden.Json.GetProperty("loss").ValueKind != JsonValueKind.Null) AddGradients(golden.Json, vae, image, tensors);

        Assert.Equal(Shape(golden.Json, "reconstruction_shape"), tensors["reconstruction"].shape);
        golden.AssertAllClose(tensors);
    }

    [Theory, MemberData(nameof(Distributions))]
    public void The_gaussian_has_the_published_moments_draws_divergences_and_gradient(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var seed = golden.Json.GetProperty("seed").GetInt64();
        var shape = golden.TensorInfos["grad/moments"].Shape.ToArray();   // (B, 2C, h, w)
        var half = golden.TensorInfos["mean"].Shape.ToArray();
        var (moments, eps) = (Formula.Noise("moments", shape, seed, 4), Formula.Noise("eps", half, seed));
        moments.narrow(1, half[1], half[1]).MultiplyInPlace(12);
        moments.requires_grad_();
        using var gaussian = new DiagonalGaussian(moments);
        using var other = new DiagonalGaussian(Formula.Noise("other", shape, seed, 1));
        using var second = new DiagonalGaussian(Formula.Noise("other2", shape, seed, 1));
        var sample = gaussian.Sample(eps);
        sample.Within(-100, 100).mean().Plus(gaussian.KlDivergence().mean().Times(1e-6)).backward();

        golden.AssertAllClose(new Dictionary<string, Tensor>
        {
            ["mean"] = gaussian.Mean,
            ["mode"] = gaussian.Mean,
            ["logvar"] = gaussian.LogVariance,
            ["std"] = gaussian.StandardDeviation(),
            ["var"] = gaussian.Variance(),
            ["sample"] = sample,
            ["kl"] = gaussian.KlDivergence(),
            ["other_kl"] = other.KlDivergence(),
            ["other_kl_to_other2"] = other.KlDivergence(second),
            ["other_nll_of_x"] = other.NegativeLogLikelihood(Formula.Noise("x", half, seed)),
            ["grad/moments"] = moments.grad!,
        });
        Assert.Equal(golden.Json.GetProperty("clamped_elements").GetInt32(), (int)gaussian.LogVariance.IsEqualTo(-30).logical_or(gaussian.LogVariance.IsEqualTo(20)).sum().item<long>());
    }

    internal static AutoencoderKL Build(JsonElement json)
    {
        var config = AutoencoderKLConfig.Parse(Encoding.UTF8.GetBytes(json.GetProperty("config").GetRawText()), "config");
        var vae = new AutoencoderKL(config, new LayerFactory(CPU, ScalarType.Float32));
        Formula.Fill(vae, json.GetProperty("seed").GetInt64(), multiply: json.TryGetProperty("multiply", out var rules) ? rules : default);
        return vae;
    }

    private static long[] Shape(JsonElement json, string key) => json.GetProperty(key).EnumerateArray().Select(size => size.GetInt64()).ToArray();

    private static Tensor Input(JsonElement json, string key, long[] shape)
    {
        var stated = json.GetProperty("inputs").GetProperty(key);
        var amplitude = stated.GetProperty("amplitude");
        if (amplitude.ValueKind == JsonValueKind.String) Assert.Equal("sqrt(3)", amplitude.GetString());
        double? factor = amplitude.ValueKind == JsonValueKind.Number ? amplitude.GetDouble() : null;   // none: the formula's own, √3
        return Formula.Noise(stated.GetProperty("noise").GetString()!, shape, json.GetProperty("seed").GetInt64(), factor);
    }

    private static void AddGradients(JsonElement json, AutoencoderKL vae, Tensor image, Dictionary<string, Tensor> tensors)
    {
        Assert.Matches(@"^mean\(\(reconstruction - image\)\^2\) \+ \S+ \* mean over images of kl$", json.GetProperty("loss").GetString());
        var loss = nn.functional.mse_loss(tensors["reconstruction"], image).Plus(tensors["kl"].mean().Times(json.GetProperty("kl_weight").GetDouble()));
        loss.backward();
        Assert.Equal(json.GetProperty("loss_value").GetDouble(), loss.item<float>(), 1e-5);
        foreach (var (name, parameter) in vae.named_parameters()) tensors["grad/" + name] = parameter.grad!;
    }
}
