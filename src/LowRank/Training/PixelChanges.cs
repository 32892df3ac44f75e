using LowRank.Data;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>Changes of pictures that an autoencoder must bring back all the same. Each picture draws for itself, in this order: channels, gamma, shift.</summary>
/// <param name="options">Valid.</param>
/// <param name="draws">Draws; training takes the stream <c>pixels</c>. What is off draws nothing.</param>
internal sealed class PixelChanges(AutoencoderOptions options, IDraws draws)
{
    /// <summary>A changed copy.</summary>
    /// <param name="pixels">(B, 3, H, W) float32 in [-1, 1].</param>
    /// <returns>The same, the caller's.</returns>
    public Tensor Apply(Tensor pixels)
    {
        using var scope = NewDisposeScope();
        return stack([.. Enumerable.Range(0, (int)pixels.size(0)).Select(item => Change(pixels[item]))]).MoveToOuterDisposeScope();
    }

    /// <param name="picture">(3, H, W).</param>
    private Tensor Change(Tensor picture)
    {
        if (options.PermuteChannels > 0 && draws.Uniform() < options.PermuteChannels) picture = picture[tensor(Array.ConvertAll(draws.Permutation(3), channel => (long)channel))];
        if (options.Gamma > 0 && draws.Uniform() < options.Gamma) picture = picture.Plus(1).Over(2).Within(0, 1).Power(options.GammaMin + draws.Uniform() * (options.GammaMax - options.GammaMin)).Times(2).Minus(1);
        if (options.Roll == 0) return picture;
        long Shift() => draws.Choice(2 * options.Roll + 1) - options.Roll;
        return roll(picture, [Shift(), Shift()], [1, 2]);
    }
}
