using System.Globalization;
using LowRank.Foundation;

namespace LowRank.Diffusion;

/// <summary>
/// Noise variances by formula, float32. Where the published tables were rounded (float64 roots, float32 linspace from both ends,
/// float64 running products), these are rounded too: a model sees the noise it was trained with, to the last bit.
/// </summary>
internal static class BetaTables
{
    /// <summary>The variances that the options ask for, T values.</summary>
    public static float[] For(NoiseScheduleOptions options)
    {
        Check(options);
        var betas = options.TrainedBetas is { } given ? given.Select(value => (float)value).ToArray() : options.BetaSchedule switch
        {
            "linear" => Linspace((float)options.BetaStart, (float)options.BetaEnd, options.NumTrainTimesteps),
            "scaled_linear" => ScaledLinear(options),
            "squaredcos_cap_v2" => FromBar(options.NumTrainTimesteps, CosineBar),
            "sigmoid" => Sigmoid(options),
            "laplace" => FromBar(options.NumTrainTimesteps, LaplaceBar),
            var other => throw NoiseScheduleOptions.Unsupported("beta_schedule", other, "linear, scaled_linear, squaredcos_cap_v2, sigmoid, laplace"),
        };
        return options.RescaleBetasZeroSnr ? ZeroTerminalSnr(betas) : betas;
    }

    /// <summary>ᾱ: products of 1 − beta, kept in float64 and rounded one by one.</summary>
    public static float[] CumulativeAlphas(ReadOnlySpan<float> betas)
    {
        var result = new float[betas.Length];
        var product = 1.0;
        for (var t = 0; t < result.Length; t++)
        {
            product *= 1f - betas[t];
            result[t] = (float)product;
        }
        return result;
    }

    /// <summary>Shifts √ᾱ so that its last value is 0 and scales it so that its first stays (Lin et al. 2023, algorithm 1).</summary>
    public static float[] ZeroTerminalSnr(ReadOnlySpan<float> betas)
    {
        var root = CumulativeAlphas(betas);
        for (var t = 0; t < root.Length; t++) root[t] = MathF.Sqrt(root[t]);
        var (first, last) = (root[0], root[^1]);
        var scale = first / (first - last);
        var result = new float[root.Length];
        var previous = 1f;
        for (var t = 0; t < root.Length; t++)
        {
            var shifted = (root[t] - last) * scale;
            var bar = shifted * shifted;
            result[t] = 1f - bar / previous;
            previous = bar;
        }
        return result;
    }

    /// <summary>float32 values from start to end: the first half counts up from the start, the second down from the end, each rounded once.</summary>
    internal static float[] Linspace(float start, float end, int count)
    {
        if (count == 1) return [start];
        double step = (end - start) / (count - 1);
        var values = new float[count];
        for (var i = 0; i < count; i++) values[i] = (float)(i < count / 2 ? start + i * step : end - (count - 1 - i) * step);
        return values;
    }

    private static float[] ScaledLinear(NoiseScheduleOptions options)
    {
        var values = Linspace((float)Math.Sqrt(options.BetaStart), (float)Math.Sqrt(options.BetaEnd), options.NumTrainTimesteps);
        for (var t = 0; t < values.Length; t++) values[t] *= values[t];
        return values;
    }

    /// <summary>Variances of a given ᾱ(time), time from 0 to 1, each at most 0.999, computed in float64.</summary>
    private static float[] FromBar(int count, Func<double, double> bar)
    {
        var values = new float[count];
        for (var t = 0; t < count; t++) values[t] = (float)Math.Min(1 - bar((t + 1.0) / count) / bar((double)t / count), 0.999);
        return values;
    }

    /// <summary>Nichol and Dhariwal 2021, eq. 17.</summary>
    private static double CosineBar(double time)
    {
        var cosine = Math.Cos((time + 0.008) / 1.008 * Math.PI / 2);
        return cosine * cosine;
    }

    /// <summary>Hang and Gu 2024, "Improved noise schedule for diffusion training": the signal-to-noise ratio follows a Laplace distribution.</summary>
    private static double LaplaceBar(double time)
    {
        var logSnr = -0.5 * Math.CopySign(1, 0.5 - time) * Math.Log(1 - 2 * Math.Abs(0.5 - time) + 1e-6);
        var snr = Math.Exp(logSnr);
        return Math.Sqrt(snr / (1 + snr));
    }

    private static float[] Sigmoid(NoiseScheduleOptions options)
    {
        var values = Linspace(-6, 6, options.NumTrainTimesteps);
        var range = (float)(options.BetaEnd - options.BetaStart);
        for (var t = 0; t < values.Length; t++) values[t] = (float)(1 / (1 + Math.Exp(-values[t]))) * range + (float)options.BetaStart;
        return values;
    }

    private static void Check(NoiseScheduleOptions options)
    {
        var problems = new List<string>();
        if (options.NumTrainTimesteps < 2) problems.Add(Line("num_train_timesteps", options.NumTrainTimesteps, "2 or more"));
        if (options.TrainedBetas is { } given)
        {
            if (given.Count != options.NumTrainTimesteps) problems.Add(Line("trained_betas", given.Count, "num_train_timesteps values"));
            if (given.Any(value => value is not (> 0 and < 1))) problems.Add(Line("trained_betas", given.First(value => value is not (> 0 and < 1)), "values between 0 and 1"));
        }
        else if (options.BetaSchedule is not ("squaredcos_cap_v2" or "laplace"))
        {
            if (options.BetaStart is not (> 0 and < 1)) problems.Add(Line("beta_start", options.BetaStart, "between 0 and 1"));
            if (options.BetaEnd is not (> 0 and < 1)) problems.Add(Line("beta_end", options.BetaEnd, "between 0 and 1"));
        }
        if (problems.Count > 0) throw new OptionsException("the scheduler configuration describes no noise schedule:\n" + string.Join('\n', problems));
    }

    private static string Line(string key, double value, string expected) => string.Create(CultureInfo.InvariantCulture, $"{key} is {value}; expected {expected}");
}
