using LowRank.Foundation;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace LowRank.Models.Layers;

/// <summary>
/// Two linear layers on a sinusoid: (B, in) to (B, out), SiLU between.
/// huggingface/diffusers, src/diffusers/models/embeddings.py, <c>TimestepEmbedding</c>.
/// </summary>
internal sealed class TimestepEmbedding : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> linear_1;
    private readonly Module<Tensor, Tensor> linear_2;

    public TimestepEmbedding(int inputs, int outputs, LayerFactory layers) : base(nameof(TimestepEmbedding))
    {
        linear_1 = layers.Linear(inputs, outputs);
        linear_2 = layers.Linear(outputs, outputs);
        RegisterComponents();
    }

    public override Tensor forward(Tensor sinusoid)
    {
        using var scope = NewDisposeScope();
        return linear_2.call(functional.silu(linear_1.call(sinusoid))).MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Cosines and sines of each number at frequencies exp(-ln 10000 · i / (half - shift)), i = 0…half-1 (Vaswani et al. 2017, §3.5;
    /// half and shift as in huggingface/diffusers, embeddings.py, <c>get_timestep_embedding</c>). Always float32: bfloat16 would round 981 to 980.
    /// </summary>
    /// <param name="numbers">(N), any dtype, may be fractional.</param>
    /// <param name="size">Even; half = size / 2.</param>
    /// <param name="cosinesFirst">False puts the sines first.</param>
    /// <param name="shift">Less than half.</param>
    /// <returns>(N, size) float32.</returns>
    public static Tensor Sinusoid(Tensor numbers, int size, bool cosinesFirst, double shift)
    {
        using var scope = NewDisposeScope();
        var half = size / 2;
        var frequencies = TensorArithmetic.Counting(half, ScalarType.Float32, numbers.device).Times(-Math.Log(10000)).Over(half - shift).exp();
        var angles = numbers.to_type(ScalarType.Float32).unsqueeze(1) * frequencies;   // (N, half)
        var (cosines, sines) = (angles.cos(), angles.sin());
        return cat(cosinesFirst ? [cosines, sines] : [sines, cosines], 1).MoveToOuterDisposeScope();
    }
}
