using static TorchSharp.torch;

namespace LowRank.Data;

/// <summary>Random decisions about data. Training takes them from a named stream; tests script them.</summary>
internal interface IDraws
{
    /// <summary>A number in [0, 1).</summary>
    double Uniform();

    /// <summary>An index below <paramref name="count"/>, each as likely.</summary>
    int Choice(int count);

    /// <summary>A shuffled order: new[i] = old[order[i]].</summary>
    int[] Permutation(int count);
}

/// <summary>Draws from one of the run's random streams. Only on the training thread: generators are not safe to share.</summary>
internal sealed class StreamDraws(Generator generator) : IDraws
{
    /// <inheritdoc/>
    public double Uniform() => Uniforms(1)[0];

    /// <inheritdoc/>
    public int Choice(int count) => (int)(Uniform() * count);

    /// <inheritdoc/>
    public int[] Permutation(int count)
    {
        var order = Enumerable.Range(0, count).ToArray();
        if (count < 2) return order;
        var uniforms = Uniforms(count - 1);
        for (var i = count - 1; i > 0; i--)   // Fisher and Yates
        {
            var j = (int)(uniforms[i - 1] * (i + 1));
            (order[i], order[j]) = (order[j], order[i]);
        }
        return order;
    }

    private double[] Uniforms(long count)
    {
        using var values = rand(count, dtype: ScalarType.Float64, generator: generator);
        return values.data<double>().ToArray();
    }
}
