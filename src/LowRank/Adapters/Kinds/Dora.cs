using System.Globalization;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Kinds;

/// <summary>
/// DoRA of one layer (arXiv:2402.09353, equation 5): W' = m · V / ‖V‖ with V = W + scale · up · down and a length m for each output
/// (of files also: for each input).
/// </summary>
internal sealed class DoraLayer : LoraLayer
{
    // LyCORIS adds float32's epsilon to the norm
    private const double Epsilon = 1.0 / (1 << 23);

    // a row of zeros has no direction; it stays zero instead of becoming NaN
    private const double Shortest = 1e-30;

    private readonly DoraRule rule;
    private readonly bool byInput;

    public DoraLayer(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors, DoraRule rule) : base(target, factors)
    {
        this.rule = rule;
        Magnitude = factors["magnitude"];
        byInput = Magnitude.shape[0] == 1 && Shape.Outputs != 1;
    }

    /// <summary>m: (out, 1) or (out, 1, 1, 1); float32. Of some files (1, in) or (1, in, 1, 1).</summary>
    public Tensor Magnitude { get; }

    /// <summary>‖V‖ of every output now, as <see cref="Magnitude"/>.</summary>
    public Tensor Lengths() => LengthsOf(OwnWeight(ScalarType.Float32)).view(Magnitude.shape);

    /// <summary>The blend: strength 1 is the DoRA's weight, 0 the base's, and all between lies on the line.</summary>
    private protected override Tensor WeightDelta(Tensor weight, double strength)
    {
        weight = weight.to(ScalarType.Float32);
        return Direction(weight).mul_(Ratio(weight).view(Magnitude.shape)).sub_(weight).MultiplyInPlace(strength);
    }

    private protected override bool AddProductTo(Tensor weight, double strength) => false;

    /// <summary>
    /// By output, from what the base computed: with q = m / ‖V‖ the layer adds (q - 1)(y - bias) + q · scale · up(down(x)). Nothing as large as
    /// W is formed. The difference to 1 is taken first, so that a fresh layer adds exactly 0.
    /// </summary>
    private protected override Tensor Branch(Tensor x, Tensor y, double strength, LayerDropout? dropout)
    {
        var weight = OwnWeight(x.dtype);
        var ratio = Ratio(weight);
        if (byInput)
        {
            return Apply(x, Direction(weight).mul(ratio.view(Magnitude.shape)).sub(weight).Times(strength));
        }
        long[] channels = Shape.IsConvolution ? [1, -1, 1, 1] : [-1];
        var plain = LayerShape.BiasOf(Module) is { } bias ? y.sub(bias.detach().to(y.dtype).view(channels)) : y;
        var up = Up.to(x.dtype).mul(ratio.Times(Scale * strength).view([-1, .. Up.shape.Skip(1).Select(_ => 1L)]));
        return Outputs(Hidden(x, Down, dropout), up).Plus(plain.mul(ratio.Minus(1).Times(strength).view(channels)));
    }

    private protected override Tensor AddTo(Tensor y, Tensor x, ScalarType wide, double strength, LayerDropout? dropout)
    {
        y = y.to(wide);
        return y.Plus(Branch(x.to(wide), y, strength, dropout));
    }

    /// <summary>V, of the shape of W.</summary>
    private Tensor Direction(Tensor weight) => weight.Plus(Up.to(weight.dtype).flatten(1).mm(Down.to(weight.dtype).flatten(1)).view(Shape.Weight), (float)Scale);

    private Tensor OwnWeight(ScalarType type) => LayerShape.WeightOf(Module).detach().to(type);

    /// <summary>q = m / ‖V‖, one for each output (or input), in the weight's type.</summary>
    private Tensor Ratio(Tensor weight) => Magnitude.to(weight.dtype).flatten().div(rule == DoraRule.Lycoris ? LengthsOf(weight).Plus(Epsilon) : Constant(weight));

    private Tensor Constant(Tensor weight)
    {
        using var quiet = no_grad();
        return LengthsOf(weight);
    }

    /// <summary>
    /// ‖V‖² = ‖W‖² + 2·scale·⟨W, BA⟩ + scale²·‖BA‖² row by row, from W·Aᵀ and A·Aᵀ: V itself is not formed, and not kept for the backward pass.
    /// </summary>
    private Tensor LengthsOf(Tensor weight)
    {
        var type = weight.dtype;
        if (byInput) return Direction(weight).transpose(0, 1).flatten(1).norm(1).AtLeast(Shortest);
        var (w, a, b) = (weight.flatten(1), Down.to(type).flatten(1), Up.to(type).flatten(1));
        var mixed = b.mul(w.mm(a.t())).sum(1).Times(2 * Scale);
        var own = b.mm(a.mm(a.t())).mul(b).sum(1).Times(Scale * Scale);
        return w.norm(1).Squared().Plus(mixed).Plus(own).AtLeast(Shortest * Shortest).sqrt();
    }
}

