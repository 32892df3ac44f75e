using System.Text.Json;
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
        if (optimizer is null) GoldenLedger.SkipNotBuilt(id, $"the optimizer {config.GetProperty("optimizer").GetProperty("name").GetString()}");
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
            if (snapshots.Contains(step + 1)) problem.AssertValues(golden, $"step{step + 1}.");
        }
        problem.AssertValues(golden, "final.");
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
                    segments.Add(new ParameterSegment(name, start, length, groups.Count));
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
                    slot.fill_(float.NaN);   // whatever lies there must not be looked at
                    continue;
                }
                if (step < Until("zero_until", name))
                {
                    slot.zero_();
                    continue;
                }
                var curvature = tensor(Formula.Uniform("curvature." + name, segment.Length, seed)) * 0.5f + 1f;
                var target = Formula.Noise("target." + name, shape, seed, 0.5).flatten();
                var noise = Formula.Noise($"gradient_noise.{step}.{name}", shape, seed, GoldenTraining.Number(config, "noise", 0.3)).flatten();
                slot.copy_(curvature * (Parameters.Values.narrow(0, segment.Start, segment.Length) - target) + noise);
            }
            return absent;
        }

        public void AssertValues(GoldenCase golden, string prefix)
        {
            using var scope = NewDisposeScope();
            var tolerance = golden.Json.GetProperty("tolerance").GetProperty("tensors");
            for (var index = 0; index < tensors.Count; index++)
            {
                var (name, shape) = tensors[index];
                var segment = Parameters.Segments[index];
                TensorAssert.Close(golden.Tensor(prefix + name), Parameters.Values.narrow(0, segment.Start, segment.Length).view(shape),
                    tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble(), prefix + name);
            }
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
