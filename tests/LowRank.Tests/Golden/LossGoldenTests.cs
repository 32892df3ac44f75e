using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>From prediction to scalar and back: every kind of loss, its threshold, value and gradient.</summary>
public class LossGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("losses");

    [Theory, MemberData(nameof(Cases))]
    public void Losses_and_their_gradients_are_those_of_the_trainer(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var json = golden.Json;
        var seed = json.GetProperty("seed").GetInt64();
        long[] shape = [.. json.GetProperty("shape").EnumerateArray().Select(value => value.GetInt64())];
        long[] timesteps = [.. json.GetProperty("timesteps").EnumerateArray().Select(value => value.GetInt64())];
        var schedule = new NoiseSchedule(SchedulerJson.Read<NoiseScheduleOptions>(json.GetProperty("schedule")) with { PredictionType = "sample" });
        var weights = Formula.Noise("loss_weights", [shape[0]], seed, 0.5).Plus(1).data<float>().ToArray();
        var tolerance = json.GetProperty("tolerance");
        var compared = 0;
        foreach (var item in json.GetProperty("cases").EnumerateArray())
        {
            GoldenTraining.RequireKnown(item, "tensors", "loss_type", "huber_schedule", "huber_c", "huber_scale", "min_snr_gamma", "masked");
            var name = item.GetProperty("tensors").GetString()![..^2];
            var options = GoldenTraining.Loss(item, "loss_type");
            // the case gives prediction and target themselves, and weighs as for noise prediction
            var prediction = Formula.Noise("prediction", shape, seed).requires_grad_();
            var error = new ElementLoss(options.Type, options.HuberSchedule, options.HuberC, options.HuberScale);
            var losses = error.Of(prediction, Formula.Noise("target", shape, seed), schedule, timesteps);
            if (GoldenTraining.Flag(item, "masked"))
            {
                var mask = Formula.Noise("mask", [shape[0], 3, 8 * shape[2], 8 * shape[3]], seed, 1.0)[.., ..1].Over(2).Plus(0.5);
                losses = losses * LossMask.Area(mask, shape[2], shape[3]);
            }
            var perItem = losses.mean([1, 2, 3]) * tensor(weights) * tensor(timesteps.Select(timestep => options.Weighting.Weight(schedule.Snr(timestep), PredictionType.Epsilon)).ToArray());
            var total = perItem.mean();
            total.backward();
            Compare("per_sample", perItem);
            Compare("total", total.reshape(1));
            Compare("grad", prediction.grad!);
            if (golden.TensorInfos.ContainsKey($"{name}.threshold")) Compare("threshold", tensor(timesteps.Select(timestep => error.Threshold(schedule, timestep)).ToArray()));

            void Compare(string part, Tensor actual)
            {
                TensorAssert.Close(golden.Tensor($"{name}.{part}"), actual, tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble(), $"{name}.{part}");
                compared++;
            }
        }
        Assert.Equal(golden.TensorInfos.Count, compared);
    }
}
