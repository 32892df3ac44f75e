using System.Text.Json;
using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Whole generations, from prompts to pictures, by the real loop on the tiny pipelines.</summary>
public class PipelineGoldenTests
{
    /// <summary>One row for each run of each case.</summary>
    public static IEnumerable<TheoryDataRow<string, string>> Runs()
    {
        foreach (var row in GoldenCase.OfKind("pipeline"))
        {
            using var golden = GoldenCase.Open(row.Data);
            foreach (var run in golden.Json.GetProperty("runs").EnumerateArray().ToArray()) yield return new(row.Data, run.GetProperty("key").GetString()!);
        }
    }

    [Theory, MemberData(nameof(Runs))]
    public void Latents_after_every_call_and_pictures_are_those_of_the_library(string id, string key)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var run = new PipelineRun(golden, golden.Json.GetProperty("runs").EnumerateArray().Single(item => item.GetProperty("key").GetString() == key));
        using var real = (UnetFamily)FamilyDetector.Open(Path.Combine(GoldenCase.FixturesFolder, "models", "pipelines", golden.Json.GetProperty("folder").GetString()!));
        CompareWeights(golden.Json, real);
        using var adapter = Adapter(golden, run, real);
        CompareText(golden, run, real);

        var draws = 0;
        Tensor Draw(long[] shape)
        {
            Assert.Equal(SamplerCases.Longs(run.Json.GetProperty("draws")[draws], "shape"), shape);
            return Formula.Noise($"{key}.draw{draws++}", shape, run.Seed);
        }
        using var family = new FedFamily(real, Draw);
        var states = new List<Tensor>();
        var timesteps = new List<double>();
        var generator = new ImageGenerator(family, run.Sampler)
        {
            Draw = Draw,
            OnStep = step =>
            {
                states.Add(step.Latents.clone().DetachFromDisposeScope());
                timesteps.Add(step.Timestep);
            },
        };
        using var unused = new Generator(0);
        var latents = generator.Latents(run.Request(family), unused, TestContext.Current.CancellationToken);

        Assert.Equal(run.Json.GetProperty("draws").GetArrayLength(), draws);
        TensorAssert.Close(golden.Tensor(key + ".timesteps"), tensor(timesteps.ToArray()), 1e-5, 2e-3, key + ".timesteps");
        var expected = golden.Tensor(key + ".latents");
        Assert.Equal(expected.shape[0], states.Count);
        for (var call = 0; call < states.Count; call++)
        {
            run.Close(expected[call], states[call], $"{key}.latents, call {call}");
            states[call].Dispose();
        }
        ComparePicture(golden, run, generator.Decode(latents));
        CompareEncoded(golden, run, family);
    }

    /// <summary>The stored picture comes from the stored latents: within a level of it, and the float one within the case's tolerance.</summary>
    private static void ComparePicture(GoldenCase golden, PipelineRun run, Tensor pixels)
    {
        if (golden.Has(run.Key + ".image")) run.Close(golden.Tensor(run.Key + ".image"), pixels.Times(0.5).Plus(0.5).Within(0, 1).permute(0, 2, 3, 1), run.Key + ".image");
        if (!golden.Has(run.Key + ".image_uint8")) return;
        var difference = golden.Tensor(run.Key + ".image_uint8").to(ScalarType.Int32) - ImageGenerator.ToPixels(pixels).to(ScalarType.Int32);
        Assert.InRange(difference.abs().max().item<int>(), 0, 1);
    }

    private static void CompareEncoded(GoldenCase golden, PipelineRun run, FedFamily family)
    {
        if (golden.Has(run.Key + ".image_latents")) run.Close(golden.Tensor(run.Key + ".image_latents"), family.Encoded[0], run.Key + ".image_latents");
        if (golden.Has(run.Key + ".masked_image_latents")) run.Close(golden.Tensor(run.Key + ".masked_image_latents"), family.Encoded[^1], run.Key + ".masked_image_latents");
    }

    /// <summary>Token ids and embeddings.</summary>
    private static void CompareText(GoldenCase golden, PipelineRun run, UnetFamily family)
    {
        foreach (var (name, encoder, texts) in (IEnumerable<(string, int, IReadOnlyList<string>?)>)[("input_ids", 0, run.Prompts), ("negative_ids", 0, run.NegativePrompts), ("input_ids_2", 1, run.SecondPrompts ?? run.Prompts)])
        {
            if (golden.Has(name)) TensorAssert.Equal(golden.Tensor(name), family.Encoders[encoder].Tokenize(texts!), name);
        }
        if (run.EmbedsKey is not { } tag || !golden.Has(tag + "prompt_embeds")) return;
        var with = family.EncodePrompts(run.Prompts, new PromptOptions { SecondPrompts = run.SecondPrompts, SkippedLayers = run.SkippedLayers });
        Compare("prompt_embeds", with.Hidden);
        Compare("pooled", with.Pooled);
        var without = run.NegativePrompts is { } texts2
            ? family.EncodePrompts(texts2, new PromptOptions { SecondPrompts = run.SecondNegativePrompts })
            : family.EncodeNoPrompt().Repeat(run.Prompts.Count);
        Compare("negative_embeds", without.Hidden);
        Compare("negative_pooled", without.Pooled);

        void Compare(string name, Tensor? actual)
        {
            if (!golden.Has(tag + name)) return;
            var tolerance = golden.Json.TryGetProperty("tolerance_embeds", out var own) ? own : golden.Json.GetProperty("tolerance");
            TensorAssert.Close(golden.Tensor(tag + name), actual!, tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble(), tag + name);
        }
    }

    private static AdapterSet? Adapter(GoldenCase golden, PipelineRun run, UnetFamily family)
    {
        if (!golden.Json.TryGetProperty("file", out var name)) return null;
        using var file = AdapterFile.Open(Path.Combine(golden.Folder, name.GetString()!));
        var components = family.ComponentNames.ToDictionary(component => component, family.Component);
        var adapter = AdapterSet.Load(components, file, new AdapterLoadOptions { Strength = run.Json.GetProperty("weight").GetDouble() });
        Assert.Equal(golden.Json.GetProperty("modules").GetInt32(), adapter.Layers.Count);
        return adapter;
    }

    private static void CompareWeights(JsonElement json, UnetFamily family)
    {
        foreach (var part in json.GetProperty("weights_abs_sum").EnumerateObject())
        {
            using var scope = NewDisposeScope();
            var module = part.Name == "vae" ? family.Pictures.Model : family.Component(part.Name);
            var sum = module.parameters().Sum(parameter => parameter.detach().to(ScalarType.Float64).abs().sum().item<double>());
            Assert.Equal(part.Value.GetDouble(), sum, 1e-6 * sum);
        }
    }
}
