using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Training;

public sealed class PixelChangesTests
{
    [Fact]
    public void Each_picture_draws_channels_gamma_and_shift_for_itself_in_this_order()
    {
        using var scope = NewDisposeScope();
        var pixels = tensor(BetaTables.Linspace(-1, 1, 2 * 3 * 2 * 3)).view(2, 3, 2, 3);
        // first picture: channels 2 0 1, no gamma, down by 1 and left by 1; second: channels stay, gamma 0.5 + 0.5 · (2 - 0.5), no shift
        var draws = new Scripted([0.1, 0.9, 2, 0, 0.5, 0.2, 0.5, 1, 1], [[2, 0, 1]]);
        var changed = new PixelChanges(new AutoencoderOptions { PermuteChannels = 0.4, Gamma = 0.3, GammaMin = 0.5, GammaMax = 2, Roll = 1 }, draws).Apply(pixels);
        var first = pixels[0];
        var expected = stack([first[2], first[0], first[1]]).roll([1, -1], [1, 2]);
        TensorAssert.Equal(expected, changed[0]);
        TensorAssert.Close(pixels[1].Plus(1).Over(2).Power(1.25).Times(2).Minus(1), changed[1], 0, 1e-6, "the second picture");
        Assert.True(draws.IsEmpty);
    }

    [Fact]
    public void What_is_off_draws_nothing_and_changes_nothing()
    {
        using var scope = NewDisposeScope();
        var pixels = rand(2, 3, 4, 4);
        TensorAssert.Equal(pixels, new PixelChanges(new AutoencoderOptions(), new Scripted([], [])).Apply(pixels));
    }

    /// <summary>Numbers in the order in which they are asked for: shares as they are, choices whole.</summary>
    private sealed class Scripted(double[] numbers, int[][] orders) : IDraws
    {
        private readonly Queue<double> numbers = new(numbers);
        private readonly Queue<int[]> orders = new(orders);

        public bool IsEmpty => numbers.Count == 0 && orders.Count == 0;

        public double Uniform() => numbers.Dequeue();

        public int Choice(int count)
        {
            Assert.InRange(numbers.Peek(), 0, count - 1);
            return (int)numbers.Dequeue();
        }

        public int[] Permutation(int count) => orders.Dequeue();
    }
}
