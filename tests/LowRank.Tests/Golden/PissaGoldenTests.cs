using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>
/// PiSSA: the start, what is left of the base, and ten steps by each of two optimizers. Signs of the factors are free, so products are compared.
/// Our base stays untouched: what it is without its principal part is base - start.
/// </summary>
public class PissaGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("pissa");

    [Theory, MemberData(nameof(Cases))]
    public void Start_and_training_give_the_products_of_the_reference(string id)
    {
        using var golden = GoldenCase.Open(id);
        foreach (var name in new[] { "SGD", "AdamW" })
        {
            using var scope = NewDisposeScope();
            var config = golden.Json.GetProperty("config");
            var seed = config.GetProperty("seed").GetInt64();
            var (outputs, inputs) = (config.GetProperty("out").GetInt64(), config.GetProperty("in").GetInt64());
            using var model = nn.Sequential(("lin", nn.Linear(inputs, outputs)));
            Formula.Fill(model, seed);
            foreach (var parameter in model.parameters()) parameter.requires_grad_(false);
            var weight = model.get_parameter("lin.weight")!.clone();
            using var unused = new Generator(0UL);
            var options = new AdapterOptions { Targets = ["lin"], Rank = config.GetProperty("rank").GetInt32(), Alpha = config.GetProperty("alpha").GetDouble(), Init = AdapterInit.Pissa };
            using var adapter = AdapterSet.Create(new Dictionary<string, nn.Module> { ["part"] = model }, options, unused, CPU);
            var layer = Assert.Single(adapter.Layers);
            Tensor Product() => layer.Factors["up"].detach().mm(layer.Factors["down"].detach()).Times(layer.Alpha / layer.Rank);

            Close(golden, "initial_product", Product());
            Close(golden, "base", weight - Product());
            TensorAssert.Equal(weight, model.get_parameter("lin.weight")!, "our base");
            using IOptimizer optimizer = name == "SGD"
                ? new Sgd(TrainedParameters.Of(adapter, new ParameterRates(0.05)), 0)
                : new AdamW(TrainedParameters.Of(adapter, new ParameterRates(1e-3, 0.01)));
            var losses = golden.Json.GetProperty("losses").GetProperty(name).EnumerateArray().Select(item => item.GetDouble()).ToArray();
            for (var k = 0; k < config.GetProperty("steps").GetInt32(); k++)
            {
                adapter.FlatGradients.zero_();
                var loss = (model.call(Formula.Noise($"x.{k}", [5, inputs], seed)) - Formula.Noise($"y.{k}", [5, outputs], seed)).Squared().mean();
                loss.backward();
                optimizer.Step(1);
                Assert.Equal(losses[k], loss.item<float>(), losses[k] * golden.Json.GetProperty("tolerance").GetProperty("losses").GetProperty("rtol").GetDouble());
            }
            Close(golden, "final_product." + name, Product());
            using var delta = layer.Delta();
            TensorAssert.Close(golden.Tensor("final_product." + name) - golden.Tensor("initial_product"), delta, 0, 2e-5, "what is added to the untouched base");
        }
    }

    private static void Close(GoldenCase golden, string name, Tensor actual)
    {
        using var expected = golden.Tensor(name);
        TensorAssert.Close(expected, actual, 0, golden.Json.GetProperty("tolerance").GetProperty("tensors").GetProperty("atol").GetDouble(), name);
    }
}
