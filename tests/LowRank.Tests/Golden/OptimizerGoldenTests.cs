using System.Text.Json;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Optimizers alone on noisy quadratics: gradient = c·(value − target) + noise, all by formula.</summary>
public class OptimizerGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("optimizer");

    [Theory, MemberData(nameof(Cases))]
    public void Values_after_every_step_are_those_of_the_reference(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var config = golden.Json.GetProperty("config");
        GoldenTraining.RequireKnown(config, "seed", "steps", "params", "zero_until", "absent_until", "snapshots", "optimizer", "groups", "schedule", "noise", "start_amplitude");
        var problem = new Problem(config);
        using var optimizer = GoldenTraining.Optimizer(config.GetProperty("optimizer"), problem.Parameters);
        var schedule = config.TryGetProperty("schedule", out var json) && json.ValueKind == JsonValueKind.Object
            ? GoldenTraining.Schedule(json, problem.Parameters.Groups[0].LearningRate)
            : new LearningRateSchedule.Constant();
        var snapshots = config.TryGetProperty("snapshots", out var list) ? list.EnumerateArray().Select(item => item.GetInt64()).ToHashSet() : [];
        var norms = golden.Json.GetProperty("norms").EnumerateArray().Select(item => item.GetDouble()).ToArray();
        for (var step = 0; step < config.GetProperty("steps").GetInt64(); step++)
        {
            optimizer.Step(schedule.Multiplier(step), problem.FillGradients(step));
            // no tolerance is stated for the norms: sum over at most a few thousand float32 values, each within the tensors' tolerance
            Assert.Equal(norms[step], problem.Parameters.Values.to(ScalarType.Float64).norm().item<double>(), 1e-6 * Math.Max(1, norms[step]));
            if (optimizer is Prodigy prodigy) AssertDistance(golden, step, prodigy.Distance);
            if (snapshots.Contains(step + 1)) problem.AssertValues(golden, $"step{step + 1}.");
        }
        if (optimizer.ValuesForUse() is { } used)
        {
            problem.AssertValues(golden, "y.");
            problem.Parameters.Values.copy_(used);
        }
        problem.AssertValues(golden, "final.");
        if (optimizer is AdamW8bit) AssertState(golden, optimizer.Save());
    }

    private static void AssertDistance(GoldenCase golden, int step, double actual)
    {
        var expected = golden.Json.GetProperty("d")[step].GetDouble();
        Assert.Equal(expected, actual, golden.Json.GetProperty("tolerance").GetProperty("d").GetProperty("rtol").GetDouble() * expected);
    }

    /// <summary>The 8-bit state after all steps: codes one by one, packed in the order of the parameters.</summary>
    private static void AssertState(GoldenCase golden, IReadOnlyDictionary<string, Tensor> state)
    {
        foreach (var (ours, theirs) in new[] { ("first_moment", "exp_avg"), ("second_moment", "exp_avg_sq") })
        {
            using var scope = NewDisposeScope();
            Tensor Stored(string kind) => cat([.. new[] { "big", "ragged" }.Select(name => golden.Tensor($"state.{theirs}.{kind}.{name}").flatten())]);
            var differ = Stored("codes").ne(state[ours + ".codes"]).sum().item<long>();
            // the case's own bound for values next to the middle between two codes: 1 in 1000
            Assert.True(differ * 1000 <= state[ours + ".codes"].numel(), $"{differ} of {state[ours + ".codes"].numel()} codes of {ours} differ");
            // for the rest no tolerance is stated: the rounding of ten float32 means, against the largest number
            foreach (var (expected, actual) in new[] { (Stored("absmax"), state[ours + ".largest"]), (golden.Tensor($"state.{theirs}.small").flatten(), state[ours]) })
            {
                TensorAssert.Close(expected, actual, rtol: 0, atol: 1e-6 * expected.abs().max().item<float>(), ours);
            }
        }
    }

    /// <summary>The parameters of a case, flat in the order of the groups, and their gradients.</summary>
    private sealed class Problem
    {
        private readonly JsonElement config;
        private readonly List<(string Name, long[] Shape)> tensors = [];
        private readonly long seed;

        public Problem(JsonElement config)
        {
            this.config = config;
            seed = config.GetProperty("seed").GetInt64();
            var optimizer = config.GetProperty("optimizer");
            var shapes = config.GetProperty("params").EnumerateObject().ToDictionary(item => item.Name, item => item.Value.EnumerateArray().Select(size => size.GetInt64()).ToArray());
            var (segments, groups, start) = (new List<ParameterSegment>(), new List<ParameterGroup>(), 0L);
            foreach (var (names, rate, decay) in Groups(optimizer, shapes.Keys))
            {
                foreach (var name in names)
                {
                    var length = shapes[name].Aggregate(1L, (product, size) => product * size);
                    segments.Add(new ParameterSegment(name, start, length, groups.Count) { Shape = shapes[name] });
                    tensors.Add((name, shapes[name]));
                    start += length;
                }
                groups.Add(new ParameterGroup(rate, decay));
            }
            Assert.Equal(shapes.Count, segments.Count);
            var amplitude = GoldenTraining.Number(config, "start_amplitude", 0.2);
            var values = cat([.. tensors.Select(item => Formula.Noise("start." + item.Name, item.Shape, seed, amplitude).flatten())]);
            Parameters = new TrainedParameters(values, zeros_like(values), segments, groups);
        }

        public TrainedParameters Parameters { get; }

        /// <summary>Writes the gradients of a step; gives the parameters that have none.</summary>
        public HashSet<int> FillGradients(int step)
        {
            using var scope = NewDisposeScope();
            var absent = new HashSet<int>();
            for (var index = 0; index < tensors.Count; index++)
            {
                var (name, shape) = tensors[index];
                var segment = Parameters.Segments[index];
                var slot = Parameters.Gradients.narrow(0, segment.Start, segment.Length);
                if (step < Until("absent_until", name))
                {
                    absent.Add(index);
                    slot.copy_(tensor(float.NaN));   // whatever lies there must not be looked at
                    continue;
                }
                if (step < Until("zero_until", name))
                {
                    slot.zero_();
                    continue;
                }
                var curvature = tensor(Formula.Uniform("curvature." + name, segment.Length, seed)).Times(0.5).Plus(1);
                var target = Formula.Noise("target." + name, shape, seed, 0.5).flatten();
                var noise = Formula.Noise($"gradient_noise.{step}.{name}", shape, seed, GoldenTraining.Number(config, "noise", 0.3)).flatten();
                slot.copy_((curvature * (Parameters.Values.narrow(0, segment.Start, segment.Length) - target)).Plus(noise));
            }
            return absent;
        }

        public void AssertValues(GoldenCase golden, string prefix)
        {
            using var scope = NewDisposeScope();
            var tolerance = golden.Json.GetProperty("tolerance").GetProperty("tensors");
            var (rtol, atol) = (tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble());
            var eightBit = config.GetProperty("optimizer").GetProperty("name").GetString() == "AdamW8bit";
            for (var index = 0; index < tensors.Count; index++)
            {
                var (name, shape) = tensors[index];
                var segment = Parameters.Segments[index];
                var (expected, actual) = (golden.Tensor(prefix + name), Parameters.Values.narrow(0, segment.Start, segment.Length).view(shape));
                if (eightBit) AssertNearlyAll(expected, actual, atol, Parameters.Groups[0].LearningRate, prefix + name);
                else TensorAssert.Close(expected, actual, rtol, atol, prefix + name);
            }
        }

        /// <summary>The case's note on 8 bits: where a state falls next to the middle between two codes, at most 1 in 1000 may differ by up to the rate.</summary>
        private static void AssertNearlyAll(Tensor expected, Tensor actual, double atol, double rate, string name)
        {
            var difference = (expected - actual).abs();
            var outside = difference.IsAbove(atol).sum().item<long>();
            Assert.True(outside * 1000 <= expected.numel(), $"{name}: {outside} of {expected.numel()} differ by more than {atol}");
            Assert.True(difference.max().item<float>() <= rate, $"{name}: differs by {difference.max().item<float>()}");
        }

        private IEnumerable<(IEnumerable<string> Names, double Rate, double Decay)> Groups(JsonElement optimizer, IEnumerable<string> all)
        {
            var (rate, decay) = (GoldenTraining.Number(optimizer, "lr", 1e-3), GoldenTraining.DefaultDecay(optimizer));
            if (!config.TryGetProperty("groups", out var groups)) return [(all, rate, decay)];
            foreach (var group in groups.EnumerateArray()) GoldenTraining.RequireKnown(group, "names", "lr", "weight_decay");
            return groups.EnumerateArray().Select(group => (group.GetProperty("names").EnumerateArray().Select(name => name.GetString()!),
                GoldenTraining.Number(group, "lr", rate), GoldenTraining.Number(group, "weight_decay", decay)));
        }

        private long Until(string key, string name) => config.TryGetProperty(key, out var until) && until.TryGetProperty(name, out var step) ? step.GetInt64() : 0;
    }
}
