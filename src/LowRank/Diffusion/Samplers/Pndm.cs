using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Options of <see cref="Pndm"/>.</summary>
internal sealed record PndmOptions
{
    /// <summary>linspace, leading or trailing.</summary>
    public string TimestepSpacing { get; init; } = "leading";

    /// <summary>Added to every timestep of leading spacing.</summary>
    public int StepsOffset { get; init; }

    /// <summary>Ends at ᾱ = 1 rather than at ᾱ of timestep 0.</summary>
    public bool SetAlphaToOne { get; init; }

    /// <summary>Starts with the second-highest timestep twice (PLMS, as Stable Diffusion does) rather than with twelve Runge-Kutta calls.</summary>
    public bool SkipPrkSteps { get; init; }
}

/// <summary>
/// Pseudo numerical methods (Liu et al. 2022): linear multistep over the last four predictions. Averages are taken over raw predictions,
/// whatever their type; the average is then read as noise.
/// </summary>
internal sealed class Pndm(NoiseSchedule schedule, PndmOptions options) : AlphaBarSampler(schedule)
{
    private const int RungeKuttaCalls = 12;

    public override SamplingPlan Plan(int steps)
    {
        if (Prediction is not (PredictionType.Epsilon or PredictionType.VPrediction)) throw new OptionsException("PNDM works with models that predict noise or velocity; choose another sampler.");
        var grid = TimeGrid.Spread(options.TimestepSpacing, Schedule.Timesteps, steps, options.StepsOffset);
        if (options.SkipPrkSteps) return Plan(steps, steps == 1 ? grid : [grid[0], grid[1], .. grid[1..]]);
        if (steps < 4) throw new OptionsException("PNDM with Runge-Kutta steps (skip_prk_steps false) needs 4 steps or more.");
        var half = Schedule.Timesteps / steps / 2;
        var start = Enumerable.Range(0, 3).SelectMany(group => new[] { grid[group], grid[group + 1] + half, grid[group + 1] + half, grid[group + 1] });
        return Plan(steps, [.. start, .. grid[3..]]);
    }

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run)
    {
        if (!options.SkipPrkSteps && run.FirstCall > 0) throw new OptionsException("PNDM with Runge-Kutta steps (skip_prk_steps false) cannot start from a picture; choose another sampler.");
        var outputs = new History(4);
        var anchor = new History(1);
        var sum = new History(1);
        var stride = Schedule.Timesteps / plan.Steps;
        return (call, x) =>
        {
            var timestep = plan.Timesteps[call];
            var output = run.Predict(x, timestep);
            if (!options.SkipPrkSteps && call < RungeKuttaCalls) return RungeKutta(call, x, output);
            var taken = options.SkipPrkSteps ? call - run.FirstCall : int.MaxValue;
            if (taken == 0) anchor.Keep(x.alias());
            if (taken == 1) return Transfer(anchor[0], timestep + stride, timestep, output.Plus(outputs[0]).Over(2));
            outputs.Keep(output);
            return Transfer(x, timestep, timestep - stride, Multistep(outputs));
        };

        Tensor RungeKutta(int call, Tensor x, Tensor output)
        {
            var part = call % 4;
            if (part == 0)
            {
                anchor.Keep(x.alias());
                outputs.Keep(output);
            }
            var average = output.Times(part is 0 or 3 ? 1.0 / 6 : 1.0 / 3);
            if (part > 0) average = average.Plus(sum[0]);
            if (part < 3) sum.Keep(average);
            var to = plan.Timesteps[call] - (part % 2 == 0 ? stride / 2 : 0);
            return Transfer(anchor[0], plan.Timesteps[call - part], to, part == 3 ? average : output);
        }
    }

    /// <summary>Moves a state from one timestep to another along a prediction (eq. 11).</summary>
    private Tensor Transfer(Tensor x, double from, double to, Tensor output)
    {
        var bar = AlphaBar(from);
        var next = to >= 0 ? AlphaBar(to) : options.SetAlphaToOne ? 1 : AlphaBar(0);
        var level = NoiseLevel.OfAlphaBar(bar);
        var noise = Predictions.ToNoise(Prediction, x, output, level.Alpha, level.Sigma);
        return x.Times(Math.Sqrt(next / bar)).Plus(noise.Times(Math.Sqrt(1 - next) - Math.Sqrt(next * (1 - bar) / bar)));
    }

    /// <summary>Adams-Bashforth weights over as many outputs as there are.</summary>
    private static Tensor Multistep(History outputs) => outputs.Count switch
    {
        1 => outputs[0],
        2 => (outputs[0].Times(3) - outputs[1]).Over(2),
        3 => (outputs[0].Times(23) - outputs[1].Times(16)).Plus(outputs[2].Times(5)).Over(12),
        _ => ((outputs[0].Times(55) - outputs[1].Times(59)).Plus(outputs[2].Times(37)) - outputs[3].Times(9)).Over(24),
    };
}
