using System.Text;
using System.Text.Json;
using LowRank.Diffusion;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>A whole autoencoder trained for some steps: losses, gradient norms, and where its weights end.</summary>
public class VaeTrainingGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("vae_training");

    [Theory, MemberData(nameof(Cases))]
    public void Losses_gradient_norms_and_weights_are_those_of_the_reference(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var config = golden.Json.GetProperty("config");
        GoldenTraining.RequireKnown(config, "what", "vae", "seed", "batch", "size", "steps", "kl_weight", "clip", "optimizer", "ema");
        var seed = config.GetProperty("seed").GetInt64();
        using var model = new AutoencoderKL(AutoencoderKLConfig.Parse(Encoding.UTF8.GetBytes(golden.Json.GetProperty("vae").GetRawText()), id), new LayerFactory(CPU, ScalarType.Float32));
        Formula.Fill(model, seed);
        var rates = config.GetProperty("optimizer");
        using var trained = new TrainedModules([("vae", model)], new ParameterRates(rates.GetProperty("lr").GetDouble(), rates.GetProperty("weight_decay").GetDouble()));
        var start = trained.Values.clone();
        using var optimizer = GoldenTraining.Optimizer(rates, trained.Parameters)!;
        using var average = new MovingAverage(trained.Parameters, new MovingAverageRule(config.GetProperty("ema").GetProperty("decay").GetDouble(), AverageWarmup.None));
        var steps = config.GetProperty("steps").GetInt64();
        var loop = new TrainingLoop(optimizer, new LearningRateSchedule.Constant(), new TrainingLoopOptions(steps, MaxGradientNorm: config.GetProperty("clip").GetDouble()));
        var loss = new ReconstructionLoss { Kl = config.GetProperty("kl_weight").GetDouble() };
        var size = config.GetProperty("size").EnumerateArray().Select(side => side.GetInt64()).ToArray();
        var (losses, norms) = (Numbers(golden, "losses"), Numbers(golden, "grad_norms"));
        for (var step = 0; step < steps; step++)
        {
            var result = loop.Step(micro =>
            {
                var pixels = Formula.Noise($"image.{micro}", [config.GetProperty("batch").GetInt64(), 3, .. size], seed + 100, 1);
                using var posterior = model.Encode(pixels);
                var noise = Formula.Noise($"posterior.{micro}", posterior.Mean.shape, seed + 100);
                return loss.Of(pixels, new Reconstruction(model.Decode(posterior.Sample(noise)), posterior.KlDivergence()), ["a picture"]);
            });
            average.Update(step + 1);
            Within(golden, "losses", losses[step], result.Losses[0]);
            Within(golden, "grad_norms", norms[step], result.GradientNorm);
        }
        var unstable = golden.Json.GetProperty("not_compared").EnumerateArray().Select(name => name.GetString()!).ToHashSet();
        var moved = golden.Json.GetProperty("moved_abs_sums");
        foreach (var segment in trained.Parameters.Segments)
        {
            var name = segment.Name["vae.".Length..];
            if (unstable.Contains(name)) continue;
            var (now, before) = (trained.Values.narrow(0, segment.Start, segment.Length), start.narrow(0, segment.Start, segment.Length));
            Within(golden, "moved_abs_sums", moved.GetProperty(name).GetDouble(), (now.to(ScalarType.Float64) - before.to(ScalarType.Float64)).abs().sum().item<double>());
            if (!golden.TensorInfos.ContainsKey("final." + name)) continue;
            var (rtol, atol) = Tolerance(golden, "tensors");
            TensorAssert.Close(golden.Tensor("final." + name).flatten(), now, rtol, atol, name);
            TensorAssert.Close(golden.Tensor("ema." + name).flatten(), average.Values.narrow(0, segment.Start, segment.Length), rtol, atol, "average of " + name);
        }
    }

    private static double[] Numbers(GoldenCase golden, string name) => [.. golden.Json.GetProperty(name).EnumerateArray().Select(item => item.GetDouble())];

    private static (double Relative, double Absolute) Tolerance(GoldenCase golden, string of)
    {
        JsonElement tolerance = golden.Json.GetProperty("tolerance").GetProperty(of);
        return (tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble());
    }

    private static void Within(GoldenCase golden, string of, double expected, double actual)
    {
        var (relative, absolute) = Tolerance(golden, of);
        Assert.Equal(expected, actual, absolute + relative * Math.Abs(expected));
    }
}
