using LowRank.Foundation;
using LowRank.Models.Layers;
using static System.FormattableString;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

// A network of this project; models/icons-features/README.md says how it was trained.
// Residual blocks with norms in front: He et al. 2016 (arXiv 1603.05027). Norms by group: Wu and He 2018 (arXiv 1803.08494).

namespace LowRank.Models;

/// <summary>Halves the sides: (B, in, H, W) to (B, out, H/2, W/2), a mean and a 1×1 convolution beside two 3×3 convolutions.</summary>
internal sealed class IconBlock : Module<Tensor, Tensor>
{
    private const int Groups = 8;
    private readonly Module<Tensor, Tensor> norm1;
    private readonly Module<Tensor, Tensor> conv1;
    private readonly Module<Tensor, Tensor> norm2;
    private readonly Module<Tensor, Tensor> conv2;
    private readonly Module<Tensor, Tensor> shortcut;

    public IconBlock(LayerFactory layers, long inputs, long outputs) : base(nameof(IconBlock))
    {
        norm1 = layers.GroupNorm(Groups, inputs, 1e-5);
        conv1 = layers.Conv2d(inputs, outputs, 3, stride: 2, padding: 1);
        norm2 = layers.GroupNorm(Groups, outputs, 1e-5);
        conv2 = layers.Conv2d(outputs, outputs, 3, padding: 1);
        shortcut = layers.Conv2d(inputs, outputs, 1);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var deep = NormSiluConv.Apply(norm2, conv2, NormSiluConv.Apply(norm1, conv1, x));
        return deep.Plus(shortcut.call(functional.avg_pool2d(x, 2))).MoveToOuterDisposeScope();
    }
}

/// <summary>
/// The small network of features for icons: pictures (B, 3, 64, 64) in [-1, 1] to (B, 192). Every level is averaged, the last one by quarters of the
/// picture, and all of them are projected together, so that fine texture counts beside the whole shape.
/// </summary>
internal sealed class IconFeatureModel : Module<Tensor, Tensor>
{
    /// <summary>Side of the pictures.</summary>
    public const int Side = 64;

    /// <summary>Numbers to a picture.</summary>
    public const int Features = 192;

    private const int Quarters = 4;
    private readonly Module<Tensor, Tensor> stem;
    private readonly IconBlock block1;
    private readonly IconBlock block2;
    private readonly IconBlock block3;
    private readonly Module<Tensor, Tensor> projection;

    /// <param name="layers">Where and in which dtype.</param>
    public IconFeatureModel(LayerFactory layers) : base(nameof(IconFeatureModel))
    {
        stem = layers.Conv2d(3, 32, 4, stride: 2, padding: 1);
        block1 = new IconBlock(layers, 32, 48);
        block2 = new IconBlock(layers, 48, 96);
        block3 = new IconBlock(layers, 96, 144);
        projection = layers.Linear(32 + 48 + 96 + Quarters * 144, Features);
        RegisterComponents();
    }

    /// <param name="pictures">(B, 3, 64, 64) in [-1, 1], the model's dtype.</param>
    /// <returns>(B, 192).</returns>
    public override Tensor forward(Tensor pictures)
    {
        if (pictures.dim() != 4 || pictures.size(1) != 3 || pictures.size(2) != Side || pictures.size(3) != Side)
        {
            throw new ArgumentException(Invariant($"the pictures are ({string.Join(", ", pictures.shape)}); expected (B, 3, {Side}, {Side})"));
        }
        using var scope = NewDisposeScope();
        var fine = stem.call(pictures);      // (B, 32, 32, 32)
        var small = block1.call(fine);       // (B, 48, 16, 16)
        var parts = block2.call(small);      // (B, 96, 8, 8)
        var whole = block3.call(parts);      // (B, 144, 4, 4)
        var means = new[] { fine, small, parts }.Select(level => functional.silu(level).mean([2, 3]));
        var quarters = functional.avg_pool2d(functional.silu(whole), 2).flatten(1);                     // (B, 576)
        return projection.call(cat([.. means, quarters], 1)).MoveToOuterDisposeScope();                 // of (B, 752)
    }
}
