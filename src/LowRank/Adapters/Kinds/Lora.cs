using System.Globalization;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace LowRank.Adapters.Kinds;

/// <summary>LoRA of one layer: W' = W + scale · up · down (arXiv:2106.09685, section 4.1).</summary>
internal class LoraLayer(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) : AdapterLayer(target, factors)
{
    /// <summary>The principal part of the base that PiSSA put into the factors at the start (down, up); null for other starts. Owned by the set.</summary>
    private (Tensor Down, Tensor Up)? start;

    /// <summary>A: (r, in), or (r, in, kh, kw) for a convolution; float32.</summary>
    public Tensor Down { get; } = factors["down"];

    /// <summary>B: (out, r), or (out, r, 1, 1) for a convolution; float32.</summary>
    public Tensor Up { get; } = factors["up"];

    internal override IReadOnlyCollection<Tensor> Product => [Down, Up];

    internal override IEnumerable<Tensor> Fixed => start is var (down, up) ? [down, up] : [];

    /// <summary>
    /// Takes the factors as they are now as what the base itself has: from here on only the difference to them changes the layer.
    /// That is PiSSA's base W - scale · up · down, without touching the base.
    /// </summary>
    public void SubtractStart() => start = (Down.detach().clone().DetachFromDisposeScope(), Up.detach().clone().DetachFromDisposeScope());

    /// <summary>The LoRA on the untouched base: a PiSSA's start is in it with the opposite sign, at twice the rank (Meng et al. 2024, appendix C).</summary>
    /// <returns>down (r', in·kh·kw), up (out, r') and alpha, whose scale alpha / r' is <see cref="AdapterLayer.Scale"/>.</returns>
    public (Tensor Down, Tensor Up, double Alpha) OnBase() => start is var (down, up)
        ? (cat([Down, down]), cat([Up, up.neg()], 1), 2 * Alpha)
        : (Down, Up, Alpha);

    private protected override Tensor WeightDelta(Tensor weight, double strength)
    {
        var (down, up, _) = OnBase();
        return up.flatten(1).mm(down.flatten(1)).MultiplyInPlace(Scale * strength);   // (out, in·kh·kw)
    }

    private protected override bool AddProductTo(Tensor weight, double strength)
    {
        if (start is not null || !weight.is_contiguous() || weight.dtype != ScalarType.Float32) return false;
        const long SliceNumbers = 1 << 18;   // 1 MiB: stays in the processor's cache
        var (rows, down, up) = (weight.view(Shape.Outputs, -1), Down.flatten(1), Up.flatten(1));
        var count = Math.Max(1, SliceNumbers / rows.shape[1]);
        for (var start = 0L; start < Shape.Outputs; start += count)
        {
            using var scope = NewDisposeScope();
            var height = Math.Min(count, Shape.Outputs - start);
            // the change by itself, then one sum: a product that adds to W rounds at every rank, and could not be taken out again as exactly
            rows.narrow(0, start, height).AddInPlace(up.narrow(0, start, height).mm(down).MultiplyInPlace(Scale * strength));
        }
        return true;
    }

    private protected override Tensor Branch(Tensor x, Tensor y, double strength, LayerDropout? dropout)
    {
        var delta = Outputs(Hidden(x, Down, dropout), Up.to(x.dtype));
        // a fresh PiSSA computes the same numbers twice: exactly 0
        if (start is var (down, up)) delta = delta.sub(Outputs(Hidden(x, down, null), up.to(x.dtype)));
        return delta.Times(Scale * strength);
    }

    /// <summary>
    /// Linear: one product into the output instead of product, scaling and sum, so that y is read and written once.
    /// (For a convolution that would need a batched addmm, which TorchSharp 0.107 calls with its arguments in the wrong order.)
    /// </summary>
    private protected override Tensor AddTo(Tensor y, Tensor x, ScalarType wide, double strength, LayerDropout? dropout)
    {
        if (start is not null) return base.AddTo(y, x, wide, strength, dropout);
        var factor = (float)(Scale * strength);
        if (Shape.IsConvolution) return y.to(wide).Plus(functional.conv2d(Hidden(x.to(wide), Down, dropout), Up.to(wide)), factor);
        var outputs = y.reshape(-1, y.shape[^1]);   // (N, out)
        if (y.dtype != wide && dropout?.OnHidden != true) return RoundedSum.apply(x.reshape(-1, x.shape[^1]), outputs, Down, Up, factor, x.requires_grad).view(y.shape);
        var hidden = Hidden(x.to(wide), Down, dropout);
        var rows = Up.to(wide).t().contiguous();    // (r, out): for the products of backward long rows are three times as fast as short ones
        return outputs.to(wide).addmm(hidden.reshape(-1, hidden.shape[^1]), rows, 1f, factor).view(y.shape);
    }

