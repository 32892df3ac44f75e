using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Training;

/// <summary>The base as teacher: its term, its gradient, and that it leaves nothing behind.</summary>
public sealed class TeacherTests : IDisposable
{
    private const double Weight = 0.7;

    private readonly nn.Module<Tensor, Tensor> denoiser = nn.Sequential(("in", nn.Conv2d(4, 6, 3, padding: 1)), ("act", nn.SiLU()), ("mid", nn.Conv2d(6, 6, 1)), ("out", nn.Conv2d(6, 4, 3, padding: 1)));
    private readonly Generator init = new(3), dropout = new(4);

    public TeacherTests()
    {
        Formula.Fill(denoiser, seed: 1);
        foreach (var parameter in denoiser.parameters()) parameter.requires_grad_(false);
    }

    public void Dispose()
    {
        denoiser.Dispose();
        init.Dispose();
        dropout.Dispose();
    }

    /// <summary>For every kind: a fresh adapter changes nothing, and one whose factors moved is compared with the base as if it were not attached.</summary>
    [Theory]
    [InlineData(AdapterKind.Lora, AdapterInit.Kaiming)]
    [InlineData(AdapterKind.Lora, AdapterInit.Pissa)]
    [InlineData(AdapterKind.Dora, AdapterInit.Kaiming)]
    [InlineData(AdapterKind.Loha, AdapterInit.Kaiming)]
    [InlineData(AdapterKind.Lokr, AdapterInit.Kaiming)]
    public void The_teacher_is_the_base_bit_for_bit(AdapterKind kind, AdapterInit start)
    {
        using var scope = NewDisposeScope();
        using var adapter = Adapt(new AdapterOptions { Targets = ["all"], Rank = 2, Kind = kind, Init = start });
        var (x, t) = (Formula.Noise("x", [2, 4, 5, 5], 1), tensor(new[] { 3f, 700f }));
        var fresh = new Teacher(adapter, Weight).Terms(Predict, x, t, Nothing(), null);
        if (kind != AdapterKind.Dora && start == AdapterInit.Kaiming) Assert.Equal([0f, 0f], fresh.data<float>().ToArray());
        else Assert.All(fresh.data<float>().ToArray(), value => Assert.InRange(value, 0, 1e-12f));   // a length or a start is taken off again, which rounds
        Move(adapter);
        var terms = new Teacher(adapter, Weight).Terms(Predict, x, t, Nothing(), null).detach().data<float>().ToArray();
        var adapted = Predict(x, t, Nothing()).detach();
        adapter.Detach();
        var expected = (adapted - Predict(x, t, Nothing())).Squared().mean([1, 2, 3]).Times(Weight).data<float>().ToArray();
        Assert.Equal(expected, terms);
        Assert.All(terms, term => Assert.True(term > 1e-6));
    }

    /// <summary>One linear layer y = (W + up·down) x: the term's gradient is that of λ · mean (up·down·x)², and nothing comes from the teacher's side.</summary>
    [Fact]
    public void The_gradient_is_the_one_derived_by_hand()
    {
        using var scope = NewDisposeScope();
        using var conv = nn.Conv2d(4, 4, 1);
        Formula.Fill(conv, seed: 2);
        foreach (var parameter in conv.parameters()) parameter.requires_grad_(false);
        using var adapter = AdapterSet.Create(new Dictionary<string, nn.Module> { ["unet"] = nn.Sequential(("only", conv)) }, new AdapterOptions { Targets = ["all"], Rank = 2, Alpha = 2 }, init, CPU);
        Move(adapter);
        var layer = Assert.Single(adapter.Layers);
        var (down, up) = (layer.Factors["down"].detach().view(2, 4), layer.Factors["up"].detach().view(4, 2));
        var (x, t) = (Formula.Noise("x", [3, 4, 2, 2], 1), zeros(3));
        new Teacher(adapter, Weight).Terms((seen, _, _) => conv.call(seen), x, t, Nothing(), null).mean().backward();
        var columns = x.permute(1, 0, 2, 3).reshape(4, -1);   // (C, B·h·w)
        var delta = up.matmul(down).matmul(columns);
        var outer = delta.matmul(columns.t()).Times(2 * Weight / delta.numel());   // d term / d (up·down)
        TensorAssert.Close(outer.matmul(down.t()), layer.Factors["up"].grad!.view(4, 2), 1e-5, 1e-7, "up");
        TensorAssert.Close(up.t().matmul(outer), layer.Factors["down"].grad!.view(2, 4), 1e-5, 1e-7, "down");
    }

