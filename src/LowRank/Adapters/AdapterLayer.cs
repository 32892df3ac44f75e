using LowRank.Foundation;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace LowRank.Adapters;

/// <summary>
/// The adapter's part for one linear layer or convolution (of some kinds that files hold, one norm).
/// Its tensors are views into the flat tensors of the <see cref="AdapterSet"/> that owns it.
/// </summary>
public abstract class AdapterLayer
{
    private protected AdapterLayer(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors)
    {
        Target = target;
        Shape = target.Shape;
        Factors = factors;
    }

    /// <summary>The component the layer lies in: unet, text_encoder, …</summary>
    public string Component => Target.Component;

    /// <summary>The path of the adapted module inside its component.</summary>
    public string Path => Target.Path;

    /// <summary>The adapted module; owned by its model.</summary>
    public nn.Module Module => Target.Module;

    /// <summary>How its change is made of factors; null for a kind that is read, used and merged but not trained.</summary>
    public AdapterKind? Kind => Target.Kind.Kind;

    /// <summary>The same in words: LoRA, DoRA, LoHa, LoKr, full weight difference, trained norms, (IA)³, OFT, BOFT, GLoRA, LoRA with biases.</summary>
    public string KindName => Target.Kind.Name;

    /// <summary>Inner size r of the factors; 1 where the kind has none.</summary>
    public int Rank => Target.Rank;

    /// <summary>Stored numerator of the scale alpha / rank; of OFT and BOFT the limit of their turn. Of a rank-stabilised layer it is √rank times the alpha that was asked for.</summary>
    public double Alpha => Target.Alpha;

    /// <summary>
    /// The trainable tensors by name, float32. LoRA: <c>down</c> (r, in) or (r, in, kh, kw), <c>up</c> (out, r) or (out, r, 1, 1);
    /// DoRA: <c>magnitude</c> (out, 1) or (out, 1, 1, 1) beside them; LoHa: <c>w1_a</c>, <c>w1_b</c>, <c>w2_a</c>, <c>w2_b</c>; LoKr: <c>w1</c> and <c>w2</c>, or their <c>_a</c> and <c>_b</c>.
    /// Those of kinds that are only read are not trained: full differences <c>diff</c>, <c>diff_b</c>; (IA)³ <c>scales</c>; OFT and BOFT <c>oft_blocks</c>, <c>rescale</c>; GLoRA <c>a1</c>, <c>a2</c>, <c>b1</c>, <c>b2</c>; LoRA with biases also <c>bias</c> (out).
    /// </summary>
    public IReadOnlyDictionary<string, Tensor> Factors { get; }

    /// <summary>
    /// ΔW, what merging would add to the weight at strength 1: (out, in) or (out, in, kh, kw), float32, on the layer's device. The caller owns it.
    /// That of some kinds (DoRA among them) depends on the base's weight.
    /// </summary>
    public Tensor Delta() => DeltaOn(LayerShape.WeightOf(Module), 1);