    /// <summary>What down makes of the input: (…, r) or (B, r, H', W').</summary>
    private protected Tensor Hidden(Tensor x, Tensor down, LayerDropout? dropout)
    {
        down = down.to(x.dtype);
        var hidden = Shape.IsConvolution
            ? functional.conv2d(x, down, null, Shape.Stride, Shape.Padding, Shape.Dilation)
            : x.reshape(-1, x.shape[^1]).mm(down.t()).view([.. x.shape[..^1], down.shape[0]]);
        return dropout?.OnHidden == true ? dropout.Hidden(hidden, Shape.IsConvolution) : hidden;
    }

    private protected Tensor Outputs(Tensor hidden, Tensor up) => Shape.IsConvolution ? functional.conv2d(hidden, up) : functional.linear(hidden, up);
}

/// <summary>LoRA, which other tools call LoCon on convolutions; with a Tucker core in files.</summary>
internal sealed class LoraKind : LayerKind
{
    /// <summary>The core between down and up of a convolution (LyCORIS <c>use_tucker</c>): down is then 1×1.</summary>
    public const string Mid = "lora_mid.weight";

    public override AdapterKind? Kind => AdapterKind.Lora;

    public override string Name => "LoRA";

    public override (string, IReadOnlyDictionary<string, string>) Trainer => ("networks.lora", new Dictionary<string, string>());

    public override IReadOnlyList<Factor> Factors(LayerShape shape, int rank, AdapterOptions options) => Factors(shape, rank);

    public static IReadOnlyList<Factor> Factors(LayerShape shape, int rank) => [new("down", shape.Down(rank)), new("up", shape.Up(rank))];

    public override AdapterLayer Make(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) => new LoraLayer(target, factors);

    public override void Start(AdapterLayer layer, AdapterOptions options, Generator init) => StartFactors((LoraLayer)layer, options.Init, init);

    /// <summary>Up stays zero, but for PiSSA.</summary>
    public static void StartFactors(LoraLayer layer, AdapterInit how, Generator init)
    {
        switch (how)
        {
            case AdapterInit.Gaussian:
                Normal(layer.Down, 1.0 / layer.Rank, init);
                break;
            case AdapterInit.Orthogonal:
                var normal = randn([layer.Rank, layer.Down.numel() / layer.Rank], ScalarType.Float64, generator: init);
                var wide = normal.shape[0] <= normal.shape[1];
                var (q, _) = linalg.qr(wide ? normal.t() : normal);
                layer.Down.copy_((wide ? q.t() : q).reshape(layer.Down.shape));
                break;
            case AdapterInit.Pissa:
                StartFromBase(layer);
                break;
            default:
                Kaiming(layer.Down, init);
                break;
        }
    }

    /// <summary>PiSSA (Meng et al. 2024, equations 2 and 3): W = U S Vᵀ; down = √(S/scale) Vᵀ and up = U √(S/scale) of the first r.</summary>
    private static void StartFromBase(LoraLayer layer)
    {
        var weight = LayerShape.WeightOf(layer.Module).detach().to(ScalarType.Float64).flatten(1).cpu();
        var rank = Math.Min(layer.Rank, Math.Min(weight.shape[0], weight.shape[1]));   // beyond it the factors are zero
        var (u, s, vt) = linalg.svd(weight, fullMatrices: false);
        var root = s.narrow(0, 0, rank).Over(layer.Scale).sqrt();
        layer.Down.flatten(1).narrow(0, 0, rank).copy_(vt.narrow(0, 0, rank).mul(root.unsqueeze(1)));
        layer.Up.flatten(1).narrow(1, 0, rank).copy_(u.narrow(1, 0, rank).mul(root.unsqueeze(0)));
        layer.SubtractStart();
    }

    public override Tensor Norm(IReadOnlyDictionary<string, Tensor> factors, double scale) =>
        NormOfProduct(factors["down"].flatten(1), factors["up"].flatten(1)).MultiplyInPlace(Math.Abs(scale));

    public override bool Owns(FileModule module) => module.Parameters.Any(parameter => parameter is AdapterKey.Down or AdapterKey.Up or Mid);

    public override bool Knows(string parameter) => parameter is AdapterKey.Down or AdapterKey.Up or AdapterKey.Alpha or Mid;

