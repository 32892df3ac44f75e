using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// AdamW with both moments in 8 bits (Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization"): a quarter of the memory.
/// A step uses the fresh moments in float32 and rounds them afterwards. Parameters of fewer than 4096 numbers keep float32 moments, which is
/// most of a small adapter: this is for large ranks and full fine-tuning. Owns its state.
/// </summary>
internal sealed class AdamW8bit : IOptimizer
{
    /// <summary>Parameters below this many numbers keep moments in float32.</summary>
    public const long SmallestQuantized = 4096;

    private readonly double beta1, beta2, epsilon;
    private readonly BlockQuantizer signed, unsigned;
    private readonly Moments first, second;
    private readonly long[] steps;

    /// <summary>Begins with moments of zero.</summary>
    public AdamW8bit(TrainedParameters parameters, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8)
    {
        (Parameters, this.beta1, this.beta2, this.epsilon) = (parameters, beta1, beta2, epsilon);
        var device = parameters.Values.device;
        (signed, unsigned) = (new BlockQuantizer(signed: true, device), new BlockQuantizer(signed: false, device));
        (first, second) = (new Moments(parameters, signed), new Moments(parameters, unsigned));
        steps = new long[parameters.Segments.Count];
    }

    /// <inheritdoc/>
    public TrainedParameters Parameters { get; }

    /// <inheritdoc/>
    public void Step(double rateMultiplier, IReadOnlySet<int>? absent = null)
    {
        using var quiet = no_grad();
        for (var index = 0; index < steps.Length; index++)
        {
            if (absent?.Contains(index) != true) Move(index, ++steps[index], rateMultiplier);
        }
    }

    private void Move(int index, long step, double rateMultiplier)
    {
        using var scope = NewDisposeScope();
        var segment = Parameters.Segments[index];
        var group = Parameters.Groups[segment.Group];
        var rate = group.LearningRate * rateMultiplier;
        var values = Parameters.Values.narrow(0, segment.Start, segment.Length);
        var gradients = Parameters.Gradients.narrow(0, segment.Start, segment.Length);
        var mean = first.Read(index).MultiplyInPlace(beta1).AddInPlace(gradients, 1 - beta1);
        var squares = second.Read(index).MultiplyInPlace(beta2).AddProductInPlace(gradients, gradients, 1 - beta2);
        var root = squares.sqrt().DivideInPlace(Math.Sqrt(1 - Math.Pow(beta2, step))).AddInPlace(epsilon);
        values.MultiplyInPlace(1 - rate * group.WeightDecay).AddQuotientInPlace(mean, root, -rate / (1 - Math.Pow(beta1, step)));
        first.Write(index, mean);
        second.Write(index, squares);
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Tensor> Save() =>
        first.Named("first_moment").Concat(second.Named("second_moment")).ToDictionary(item => item.Name, item => item.Tensor.cpu().clone())
            .Append(new("steps", tensor(steps))).ToDictionary();

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, Tensor> state)
    {
        List<(string Name, Tensor Tensor)> own = [.. first.Named("first_moment"), .. second.Named("second_moment")];
        OptimizerState.Require(state, [.. own.Select(item => (item.Name, item.Tensor.numel())), ("steps", steps.Length)]);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        foreach (var (name, tensor) in own) tensor.copy_(state[name]);
        state["steps"].data<long>().ToArray().CopyTo(steps, 0);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        first.Dispose();
        second.Dispose();
        signed.Dispose();
        unsigned.Dispose();
    }

    /// <summary>One moment of all parameters: codes of the large ones, float32 of the small ones, each packed without gaps.</summary>
    private sealed class Moments : IDisposable
    {
        private readonly BlockQuantizer quantizer;
        private readonly Tensor codes, largest, small;
        private readonly (bool Large, long Start, long Block, long Length)[] places;

        public Moments(TrainedParameters parameters, BlockQuantizer quantizer)
        {
            this.quantizer = quantizer;
            var (large, blocks, rest) = (0L, 0L, 0L);
            places = new (bool, long, long, long)[parameters.Segments.Count];
            for (var index = 0; index < places.Length; index++)
            {
                var length = parameters.Segments[index].Length;
                var quantized = length >= SmallestQuantized;
                places[index] = (quantized, quantized ? large : rest, blocks, length);
                if (quantized) (large, blocks) = (large + length, blocks + (length + BlockQuantizer.Block - 1) / BlockQuantizer.Block);
                else rest += length;
            }
            using var scope = NewDisposeScope();
            var device = parameters.Values.device;
            codes = zeros([large], ScalarType.Byte, device).DetachFromDisposeScope();
            largest = zeros([blocks], ScalarType.Float32, device).DetachFromDisposeScope();   // 0 times any code is 0
            small = zeros([rest], ScalarType.Float32, device).DetachFromDisposeScope();
        }

        /// <summary>In float32: a fresh tensor, or a view of what is kept.</summary>
        public Tensor Read(int index)
        {
            var (large, start, block, length) = places[index];
            return large ? quantizer.Dequantize(codes.narrow(0, start, length), largest.narrow(0, block, Blocks(length))) : small.narrow(0, start, length);
        }

        public void Write(int index, Tensor values)
        {
            var (large, start, block, length) = places[index];
            if (large) quantizer.Quantize(values, codes.narrow(0, start, length), largest.narrow(0, block, Blocks(length)));
        }

        public IEnumerable<(string Name, Tensor Tensor)> Named(string name) => [(name + ".codes", codes), (name + ".largest", largest), (name, small)];

        public void Dispose()
        {
            codes.Dispose();
            largest.Dispose();
            small.Dispose();
        }

        private static long Blocks(long length) => (length + BlockQuantizer.Block - 1) / BlockQuantizer.Block;
    }
}
