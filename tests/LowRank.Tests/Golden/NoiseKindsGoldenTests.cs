using System.Text.Json;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class NoiseKindsGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("noise_kinds");

    [Theory, MemberData(nameof(Cases))]
    public void Noise_is_changed_as_the_trainers_do(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var tolerance = golden.Json.GetProperty("tolerance");
        var compared = 0;
        foreach (var entry in golden.Json.GetProperty("entries").EnumerateArray())
        {
            var name = entry.GetProperty("tensor").GetString()!;
            TensorAssert.Close(golden.Tensor(name), Changed(golden.Json, entry, name), tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble(), name);
            compared++;
        }
        Assert.Equal(golden.TensorInfos.Count, compared);
    }

    private static Tensor Changed(JsonElement json, JsonElement entry, string name)
    {
        var seed = json.GetProperty("seed").GetInt64();
        long[] shape = [.. json.GetProperty("shape").EnumerateArray().Select(value => value.GetInt64())];
        var (latents, noise) = (Formula.Noise("latents", shape, seed), Formula.Noise("noise", shape, seed));
        switch (entry.GetProperty("kind").GetString())
        {
            case "noise offset":
                GoldenTraining.RequireKnown(entry, "tensor", "kind", "formula", "noise_offset", "adaptive_noise_scale");
                var strength = tensor((float)entry.GetProperty("noise_offset").GetDouble());
                if (entry.GetProperty("adaptive_noise_scale").ValueKind == JsonValueKind.Number) strength = TrainingNoise.AdaptiveOffset(latents, strength, entry.GetProperty("adaptive_noise_scale").GetDouble());
                return TrainingNoise.WithOffset(noise, Formula.Noise(name, [shape[0], shape[1], 1, 1], seed), strength);
            case "multi-resolution noise":
                GoldenTraining.RequireKnown(entry, "tensor", "kind", "formula", "iterations", "discount", "uniforms");
                var uniforms = new Queue<double>(entry.GetProperty("uniforms").EnumerateArray().Select(value => value.GetDouble()));
                return TrainingNoise.MultiResolution(noise, entry.GetProperty("iterations").GetInt32(), entry.GetProperty("discount").GetDouble(),
                    uniforms.Dequeue, (level, size) => Formula.Noise($"{name}.level{level}", size, seed));
            case "input perturbation":
                GoldenTraining.RequireKnown(entry, "tensor", "kind", "formula", "ip_noise_gamma");
                var schedule = new NoiseSchedule(SchedulerJson.Read<NoiseScheduleOptions>(json.GetProperty("schedule")));
                long[] timesteps = [.. json.GetProperty("timesteps").EnumerateArray().Select(value => value.GetInt64())];
                var made = TrainingTarget.Of(schedule, PredictionType.Epsilon, latents, noise, timesteps, Formula.Noise(name, shape, seed).Times(entry.GetProperty("ip_noise_gamma").GetDouble()));
                TensorAssert.Close(noise, made.Target, 0, 0, $"{name}: the target is the noise alone");
                return made.Noisy;
            default:
                throw new NotSupportedException($"the noise {entry.GetProperty("kind").GetString()}");
        }
    }
}
