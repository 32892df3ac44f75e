using System.Text.Json;
using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>What a run of a pipeline case asks for: its own words, and the case's where it says nothing.</summary>
internal sealed class PipelineRun(GoldenCase golden, JsonElement run)
{
    public JsonElement Json => run;
    public string Key { get; } = run.GetProperty("key").GetString()!;
    public long Seed { get; } = golden.Json.GetProperty("seed").GetInt64();
    public IReadOnlyList<string> Prompts => Texts("prompt")!;
    public IReadOnlyList<string>? SecondPrompts => Texts("prompt_2");
    public IReadOnlyList<string>? NegativePrompts => Texts("negative_prompt");
    public IReadOnlyList<string>? SecondNegativePrompts => Texts("negative_prompt_2");
    public int SkippedLayers => Find("clip_skip")?.GetInt32() ?? 0;

    /// <summary>Where this run's embeddings are stored; null where they are not.</summary>
    public string? EmbedsKey => golden.Has(Key + ".prompt_embeds") ? Key + "." : run.TryGetProperty("embeds_key", out var key) ? key.GetString() : "";

    public Sampler Sampler => SamplerCases.Make(run.GetProperty("scheduler")) ?? throw new InvalidOperationException($"{golden.Name}, {Key}: {run.GetProperty("scheduler").GetProperty("class")} is not built");

    public GenerationRequest Request(IDiffusionFamily family)
    {
        var (height, width, count) = (Find("height")!.Value.GetInt32(), Find("width")!.Value.GetInt32(), Find("num_images_per_prompt")?.GetInt32() ?? 1);
        var drawn = Json.GetProperty("draws").EnumerateArray().Any(draw => draw.GetProperty("asked_by").GetString() == "prepare_latents");
        var picture = Find("strength") is not null;
        var masked = Json.GetProperty("draws").EnumerateArray().Count(draw => draw.GetProperty("asked_by").GetString() == "sample") > 1 || family.DenoiserChannels != family.LatentChannels;
        return new GenerationRequest
        {
            Prompts = Prompts,
            SecondPrompts = SecondPrompts,
            NegativePrompts = NegativePrompts,
            SecondNegativePrompts = SecondNegativePrompts,
            SkippedLayers = SkippedLayers,
            PicturesPerPrompt = count,
            Height = height,
            Width = width,
            Steps = Find("steps")!.Value.GetInt32(),
            Guidance = new Guidance(Find("guidance_scale")!.Value.GetDouble(), Find("guidance_rescale")?.GetDouble() ?? 0),
            Size = Size("", height, width),
            NegativeSize = Find("negative_original_size") is null ? null : Size("negative_", height, width),
            StartNoise = drawn ? null : Formula.Noise("start", [Prompts.Count * count, family.LatentChannels, height / family.LatentFactor, width / family.LatentFactor], Seed),
            Image = picture ? Formula.Noise("image", [Prompts.Count, 3, height, width], Seed, 0.5).Plus(0.5).Times(2).Minus(1) : null,
            Strength = Find("strength")?.GetDouble() ?? 1,
            Mask = picture && masked ? Formula.Noise("mask", [Prompts.Count, 1, height, width], Seed, 0.5).Plus(0.5) : null,
        };
    }

    /// <summary>Within the case's tolerance, whose absolute part is relative to the largest value.</summary>
    public void Close(Tensor expected, Tensor actual, string label)
    {
        var tolerance = golden.Json.GetProperty("tolerance");
        var largest = Math.Max(1, expected.abs().max().item<float>());
        TensorAssert.Close(expected, actual, tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble() * largest, label);
    }

    private SizeCondition Size(string prefix, int height, int width)
    {
        var original = Pair(prefix + "original_size") ?? (height, width);
        var crop = Pair(prefix + "crops_coords_top_left") ?? (0, 0);
        var target = Pair(prefix + "target_size") ?? (height, width);
        return new SizeCondition(original.First, original.Second, crop.First, crop.Second, target.First, target.Second);
    }

    private (int First, int Second)? Pair(string name) => Find(name) is { } value ? (value[0].GetInt32(), value[1].GetInt32()) : null;

    private List<string>? Texts(string name) => Find(name) is { } value ? [.. value.EnumerateArray().Select(text => text.GetString()!)] : null;

    private JsonElement? Find(string name) =>
        (run.TryGetProperty(name, out var value) || golden.Json.TryGetProperty(name, out value)) && value.ValueKind != JsonValueKind.Null ? value : null;
}
