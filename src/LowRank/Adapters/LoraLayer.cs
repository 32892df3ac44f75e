using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace LowRank.Adapters;

/// <summary>
/// The adapter's part for one linear layer or convolution: W' = W + scale · up · down (LoRA, arXiv:2106.09685, section 4.1).
/// Its tensors are views into the flat tensors of the <see cref="AdapterSet"/> that owns it.
/// </summary>
public sealed class LoraLayer
{
    private readonly LayerShape shape;
    private readonly double dropout;

    internal LoraLayer(AdapterTarget target, Tensor down, Tensor up, double dropout)
    {
        (Component, Path, Module, Rank, Alpha) = target;
        shape = target.Shape;
        Down = down;
        Up = up;
        this.dropout = dropout;
    }

    /// <summary>The component the layer lies in: unet, text_encoder, …</summary>
    public string Component { get; }

    /// <summary>The path of the adapted module inside its component.</summary>
    public string Path { get; }

    /// <summary>The adapted module; owned by its model.</summary>
    public nn.Module Module { get; }

    /// <summary>Inner size r of up·down.</summary>
    public int Rank { get; }

    /// <summary>Stored numerator of the scale.</summary>
    public double Alpha { get; }

    /// <summary>alpha / rank.</summary>
    internal double Scale => Alpha / Rank;

    /// <summary>A: (r, in), or (r, in, kh, kw) for a convolution; float32.</summary>
    public Tensor Down { get; }

    /// <summary>B: (out, r), or (out, r, 1, 1) for a convolution; float32.</summary>
    public Tensor Up { get; }

    /// <summary>ΔW = scale · up · down: (out, in) or (out, in, kh, kw), float32, on the layer's device. The caller owns it.</summary>
    public Tensor Delta()
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var product = Up.flatten(1).mm(Down.flatten(1));   // (out, in·kh·kw)
        return product.mul_(Scale).view(shape.Weight).MoveToOuterDisposeScope();
    }

    /// <summary>Puts the layer on its module.</summary>
    /// <param name="set">Whose strength and dropout count when the module runs.</param>
    /// <returns>Takes it off again.</returns>
    internal Action Attach(AdapterSet set)
    {
        var module = (nn.Module<Tensor, Tensor>)Module;
        var hook = module.register_forward_hook((_, input, output) => set.Strength == 0 ? output : Add(input, output, (float)(Scale * set.Strength), set.DropoutNumbers));
        return hook.remove;
    }

    /// <summary>
    /// output + factor · up(down(input)). The branch runs in float32 from the input cast up, whatever the base's type;
    /// it is added in float32 to the base's output and rounded once.
    /// </summary>
    /// <param name="input">(…, in) or (B, in, H, W), any float type.</param>
    /// <param name="output">(…, out) or (B, out, H', W'): what the base made of it.</param>
    /// <param name="factor">Scale times strength.</param>
    /// <param name="numbers">What dropout compares with its share; null for no dropout.</param>
    /// <returns>As <paramref name="output"/>, fresh.</returns>
    private Tensor Add(Tensor input, Tensor output, float factor, Func<LoraLayer, long[], Tensor>? numbers)
    {
        using var scope = NewDisposeScope();
        var wide = output.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var x = dropout > 0 && numbers is not null ? input.to(wide).mul(Mask(input.to(wide), numbers(this, input.shape))) : input;
        if (!shape.IsConvolution) return AddLinear(x, output, wide, factor).MoveToOuterDisposeScope();
        return AddConvolution(x.to(wide), output.to(wide), Down.to(wide), Up.to(wide), factor).to(output.dtype).MoveToOuterDisposeScope();
    }

    /// <summary>One product into the output instead of product, scaling and sum: y is read and written once.</summary>
    private Tensor AddLinear(Tensor x, Tensor y, ScalarType wide, float factor)
    {
        var (inputs, outputs) = (x.reshape(-1, x.shape[^1]), y.reshape(-1, y.shape[^1]));   // (N, in), (N, out)
        if (y.dtype != wide) return RoundedSum.apply(inputs, outputs, Down, Up, factor, x.requires_grad).view(y.shape);
        var (down, up) = (Down.to(wide), Up.to(wide));
        var hidden = inputs.to(wide).mm(down.t());   // (N, r)
        var rows = up.t().contiguous();              // (r, out): for the products of backward long rows are three times as fast as short ones
        return outputs.addmm(hidden, rows, 1f, factor).view(y.shape);
    }

    /// <summary>Product, scaling and sum in the type of <paramref name="x"/>. (One product as above would need a batched addmm, which TorchSharp 0.107 calls with its arguments in the wrong order.)</summary>
    private Tensor AddConvolution(Tensor x, Tensor y, Tensor down, Tensor up, float factor)
    {
        var hidden = functional.conv2d(x, down, null, shape.Stride, shape.Padding, shape.Dilation);   // (B, r, H', W')
        return y.add(functional.conv2d(hidden, up), factor);                                           // (B, out, H', W')
    }

    /// <summary>0 for dropped elements, 1 / (1 - p) for the others. Drawn on the CPU: the same on every device.</summary>
    private Tensor Mask(Tensor like, Tensor numbers) => numbers.ge(dropout).to(like.dtype).div_(1 - dropout).to(like.device);
}
