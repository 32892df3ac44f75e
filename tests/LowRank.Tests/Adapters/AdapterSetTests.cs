using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Adapters;

public class AdapterSetTests
{
    public static TheoryData<ScalarType> BaseTypes => [ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16, ScalarType.Float64];

    private static readonly AdapterOptions All = new() { Rank = 3, Alpha = 1.5, ConvRank = 2, Targets = ["all"] };

    private static AdapterSet Make(nn.Module net, AdapterOptions? options = null, long seed = 1)
    {
        using var init = new Generator((ulong)seed);
        return AdapterSet.Create(TinyNet.Components(net), options ?? All, init, CPU);
    }

    /// <summary>Gives up values, so that the adapter changes something.</summary>
    private static AdapterSet MakeTrained(nn.Module net, AdapterOptions? options = null, long seed = 1)
    {
        var set = Make(net, options, seed);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        foreach (var (name, parameter) in set.NamedParameters()) parameter.copy_(Formula.Noise(name, parameter.shape, seed, 0.5));
        return set;
    }

    [Theory, MemberData(nameof(BaseTypes))]
    public void A_fresh_adapter_changes_nothing(ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make(type);
        var x = Formula.Noise("x", [2, 4, 6, 6], 1).to(type);
        var before = net.call(x);
        using var set = Make(net);
        Assert.True(set.Attached);
        Assert.Equal(4, set.Layers.Count);
        TensorAssert.Equal(before, net.call(x));
    }

    [Theory, MemberData(nameof(BaseTypes))]
    public void An_attached_adapter_gives_what_merged_weights_give(ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make(type);
        using var merged = TinyNet.Make(ScalarType.Float64);
        var x = Formula.Noise("x", [2, 4, 6, 6], 1).to(type);
        var before = net.call(x);
        using var set = MakeTrained(net);
        set.Strength = 0.75;
        foreach (var layer in set.Layers)
        {
            using var quiet = no_grad();
            var weight = merged.get_parameter(layer.Path + ".weight")!;
            weight.AddInPlace(layer.Delta().to(ScalarType.Float64).MultiplyInPlace(0.75));
        }
        var expected = merged.call(x.to(ScalarType.Float64));
        var tolerance = type switch { ScalarType.BFloat16 => 0.03, ScalarType.Float16 => 4e-3, ScalarType.Float32 => 2e-6, _ => 1e-6 };
        var actual = net.call(x);
        Assert.Equal(type, actual.dtype);
        TensorAssert.Close(expected, actual, tolerance, tolerance);
        Assert.True((actual - before).abs().max().to(ScalarType.Float32).item<float>() > 0.1, "the adapter under test changes nothing");
    }

    [Theory, MemberData(nameof(BaseTypes))]
    public void Strength_zero_and_a_detached_adapter_give_the_base_bit_for_bit(ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make(type);
        var x = Formula.Noise("x", [2, 4, 6, 6], 1).to(type);
        var before = net.call(x);
        using var set = MakeTrained(net);
        var during = net.call(x);
        set.Strength = 0;
        TensorAssert.Equal(before, net.call(x));
        set.Strength = 1;
        set.Detach();
        Assert.False(set.Attached);
        TensorAssert.Equal(before, net.call(x));
        set.Attach();
        set.Attach();
        TensorAssert.Equal(during, net.call(x));
        set.Dispose();
        TensorAssert.Equal(before, net.call(x));
    }

