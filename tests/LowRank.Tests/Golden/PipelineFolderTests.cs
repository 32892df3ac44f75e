using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Whole models in the diffusers layout, opened as users open theirs.</summary>
public class PipelineFolderTests
{
    public static IEnumerable<TheoryDataRow<string, string>> Cases()
    {
        foreach (var row in GoldenCase.OfKind("pipeline_folders"))
        {
            using var golden = GoldenCase.Open(row.Data);
            foreach (var item in golden.Json.GetProperty("pipelines").EnumerateObject()) yield return new TheoryDataRow<string, string>(row.Data, item.Name);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Ids_text_prediction_and_pictures_are_the_published_pipelines(string id, string name)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var json = golden.Json.GetProperty("pipelines").GetProperty(name);
        using var family = (UnetFamily)FamilyDetector.Open(FolderOf(golden, name, json));
        var tensors = new Dictionary<string, Tensor>();

        AddText(json, family, tensors, out var conditioning);
        var latents = Input(json, "latents", null);
        tensors["unet_sample"] = family.Predict(latents, tensor(Numbers(json.GetProperty("timesteps"))), conditioning);
        tensors["decoded"] = family.DecodeLatents(Input(json, "vae_latents", 1));
        AddEncoded(json, family, tensors);
        if (json.TryGetProperty("sampling", out var sampling)) tensors["latents_3_steps"] = Sample(json, family, FolderOf(golden, name, json), sampling.GetString()!);

        Assert.Equal(json.GetProperty("scaling_factor").GetDouble(), family.Pictures.Config.ScalingFactor);
        foreach (var key in golden.TensorInfos.Keys.Where(key => key.StartsWith(name + "/", StringComparison.Ordinal)))
        {
            Assert.True(tensors.TryGetValue(key[(name.Length + 1)..], out var actual), $"{id}: nothing computes {key}");
            golden.AssertClose(key, actual!);
        }
    }

    private static string FolderOf(GoldenCase golden, string name, JsonElement json)
    {
        var folder = Path.Combine(golden.Folder, golden.Name, name);
        foreach (var file in json.GetProperty("files").EnumerateObject())
        {
            Assert.Equal(file.Value.GetInt64(), new FileInfo(Path.Combine(folder, file.Name)).Length);
        }
        return folder;
    }

    private static void AddText(JsonElement json, UnetFamily family, Dictionary<string, Tensor> tensors, out Conditioning conditioning)
    {
        var prompts = json.GetProperty("prompts").EnumerateArray().Select(item => item.GetString()!).ToArray();
        for (var i = 0; i < family.Encoders.Count; i++) tensors[i == 0 ? "input_ids" : "input_ids_2"] = family.Encoders[i].Tokenize(prompts);
        conditioning = family.EncodePrompts(prompts);
        tensors["prompt_embeds"] = conditioning.Hidden;
        if (conditioning.Pooled is { } pooled) tensors["pooled_prompt_embeds"] = pooled;
        if (!json.TryGetProperty("time_ids", out var rows)) return;
        var sizes = rows.EnumerateArray().Select(row => row.EnumerateArray().Select(value => value.GetInt32()).ToArray()).Select(v => new SizeCondition(v[0], v[1], v[2], v[3], v[4], v[5]));
        conditioning = family.WithSizes(conditioning, [.. sizes]);
    }

    private static void AddEncoded(JsonElement json, UnetFamily family, Dictionary<string, Tensor> tensors)
    {
        var picture = Input(json, "image", 1);
        using var posterior = family.Pictures.Posterior(picture);
        tensors["encoded_mean"] = posterior.Mean.alias();
        tensors["encoded_logvar"] = posterior.LogVariance.alias();
        TensorAssert.Close(family.EncodeImages(picture, null), posterior.Mean.Times(json.GetProperty("scaling_factor").GetDouble()), 1e-6, 1e-6, "EncodeImages");
    }

    /// <summary>The first prompt against the second, with the folder's own sampler, as the case's sentence says.</summary>
    private static Tensor Sample(JsonElement json, UnetFamily family, string folder, string sentence)
    {
        var numbers = Regex.Match(sentence, @"^pipeline call: prompt = prompts\[0\], negative_prompt = prompts\[1\], (\d+) steps, guidance ([\d.]+), eta 0, latents = noise\('start'\), height 8h, width 8w, scheduler of the folder$");
        Assert.True(numbers.Success, $"not understood: {sentence}");
        var guidance = new Guidance(double.Parse(numbers.Groups[2].Value, CultureInfo.InvariantCulture));
        var prompts = json.GetProperty("prompts").EnumerateArray().Select(item => item.GetString()!).ToArray();
        var sampler = SamplerOf(Path.Combine(folder, "scheduler", "scheduler_config.json"), family.Schedule);
        var plan = sampler.Plan(int.Parse(numbers.Groups[1].Value, CultureInfo.InvariantCulture));
        var start = Input(json, "start", null);
        var (height, width) = ((int)start.size(2) * family.LatentFactor, (int)start.size(3) * family.LatentFactor);
        var size = new SizeCondition(height, width, 0, 0, height, width);
        var both = family.WithSizes(Conditioning.Concat(family.EncodePrompts([prompts[1]]), family.EncodePrompts([prompts[0]])), [size, size]);
        return sampler.Run(plan, start.Times(plan.InitialScale), new SamplerRun
        {
            Noise = () => throw new InvalidOperationException("eta is 0: no noise is drawn"),
            Predict = (latents, timestep) =>
            {
                var halves = family.Predict(cat([latents, latents]), TensorArithmetic.Filled([2], timestep), both).chunk(2);
                return guidance.Combine(halves[0], halves[1]);
            },
        });
    }

    /// <summary>The sampler a published configuration names; keys that its class does not have are passed over, as there.</summary>
    private static Sampler SamplerOf(string path, NoiseSchedule schedule)
    {
        using var config = JsonDocument.Parse(File.ReadAllBytes(path));
        return config.RootElement.GetProperty("_class_name").GetString() switch
        {
            "DDIMScheduler" => new Ddim(schedule, SchedulerJson.Read<DdimOptions>(config.RootElement)),
            "DDPMScheduler" => new Ddpm(schedule, SchedulerJson.Read<DdpmOptions>(config.RootElement)),
            "PNDMScheduler" => new Pndm(schedule, SchedulerJson.Read<PndmOptions>(config.RootElement)),
            "EulerDiscreteScheduler" => new Euler(schedule, SchedulerJson.Read<EulerOptions>(config.RootElement)),
            "HeunDiscreteScheduler" => new Heun(schedule, SchedulerJson.Read<SigmaOptions>(config.RootElement)),
            "DPMSolverMultistepScheduler" => new DpmSolverMultistep(schedule, SchedulerJson.Read<DpmSolverMultistepOptions>(config.RootElement)),
            "UniPCMultistepScheduler" => new UniPc(schedule, SchedulerJson.Read<UniPcOptions>(config.RootElement)),
            var other => throw new InvalidOperationException($"{path}: {other} is not built"),
        };
    }

    private static Tensor Input(JsonElement json, string name, double? amplitude) =>
        Formula.Noise(name, [.. json.GetProperty("shapes").GetProperty(name).EnumerateArray().Select(size => size.GetInt64())], json.GetProperty("seed").GetInt64(), amplitude);

    private static float[] Numbers(JsonElement list) => [.. list.EnumerateArray().Select(value => (float)value.GetDouble())];
}
