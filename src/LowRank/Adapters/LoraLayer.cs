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
        var x = input.to(wide);
        if (dropout > 0 && numbers is not null) x = x.mul(Mask(x, numbers(this, x.shape)));
        var (down, up) = (Down.to(wide), Up.to(wide));
        var sum = shape.IsConvolution ? AddConvolution(x, output.to(wide), down, up, factor) : AddLinear(x, output, down, up, factor);
        return sum.to(output.dtype).MoveToOuterDisposeScope();
    }

    /// <summary>One product into the output instead of product, scaling and sum: y is read and written once. Works in the type of <paramref name="x"/>.</summary>
    private static Tensor AddLinear(Tensor x, Tensor y, Tensor down, Tensor up, float factor)
    {
        var hidden = x.reshape(-1, x.shape[^1]).mm(down.t());        // (N, r)
        var rows = y.reshape(-1, y.shape[^1]);                       // (N, out)
        var wide = up.t().contiguous();                              // (r, out): for the products of backward long rows are three times as fast as short ones
        // a cast makes a tensor of our own, which may change in place; the base's own output may not
        var sum = y.dtype == x.dtype ? rows.addmm(hidden, wide, 1f, factor) : rows.to(x.dtype).addmm_(hidden, wide, 1f, factor);
        return sum.view(y.shape);
    }

    /// <summary>The same for a convolution. (One product as above would need a batched addmm, which TorchSharp 0.107 calls with its arguments in the wrong order.)</summary>
    private Tensor AddConvolution(Tensor x, Tensor y, Tensor down, Tensor up, float factor)
    {
        var hidden = functional.conv2d(x, down, null, shape.Stride, shape.Padding, shape.Dilation);   // (B, r, H', W')
        return y.add(functional.conv2d(hidden, up), factor);                                           // (B, out, H', W')
    }

    /// <summary>0 for dropped elements, 1 / (1 - p) for the others. Drawn on the CPU: the same on every device.</summary>
    private Tensor Mask(Tensor like, Tensor numbers) => numbers.ge(dropout).to(like.dtype).div_(1 - dropout).to(like.device);
}
