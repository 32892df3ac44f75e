using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class InceptionTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("inception");

    [Theory, MemberData(nameof(Cases))]
    public void Features_and_outputs_are_those_of_the_published_network(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var network = Build(golden.Json.GetProperty("seed").GetInt64());
        var computed = new Dictionary<string, Tensor>();
        foreach (var input in golden.Json.GetProperty("inputs").GetProperty("list").EnumerateObject())
        {
            var features = network.call(Pictures(golden, input.Name));
            computed[$"{input.Name}/pool3"] = features;
            computed[$"{input.Name}/logits_first_64"] = network.Classify(features)[TensorIndex.Colon, TensorIndex.Slice(0, 64)];
        }
        golden.AssertAllClose(computed);
    }

    [Theory, MemberData(nameof(Cases))]
    public void It_has_the_parameters_of_the_published_file(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var network = new InceptionV3(LayerFactory.Meta);
        var shapes = network.state_dict().ToDictionary(item => item.Key, item => item.Value.shape);
        var file = golden.Json.GetProperty("published weights file");
        Assert.Equal(file.GetProperty("parameters").GetInt64(), network.named_parameters().Sum(item => item.parameter.numel()));
        foreach (var convolution in golden.Json.GetProperty("convolutions [in, out, kh, kw, stride, ph, pw]").EnumerateObject())
        {
            var size = System.Text.Json.JsonSerializer.Deserialize<long[]>(convolution.Value.GetString()!)!;
            Assert.Equal([size[1], size[0], size[2], size[3]], shapes[$"{convolution.Name}.conv.weight"]);
            foreach (var part in (string[])["weight", "bias", "running_mean", "running_var"])
            {
                Assert.Equal([size[1]], shapes[$"{convolution.Name}.bn.{part}"]);
                shapes.Remove($"{convolution.Name}.bn.{part}");
            }
            shapes.Remove($"{convolution.Name}.conv.weight");
        }
        Assert.Equal(["fc.bias", "fc.weight"], shapes.Keys.Order());
    }

    /// <summary>As the case says: by formula, convolutions times √2, variances near 1.</summary>
    internal static InceptionV3 Build(long seed)
    {
        var network = new InceptionV3(new LayerFactory(CPU, ScalarType.Float32));
        using var quiet = no_grad();
        foreach (var (name, weight) in network.state_dict())
        {
            using var scope = NewDisposeScope();
            if (name.EndsWith("running_var", StringComparison.Ordinal)) weight.copy_(Formula.Noise(name, weight.shape, seed, 0.1).Plus(1));
            else weight.copy_(Formula.Weight(name, weight.shape, seed).Times(name.EndsWith("conv.weight", StringComparison.Ordinal) ? 1.4142135f : 1f));
        }
        return network;
    }

    private static Tensor Pictures(GoldenCase golden, string name)
    {
        var input = golden.Json.GetProperty("inputs").GetProperty("list").GetProperty(name);
        var shape = input.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64()).ToArray();
        var pictures = Formula.Noise(name, shape, golden.Json.GetProperty("seed").GetInt64(), 1).Plus(1).Over(2);
        if (input.GetProperty("resize").GetBoolean()) pictures = nn.functional.interpolate(pictures, [299, 299], mode: InterpolationMode.Bilinear, align_corners: false);
        return pictures.Times(2).Minus(1);
    }
}