    public override string? Fault(FileModule module) => FaultOfFactors(module);

    public static string? FaultOfFactors(FileModule module)
    {
        var (down, up, mid) = (module[AdapterKey.Down], module[AdapterKey.Up], module[Mid]);
        if (down is null || up is null)
        {
            var found = module.Word(down is not null ? AdapterKey.Down : up is not null ? AdapterKey.Up : module.Parameters.First(parameter => parameter != AdapterKey.Alpha));
            return $"{found} without {module.Word(down is null ? AdapterKey.Down : AdapterKey.Up)}";
        }
        if (down.Shape.Count is not (2 or 4)) return $"{module.Word(AdapterKey.Down)} has the shape {Shapes.Show(down.Shape)}; two or four axes are read";
        if (up.Shape.Count is not (2 or 4) || up.Shape.Skip(2).Any(size => size != 1)) return $"{module.Word(AdapterKey.Up)} has the shape {Shapes.Show(up.Shape)}; (out, rank) or (out, rank, 1, 1) is read";
        if (down.Shape[0] != up.Shape[1] && mid is null) return string.Create(CultureInfo.InvariantCulture, $"rank {down.Shape[0]} in {module.Word(AdapterKey.Down)}, {up.Shape[1]} in {module.Word(AdapterKey.Up)}");
        if (mid is not null && (mid.Shape.Count != 4 || mid.Shape[0] != up.Shape[1] || mid.Shape[1] != down.Shape[0] || down.Shape.Skip(2).Any(size => size != 1)))
        {
            return $"lora_mid has the shape {Shapes.Show(mid.Shape)} between {module.Word(AdapterKey.Down)} {Shapes.Show(down.Shape)} and {module.Word(AdapterKey.Up)} {Shapes.Show(up.Shape)}";
        }
        return down.Shape[0] == 0 ? "rank 0" : null;
    }

    public override int RankOf(FileModule module) => RankOfFactors(module);

    public static int RankOfFactors(FileModule module) => (int)module[AdapterKey.Up]!.Shape[1];

    public override long InputsOf(FileModule module) => module[AdapterKey.Down]!.Shape[1];

    public override string? Misfit(FileModule module, LayerShape layer) => MisfitOfFactors(module, layer);

    public static string? MisfitOfFactors(FileModule module, LayerShape layer)
    {
        var (down, up, mid) = (module[AdapterKey.Down]!, module[AdapterKey.Up]!, module[Mid]);
        if (down.Shape[1] != layer.Inputs) return string.Create(CultureInfo.InvariantCulture, $"{module.Word(AdapterKey.Down)} has {down.Shape[1]} input columns, the layer has {layer.Inputs}");
        if (up.Shape[0] != layer.Outputs) return string.Create(CultureInfo.InvariantCulture, $"{module.Word(AdapterKey.Up)} has {up.Shape[0]} output rows, the layer has {layer.Outputs}");
        var kernel = (mid ?? down).Shape.Skip(2).ToArray();
        var wanted = layer.Kernel;
        if (kernel.Length == 0) kernel = wanted.Select(_ => 1L).ToArray();
        if (wanted.Length == 0 && kernel.All(size => size == 1)) return null;
        return kernel.SequenceEqual(wanted) ? null : $"{module.Word(mid is null ? AdapterKey.Down : Mid)} has the kernel {Shapes.Show(kernel)}, the layer has {(wanted.Length == 0 ? "none (it is linear)" : Shapes.Show(wanted))}";
    }

    public override IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape) => Factors(shape, module.Rank);

    public override IReadOnlyDictionary<string, Tensor> Read(FileModule module) => ReadFactors(module);

    public static Dictionary<string, Tensor> ReadFactors(FileModule module)
    {
        var down = module.Read(AdapterKey.Down).flatten(1);
        return new() { ["down"] = module[Mid] is null ? down : Fold(module.Read(Mid), down), ["up"] = module.Read(AdapterKey.Up).flatten(1) };
    }

    public override IEnumerable<(string Parameter, Tensor Tensor)> Kohya(AdapterLayer layer)
    {
        var (down, up, alpha) = ((LoraLayer)layer).OnBase();
        return [("lora_down.weight", down), ("lora_up.weight", up), Alpha(alpha)];
    }

    public override IEnumerable<(string Parameter, Tensor Tensor)> Peft(AdapterLayer layer)
    {
        var (down, up, _) = ((LoraLayer)layer).OnBase();
        return [("lora_A.weight", down), ("lora_B.weight", up.Times(layer.Scale))];
    }
}
