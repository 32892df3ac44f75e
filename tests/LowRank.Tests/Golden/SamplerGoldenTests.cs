using System.Text.Json;
using LowRank.Diffusion.Samplers;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class SamplerGoldenTests
{
    /// <summary>One row for each run of each case.</summary>
    public static IEnumerable<TheoryDataRow<string, string>> Runs()
    {
        foreach (var row in GoldenCase.OfKind("sampler"))
        {
            using var golden = GoldenCase.Open(row.Data);
            foreach (var run in golden.Json.GetProperty("runs").EnumerateArray().ToArray()) yield return new(row.Data, run.GetProperty("name").GetString()!);
        }
    }

    [Theory, MemberData(nameof(Runs))]
    public void States_after_every_call_are_those_of_the_library(string id, string name)
    {
        using var golden = GoldenCase.Open(id);
        var run = golden.Json.GetProperty("runs").EnumerateArray().Single(item => item.GetProperty("name").GetString() == name);
        var config = run.GetProperty("config");
        var sampler = SamplerCases.Make(config, run.TryGetProperty("step", out var step) ? step : null, run.TryGetProperty("set", out var set) ? set : null);
        if (sampler is null) GoldenLedger.SkipNotBuilt(id, $"the sampler {config.GetProperty("class").GetString()}");
        foreach (var entry in run.GetProperty("steps").EnumerateArray()) Compare(golden, sampler, run, entry);
    }

    private static void Compare(GoldenCase golden, Sampler sampler, JsonElement run, JsonElement entry)
    {
        using var scope = NewDisposeScope();
        var steps = entry.GetProperty("n").GetInt32();
        var key = $"{run.GetProperty("name").GetString()}.{steps}";
        var seed = golden.Json.GetProperty("seed").GetInt64();
        var shape = SamplerCases.Longs(golden.Json, "shape");
        var timeScale = run.GetProperty("time_scale").GetDouble();
        var plan = sampler.Plan(steps);
        ComparePlan(golden, plan, key, entry);

        var states = new List<Tensor>();
        var draws = 0;
        var asked = new List<double>();
        using var result = sampler.Run(plan, Formula.Noise("x_init", shape, seed).Times(plan.InitialScale), new SamplerRun
        {
            Predict = (x, timestep) =>
            {
                asked.Add(timestep);
                return SamplerCases.StandIn(x, timestep, timeScale);
            },
            Noise = () => Formula.Noise($"{key}.draw{draws++}", shape, seed),
            AfterCall = (_, x) =>
            {
                states.Add(x.clone().DetachFromDisposeScope());
                return x;
            },
        });

        Assert.Equal(entry.GetProperty("draws").GetInt32(), draws);
        Assert.Equal(entry.GetProperty("model_calls").GetInt32(), states.Count);
        Assert.Equal(plan.Timesteps, asked);
        var expected = golden.Tensor(key + ".x");
        var atol = entry.GetProperty("atol").EnumerateArray().Select(value => value.GetDouble()).ToArray();
        if (atol.Length == 1) TensorAssert.Close(expected, result, 0, atol[0], key);
        else Assert.Equal(states.Count, atol.Length);
        for (var call = 0; call < states.Count; call++)
        {
            if (atol.Length > 1) TensorAssert.Close(expected[call], states[call], 0, atol[call], $"{key}, call {call}");
            states[call].Dispose();
        }
    }

    private static void ComparePlan(GoldenCase golden, SamplingPlan plan, string key, JsonElement entry)
    {
        var (rtol, atol) = Tolerance(golden.Json, "tolerance_timesteps");
        TensorAssert.Close(golden.Tensor(key + ".timesteps"), tensor(plan.Timesteps.ToArray()), rtol, atol, key + ".timesteps");
        var scale = entry.GetProperty("init_noise_sigma").GetDouble();
        Assert.InRange(plan.InitialScale, scale * (1 - 1e-6), scale * (1 + 1e-6));
        (rtol, atol) = Tolerance(golden.Json, "tolerance_sigmas");
        if (golden.Has(key + ".sigmas"))
        {
            var expected = golden.Tensor(key + ".sigmas");
            var padded = plan.Sigmas.Concat(Enumerable.Repeat(0.0, Math.Max(0, (int)expected.shape[0] - plan.Sigmas.Count)));   // DPM2's tables end in more than one 0
            TensorAssert.Close(expected, tensor(padded.ToArray()), rtol, atol, key + ".sigmas");
        }
        if (!golden.Has(key + ".model_input_factor")) return;
        var factors = plan.InputFactors.Count > 0 ? plan.InputFactors.ToArray() : plan.Levels.Take(plan.Timesteps.Count).Select(level => NoiseLevel.OfSigma(level.Sigma).Alpha).ToArray();
        TensorAssert.Close(golden.Tensor(key + ".model_input_factor"), tensor(factors), rtol, atol, key + ".model_input_factor");
    }

    private static (double Rtol, double Atol) Tolerance(JsonElement json, string name) =>
        (json.GetProperty(name).GetProperty("rtol").GetDouble(), json.GetProperty(name).GetProperty("atol").GetDouble());
}
