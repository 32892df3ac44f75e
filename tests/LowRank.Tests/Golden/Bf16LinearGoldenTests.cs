using LowRank.Adapters;
using LowRank.Testing;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>A float32 adapter on a frozen bfloat16 layer: where the branch is computed, and where it is rounded.</summary>
public class Bf16LinearGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("bf16_linear");

    [Theory, MemberData(nameof(Cases))]
    public void Output_loss_and_gradients_are_those_of_a_float32_branch_rounded_once(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var config = golden.Json.GetProperty("config");
        GoldenTraining.RequireKnown(config, "kind", "name", "out", "in", "rank", "alpha", "seed");
        var (outputs, inputs, seed) = (config.GetProperty("out").GetInt64(), config.GetProperty("in").GetInt64(), config.GetProperty("seed").GetInt64());
        var model = nn.Sequential(("lin", nn.Linear(inputs, outputs)));
        Formula.Fill(model, seed);
        model.to(ScalarType.BFloat16);
        foreach (var parameter in model.parameters()) parameter.requires_grad_(false);
        using var unused = new Generator(0UL);
        using var adapter = AdapterSet.Create(new Dictionary<string, nn.Module> { ["part"] = model },
            new AdapterOptions { Targets = ["part:lin"], Rank = config.GetProperty("rank").GetInt32(), Alpha = config.GetProperty("alpha").GetDouble() }, unused, CPU);
        var layer = Assert.Single(adapter.Layers);
        using (no_grad())
        {
            layer.Factors["down"].copy_(Formula.Weight("lin.lora_down.weight", layer.Factors["down"].shape, seed));
            layer.Factors["up"].copy_(Formula.Noise("lin.lora_up.weight", layer.Factors["up"].shape, seed, 0.1));
        }
        var x = Formula.Noise("x", [3, 5, inputs], seed).to(ScalarType.BFloat16).requires_grad_();

        // as one matrix of rows: libtorch 2.10 rounds a 3-d input's product to bfloat16 before it adds the bias, which the reference's did not
        var y = model.call(x.view(-1, inputs)).view(3, 5, outputs);
        var loss = nn.functional.mse_loss(y.to(ScalarType.Float32), Formula.Noise("target", [3, 5, outputs], seed));
        loss.backward();

        Assert.Equal(ScalarType.BFloat16, y.dtype);
        AssertClose(golden, "output_as_float32", y.to(ScalarType.Float32), "tensors");
        AssertClose(golden, "grad_up", layer.Factors["up"].grad!, "gradients");
        AssertClose(golden, "grad_down", layer.Factors["down"].grad!, "gradients");
        AssertClose(golden, "grad_x_as_float32", x.grad!.to(ScalarType.Float32), "tensors");
        var expected = golden.Json.GetProperty("loss").GetDouble();
        Assert.Equal(expected, loss.item<float>(), expected * golden.Json.GetProperty("tolerance").GetProperty("loss").GetProperty("rtol").GetDouble());
    }

    private static void AssertClose(GoldenCase golden, string name, Tensor actual, string tolerance)
    {
        var stated = golden.Json.GetProperty("tolerance").GetProperty(tolerance);
        using var expected = golden.Tensor(name);
        TensorAssert.Close(expected, actual, stated.GetProperty("rtol").GetDouble(), stated.GetProperty("atol").GetDouble(), $"{golden.Name}: {name}");
    }
}
