using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion.Samplers;

/// <summary>Options of <see cref="Lms"/>.</summary>
internal sealed record LmsOptions : SigmaOptions
{
    /// <summary>Slopes that a step looks at, 1 to 4.</summary>
    public int Order { get; init; } = 4;
}

/// <summary>Linear multistep: the polynomial through the last slopes, integrated over the step (k-diffusion, <c>sample_lms</c>; here exactly).</summary>
internal sealed class Lms(NoiseSchedule schedule, LmsOptions options) : SigmaSampler(schedule, options)
{
    protected override Func<int, Tensor, Tensor> Begin(SamplingPlan plan, SamplerRun run)
    {
        if (options.Order is < 1 or > 4) throw new OptionsException("LMS has orders 1 to 4; set order to one of them.");
        var slopes = new History(4);
        return (call, x) =>
        {
            var sigma = plan.Sigmas[call];
            slopes.Keep((x - Denoised(run, x, sigma, plan.Timesteps[call])).Over(sigma));
            var order = Math.Min(call + 1, options.Order);
            var nodes = Enumerable.Range(0, order).Select(back => plan.Sigmas[call - back]).ToArray();
            // in a run that starts from a picture the weights are, as published, those of the whole plan, though the first slopes were never seen
            for (var back = 0; back < Math.Min(order, slopes.Count); back++) x = x.Plus(slopes[back].Times(Weight(nodes, back, plan.Sigmas[call + 1])));
            return x;
        };
    }

    /// <summary>∫ from the first node to <paramref name="end"/> of the Lagrange polynomial that is 1 at one node; two Gauss points are exact up to degree 3.</summary>
    private static double Weight(double[] nodes, int one, double end)
    {
        var (middle, half) = ((nodes[0] + end) / 2, (end - nodes[0]) / 2);
        return half * (Lagrange(middle - half / Math.Sqrt(3)) + Lagrange(middle + half / Math.Sqrt(3)));

        double Lagrange(double at)
        {
            var product = 1.0;
            for (var other = 0; other < nodes.Length; other++)
            {
                if (other != one) product *= (at - nodes[other]) / (nodes[one] - nodes[other]);
            }
            return product;
        }
    }
}
