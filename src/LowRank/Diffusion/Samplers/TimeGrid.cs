namespace LowRank.Diffusion.Samplers;

/// <summary>How the timesteps of a run are spread over those of training (Lin et al. 2023, table 2).</summary>
internal static class TimeGrid
{
    /// <summary>Timesteps, largest first.</summary>
    /// <param name="spacing">linspace (both ends), leading (from 0 up in whole strides) or trailing (from the end down).</param>
    /// <param name="total">Timesteps of training, T.</param>
    /// <param name="steps">How many.</param>
    /// <param name="offset">Added in leading spacing.</param>
    /// <param name="oneMore">Makes one point more and leaves out the smallest, as multistep solvers do.</param>
    /// <param name="whole">Rounds linspace timesteps, halves to even; else they are float32.</param>
    public static double[] Spread(string spacing, int total, int steps, int offset, bool oneMore = false, bool whole = true)
    {
        var points = oneMore ? steps + 1 : steps;
        double[] rising = spacing switch
        {
            "linspace" => [.. Linspace(0, total - 1, points).Select(time => whole ? Math.Round(time) : (float)time)],
            "leading" => [.. Enumerable.Range(0, points).Select(point => (double)point * (total / points) + offset)],
            "trailing" => [.. Enumerable.Range(0, steps).Select(point => Math.Round(total - point * ((double)total / steps)) - 1).Reverse()],
            _ => throw NoiseScheduleOptions.Unsupported("timestep_spacing", spacing, "linspace, leading, trailing"),
        };
        return [.. rising.Skip(spacing != "trailing" && oneMore ? 1 : 0).Reverse()];
    }

    /// <summary>Evenly spaced float64 values, both ends included.</summary>
    public static double[] Linspace(double start, double end, int count)
    {
        if (count == 1) return [start];
        var stride = (end - start) / (count - 1);
        var values = new double[count];
        for (var i = 0; i < count; i++) values[i] = start + i * stride;
        values[^1] = end;
        return values;
    }
}
