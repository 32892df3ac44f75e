using LowRank.Models.Layers;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace LowRank.Models;

/// <summary>
/// What stands behind a text encoder while it learns by itself to tell the picture from the caption, and is thrown away afterwards: the mean over all tokens but
/// the first, which has seen nothing of the text, a norm, and two linear layers.
/// </summary>
internal sealed class BlurredPictureHead : Module<Tensor, Tensor>
{
    private const int Widening = 4;
    private const double Epsilon = 1e-5;

    private readonly Module<Tensor, Tensor> norm;
    private readonly Module<Tensor, Tensor> hidden;
    private readonly Module<Tensor, Tensor> output;

    /// <param name="states">Size of a token's state.</param>
    /// <param name="numbers">Numbers of a blurred picture.</param>
    /// <param name="layers">Where and in which dtype.</param>
    public BlurredPictureHead(long states, long numbers, LayerFactory layers) : base(nameof(BlurredPictureHead))
    {
        norm = layers.LayerNorm(states, Epsilon);
        hidden = layers.Linear(states, Widening * states);
        output = layers.Linear(Widening * states, numbers);
        RegisterComponents();
    }

    /// <param name="input">Last states of a text encoder (B, T, C), T at least 2.</param>
    /// <returns>(B, N), which the caller owns.</returns>
    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        var text = input[.., 1..].mean([1]);   // (B, C)
        return output.call(functional.gelu(hidden.call(norm.call(text)))).MoveToOuterDisposeScope();
    }
}