    [Fact]
    public void Deltas_of_several_adapters_on_one_model_add_up()
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make();
        var x = Formula.Noise("x", [2, 4, 6, 6], 1);
        var before = net.call(x);
        var options = new AdapterOptions { Rank = 2, Targets = ["last"] };
        using var a = MakeTrained(net, options, 1);
        var onlyA = net.call(x);
        using var b = MakeTrained(net, options, 2);
        var both = net.call(x);
        a.Detach();
        var onlyB = net.call(x);
        TensorAssert.Close(onlyA.Plus(onlyB) - before, both, 1e-5, 1e-5);
        b.Detach();
        TensorAssert.Equal(before, net.call(x));
    }

    [Fact]
    public void Gradients_are_those_of_the_plain_sum_and_land_in_the_flat_tensor()
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make();
        var x = Formula.Noise("x", [2, 4, 6, 6], 1);
        using var set = MakeTrained(net);
        net.call(x).Squared().sum().backward();

        var copies = set.NamedParameters().ToDictionary(item => item.Name, item => item.Parameter.detach().clone().requires_grad_());
        Tensor Branch(string path, Func<Tensor, Tensor, Tensor> down, Func<Tensor, Tensor, Tensor> up, Tensor input, double scale) =>
            Plain((nn.Module<Tensor, Tensor>)net.named_children().Single(child => child.name == path).module, input)
                .Plus(up(down(input, copies[$"net.{path}.down"]), copies[$"net.{path}.up"]).Times(scale));
        Tensor Plain(nn.Module<Tensor, Tensor> module, Tensor input)
        {
            set.Strength = 0;
            return module.call(input);
        }
        var y = Branch("wide", (v, w) => nn.functional.conv2d(v, w, null, [2, 2], [1, 1]), (v, w) => nn.functional.conv2d(v, w), x, 0.75);
        y = Branch("narrow", (v, w) => nn.functional.conv2d(v, w), (v, w) => nn.functional.conv2d(v, w), y, 0.5);
        y = nn.functional.silu(y).permute(0, 2, 3, 1).reshape(-1, 8);
        y = Branch("first", (v, w) => v.mm(w.t()), (v, w) => v.mm(w.t()), y, 0.5);
        y = Branch("last", (v, w) => v.mm(w.t()), (v, w) => v.mm(w.t()), y, 0.5);
        y.Squared().sum().backward();

        var expected = cat(copies.Values.Select(copy => copy.grad!.flatten()).ToArray());
        TensorAssert.Close(expected, set.FlatGradients, 1e-4, 1e-4);
        Assert.Equal(expected.numel(), set.FlatParameters.numel());
    }

    [Fact]
    public void Backward_adds_to_the_flat_gradients_in_place_and_steps_on_the_flat_parameters_reach_the_layers()
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make();
        var x = Formula.Noise("x", [2, 4, 6, 6], 1);
        using var set = MakeTrained(net);
        net.call(x).sum().backward();
        var once = set.FlatGradients.clone();
        Assert.True(once.abs().sum().item<float>() > 0);
        net.call(x).sum().backward();
        TensorAssert.Equal(once.Times(2), set.FlatGradients);
        set.FlatGradients.zero_();
        net.call(x).sum().backward();
        TensorAssert.Equal(once, set.FlatGradients);

        var offset = 0L;
        foreach (var (name, parameter) in set.NamedParameters())
        {
            TensorAssert.Equal(set.FlatGradients.narrow(0, offset, parameter.numel()), parameter.grad!.flatten(), name);
            offset += parameter.numel();
        }
        var before = net.call(x);
        set.FlatParameters.MultiplyInPlace(0.5);
        offset = 0;
        foreach (var (name, parameter) in set.NamedParameters())
        {
            TensorAssert.Equal(set.FlatParameters.narrow(0, offset, parameter.numel()), parameter.flatten(), name);
            offset += parameter.numel();
        }
        Assert.NotEqual(before.sum().item<float>(), net.call(x).sum().item<float>());
        net.call(x).sum().backward();   // the graph is not spoilt by the step between
    }

    [Fact]
    public void Parameters_have_stable_names_in_module_order_down_then_up()
    {
        using var net = TinyNet.Make();
        using var set = Make(net);
        Assert.Equal(
            ["net.wide.down", "net.wide.up", "net.narrow.down", "net.narrow.up", "net.first.down", "net.first.up", "net.last.down", "net.last.up"],
            set.NamedParameters().Select(item => item.Name));
        Assert.Equal([[2, 4, 3, 3], [6, 2, 1, 1], [3, 6, 1, 1], [8, 3, 1, 1], [3, 8], [7, 3], [3, 7], [5, 3]], set.NamedParameters().Select(item => item.Parameter.shape));
        Assert.All(set.NamedParameters(), item => Assert.True(item.Parameter.requires_grad && item.Parameter.is_leaf));
        Assert.Equal([0.75, 0.5, 0.5, 0.5], set.Layers.Select(layer => layer.Scale));
    }

    [Fact]
    public void Down_starts_uniform_by_its_fan_in_and_up_at_zero_the_same_for_the_same_seed()
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make();
        var options = new AdapterOptions { Rank = 64, Targets = ["all"] };
        using var set = Make(net, options);
        using var again = Make(net, options);
        using var other = Make(net, options, 2);
        TensorAssert.Equal(set.FlatParameters, again.FlatParameters);
        Assert.True((set.FlatParameters - other.FlatParameters).abs().max().item<float>() > 0);
        foreach (var layer in set.Layers)
        {
            var bound = 1 / Math.Sqrt(layer.Factors["down"].numel() / 64.0);
            Assert.Equal(0f, layer.Factors["up"].abs().max().item<float>());
            Assert.InRange(layer.Factors["down"].abs().max().item<float>(), 0.95 * bound, bound);
            Assert.InRange(layer.Factors["down"].std().item<float>(), 0.9 * bound / Math.Sqrt(3), 1.1 * bound / Math.Sqrt(3));
        }
    }

    [Fact]
    public void Dropout_zeroes_inputs_of_down_only_while_its_stream_is_set_and_keeps_the_mean()
    {
        using var scope = NewDisposeScope();
        using var net = nn.Sequential(("layer", nn.Linear(4, 4)));
        Formula.Fill(net, 1);
        var x = ones(4000, 4);
        using var set = MakeTrained(net, new AdapterOptions { Rank = 4, Targets = ["layer"], Dropout = 0.25 });
        set.Strength = 0;
        var plain = net.call(x);
        set.Strength = 1;
        var without = net.call(x);
        using var masks = new Generator(7);
        set.DropoutStream = masks;
        var with = net.call(x);
        using (var same = new Generator(7))
        {
            set.DropoutStream = same;
            TensorAssert.Equal(with, net.call(x), "the same stream");
        }
        set.DropoutStream = null;
        TensorAssert.Equal(without, net.call(x), "stream cleared");
        // each input is kept with probability 3/4 and grows by 4/3: the mean of many rows is the undropped branch
        TensorAssert.Close((without - plain).mean([0]), (with - plain).mean([0]), 0, 0.03);
        Assert.True((with - without).abs().max().item<float>() > 0.05);
    }

    [Fact]
    public void Steps_with_a_hooked_model_leave_no_tensor_behind()
    {
        using var net = TinyNet.Make(ScalarType.BFloat16);
        using var set = MakeTrained(net);
        LeakGuard.AssertNothingLeft(() =>
        {
            using var scope = NewDisposeScope();
            var x = Formula.Noise("x", [2, 4, 6, 6], 1).to(ScalarType.BFloat16);
            net.call(x).to(ScalarType.Float32).Squared().mean().backward();
            set.FlatGradients.zero_();
        });
        LeakGuard.AssertNothingLeft(() =>
        {
            using var other = Make(net);
        });
    }

    [Fact]
    public void A_gradient_flows_through_to_the_input()
    {
        using var scope = NewDisposeScope();
        using var net = TinyNet.Make();
        var x = Formula.Noise("x", [1, 4, 6, 6], 1).requires_grad_();
        using var set = MakeTrained(net);
        net.call(x).Squared().sum().backward();
        var analytic = x.grad!.clone();
        var step = Formula.Noise("d", [1, 4, 6, 6], 2);
        using var quiet = no_grad();
        double Loss(double t) => net.call(x.Plus(step.Times(t))).to(ScalarType.Float64).Squared().sum().item<double>();
        var numeric = (Loss(1e-3) - Loss(-1e-3)) / 2e-3;
        Assert.Equal(1.0, (analytic * step).sum().item<float>() / numeric, 1e-3);
    }
}
