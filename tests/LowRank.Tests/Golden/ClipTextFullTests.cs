using System.Text.Json;
using System.Text.RegularExpressions;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Text encoders in full size. They need up to 4 GB and a minute each, so they exist only where LOWRANK_FULL is 1.</summary>
public class ClipTextFullTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("clip_text_full");

    [FullSizeTheory, Trait("Size", "Full"), MemberData(nameof(Cases))]
    public void A_full_size_text_encoder_gives_the_published_states(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var model = ClipTextTests.Build(golden.Json);
        using var states = model.call(ClipTextTests.Ids(golden.Json));
        var positions = Positions(golden.Json);

        Assert.Equal(golden.Json.GetProperty("parameters").GetInt64(), model.parameters().Sum(parameter => parameter.numel()));
        CheckStatistics(golden.Json.GetProperty("last_hidden_state"), states.Last, golden.Tolerance("last_hidden_state_some").Absolute);
        foreach (var name in golden.TensorInfos.Keys)
        {
            golden.AssertClose(name, name switch
            {
                "last_hidden_state_some" => states.Last.index_select(1, positions),
                "penultimate_some" => states.Hidden[^2].index_select(1, positions),
                "pooler_output" => states.Pooled,
                "text_embeds" => states.Projected!,
                _ => throw new InvalidOperationException($"{id}: nothing computes {name}"),
            });
        }
    }

    /// <summary>The case says which positions it stores in a sentence: "… at positions [0, 5, …], …".</summary>
    private static Tensor Positions(JsonElement json)
    {
        var list = Regex.Match(json.GetProperty("what_is_stored").GetString()!, @"at positions (\[[\d, ]+\])").Groups[1].Value;
        return tensor(JsonSerializer.Deserialize<long[]>(list)!);
    }

    private static void CheckStatistics(JsonElement expected, Tensor actual, double tolerance)
    {
        Assert.Equal(expected.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64()), actual.shape);
        var values = actual.to(ScalarType.Float64);
        Assert.Equal(expected.GetProperty("mean").GetDouble(), values.mean().item<double>(), tolerance);
        Assert.Equal(expected.GetProperty("abs_mean").GetDouble(), values.abs().mean().item<double>(), tolerance);
        var first = expected.GetProperty("first").EnumerateArray().Select(value => value.GetDouble()).ToArray();
        for (var i = 0; i < first.Length; i++) Assert.Equal(first[i], values.flatten()[i].item<double>(), tolerance);
    }
}