    /// <summary>
    /// ΔW for a weight and a strength: what attaching and merging add, W' = W + ΔW. At strength 0 zeros: exactly the base. Not every kind is linear in the strength.
    /// </summary>
    /// <param name="weight">W as the base has it: (out, in) or (out, in, kh, kw), any float type, on the layer's device; read only by kinds whose change depends on it.</param>
    /// <param name="strength">1 as trained; any number.</param>
    /// <returns>As <paramref name="weight"/>, float32, fresh. The caller owns it.</returns>
    internal Tensor DeltaOn(Tensor weight, double strength)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var delta = strength == 0 ? zeros(Shape.Weight, ScalarType.Float32, Factors.Values.First().device) : WeightDelta(weight.detach(), strength).view(Shape.Weight);
        return delta.MoveToOuterDisposeScope();
    }

    /// <summary>Adds ΔW for a strength to a weight in place, in float32.</summary>
    /// <param name="weight">(out, in) or (out, in, kh, kw), float32 or float64, of any strides; kinds that depend on it see what it was.</param>
    /// <param name="strength">Any number.</param>
    /// <returns>‖ΔW‖ (Frobenius).</returns>
    internal double AddTo(Tensor weight, double strength)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        if (strength == 0) return 0;
        if (AddProductTo(weight, strength)) return Target.Kind.Norm(Factors, Scale * strength).item<double>();
        var delta = DeltaOn(weight.contiguous(), strength);
        weight.AddInPlace(delta);
        return delta.norm().item<float>();
    }

    /// <summary>The same of a kind that is a product, without forming it as a whole; false for one that is none.</summary>
    private protected virtual bool AddProductTo(Tensor weight, double strength) => false;

    /// <summary>Δb for a strength, what attaching and merging add to the bias: (out) float32, fresh; null where the bias stays. The caller owns it.</summary>
    internal Tensor? BiasDelta(double strength)
    {
        using var quiet = no_grad();
        return Bias?.Times(strength);
    }

    /// <summary>Whether <see cref="DeltaOn"/> is anything but zeros: not of a module that changes the bias alone.</summary>
    internal virtual bool ChangesWeight => true;

    /// <summary>Δb at strength 1, a factor; null for none.</summary>
    private protected virtual Tensor? Bias => null;

    /// <summary>alpha / rank.</summary>
    internal virtual double Scale => Alpha / Rank;

    internal AdapterTarget Target { get; }

    /// <summary>Multiplies the set's strength for this layer; 1 unless parts or blocks have their own.</summary>
    internal double StrengthFactor { get; set; } = 1;

    /// <summary>Whether it ran in training with dropout since somebody set this to false.</summary>
    internal bool TookPart { get; set; }

    /// <summary>The factors in their order, named <c>component.path.factor</c>.</summary>
    internal IEnumerable<(string Name, Tensor Parameter)> Named() => Target.Factors.Select(factor => ($"{Component}.{Path}.{factor.Name}", Factors[factor.Name]));

    private protected LayerShape Shape { get; }

    /// <summary>The factors whose product is the change, for rules that scale it: all but lengths.</summary>
    internal virtual IReadOnlyCollection<Tensor> Product => [.. Factors.Values];

    /// <summary>Tensors beside the factors that end with the set.</summary>
    internal virtual IEnumerable<Tensor> Fixed => [];

    /// <summary>Puts the layer on its module.</summary>
    /// <param name="set">Whose strength and dropout count when the module runs.</param>
    /// <returns>Takes it off again.</returns>
    internal Action Attach(AdapterSet set)
    {
        var module = (nn.Module<Tensor, Tensor>)Module;
        var hook = module.register_forward_hook((_, input, output) =>
        {
            var strength = set.Strength * StrengthFactor;
            if (strength == 0) return output;
            var dropout = set.DropoutOf(this);
            if (dropout?.SkipsModule() == true) return output;
            TookPart |= dropout is not null;   // pictures drawn between the steps leave no gradient
            return Add(input, output, strength, dropout);
        });
        return hook.remove;
    }

    /// <summary>
    /// output + strength · change. The branch runs in float32 from the input cast up, whatever the base's type;
    /// it is added in float32 to the base's output and rounded once.
    /// </summary>
    /// <param name="input">(…, in) or (B, in, H, W), any float type.</param>
    /// <param name="output">(…, out) or (B, out, H', W'): what the base made of it.</param>
    /// <param name="strength">Not 0.</param>
    /// <param name="dropout">Null for none.</param>
    /// <returns>As <paramref name="output"/>, fresh.</returns>
    private Tensor Add(Tensor input, Tensor output, double strength, LayerDropout? dropout)
    {
        using var scope = NewDisposeScope();
        var wide = output.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var x = dropout is null ? input : dropout.Input(input.to(wide));
        Tensor sum;
        if (dropout?.OnOutput == true)
        {
            var y = output.to(wide);
            sum = y.Plus(dropout.Output(Branch(x, y, strength, dropout)));
        }
        else sum = AddTo(output, x, wide, strength, dropout);
        return sum.to(output.dtype).MoveToOuterDisposeScope();
    }

    /// <summary>ΔW without a gradient, float32, of as many elements as the weight.</summary>
    /// <param name="weight">W in the base's type.</param>
    /// <param name="strength">Not 0.</param>
    private protected abstract Tensor WeightDelta(Tensor weight, double strength);

    /// <summary>What is added to the output.</summary>
    /// <param name="x">The module's input in float32 (float64 on a float64 base).</param>
    /// <param name="y">Its output in the same type.</param>
    /// <param name="strength">Factor of all of it.</param>
    /// <param name="dropout">For places inside; null for none.</param>
    private protected abstract Tensor Branch(Tensor x, Tensor y, double strength, LayerDropout? dropout);

    /// <summary>y + branch, computed in the wide type and given in it or in that of y; a kind that can make both in one product does.</summary>
    private protected virtual Tensor AddTo(Tensor y, Tensor x, ScalarType wide, double strength, LayerDropout? dropout)
    {
        y = y.to(wide);
        return y.Plus(Branch(x.to(wide), y, strength, dropout));
    }

    /// <summary>The module's own product with another weight, without bias.</summary>
    private protected Tensor Apply(Tensor x, Tensor weight) => Module switch
    {
        TorchSharp.Modules.GroupNorm norm => functional.group_norm(x, norm.num_groups, weight, null, norm.eps),
        TorchSharp.Modules.LayerNorm norm => functional.layer_norm(x, norm.normalized_shape, weight, null, norm.eps),
        _ when Shape.IsConvolution => functional.conv2d(x, weight.view(Shape.Weight), null, Shape.Stride, Shape.Padding, Shape.Dilation),
        _ => functional.linear(x, weight.view(Shape.Weight)),
    };
}
