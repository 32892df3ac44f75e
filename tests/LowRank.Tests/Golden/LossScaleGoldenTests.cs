using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Loss scaling in the loop itself: a loss whose gradient is the case's, with overflows.</summary>
public class LossScaleGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("grad_scaler");

    [Theory, MemberData(nameof(Cases))]
    public void Steps_that_overflow_are_left_out_and_the_rest_is_that_of_the_reference(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var config = golden.Json.GetProperty("config");
        GoldenTraining.RequireKnown(config, "kind", "name", "seed", "steps", "lr", "clip", "init_scale", "growth_interval", "overflow");
        var (seed, attempts, rate) = (config.GetProperty("seed").GetInt64(), config.GetProperty("steps").GetInt32(), config.GetProperty("lr").GetDouble());
        var overflows = config.GetProperty("overflow").EnumerateArray().Select(item => item.GetInt64()).ToHashSet();
        var shapes = golden.Json.GetProperty("shapes").EnumerateObject().Select(item => (item.Name, Shape: item.Value.EnumerateArray().Select(size => size.GetInt64()).ToArray())).ToList();

        var values = cat([.. shapes.Select(item => Formula.Noise("start." + item.Name, item.Shape, seed, 0.2).flatten())]).requires_grad_();
        values.grad = zeros_like(values);
        var (segments, start) = (new List<ParameterSegment>(), 0L);
        foreach (var (name, shape) in shapes)
        {
            var length = shape.Aggregate(1L, (product, size) => product * size);
            segments.Add(new ParameterSegment(name, start, length, 0) { Shape = shape });
            start += length;
        }
        using var optimizer = new AdamW(new TrainedParameters(values, values.grad!, segments, [new ParameterGroup(rate, 0.1)]), beta2: 0.99);
        var rule = new LossScaleRule(config.GetProperty("init_scale").GetDouble(), config.GetProperty("growth_interval").GetInt32());
        var loop = new TrainingLoop(optimizer, new ScheduleOptions(LearningRateShape.Linear, attempts, 1).Make(), new TrainingLoopOptions(attempts, MaxGradientNorm: config.GetProperty("clip").GetDouble(), LossScale: rule));

        var tolerance = golden.Json.GetProperty("tolerance");
        for (var attempt = 0; attempt < attempts; attempt++)
        {
            Assert.Equal(golden.Json.GetProperty("scales")[attempt].GetDouble(), loop.Position.Scale?.Factor ?? rule.First);
            var result = loop.Step(Score);
            var norm = golden.Json.GetProperty("norms")[attempt];
            Assert.Equal(golden.Json.GetProperty("stepped")[attempt].GetBoolean(), !result.LeftOut);
            if (!result.LeftOut) Assert.Equal(norm.GetDouble(), result.GradientNorm, tolerance.GetProperty("norms").GetProperty("rtol").GetDouble() * norm.GetDouble());
            var expected = golden.Json.GetProperty("lrs")[attempt].GetDouble();
            Assert.Equal(expected, result.LearningRates[0], tolerance.GetProperty("lrs").GetProperty("rtol").GetDouble() * Math.Max(expected, double.Epsilon));
        }
        foreach (var segment in segments)
        {
            var actual = values.detach().narrow(0, segment.Start, segment.Length).view([.. segment.Shape]);
            TensorAssert.Close(golden.Tensor("final." + segment.Name), actual, 0, tolerance.GetProperty("tensors").GetProperty("atol").GetDouble(), segment.Name);
        }

        // the sum of gradient times value has that gradient; its own number does not matter
        MicroBatchLoss Score(long micro)
        {
            var gradient = cat([.. shapes.Select(item => Formula.Noise($"gradient.{micro}.{item.Name}", item.Shape, seed, 0.5).flatten())]);
            if (overflows.Contains(micro)) gradient[segments[1].Start + 3] = float.PositiveInfinity;
            return new MicroBatchLoss((gradient * values).sum(), [], []);
        }
    }
}