    [Fact]
    public void The_loss_is_the_usual_one_and_the_term_whatever_else_weighs_it()
    {
        using var scope = NewDisposeScope();
        using var adapter = Adapt(new AdapterOptions { Targets = ["all"], Rank = 2 });
        Move(adapter);
        var options = new LossOptions { MinSnrGamma = 1, TeacherWeight = Weight };
        var schedule = new NoiseSchedule(new NoiseScheduleOptions());
        MicroBatchLoss Score(LossOptions loss, Conditioning? other = null) => loss.Make(schedule, PredictionType.Epsilon, Predict, adapter)
            .Of(Formula.Noise("latents", [2, 4, 5, 5], 1), Nothing(), Formula.Noise("noise", [2, 4, 5, 5], 2), [10, 900], ["a", "b"], new BatchExtras { Weights = [0.1f, 3], TeacherConditioning = other });
        var (plain, taught) = (Score(options with { TeacherWeight = 0 }), Score(options));
        Assert.Null(plain.TeacherLoss);
        Assert.Equal(plain.Uses!.Select(use => use.Error), taught.Uses!.Select(use => use.Error));
        Assert.Equal(plain.Loss.item<float>() + taught.TeacherLoss!.Value, taught.Loss.item<float>(), 1e-6);
        Assert.Equal(taught.Loss.item<float>(), taught.PerItem.Average(), 1e-6);
        Assert.Equal(taught.TeacherLoss!.Value * 2, Score(options with { TeacherWeight = 2 * Weight }).TeacherLoss!.Value, 1e-6);
        // asked with other words it says other things: here the denoiser adds what it is told
        using var told = new Conditioning { Hidden = TensorArithmetic.Filled([2, 1, 1], 0.5) };
        Assert.NotEqual(taught.TeacherLoss, Score(options, told).TeacherLoss);
        using var same = Nothing();
        Assert.Equal(taught.TeacherLoss, Score(options, same).TeacherLoss);
    }

    [Fact]
    public void Dropout_strength_and_what_took_part_are_as_without_a_teacher()
    {
        using var scope = NewDisposeScope();
        using var adapter = Adapt(new AdapterOptions { Targets = ["all"], Rank = 2, Dropout = 0.5, ModuleDropout = 0.5 });
        adapter.DropoutStream = dropout;
        adapter.Strength = 0.8;
        var (x, t) = (Formula.Noise("x", [2, 4, 5, 5], 1), zeros(2));
        using var prediction = zeros(2, 4, 5, 5);
        var before = dropout.get_state().bytes.ToArray();
        new Teacher(adapter, Weight).Terms(Predict, x, t, Nothing(), prediction);
        Assert.Equal(before, dropout.get_state().bytes.ToArray());
        Assert.Equal(0.8, adapter.Strength);
        Assert.All(adapter.Layers, layer => Assert.False(layer.TookPart));
        Assert.Throws<InvalidOperationException>(() => new Teacher(adapter, Weight).Terms((_, _, _) => throw new InvalidOperationException(), x, t, Nothing(), prediction));
        Assert.Equal(0.8, adapter.Strength);
    }

    [Fact]
    public void A_term_leaves_no_tensor_behind()
    {
        using var adapter = Adapt(new AdapterOptions { Targets = ["all"], Rank = 2 });
        using var x = Formula.Noise("x", [2, 4, 5, 5], 1);
        using var t = zeros(2);
        LeakGuard.AssertNothingLeft(() =>
        {
            using var nothing = Nothing();
            new Teacher(adapter, Weight).Terms(Predict, x, t, nothing, null).Dispose();
        });
    }

    private AdapterSet Adapt(AdapterOptions options) => AdapterSet.Create(new Dictionary<string, nn.Module> { ["unet"] = denoiser }, options, init, CPU);

    private static void Move(AdapterSet adapter)
    {
        using var quiet = no_grad();
        using var by = Formula.Noise("moved", adapter.FlatParameters.shape, 9, 0.3);
        adapter.FlatParameters.AddInPlace(by);
    }

    private static Conditioning Nothing() => new() { Hidden = zeros(2, 1, 1) };

    private Tensor Predict(Tensor x, Tensor timesteps, Conditioning conditioning)
    {
        using var inner = NewDisposeScope();
        return (denoiser.call(x) * timesteps.view(-1, 1, 1, 1).Over(1000).Plus(1)).Plus(denoiser.call(x.Plus(conditioning.Hidden.view(-1, 1, 1, 1)))).MoveToOuterDisposeScope();
    }
}
