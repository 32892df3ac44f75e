using System.Text.Json;
using LowRank.Diffusion;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class NoiseScheduleGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> ScheduleCases() => GoldenCase.OfKind("schedules");
    public static IEnumerable<TheoryDataRow<string>> NoiseCases() => GoldenCase.OfKind("add_noise");
    public static IEnumerable<TheoryDataRow<string>> SigmaTimeCases() => GoldenCase.OfKind("sigma_time");

    [Theory, MemberData(nameof(ScheduleCases))]
    public void Tables_are_those_the_models_were_trained_with(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        foreach (var entry in golden.Json.GetProperty("schedules").EnumerateArray())
        {
            var name = entry.GetProperty("name").GetString()!;
            var schedule = Schedule(entry.GetProperty("config"));
            var (rtol, atol) = Tolerance(golden.Json, schedule.Options.RescaleBetasZeroSnr ? "tolerance_zero_snr" : "tolerance");
            Check("betas", schedule.Betas.ToArray(), entry.GetProperty("reference_betas_bit_equal").GetBoolean());
            Check("alphas_cumprod", schedule.AlphasCumprod.ToArray(), entry.GetProperty("reference_alphas_cumprod_bit_equal").GetBoolean());
            if (!golden.Has(name + ".sigmas")) continue;
            Check("sigmas", [.. schedule.Sigmas.ToArray().Reverse(), 0f], false);

            void Check(string table, float[] actual, bool bitEqual)
            {
                var expected = golden.Tensor($"{name}.{table}");
                if (bitEqual) TensorAssert.Equal(expected, tensor(actual), $"{name}.{table}");
                else TensorAssert.Close(expected, tensor(actual), rtol, atol, $"{name}.{table}");
            }
        }
    }

    [Theory, MemberData(nameof(NoiseCases))]
    public void Latents_are_noised_in_their_own_dtype(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var seed = golden.Json.GetProperty("seed").GetInt64();
        var timesteps = golden.Json.GetProperty("timesteps").EnumerateArray().Select(value => value.GetInt64()).ToArray();
        long[] shape = [timesteps.Length, .. golden.Json.GetProperty("shape").EnumerateArray().Select(value => value.GetInt64())];
        foreach (var entry in golden.Json.GetProperty("entries").EnumerateArray())
        {
            var key = entry.GetProperty("key").GetString()!;
            var dtype = entry.GetProperty("dtype").GetString()!;
            var type = dtype switch
            {
                "float32" => ScalarType.Float32,
                "float16" => ScalarType.Float16,
                "bfloat16" => ScalarType.BFloat16,
                _ => throw new InvalidOperationException($"{id}: no dtype {dtype}"),
            };
            var (rtol, atol) = Tolerance(golden.Json, type == ScalarType.Float32 ? "tolerance" : "tolerance_" + dtype);
            var schedule = Schedule(entry.GetProperty("config"));
            var latents = Formula.Noise("latents", shape, seed).to(type);
            var noise = Formula.Noise("noise", shape, seed).to(type);
            var noisy = schedule.AddNoise(latents, noise, timesteps);
            Assert.Equal(type, noisy.dtype);
            TensorAssert.Close(golden.Tensor(key + ".noisy"), noisy, rtol, atol, key + ".noisy");
            TensorAssert.Close(golden.Tensor(key + ".velocity"), schedule.Velocity(latents, noise, timesteps), rtol, atol, key + ".velocity");
        }
    }

    [Theory, MemberData(nameof(SigmaTimeCases))]
    public void Sigmas_and_timesteps_turn_into_each_other(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var schedule = Schedule(golden.Json.GetProperty("schedule"));
        var (rtol, atol) = Tolerance(golden.Json, "tolerance");
        var (sigmaRtol, sigmaAtol) = Tolerance(golden.Json, "tolerance_sigma");
        var times = golden.Tensor("sigma").data<double>().Select(schedule.TimestepOfSigma).ToArray();
        var sigmas = golden.Tensor("t").data<double>().Select(schedule.SigmaOfTimestep).ToArray();
        TensorAssert.Close(golden.Tensor("t_of_sigma"), tensor(times), rtol, atol, "t_of_sigma");
        TensorAssert.Close(golden.Tensor("sigma_of_t"), tensor(sigmas), sigmaRtol, sigmaAtol, "sigma_of_t");
    }

    private static NoiseSchedule Schedule(JsonElement config)
    {
        var options = SchedulerJson.Read<NoiseScheduleOptions>(config);
        Assert.Null(options.OtherKeys);   // every key of the case is honoured
        return new NoiseSchedule(options);
    }

    private static (double Rtol, double Atol) Tolerance(JsonElement json, string name) =>
        (json.GetProperty(name).GetProperty("rtol").GetDouble(), json.GetProperty(name).GetProperty("atol").GetDouble());
}
