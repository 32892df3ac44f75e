using System.Text;
using System.Text.Json;
using LowRank.Diffusion;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>The conditioning of a trajectory case: by formula, or from token ids through the case's text encoders.</summary>
internal sealed class TrajectoryConditioning : IDisposable
{
    private readonly JsonElement config;
    private readonly ScalarType type;
    private readonly int width;
    private readonly List<ClipTextModel> encoders = [];

    /// <param name="json">The case.</param>
    /// <param name="type">Of the models.</param>
    /// <param name="width">Of the text states that the denoiser takes.</param>
    public TrajectoryConditioning(JsonElement json, ScalarType type, int width)
    {
        (config, this.type, this.width) = (json.GetProperty("config"), type, width);
        foreach (var published in json.GetProperty("text_encoders").EnumerateArray())
        {
            var part = encoders.Count == 0 ? "text_encoder" : "text_encoder_2";
            var encoder = new ClipTextModel(ClipTextConfig.Parse(Encoding.UTF8.GetBytes(published.GetRawText()), part), projection: encoders.Count > 0, new LayerFactory(CPU, ScalarType.Float32));
            Formula.Fill(encoder, json.GetProperty("weights").GetProperty(part).GetProperty("seed").GetInt64());
            foreach (var parameter in encoder.parameters()) parameter.requires_grad_(false);
            encoders.Add((ClipTextModel)encoder.to(type));
        }
    }

    /// <summary>The encoders by component name.</summary>
    public IEnumerable<(string Name, ClipTextModel Model)> Encoders => encoders.Select((encoder, index) => (index == 0 ? "text_encoder" : "text_encoder_2", encoder));

    /// <summary>Of micro-batch number m; its tensors live in the caller's scope.</summary>
    public Conditioning For(long m, long seed)
    {
        if (encoders.Count == 0)
        {
            var length = (long)GoldenTraining.Number(config, "cond_len", 7);
            return new Conditioning { Hidden = Formula.Noise($"text.{m}", [config.GetProperty("batch").GetInt64(), length, width], seed).to(type) };
        }
        var ids = Rows(config.GetProperty("ids")[(int)m], ScalarType.Int64);
        var states = encoders.ConvertAll(encoder => encoder.call(ids));
        return encoders.Count == 1 ? OfOne(states[0]) : OfTwo(states[0], states[1], Rows(config.GetProperty("time_ids")[(int)m], ScalarType.Float32));
    }

    public void Dispose()
    {
        foreach (var encoder in encoders) encoder.Dispose();
    }

    /// <summary>kohya's clip skip 2 is the states before the last layer, through the final norm; 1 the last.</summary>
    private Conditioning OfOne(ClipTextStates states) => new() { Hidden = encoders[0].SkipLayers(states, (int)GoldenTraining.Number(config, "clip_skip", 1) - 1) };

    /// <summary>SDXL: the states before the last layer of both, without the final norm, and the second's pooled text.</summary>
    private static Conditioning OfTwo(ClipTextStates first, ClipTextStates second, Tensor timeIds) => new()
    {
        Hidden = cat([first.Hidden[^2], second.Hidden[^2]], -1),
        Pooled = second.Projected,
        TimeIds = timeIds,
    };

    private static Tensor Rows(JsonElement rows, ScalarType type)
    {
        var values = rows.EnumerateArray().SelectMany(row => row.EnumerateArray()).Select(value => value.GetInt64()).ToArray();
        return tensor(values, [rows.GetArrayLength(), values.Length / rows.GetArrayLength()], type);
    }
}
