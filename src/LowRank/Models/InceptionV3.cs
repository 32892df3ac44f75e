using LowRank.Models.Layers;
using TorchSharp.Modules;
using static System.FormattableString;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

// Szegedy et al. 2015 (arXiv 1512.00567), in the form of 2015-12-05 that FID and KID are defined by:
// mseitz/pytorch-fid, src/pytorch_fid/inception.py; names as in pytorch/vision, torchvision/models/inception.py.

namespace LowRank.Models;

/// <summary>Batch norm by the statistics of training, which no picture changes: (B, C, H, W) to the same.</summary>
internal sealed class InceptionNorm : Module<Tensor, Tensor>
{
    private const double Eps = 1e-3;
    private readonly Parameter weight;
    private readonly Parameter bias;
    private readonly Tensor running_mean;
    private readonly Tensor running_var;

    public InceptionNorm(long channels, LayerFactory layers) : base(nameof(InceptionNorm))
    {
        weight = new Parameter(ones(channels, layers.Type, layers.Device));
        bias = new Parameter(zeros(channels, layers.Type, layers.Device));
        running_mean = zeros(channels, layers.Type, layers.Device);
        running_var = ones(channels, layers.Type, layers.Device);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x) => functional.batch_norm(x, running_mean, running_var, weight, bias, training: false, eps: Eps);
}

/// <summary>Convolution without bias, norm, ReLU: (B, in, H, W) to (B, out, H', W').</summary>
internal sealed class InceptionUnit : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> conv;
    private readonly InceptionNorm bn;

    public InceptionUnit(LayerFactory layers, long inputs, long outputs, (long High, long Wide) kernel, long stride = 1, (long High, long Wide) padding = default) : base(nameof(InceptionUnit))
    {
        conv = layers.Conv2d(inputs, outputs, kernel, (stride, stride), padding, bias: false);
        bn = new InceptionNorm(outputs, layers);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        return functional.relu(bn.call(conv.call(x))).MoveToOuterDisposeScope();
    }
}

/// <summary>What the mixed blocks share: units by the shape of their kernel, chains of units, pools.</summary>
internal abstract class InceptionBlock(string name) : Module<Tensor, Tensor>(name)
{
    protected static InceptionUnit One(LayerFactory layers, long inputs, long outputs) => new(layers, inputs, outputs, (1, 1));

    /// <summary>A unit that keeps the size: 3×3, 5×5, 1×7, 7×1, …</summary>
    protected static InceptionUnit Same(LayerFactory layers, long inputs, long outputs, long high, long wide) => new(layers, inputs, outputs, (high, wide), 1, (high / 2, wide / 2));

    /// <summary>3×3 with stride 2, without padding.</summary>
    protected static InceptionUnit Halve(LayerFactory layers, long inputs, long outputs) => new(layers, inputs, outputs, (3, 3), 2);

    protected static Tensor Chain(Tensor x, params Module<Tensor, Tensor>[] units) => units.Aggregate(x, (state, unit) => unit.call(state));

    /// <summary>Mean of 3×3 without the padding: torchvision counts it, the original does not.</summary>
    protected static Tensor Average(Tensor x) => functional.avg_pool2d(x, 3, stride: 1, padding: 1, count_include_pad: false);

    protected static Tensor HalvingPool(Tensor x) => functional.max_pool2d(x, 3, stride: 2);
}

/// <summary>Mixed_5b to 5d: (B, in, H, W) to (B, 224 + pooled, H, W).</summary>
internal sealed class InceptionA : InceptionBlock
{
    private readonly InceptionUnit branch1x1;
    private readonly InceptionUnit branch5x5_1;
    private readonly InceptionUnit branch5x5_2;
    private readonly InceptionUnit branch3x3dbl_1;
    private readonly InceptionUnit branch3x3dbl_2;
    private readonly InceptionUnit branch3x3dbl_3;
    private readonly InceptionUnit branch_pool;

