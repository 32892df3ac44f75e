using System.Globalization;
using System.Text;
using System.Text.Json;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class ClipTextTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("clip_text");

    [Theory, MemberData(nameof(Cases))]
    public void Every_state_the_pooled_text_and_the_gradients_are_the_published_models(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        using var model = Build(golden.Json);
        using var states = model.call(Ids(golden.Json));
        if (golden.TensorInfos.Keys.Any(name => name.StartsWith("grad/", StringComparison.Ordinal))) Loss(golden, states).backward();
        foreach (var name in golden.TensorInfos.Keys)
        {
            using var actual = Named(golden, model, states, name);
            golden.AssertClose(name, actual);
        }
    }

    internal static ClipTextModel Build(JsonElement json)
    {
        var projection = json.GetProperty("class").GetString() switch
        {
            "CLIPTextModel" => false,
            "CLIPTextModelWithProjection" => true,
            var other => throw new InvalidOperationException($"class {other} is not built"),
        };
        var config = ClipTextConfig.Parse(Encoding.UTF8.GetBytes(json.GetProperty("config").GetRawText()), "config");
        var model = new ClipTextModel(config, projection, new LayerFactory(CPU, ScalarType.Float32));
        Formula.Fill(model, json.GetProperty("seed").GetInt64(), multiply: json.TryGetProperty("multiply", out var rules) ? rules : default);
        return model;
    }

    internal static Tensor Ids(JsonElement json)
    {
        var rows = json.GetProperty("input_ids").EnumerateArray().Select(row => row.EnumerateArray().Select(id => id.GetInt64()).ToArray()).ToArray();
        return tensor(rows.SelectMany(row => row).ToArray(), rows.Length, rows[0].Length);
    }

    private static Tensor Loss(GoldenCase golden, ClipTextStates states)
    {
        var loss = golden.Json.GetProperty("loss").GetString() switch
        {
            "mean(last_hidden_state^2)" => states.Last.Squared().mean(),
            "mean(last_hidden_state^2) + mean(text_embeds^2)" => states.Last.Squared().mean().Plus(states.Projected!.Squared().mean()),
            var other => throw new InvalidOperationException($"{golden.Name}: loss {other} is not known"),
        };
        var expected = golden.Json.GetProperty("loss_value").GetDouble();
        Assert.Equal(expected, loss.item<float>(), 1e-5 * Math.Abs(expected));
        return loss;
    }

    private static Tensor Named(GoldenCase golden, ClipTextModel model, ClipTextStates states, string name)
    {
        switch (name)
        {
            case "last_hidden_state": return states.Last.alias();
            case "pooler_output": return states.Pooled.alias();
            case "text_embeds": return states.Projected!.alias();
            case "grad/token_rows": return TokenRows(golden, model);
        }
        if (After("hidden_states.") is { } layer) return states.Hidden[int.Parse(layer, CultureInfo.InvariantCulture)].alias();
        if (After("clip_skip_") is { } skipped) return model.SkipLayers(states, int.Parse(skipped, CultureInfo.InvariantCulture));
        if (After("grad/") is { } key) return model.named_parameters().Single(item => item.name == key).parameter.grad!;
        throw new InvalidOperationException($"{golden.Name}: nothing computes {name}");

        string? After(string start) => name.StartsWith(start, StringComparison.Ordinal) ? name[start.Length..] : null;
    }

    /// <summary>The token table's gradient in the rows that the prompts use; all other rows must be zero.</summary>
    private static Tensor TokenRows(GoldenCase golden, ClipTextModel model)
    {
        using var scope = NewDisposeScope();
        var rows = golden.Json.GetProperty("token_rows").EnumerateArray().Select(row => row.GetInt64()).ToArray();
        var gradient = model.named_parameters().Single(item => item.name == "text_model.embeddings.token_embedding.weight").parameter.grad!;
        var others = Enumerable.Range(0, (int)gradient.size(0)).Select(row => (long)row).Except(rows).ToArray();
        if (others.Length > 0) Assert.Equal(0, gradient[tensor(others)].abs().max().item<float>());
        return gradient[tensor(rows)].MoveToOuterDisposeScope();
    }
}
