using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Options of <see cref="UniPc"/>.</summary>
internal sealed record UniPcOptions : MultistepOptions
{
    /// <summary>Weight of the differences: bh2 (e^h − 1) or bh1 (h).</summary>
    public string SolverType { get; init; } = "bh2";

    /// <summary>Solves for the clean latents rather than for the noise.</summary>
    public bool PredictX0 { get; init; } = true;

    /// <summary>Steps, counted from 0, whose result the next call does not correct.</summary>
    public IReadOnlyList<int> DisableCorrector { get; init; } = [];
}

/// <summary>
/// UniPC (Zhao et al. 2023): a multistep predictor, corrected once the denoiser has been asked at its result; the corrected state is not shown to the
/// denoiser again. Order and history of the corrector are those of the predictor before it.
/// </summary>
internal sealed class UniPc : MultistepSampler
{
    private readonly UniPcOptions options;
    private readonly bool bh1;

    public UniPc(NoiseSchedule schedule, UniPcOptions options) : base(schedule, options)
    {
        this.options = options;
        bh1 = options.SolverType switch
        {
            "bh1" => true,
            "bh2" => false,
            var other => throw NoiseScheduleOptions.Unsupported("solver_type", other, "bh1, bh2"),
        };
        if (!options.EndsAtZero) return;
        if (!options.PredictX0) throw new OptionsException("predict_x0 false cannot end at no noise; set final_sigmas_type to sigma_min.");
        if (!options.LowerOrderFinal && options.SolverOrder > 1) throw new OptionsException("lower_order_final false cannot end at no noise; set final_sigmas_type to sigma_min.");
    }

    protected override double[] FlowTimes(int steps) => [.. TimeGrid.Linspace(1, 1.0 / Schedule.Timesteps, steps + 1).SkipLast(1)];

    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run)
    {
        var outputs = new History(4);
        var last = new History(1);
        var order = 0;   // of the latest predictor
        return (call, x) =>
        {
            var level = plan.Levels[call];
            var sample = Denoised(plan, run, call, x);
            var output = options.PredictX0 ? sample : (x - sample.Times(level.Alpha)).Over(level.Sigma);
            if (order > 0 && !options.DisableCorrector.Contains(call - 1)) x = Correct(plan, outputs, last[0], output, call, order);
            outputs.Keep(output);
            last.Keep(x.alias());
            order = Math.Min(options.LowerOrderFinal ? Math.Min(options.SolverOrder, plan.Timesteps.Count - call) : options.SolverOrder, call - run.FirstCall + 1);
            return Predict(plan, outputs, x, call, order);
        };
    }

    private Tensor Predict(SamplingPlan plan, History outputs, Tensor x, int call, int order)
    {
        var (here, next) = (plan.Levels[call], plan.Levels[call + 1]);
        var h = next.LogSnr - here.LogSnr;
        if (h == 0) return x.alias();   // levels that end at the smallest one twice
        if (double.IsPositiveInfinity(h)) return outputs[0].Times(next.Alpha);
        var places = Enumerable.Range(1, order - 1).Select(back => (plan.Levels[call - back].LogSnr - here.LogSnr) / h).ToArray();
        var (sizes, weight) = Right(h, order);
        double[] weights = order switch
        {
            1 => [],
            2 => [0.5],   // not the solution, but what is published
            _ => Solve(places, sizes[..^1]),
        };
        var (walked, scale) = Linear(x, outputs[0], here, next, h);
        for (var back = 1; back < order; back++) walked = walked - (outputs[back] - outputs[0]).Times(scale * weight * weights[back - 1] / places[back - 1]);
        return walked;
    }

    /// <summary>The step before this call once more, with what the denoiser said at its result.</summary>
    private Tensor Correct(SamplingPlan plan, History outputs, Tensor from, Tensor output, int call, int order)
    {
        var (here, next) = (plan.Levels[call - 1], plan.Levels[call]);
        var h = next.LogSnr - here.LogSnr;
        var places = Enumerable.Range(1, order - 1).Select(back => (plan.Levels[call - 1 - back].LogSnr - here.LogSnr) / h).Append(1).ToArray();
        var (sizes, weight) = Right(h, order);
        var weights = order == 1 ? [0.5] : Solve(places, sizes);
        var (walked, scale) = Linear(from, outputs[0], here, next, h);
        for (var back = 1; back < order; back++) walked = walked - (outputs[back] - outputs[0]).Times(scale * weight * weights[back - 1] / places[back - 1]);
        return walked - (output - outputs[0]).Times(scale * weight * weights[^1]);
    }

    /// <summary>The part of a step that needs one output only, and the factor of the rest.</summary>
    private (Tensor Walked, double Scale) Linear(Tensor x, Tensor output, NoiseLevel here, NoiseLevel next, double h) => options.PredictX0
        ? (x.Times(next.Sigma / here.Sigma) - output.Times(next.Alpha * (Math.Exp(-h) - 1)), next.Alpha)
        : (x.Times(next.Alpha / here.Alpha) - output.Times(next.Sigma * (Math.Exp(h) - 1)), next.Sigma);

    /// <summary>Right-hand sides of the order conditions, and B(h) (section 3.2 of the paper).</summary>
    private (double[] Sizes, double Weight) Right(double h, int order)
    {
        var z = options.PredictX0 ? -h : h;
        var weight = bh1 ? z : Math.Exp(z) - 1;
        var phi = (Math.Exp(z) - 1) / z;
        var factorial = 1.0;
        var sizes = new double[order];
        for (var power = 1; power <= order; power++)
        {
            factorial *= power;
            phi = (phi - 1 / factorial) / z;
            sizes[power - 1] = z * phi * factorial / weight;
        }
        return (sizes, weight);
    }

    /// <summary>Weights w with Σ w·place^k = size[k] for every k, by elimination on the Vandermonde matrix.</summary>
    private static double[] Solve(double[] places, double[] sizes)
    {
        var n = places.Length;
        var rows = Enumerable.Range(0, n).Select(power => places.Select(place => Math.Pow(place, power)).Append(sizes[power]).ToArray()).ToArray();
        for (var pivot = 0; pivot < n; pivot++)
        {
            var best = Enumerable.Range(pivot, n - pivot).MaxBy(row => Math.Abs(rows[row][pivot]));
            (rows[pivot], rows[best]) = (rows[best], rows[pivot]);
            for (var row = 0; row < n; row++)
            {
                if (row == pivot) continue;
                var factor = rows[row][pivot] / rows[pivot][pivot];
                for (var column = pivot; column <= n; column++) rows[row][column] -= factor * rows[pivot][column];
            }
        }
        return [.. rows.Select((row, index) => row[n] / row[index])];
    }
}