/// <summary>DoRA by one of its two rules; files of PEFT and of LyCORIS.</summary>
internal sealed class DoraKind(DoraRule rule) : LayerKind
{
    public override AdapterKind? Kind => AdapterKind.Dora;

    public override string Name => "DoRA";

    public override bool DependsOnBase => true;

    public override (string, IReadOnlyDictionary<string, string>) Trainer => ("lycoris.kohya", new Dictionary<string, string> { ["algo"] = "lora", ["dora_wd"] = "True" });

    /// <summary>How this rule's library calls the lengths.</summary>
    private string Lengths => rule == DoraRule.Peft ? AdapterKey.PeftMagnitude : "dora_scale";

    public override IReadOnlyList<Factor> Factors(LayerShape shape, int rank, AdapterOptions options) => WithMagnitude(shape, rank, [shape.Outputs, .. Ones(shape)]);

    public override AdapterLayer Make(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) => new DoraLayer(target, factors, rule);

    public override void Start(AdapterLayer layer, AdapterOptions options, Generator init)
    {
        var dora = (DoraLayer)layer;
        LoraKind.StartFactors(dora, options.Init, init);
        dora.Magnitude.copy_(dora.Lengths());
    }

    public override Tensor Norm(IReadOnlyDictionary<string, Tensor> factors, double scale) =>
        NormOfProduct(factors["down"].flatten(1), factors["up"].flatten(1)).MultiplyInPlace(Math.Abs(scale));

    public override bool Owns(FileModule module) => module[Lengths] is not null;

    public override bool Knows(string parameter) => parameter is AdapterKey.Down or AdapterKey.Up or AdapterKey.Alpha or LoraKind.Mid || parameter == Lengths;

    public override string? Fault(FileModule module)
    {
        if (LoraKind.FaultOfFactors(module) is { } fault) return fault;
        var (shape, outputs) = (module[Lengths]!.Shape, module[AdapterKey.Up]!.Shape[0]);
        var count = shape.Aggregate(1L, (a, b) => a * b);
        return count == outputs || (rule == DoraRule.Lycoris && ByInput(module) && count == module[AdapterKey.Down]!.Shape[1]) ? null
            : string.Create(CultureInfo.InvariantCulture, $"{Lengths} has the shape {Shapes.Show(shape)}; one number for each of the {outputs} outputs{(rule == DoraRule.Lycoris ? $", or (1, inputs)" : "")} is read");
    }

    public override int RankOf(FileModule module) => LoraKind.RankOfFactors(module);

    public override long InputsOf(FileModule module) => module[AdapterKey.Down]!.Shape[1];

    public override string? Misfit(FileModule module, LayerShape layer) => LoraKind.MisfitOfFactors(module, layer);

    public override IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape) =>
        WithMagnitude(shape, module.Rank, ByInput(module) ? [1, shape.Inputs, .. shape.Kernel.Select(_ => 1L)] : [shape.Outputs, .. Ones(shape)]);

    public override IReadOnlyDictionary<string, Tensor> Read(FileModule module)
    {
        var factors = LoraKind.ReadFactors(module);
        factors["magnitude"] = module.Read(Lengths);
        return factors;
    }

    /// <summary>The shape that LyCORIS writes; (1, out, 1, 1) and (out) are PEFT's.</summary>
    public override IEnumerable<(string Parameter, Tensor Tensor)> Kohya(AdapterLayer layer)
    {
        var dora = (DoraLayer)layer;
        return [("lora_down.weight", dora.Down), ("lora_up.weight", dora.Up), ("dora_scale", dora.Magnitude), Alpha(layer.Alpha)];
    }

    public override IEnumerable<(string Parameter, Tensor Tensor)> Peft(AdapterLayer layer)
    {
        var dora = (DoraLayer)layer;
        var magnitude = dora.Magnitude;
        if (magnitude.shape[0] == 1 && magnitude.numel() > 1) throw new CheckpointException($"the adapter is not written: {layer.Component}.{layer.Path} has a DoRA length for each input, which PEFT does not know; write it in kohya's convention");
        return [("lora_A.weight", dora.Down), ("lora_B.weight", dora.Up.Times(layer.Scale)), (AdapterKey.PeftMagnitude, magnitude.dim() == 4 ? magnitude.view(1, -1, 1, 1) : magnitude.view(-1))];
    }

    /// <summary>LyCORIS' shape (1, in, …); PEFT's lengths are always for outputs, though a convolution's stand as (1, out, 1, 1).</summary>
    private bool ByInput(FileModule module) =>
        rule == DoraRule.Lycoris && module["dora_scale"]!.Shape is [1, > 1, ..] && module[AdapterKey.Up]!.Shape[0] != 1;

    private static IEnumerable<long> Ones(LayerShape shape) => shape.Weight.Skip(1).Select(_ => 1L);

    private static IReadOnlyList<Factor> WithMagnitude(LayerShape shape, int rank, long[] lengths) => [.. LoraKind.Factors(shape, rank), new("magnitude", lengths)];
}
