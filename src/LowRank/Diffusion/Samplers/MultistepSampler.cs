using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>
/// A multistep solver whose state is alpha·latents + sigma·noise, of unit variance (or a straight mixture, for flow). Timesteps are whole;
/// levels by formula run over the whole training range.
/// </summary>
internal abstract class MultistepSampler(NoiseSchedule schedule, MultistepOptions options) : Sampler(schedule)
{
    protected MultistepOptions Options { get; } = options;

    /// <summary>Karras timesteps are rounded, not cut.</summary>
    protected virtual bool RoundsKarrasTimesteps => true;

    /// <summary>Timesteps of the schedule that may be used, counted from 0.</summary>
    protected virtual int UsableTimesteps => Schedule.Timesteps;

    public override SamplingPlan Plan(int steps)
    {
        if (Options.SolverOrder is < 1 or > 3) throw NoiseScheduleOptions.Unsupported("solver_order", Options.SolverOrder.ToString(System.Globalization.CultureInfo.InvariantCulture), "1, 2, 3");
        if (Options.UseFlowSigmas != (Prediction == PredictionType.Flow)) throw new OptionsException("use_flow_sigmas and prediction_type flow_prediction go together; set both or neither.");
        var (timesteps, sigmas) = Options.UseFlowSigmas ? FlowGrid(steps) : Grid(steps);
        var levels = sigmas.Select(sigma => (double)(float)sigma).ToArray();
        return new SamplingPlan
        {
            Steps = steps,
            Timesteps = timesteps,
            Sigmas = levels,
            Levels = [.. levels.Select(sigma => Options.UseFlowSigmas ? new NoiseLevel(1 - sigma, sigma) : NoiseLevel.OfSigma(sigma))],
        };
    }

    /// <summary>Descending flow times before the shift, one for each step.</summary>
    protected abstract double[] FlowTimes(int steps);

    /// <summary>The level that the last step ends at.</summary>
    /// <param name="sigmas">Those before it.</param>
    /// <param name="byFormula">Whether they are of a curve, not of the timesteps.</param>
    protected virtual double End(double[] sigmas, bool byFormula) => Options.EndsAtZero ? 0 : Schedule.Sigmas[0];

    /// <summary>Asks the denoiser for the clean latents in a state.</summary>
    protected Tensor Denoised(SamplingPlan plan, SamplerRun run, int call, Tensor x)
    {
        var level = plan.Levels[call];
        return Predictions.ToSample(Prediction, x, run.Predict(x, plan.Timesteps[call]), level.Alpha, level.Sigma);
    }

    private (double[] Timesteps, double[] Sigmas) Grid(int steps)
    {
        var timesteps = TimeGrid.Spread(Options.TimestepSpacing, UsableTimesteps, steps, Options.StepsOffset, oneMore: true);
        double[] sigmas = [.. timesteps.Select(Schedule.SigmaOfTimestep)];
        var byFormula = false;
        if (Options.Curve(Schedule.Sigmas[0], Schedule.Sigmas[^1], steps) is { } curve)
        {
            (sigmas, byFormula) = (curve, true);
            var rounds = Options.UseKarrasSigmas && RoundsKarrasTimesteps;
            timesteps = [.. curve.Select(Schedule.TimestepOfSigma).Select(time => Math.Truncate(rounds ? Math.Round(time) : time))];
        }
        return (timesteps, [.. sigmas, End(sigmas, byFormula)]);
    }

    private (double[] Timesteps, double[] Sigmas) FlowGrid(int steps)
    {
        double[] sigmas = [.. FlowTimes(steps).Select(time => Options.FlowShift * time / (1 + (Options.FlowShift - 1) * time)).Select(time => Math.Abs(time - 1) < 1e-6 ? time - 1e-6 : time)];
        return ([.. sigmas.Select(sigma => Math.Truncate(sigma * Schedule.Timesteps))], [.. sigmas, 0]);
    }
}