    public InceptionA(LayerFactory layers, long inputs, long pooled) : base(nameof(InceptionA))
    {
        branch1x1 = One(layers, inputs, 64);
        branch5x5_1 = One(layers, inputs, 48);
        branch5x5_2 = Same(layers, 48, 64, 5, 5);
        branch3x3dbl_1 = One(layers, inputs, 64);
        branch3x3dbl_2 = Same(layers, 64, 96, 3, 3);
        branch3x3dbl_3 = Same(layers, 96, 96, 3, 3);
        branch_pool = One(layers, inputs, pooled);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        return cat([branch1x1.call(x), Chain(x, branch5x5_1, branch5x5_2), Chain(x, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3), branch_pool.call(Average(x))], 1).MoveToOuterDisposeScope();
    }
}

/// <summary>Mixed_6a: (B, 288, H, W) to (B, 768, H', W') with half the sides.</summary>
internal sealed class InceptionB : InceptionBlock
{
    private readonly InceptionUnit branch3x3;
    private readonly InceptionUnit branch3x3dbl_1;
    private readonly InceptionUnit branch3x3dbl_2;
    private readonly InceptionUnit branch3x3dbl_3;

    public InceptionB(LayerFactory layers, long inputs) : base(nameof(InceptionB))
    {
        branch3x3 = Halve(layers, inputs, 384);
        branch3x3dbl_1 = One(layers, inputs, 64);
        branch3x3dbl_2 = Same(layers, 64, 96, 3, 3);
        branch3x3dbl_3 = Halve(layers, 96, 96);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        return cat([branch3x3.call(x), Chain(x, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3), HalvingPool(x)], 1).MoveToOuterDisposeScope();
    }
}

/// <summary>Mixed_6b to 6e: (B, 768, H, W) to the same.</summary>
internal sealed class InceptionC : InceptionBlock
{
    private readonly InceptionUnit branch1x1;
    private readonly InceptionUnit branch7x7_1;
    private readonly InceptionUnit branch7x7_2;
    private readonly InceptionUnit branch7x7_3;
    private readonly InceptionUnit branch7x7dbl_1;
    private readonly InceptionUnit branch7x7dbl_2;
    private readonly InceptionUnit branch7x7dbl_3;
    private readonly InceptionUnit branch7x7dbl_4;
    private readonly InceptionUnit branch7x7dbl_5;
    private readonly InceptionUnit branch_pool;

    /// <param name="layers">Where and in which dtype.</param>
    /// <param name="inner">Channels between the factors of the 7×7 convolutions.</param>
    public InceptionC(LayerFactory layers, long inner) : base(nameof(InceptionC))
    {
        branch1x1 = One(layers, 768, 192);
        branch7x7_1 = One(layers, 768, inner);
        branch7x7_2 = Same(layers, inner, inner, 1, 7);
        branch7x7_3 = Same(layers, inner, 192, 7, 1);
        branch7x7dbl_1 = One(layers, 768, inner);
        branch7x7dbl_2 = Same(layers, inner, inner, 7, 1);
        branch7x7dbl_3 = Same(layers, inner, inner, 1, 7);
        branch7x7dbl_4 = Same(layers, inner, inner, 7, 1);
        branch7x7dbl_5 = Same(layers, inner, 192, 1, 7);
        branch_pool = One(layers, 768, 192);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var twice = Chain(x, branch7x7dbl_1, branch7x7dbl_2, branch7x7dbl_3, branch7x7dbl_4, branch7x7dbl_5);
        return cat([branch1x1.call(x), Chain(x, branch7x7_1, branch7x7_2, branch7x7_3), twice, branch_pool.call(Average(x))], 1).MoveToOuterDisposeScope();
    }
}

/// <summary>Mixed_7a: (B, 768, H, W) to (B, 1280, H', W') with half the sides.</summary>
internal sealed class InceptionD : InceptionBlock
{
    private readonly InceptionUnit branch3x3_1;
    private readonly InceptionUnit branch3x3_2;
    private readonly InceptionUnit branch7x7x3_1;
    private readonly InceptionUnit branch7x7x3_2;
    private readonly InceptionUnit branch7x7x3_3;
    private readonly InceptionUnit branch7x7x3_4;

