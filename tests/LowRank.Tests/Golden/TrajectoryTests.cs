using System.Text.Json;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>
/// Whole trainings, step by step: losses, gradient norms, learning rates and the adapter at the end. A case that asks for what is not built
/// is counted as skipped, with what it asks for; that is read from its configuration.
/// </summary>
public class TrajectoryTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("trajectory").Where(row => !GoldenTraining.HasPhases(row.Data));

    [Theory, MemberData(nameof(Cases))]
    public void Every_step_and_the_adapter_at_the_end_are_those_of_the_reference(string id)
    {
        using var golden = GoldenCase.Open(id);
        if (TrajectoryNeeds.NotBuilt(golden.Json) is { } what) GoldenLedger.SkipNotBuilt(id, what);
        using var scope = NewDisposeScope();
        using var run = new TrajectoryRun(golden);
        var start = run.Named().ToDictionary(item => item.Name, item => item.Tensor.detach().clone());
        var before = HeldOut(golden, run);
        Train(golden, run, firstStep: 0);
        AssertAdapter(golden, run);
        AssertMoved(golden, run, start);
        AssertHeldOut(golden, before, HeldOut(golden, run));
        TrainFromCheckpoint(golden);
    }

    /// <summary>The reference's own checkpoint, where the case holds one: a run that starts there ends where the straight one did.</summary>
    private static void TrainFromCheckpoint(GoldenCase golden)
    {
        if (!golden.Json.TryGetProperty("resume", out var resume)) return;
        using var run = new TrajectoryRun(golden);
        run.StartFrom(golden, resume);
        Train(golden, run, resume.GetProperty("step").GetInt32());
        AssertAdapter(golden, run);
    }

    private static void Train(GoldenCase golden, TrajectoryRun run, int firstStep)
    {
        var losses = Numbers(golden.Json.GetProperty("losses"));
        var norms = Numbers(golden.Json.GetProperty("grad_norms"));
        var rates = golden.Json.GetProperty("lrs").EnumerateArray().Select(Numbers).ToArray();
        Assert.Equal(run.Steps, norms.Length);
        for (var step = firstStep; step < run.Steps; step++)
        {
            var first = (int)run.Loop.Position.MicroBatches;
            var result = run.Loop.Step(run.Score);
            for (var micro = 0; micro < result.Losses.Count; micro++) Near(golden, "losses", losses[first + micro], result.Losses[micro], $"loss of micro-batch {first + micro}");
            Near(golden, "grad_norms", norms[step], result.GradientNorm, $"gradient norm of step {step}");
            if (golden.Json.TryGetProperty("max_norm", out var limited)) AssertNorms(golden, limited[step], result);
            Assert.Equal(rates[step].Length, result.LearningRates.Count);
            for (var group = 0; group < rates[step].Length; group++) Near(golden, "lrs", rates[step][group], result.LearningRates[group], $"learning rate of step {step}");
        }
        Assert.Equal(losses.Length, run.Loop.Position.MicroBatches);
    }

    private static void AssertNorms(GoldenCase golden, JsonElement expected, StepResult result)
    {
        Assert.Equal(expected[0].GetInt32(), result.Norms!.Scaled);
        Near(golden, "grad_norms", expected[1].GetDouble(), result.Norms.Mean, "mean norm of the layers");
        Near(golden, "grad_norms", expected[2].GetDouble(), result.Norms.Largest, "largest norm of the layers");
    }

    private static void AssertAdapter(GoldenCase golden, TrajectoryRun run)
    {
        using (run.Loop.UseForOutput(averaged: false)) AssertTensors(golden, run, "final.");
        if (run.Loop.Average is null) return;
        using (run.Loop.UseForOutput(averaged: true)) AssertTensors(golden, run, "ema.");
    }

    private static void AssertTensors(GoldenCase golden, TrajectoryRun run, string prefix)
    {
        var actual = run.Named().ToDictionary(item => prefix + item.Name, item => item.Tensor);
        var stored = golden.TensorInfos.Keys.Where(name => name.StartsWith(prefix, StringComparison.Ordinal)).ToList();
        Assert.NotEmpty(stored);
        var (squares, count) = (0.0, 0L);
        var (relative, absolute) = Tolerance(golden, "tensors");
        foreach (var name in stored)
        {
            using var expected = golden.Tensor(name);
            Assert.True(actual.ContainsKey(name), $"{golden.Name} trains {name}, which our adapter lacks");
            Assert.Equal(expected.numel(), actual[name].numel());
            TensorAssert.Close(expected, actual[name].view(expected.shape), relative, absolute, $"{golden.Name}: {name}");
            squares += (actual[name].detach().view(expected.shape) - expected).to(ScalarType.Float64).Squared().sum().item<double>();
            count += expected.numel();
        }
        var rms = Math.Sqrt(squares / count);
        Assert.True(rms <= Tolerance(golden, "tensors_rms").Absolute, $"{golden.Name}: rms difference {rms:G4} over all tensors, allowed {Tolerance(golden, "tensors_rms").Absolute:G4}");
    }

    /// <summary>Where only some tensors are stored, how far each of the others went.</summary>
    private static void AssertMoved(GoldenCase golden, TrajectoryRun run, Dictionary<string, Tensor> start)
    {
        if (!golden.Json.TryGetProperty("moved_abs_sums", out var sums)) return;
        var (relative, absolute) = Tolerance(golden, "moved_abs_sums");
        using var output = run.Loop.UseForOutput(averaged: false);
        var actual = run.Named().ToDictionary(item => item.Name, item => (item.Tensor.detach() - start[item.Name]).to(ScalarType.Float64).abs().sum().item<double>());
        foreach (var sum in sums.EnumerateObject())
        {
            var expected = sum.Value.GetDouble();
            Assert.True(Math.Abs(actual[sum.Name] - expected) <= absolute + relative * expected, $"{golden.Name}: {sum.Name} moved by {actual[sum.Name]:R}, expected {expected:R}");
        }
    }

    private static HeldOutMeasured? HeldOut(GoldenCase golden, TrajectoryRun run)
    {
        if (GoldenTraining.Section(golden.Json.GetProperty("config"), "validation") is not { ValueKind: JsonValueKind.Object } asked) return null;
        GoldenTraining.RequireKnown(asked, "timesteps", "batches", "seed");
        return run.HeldOut([.. asked.GetProperty("timesteps").EnumerateArray().Select(timestep => timestep.GetInt32())], asked.GetProperty("batches").GetInt32(), asked.GetProperty("seed").GetInt64());
    }

    private static void AssertHeldOut(GoldenCase golden, HeldOutMeasured? before, HeldOutMeasured? after)
    {
        if (before is null || after is null) return;
        var stored = golden.Json.GetProperty("validation");
        foreach (var (name, actual) in new[] { ("before", before), ("after", after) })
        {
            var expected = Numbers(stored.GetProperty(name).GetProperty("per_timestep"));
            Assert.Equal(expected.Length, actual.Losses.Count);
            for (var i = 0; i < expected.Length; i++) Near(golden, "losses", expected[i], actual.Losses[i], $"held-out loss {name} at timestep number {i}");
            Near(golden, "losses", stored.GetProperty(name).GetProperty("mean").GetDouble(), actual.Loss, $"mean held-out loss {name}");
        }
    }

    private static void Near(GoldenCase golden, string tolerance, double expected, double actual, string label)
    {
        var (relative, absolute) = Tolerance(golden, tolerance);
        Assert.True(Math.Abs(actual - expected) <= absolute + relative * Math.Abs(expected), $"{golden.Name}: {label} is {actual:R}, expected {expected:R} (rtol {relative:G2})");
    }

    private static (double Relative, double Absolute) Tolerance(GoldenCase golden, string name)
    {
        var stated = golden.Json.GetProperty("tolerance").GetProperty(name);
        return (stated.GetProperty("rtol").GetDouble(), stated.GetProperty("atol").GetDouble());
    }

    private static double[] Numbers(JsonElement list) => [.. list.EnumerateArray().Select(item => item.GetDouble())];
}
