using LowRank.Foundation;
using LowRank.Models.Layers;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Training;

public sealed class TrainedModulesTests
{
    private static readonly ParameterRates Rates = new(0.1);

    [Fact]
    public void Moving_the_parameters_changes_neither_names_nor_values_nor_what_the_module_computes()
    {
        using var scope = NewDisposeScope();
        using var model = Model();
        var x = randn(2, 4, 5, 5);
        var before = model.state_dict().ToDictionary(item => item.Key, item => item.Value.clone());
        var y = model.call(x);
        using var trained = new TrainedModules([("model", model)], Rates);
        var after = model.state_dict();
        Assert.Equal(before.Keys.Order(), after.Keys.Order());
        foreach (var (name, value) in before) TensorAssert.Equal(value, after[name], name);
        TensorAssert.Equal(y, model.call(x));
        Assert.Equal(before.Values.Sum(value => value.numel()), trained.Values.numel());
        Assert.Equal(trained.Parameters.Segments.Select(segment => segment.Name), model.named_parameters().Select(item => "model." + item.name));
    }

    [Fact]
    public void What_is_written_to_the_flat_tensor_is_in_the_module_and_gradients_come_back_in_it()
    {
        using var scope = NewDisposeScope();
        using var model = Model();
        using var trained = new TrainedModules([("model", model)], Rates);
        model.call(randn(1, 4, 5, 5)).Squared().sum().backward();
        foreach (var (name, parameter) in model.named_parameters())
        {
            var segment = trained.Parameters.Segments.Single(item => item.Name == "model." + name);
            var gradient = trained.Gradients.narrow(0, segment.Start, segment.Length).view(parameter.shape);
            Assert.True(gradient.abs().sum().item<float>() > 0, name);
            TensorAssert.Equal(parameter.grad!, gradient, name);
        }
        using (no_grad()) trained.Values.copy_(tensor(0.25f));
        Assert.All(model.parameters(), parameter => Assert.True(parameter.eq(tensor(0.25f)).all().item<bool>()));
    }

    [Fact]
    public void Parts_of_several_types_are_refused()
    {
        using var one = nn.Linear(3, 3, dtype: ScalarType.BFloat16);
        using var other = nn.Linear(3, 3);
        var problem = Assert.Throws<OptionsException>(() => new TrainedModules([("one", one), ("other", other)], Rates));
        Assert.Equal("training.precision: parts of BFloat16 and Float32 cannot be trained together; take fp32", problem.Message);
    }

    [Fact]
    public void Nothing_is_left_behind() => LeakGuard.AssertNothingLeft(() =>
    {
        using var model = Model();
        using var trained = new TrainedModules([("model", model)], Rates);
    });

    /// <summary>Every kind of layer that our models have, from the factory: TorchSharp's own group norm begins with whatever was in memory.</summary>
    private static nn.Module<Tensor, Tensor> Model()
    {
        var layers = new LayerFactory(CPU, ScalarType.Float32);
        return nn.Sequential(("conv", layers.Conv2d(4, 6, 3, padding: 1)), ("norm", layers.GroupNorm(2, 6, 1e-5)), ("flat", nn.Flatten()),
            ("linear", layers.Linear(150, 3, bias: false)), ("last", layers.LayerNorm(3, 1e-5)), ("out", layers.Linear(3, 2)));
    }
}