    public InceptionD(LayerFactory layers) : base(nameof(InceptionD))
    {
        branch3x3_1 = One(layers, 768, 192);
        branch3x3_2 = Halve(layers, 192, 320);
        branch7x7x3_1 = One(layers, 768, 192);
        branch7x7x3_2 = Same(layers, 192, 192, 1, 7);
        branch7x7x3_3 = Same(layers, 192, 192, 7, 1);
        branch7x7x3_4 = Halve(layers, 192, 192);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        return cat([Chain(x, branch3x3_1, branch3x3_2), Chain(x, branch7x7x3_1, branch7x7x3_2, branch7x7x3_3, branch7x7x3_4), HalvingPool(x)], 1).MoveToOuterDisposeScope();
    }
}

/// <summary>Mixed_7b and 7c: (B, in, H, W) to (B, 2048, H, W).</summary>
internal sealed class InceptionE : InceptionBlock
{
    private readonly bool last;
    private readonly InceptionUnit branch1x1;
    private readonly InceptionUnit branch3x3_1;
    private readonly InceptionUnit branch3x3_2a;
    private readonly InceptionUnit branch3x3_2b;
    private readonly InceptionUnit branch3x3dbl_1;
    private readonly InceptionUnit branch3x3dbl_2;
    private readonly InceptionUnit branch3x3dbl_3a;
    private readonly InceptionUnit branch3x3dbl_3b;
    private readonly InceptionUnit branch_pool;

    /// <param name="layers">Where and in which dtype.</param>
    /// <param name="inputs">Channels.</param>
    /// <param name="last">Whether it is 7c, whose pool takes the largest instead of the mean: an oddity of the original graph, which FID kept.</param>
    public InceptionE(LayerFactory layers, long inputs, bool last) : base(nameof(InceptionE))
    {
        this.last = last;
        branch1x1 = One(layers, inputs, 320);
        branch3x3_1 = One(layers, inputs, 384);
        branch3x3_2a = Same(layers, 384, 384, 1, 3);
        branch3x3_2b = Same(layers, 384, 384, 3, 1);
        branch3x3dbl_1 = One(layers, inputs, 448);
        branch3x3dbl_2 = Same(layers, 448, 384, 3, 3);
        branch3x3dbl_3a = Same(layers, 384, 384, 1, 3);
        branch3x3dbl_3b = Same(layers, 384, 384, 3, 1);
        branch_pool = One(layers, inputs, 192);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var once = branch3x3_1.call(x);
        var twice = Chain(x, branch3x3dbl_1, branch3x3dbl_2);
        var pooled = last ? functional.max_pool2d(x, 3, stride: 1, padding: 1) : Average(x);
        return cat([branch1x1.call(x), branch3x3_2a.call(once), branch3x3_2b.call(once), branch3x3dbl_3a.call(twice), branch3x3dbl_3b.call(twice), branch_pool.call(pooled)], 1).MoveToOuterDisposeScope();
    }
}

/// <summary>
/// InceptionV3 of FID and KID: pictures (B, 3, H, W) in [-1, 1], sides of 75 or more, 299 as trained, to features (B, 2048).
/// Its state dict is the file <c>pt_inception-2015-12-05-6726825d.pth</c> of pytorch-fid.
/// </summary>
internal sealed class InceptionV3 : Module<Tensor, Tensor>
{
    /// <summary>Numbers to a picture.</summary>
    public const int Features = 2048;

    private const int SmallestSide = 75;
    private readonly InceptionUnit Conv2d_1a_3x3;
    private readonly InceptionUnit Conv2d_2a_3x3;
    private readonly InceptionUnit Conv2d_2b_3x3;
    private readonly InceptionUnit Conv2d_3b_1x1;
    private readonly InceptionUnit Conv2d_4a_3x3;
    private readonly InceptionA Mixed_5b;
    private readonly InceptionA Mixed_5c;
    private readonly InceptionA Mixed_5d;
    private readonly InceptionB Mixed_6a;
    private readonly InceptionC Mixed_6b;
    private readonly InceptionC Mixed_6c;
    private readonly InceptionC Mixed_6d;
    private readonly InceptionC Mixed_6e;
    private readonly InceptionD Mixed_7a;
    private readonly InceptionE Mixed_7b;
    private readonly InceptionE Mixed_7c;
    private readonly Module<Tensor, Tensor> fc;

