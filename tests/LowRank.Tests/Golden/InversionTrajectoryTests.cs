using System.Text.Json;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Textual inversion and pivotal tuning, step by step: losses, gradient norms, learning rates, and vectors and adapters at the end.</summary>
public class InversionTrajectoryTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("trajectory").Where(row => GoldenTraining.HasPhases(row.Data));

    [Theory, MemberData(nameof(Cases))]
    public void Every_step_of_every_phase_is_that_of_the_reference(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        using var run = new InversionRun(golden);
        var (table, start) = (run.Table.detach().clone(), run.Named().ToDictionary(item => item.Name, item => item.Tensor.detach().clone()));
        var at = new Place(0, 0);
        foreach (var phase in run.Phases)
        {
            at = GoldenTraining.Text(phase, "ancestor") switch
            {
                "inversion" => InvertAsIn2022(golden, run, phase, at),
                "tuning" => Train(golden, run, phase, at, firstMultiplier: 1),   // its scheduler steps before the optimizer
                _ => Train(golden, run, phase, at, firstMultiplier: 0),
            };
        }
        Assert.Equal(golden.Json.GetProperty("losses").GetArrayLength(), at.MicroBatch);
        Assert.Equal(golden.Json.GetProperty("grad_norms").GetArrayLength(), at.Update);
        Assert.True(run.TableIsUntouched(table), $"{id}: a row of the table moved");
        AssertEnd(golden, run);
        AssertMoved(golden, run, start);
    }

    /// <summary>Where a phase begins.</summary>
    private readonly record struct Place(int MicroBatch, int Update);

    /// <summary>Our own loop, from a multiplier of the phase's schedule on.</summary>
    private static Place Train(GoldenCase golden, InversionRun run, JsonElement phase, Place at, int firstMultiplier)
    {
        GoldenTraining.RequireKnown(phase, "steps", "accumulation", "optimizer", "lr", "embeddings", "schedule", "clip", "ancestor", "adapter", "stale_gradients");
        var (accumulation, clip) = ((int)GoldenTraining.Number(phase, "accumulation", 1), GoldenTraining.Number(phase, "clip", 0));
        using var stale = GoldenTraining.Flag(phase, "stale_gradients") ? run.TokenGradients.clone() : null;
        using var optimizer = GoldenTraining.Optimizer(phase.GetProperty("optimizer"), run.Parameters(phase))!;
        var steps = phase.GetProperty("steps").GetInt32();
        var schedule = new LearningRateSchedule.Later(at.Update - firstMultiplier, GoldenTraining.Schedule(phase.GetProperty("schedule"), 1));
        var loop = new TrainingLoop(optimizer, schedule, new TrainingLoopOptions(at.Update + steps, accumulation, clip)) { Position = new LoopPosition(at.Update, at.MicroBatch) };
        for (var step = 0; step < steps; step++)
        {
            var first = (int)loop.Position.MicroBatches;
            if (stale is not null) run.TokenGradients.copy_(stale);
            var result = loop.Step(run.Score);
            if (stale is not null) stale.MultiplyInPlace((float)Math.Min(1, clip / (result.GradientNorm + 1e-6)));   // it is scaled by every clip, and never cleared
            AssertStep(golden, at.Update + step, first, result, result.Losses);
        }
        return new Place((int)loop.Position.MicroBatches, at.Update + steps);
    }

    /// <summary>The order of the package of 2022: updates after micro-batches 0, a, 2a, …, each with the next micro-batch's multiplier; the norm rule after each.</summary>
    private static Place InvertAsIn2022(GoldenCase golden, InversionRun run, JsonElement phase, Place at)
    {
        GoldenTraining.RequireKnown(phase, "steps", "micro_steps", "accumulation", "ancestor", "stale_gradients_left", "optimizer", "lr", "embeddings", "schedule");
        var (accumulation, count) = (phase.GetProperty("accumulation").GetInt32(), phase.GetProperty("micro_steps").GetInt32());
        Assert.True(phase.GetProperty("embeddings").GetProperty("norm_prior").GetBoolean());
        var rate = phase.GetProperty("embeddings").GetProperty("lr").GetDouble();
        var schedule = GoldenTraining.Schedule(phase.GetProperty("schedule"), rate);
        using var optimizer = GoldenTraining.Optimizer(phase.GetProperty("optimizer"), run.Parameters(phase))!;
        var (done, update) = (0, 0);
        for (; done < count && done + (update == 0 ? 1 : accumulation) <= count; update++)
        {
            var (first, length) = (done, update == 0 ? 1 : accumulation);
            var loop = new TrainingLoop(optimizer, schedule, new TrainingLoopOptions(count, length)) { Position = new LoopPosition(first + length, at.MicroBatch + first) };
            var share = length / (double)accumulation;   // the first update holds one micro-batch, divided by their number all the same
            var result = loop.Step(m => run.Score(m) is var scored && share == 1 ? scored : scored with { Loss = scored.Loss.Times(share) });
            TokenTraining.PullNorms(run.Tokens, norm: 0.4, rate * schedule.Multiplier(first + length));
            AssertStep(golden, at.Update + update, at.MicroBatch + first, result, [.. result.Losses.Select(loss => loss / share)]);
            done += length;
        }
        Assert.Equal(phase.GetProperty("steps").GetInt32(), update);
        for (; done < count; done++) Leave(golden, run, at.MicroBatch + done, GoldenTraining.Flag(phase, "stale_gradients_left") ? accumulation : 0);
        return new Place(at.MicroBatch + count, at.Update + update);
    }

    /// <summary>A micro-batch after the last update: it moves nothing, but the package of 2022 left its gradient behind.</summary>
    private static void Leave(GoldenCase golden, InversionRun run, int micro, int accumulation)
    {
        using var inner = NewDisposeScope();
        var scored = run.Score(micro);
        Near(golden, "losses", golden.Json.GetProperty("losses")[micro].GetDouble(), scored.Loss.item<float>(), $"loss of micro-batch {micro}");
        if (accumulation > 0) scored.Loss.Over(accumulation).backward();
    }

    private static void AssertStep(GoldenCase golden, int update, int first, StepResult result, IReadOnlyList<double> losses)
    {
        for (var i = 0; i < losses.Count; i++) Near(golden, "losses", golden.Json.GetProperty("losses")[first + i].GetDouble(), losses[i], $"loss of micro-batch {first + i}");
        Near(golden, "grad_norms", golden.Json.GetProperty("grad_norms")[update].GetDouble(), result.GradientNorm, $"gradient norm of update {update}");
        var rates = golden.Json.GetProperty("lrs")[update].EnumerateArray().Select(rate => rate.GetDouble()).ToArray();
        for (var group = 0; group < rates.Length; group++) Near(golden, "lrs", rates[group], result.LearningRates[group], $"learning rate {group} of update {update}");
        Assert.All(result.LearningRates.Skip(rates.Length), rate => Assert.Equal(0, rate));
    }

    private static void AssertEnd(GoldenCase golden, InversionRun run)
    {
        var actual = run.Named().ToDictionary(item => "final." + item.Name, item => item.Tensor);
        var stored = golden.TensorInfos.Keys.Where(name => name.StartsWith("final.", StringComparison.Ordinal)).ToList();
        Assert.Contains("final.text_encoder.placeholder_rows", stored);
        var (squares, count) = (0.0, 0L);
        foreach (var name in stored)
        {
            var expected = golden.Tensor(name);
            TensorAssert.Close(expected, actual[name], 0, Tolerance(golden, "tensors").Absolute, $"{golden.Name}: {name}");
            squares += (actual[name].detach() - expected).to(ScalarType.Float64).Squared().sum().item<double>();
            count += expected.numel();
        }
        Assert.True(Math.Sqrt(squares / count) <= Tolerance(golden, "tensors_rms").Absolute, $"{golden.Name}: rms difference {Math.Sqrt(squares / count):G4}");
    }

    /// <summary>Where only some tensors are stored, how far each of the others went.</summary>
    private static void AssertMoved(GoldenCase golden, InversionRun run, Dictionary<string, Tensor> start)
    {
        if (!golden.Json.TryGetProperty("moved_abs_sums", out var sums)) return;
        var moved = run.Named().ToDictionary(item => item.Name == "text_encoder.placeholder_rows" ? "text_encoder.token_embedding.weight" : item.Name, item => (item.Tensor.detach() - start[item.Name]).to(ScalarType.Float64).abs().sum().item<double>());
        foreach (var sum in sums.EnumerateObject()) Near(golden, "moved_abs_sums", sum.Value.GetDouble(), moved[sum.Name], sum.Name);
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
}
