using System.Text.Json;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Testing;
using TorchSharp;
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

        Assert.Equal(json.GetProperty("scaling_factor").GetDouble(), family.Pictures.Config.ScalingFactor);
        foreach (var key in golden.TensorInfos.Keys.Where(key => key.StartsWith(name + "/", StringComparison.Ordinal) && key != name + "/latents_3_steps"))
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
        TensorAssert.Close(family.EncodeImages(picture, null), posterior.Mean * json.GetProperty("scaling_factor").GetDouble(), 1e-6, 1e-6, "EncodeImages");
    }

    private static Tensor Input(JsonElement json, string name, double? amplitude) =>
        Formula.Noise(name, [.. json.GetProperty("shapes").GetProperty(name).EnumerateArray().Select(size => size.GetInt64())], json.GetProperty("seed").GetInt64(), amplitude);

    private static float[] Numbers(JsonElement list) => [.. list.EnumerateArray().Select(value => (float)value.GetDouble())];
}
