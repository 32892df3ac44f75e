using System.Diagnostics;
using System.Globalization;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>
/// The published networks at full size. They need 4 to 11 GB and minutes, so they run only when asked for (CONTRIBUTING names the command)
/// and on cases that are not committed.
/// </summary>
[Trait("Size", "Full")]
public class FullSizeTests
{
    public static IEnumerable<TheoryDataRow<string>> UNets() => GoldenCase.OfKind("unet_full");

    public static IEnumerable<TheoryDataRow<string>> Vaes() => GoldenCase.OfKind("vae_full");

    [FullSizeTheory, MemberData(nameof(UNets))]
    public void A_full_size_unet_predicts_what_the_published_one_does(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var unet = UNetTests.Build(golden.Json, ScalarType.Float32);
        AssertParameters(golden, unet);
        using var taps = UNetTests.Tap(unet, Intermediate(golden));
        var inputs = new UNetInputs(golden.Json, ScalarType.Float32);

        var watch = Stopwatch.StartNew();
        var output = inputs.Run(unet);
        Report(golden, "forward", watch, ("sample_out", output));

        AssertStatistics(golden, taps);
        golden.AssertAllClose(new Dictionary<string, Tensor> { ["sample_out"] = output });
    }

    [FullSizeTheory, MemberData(nameof(Vaes))]
    public void A_full_size_vae_encodes_and_decodes_what_the_published_one_does(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var vae = VaeTests.Build(golden.Json);
        AssertParameters(golden, vae);
        using var taps = new Taps(vae, Intermediate(golden).Select(name => name == "moments" ? "quant_conv" : name));
        Tensor Input(string name)
        {
            var shape = golden.Json.GetProperty("inputs").GetProperty($"{name} (amplitude 1)").EnumerateArray().Select(size => size.GetInt64()).ToArray();
            return Formula.Noise(name, shape, golden.Json.GetProperty("seed").GetInt64(), 1);
        }

        var watch = Stopwatch.StartNew();
        using var posterior = vae.Encode(Input("image"));
        var decoded = vae.Decode(Input("latents"));
        Report(golden, "encode and decode", watch, ("mean", posterior.Mean), ("logvar", posterior.LogVariance), ("decoded_latents", decoded));

        AssertStatistics(golden, taps);
        golden.AssertAllClose(new Dictionary<string, Tensor> { ["mean"] = posterior.Mean, ["logvar"] = posterior.LogVariance, ["decoded_latents"] = decoded });
    }

    /// <summary>Time, and the largest difference relative to the largest value, for who runs this by hand.</summary>
    private static void Report(GoldenCase golden, string what, Stopwatch watch, params (string Name, Tensor Value)[] outputs)
    {
        var seconds = watch.Elapsed.TotalSeconds;
        var differences = outputs.Select(output =>
        {
            var expected = golden.Tensor(output.Name);
            return string.Create(CultureInfo.InvariantCulture, $"{output.Name} differs by {(output.Value - expected).abs().max().item<float>() / expected.abs().max().item<float>():E1}");
        });
        TestContext.Current.TestOutputHelper!.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{golden.Name}: {what} {seconds:F1} s; {string.Join(", ", differences)} of the largest value"));
    }

    private static IEnumerable<string> Intermediate(GoldenCase golden) => golden.Json.GetProperty("intermediate").EnumerateObject().Select(item => item.Name);

    private static void AssertParameters(GoldenCase golden, nn.Module model) =>
        Assert.Equal(golden.Json.GetProperty("parameters").GetInt64(), model.parameters().Sum(parameter => parameter.numel()));

    /// <summary>Shape, mean, mean of absolute values and first three values of what each part gave out.</summary>
    private static void AssertStatistics(GoldenCase golden, Taps taps)
    {
        var (relative, absolute) = golden.Tolerance("intermediate");
        foreach (var item in golden.Json.GetProperty("intermediate").EnumerateObject())
        {
            var actual = taps.Tensors[item.Name == "moments" ? "quant_conv" : item.Name].to_type(ScalarType.Float64);
            Assert.Equal(item.Value.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64()), actual.shape);
            var expected = tensor((double[])[Number("mean"), Number("abs_mean"), .. item.Value.GetProperty("first").EnumerateArray().Select(value => value.GetDouble())]);
            TensorAssert.Close(expected, cat([actual.mean().reshape(1), actual.abs().mean().reshape(1), actual.flatten().narrow(0, 0, 3)]), relative, absolute, $"{golden.Name}: {item.Name}");

            double Number(string key) => item.Value.GetProperty(key).GetDouble();
        }
    }
}
