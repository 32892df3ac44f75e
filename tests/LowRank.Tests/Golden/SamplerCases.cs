using System.Text.Json;
using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>What the cases with a stand-in denoiser have in common.</summary>
internal static class SamplerCases
{
    /// <summary>The sampler that a case's configuration and step arguments describe; null for a class that is not built. Fails for a key that nothing reads.</summary>
    /// <param name="config">The scheduler's configuration.</param>
    /// <param name="step">Arguments of every step; null for none.</param>
    /// <param name="set">Arguments of the time grid; null for none.</param>
    public static Sampler? Make(JsonElement config, JsonElement? step = null, JsonElement? set = null)
    {
        var merged = Merge(config, step, set);
        var schedule = new NoiseSchedule(SchedulerJson.Read<NoiseScheduleOptions>(merged));
        return config.GetProperty("class").GetString() switch
        {
            "DDIM" => new Ddim(schedule, Options<DdimOptions>()),
            "DDPM" => new Ddpm(schedule, Options<DdpmOptions>()),
            "PNDM" => new Pndm(schedule, Options<PndmOptions>()),
            "EulerDiscrete" => new Euler(schedule, Options<EulerOptions>()),
            "EulerAncestralDiscrete" => new EulerAncestral(schedule, Options<SigmaOptions>()),
            "HeunDiscrete" => new Heun(schedule, Options<SigmaOptions>()),
            "KDPM2Discrete" => new Dpm2(schedule, Options<SigmaOptions>()),
            "KDPM2AncestralDiscrete" => new Dpm2Ancestral(schedule, Options<SigmaOptions>()),
            "LMSDiscrete" => new Lms(schedule, Options<LmsOptions>()),
            "DPMSolverSDE" => new DpmSolverSde(schedule, Options<SigmaOptions>()),
            "DPMSolverMultistep" => new DpmSolverMultistep(schedule, Options<DpmSolverMultistepOptions>()),
            "UniPCMultistep" => new UniPc(schedule, Options<UniPcOptions>()),
            "DPMSolverSinglestep" => new DpmSolverSinglestep(schedule, Options<DpmSolverSinglestepOptions>()),
            "DEISMultistep" => new Deis(schedule, Options<MultistepOptions>()),
            "EDMEuler" => new EdmEuler(schedule, Options<EdmEulerOptions>()),
            "FlowMatchEulerDiscrete" => new FlowMatchEuler(schedule, Options<FlowMatchEulerOptions>()),
            "FlowMatchHeunDiscrete" => new FlowMatchHeun(schedule, Options<FlowMatchOptions>()),
            "LCM" => new Lcm(schedule, Options<LcmOptions>()),
            "TCD" => new Tcd(schedule, Options<TcdOptions>()),
            _ => null,
        };

        T Options<T>()
        {
            // what else a published configuration says of samplers is read by each sampler's own options
            string[] schedules = ["num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr", "prediction_type"];
            var read = schedules.Concat(SchedulerJson.Keys(typeof(T))).Append("class");
            Assert.Empty(merged.EnumerateObject().Select(property => property.Name).Except(read));
            return SchedulerJson.Read<T>(merged);
        }
    }

    /// <summary>The stand-in for a network: k·x + 0.1·sin(3x) + 0.05·(x moved by one along the width), k float32.</summary>
    public static Tensor StandIn(Tensor x, double timestep, double timeScale)
    {
        using var scope = NewDisposeScope();
        var k = (float)(0.6 * Math.Cos(timeScale * timestep));
        return x.Times(k).Plus(sin(x.Times(3)).Times(0.1)).Plus(roll(x, 1, -1).Times(0.05)).MoveToOuterDisposeScope();
    }

    public static long[] Longs(JsonElement json, string name) => [.. json.GetProperty(name).EnumerateArray().Select(value => value.GetInt64())];

    public static double Optional(JsonElement json, string name, double otherwise) => json.TryGetProperty(name, out var value) ? value.GetDouble() : otherwise;

    private static JsonElement Merge(JsonElement config, params JsonElement?[] more)
    {
        var all = config.EnumerateObject().Concat(more.OfType<JsonElement>().SelectMany(item => item.EnumerateObject())).ToDictionary(property => property.Name, property => property.Value);
        if (all.Remove("sigmas", out var sigmas))
        {
            Assert.Equal("1..1/n", sigmas.GetString());
            all["even_sigmas"] = JsonSerializer.SerializeToElement(true);
        }
        return JsonSerializer.SerializeToElement(all);
    }
}