    /// <param name="layers">Where and in which dtype.</param>
    public InceptionV3(LayerFactory layers) : base(nameof(InceptionV3))
    {
        Conv2d_1a_3x3 = new InceptionUnit(layers, 3, 32, (3, 3), 2);
        Conv2d_2a_3x3 = new InceptionUnit(layers, 32, 32, (3, 3));
        Conv2d_2b_3x3 = new InceptionUnit(layers, 32, 64, (3, 3), 1, (1, 1));
        Conv2d_3b_1x1 = new InceptionUnit(layers, 64, 80, (1, 1));
        Conv2d_4a_3x3 = new InceptionUnit(layers, 80, 192, (3, 3));
        Mixed_5b = new InceptionA(layers, 192, 32);
        Mixed_5c = new InceptionA(layers, 256, 64);
        Mixed_5d = new InceptionA(layers, 288, 64);
        Mixed_6a = new InceptionB(layers, 288);
        Mixed_6b = new InceptionC(layers, 128);
        Mixed_6c = new InceptionC(layers, 160);
        Mixed_6d = new InceptionC(layers, 160);
        Mixed_6e = new InceptionC(layers, 192);
        Mixed_7a = new InceptionD(layers);
        Mixed_7b = new InceptionE(layers, 1280, last: false);
        Mixed_7c = new InceptionE(layers, 2048, last: true);
        fc = layers.Linear(Features, 1008);
        RegisterComponents();
    }

    /// <param name="x">Pictures (B, 3, H, W) in [-1, 1], the model's dtype.</param>
    /// <returns>(B, 2048): the mean over the last block's cells.</returns>
    public override Tensor forward(Tensor x)
    {
        if (x.dim() != 4 || x.size(1) != 3 || x.size(2) < SmallestSide || x.size(3) < SmallestSide)
        {
            throw new ArgumentException(Invariant($"the pictures are ({string.Join(", ", x.shape)}); expected (B, 3, H, W) with sides of {SmallestSide} or more"));
        }
        using var scope = NewDisposeScope();
        var state = Stage(x, Conv2d_1a_3x3, Conv2d_2a_3x3, Conv2d_2b_3x3);
        state = Stage(functional.max_pool2d(state, 3, stride: 2), Conv2d_3b_1x1, Conv2d_4a_3x3);
        state = Stage(functional.max_pool2d(state, 3, stride: 2), Mixed_5b, Mixed_5c, Mixed_5d);
        state = Stage(state, Mixed_6a, Mixed_6b, Mixed_6c, Mixed_6d, Mixed_6e);
        state = Stage(state, Mixed_7a, Mixed_7b, Mixed_7c);
        return state.mean([2, 3]).MoveToOuterDisposeScope();
    }

    /// <summary>The 1008 outputs of the classifier (B, 1008) for <paramref name="features"/> (B, 2048).</summary>
    public Tensor Classify(Tensor features) => fc.call(features);

    /// <summary>Key in this model of a tensor's name in a file; null for the counters of training, which hold no weight.</summary>
    public static string? KeyOf(string name) => name.EndsWith(".num_batches_tracked", StringComparison.Ordinal) ? null : name;

    /// <summary>One block after another; each state goes once the next is there, since early ones are large.</summary>
    private static Tensor Stage(Tensor x, params Module<Tensor, Tensor>[] blocks)
    {
        using var scope = NewDisposeScope();
        var state = x;
        foreach (var block in blocks)
        {
            var next = block.call(state);
            if (!ReferenceEquals(state, x)) state.Dispose();
            state = next;
        }
        return state.MoveToOuterDisposeScope();
    }
}
