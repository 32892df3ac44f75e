using System.Text;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class ClipVisionTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("clip_vision");

    [Theory, MemberData(nameof(Cases))]
    public void States_embeddings_and_angles_are_the_published_models(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var json = golden.Json;
        var seed = json.GetProperty("seed").GetInt64();
        var config = ClipVisionConfig.Parse(Encoding.UTF8.GetBytes(json.GetProperty("config").GetRawText()), "config");
        using var model = new ClipVisionModel(config, new LayerFactory(CPU, ScalarType.Float32));
        Formula.Fill(model, seed, multiply: json.GetProperty("multiply"));
        Assert.Equal(Shapes(json.GetProperty("keys").EnumerateObject().Select(item => (item.Name, item.Value.EnumerateArray().Select(size => size.GetInt64()).ToArray()))),
            Shapes(model.state_dict().Select(item => (item.Key, item.Value.shape))));

        var shape = json.GetProperty("inputs").GetProperty("pixel_values").EnumerateArray().Select(size => size.GetInt64()).ToArray();
        using var states = model.call(Formula.Noise("pixel_values", shape, seed));
        var texts = Formula.Noise("text_embeds", states.Projected.shape, seed).Plus(states.Projected);
        var cosine = nn.functional.cosine_similarity(states.Projected, texts);
        golden.AssertAllClose(new Dictionary<string, Tensor>
        {
            ["last_hidden_state"] = states.Last,
            ["image_embeds"] = states.Projected,
            ["cosine"] = cosine,
            ["clip_score"] = cosine.Times(100).AtLeast(0),
        });
    }

    private static IEnumerable<string> Shapes(IEnumerable<(string Key, long[] Shape)> weights) => weights.Select(item => $"{item.Key} {string.Join(',', item.Shape)}").Order(StringComparer.Ordinal);
}
