using System.Text.Json;
using LowRank.Diffusion;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>The conditioning of a trajectory case: by formula.</summary>
internal sealed class TrajectoryConditioning(JsonElement json, ScalarType type, int width) : IDisposable
{
    private readonly JsonElement config = json.GetProperty("config");

    /// <summary>Of micro-batch number m; lives in the caller's scope.</summary>
    public Conditioning For(long m, long seed)
    {
        var length = (long)GoldenTraining.Number(config, "cond_len", 7);
        return new Conditioning { Hidden = Formula.Noise($"text.{m}", [config.GetProperty("batch").GetInt64(), length, width], seed).to(type) };
    }

    public void Dispose() { }
}
