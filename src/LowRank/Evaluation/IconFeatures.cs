using LowRank.Foundation;
using LowRank.Images;
using LowRank.Models;
using LowRank.Models.Layers;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>
/// The embedded features of icons, for measures without any download: shape, colour and way of drawing of a picture at 64×64. They are not Inception's,
/// and numbers by them compare only with numbers by them. Owns the network.
/// </summary>
internal sealed class IconFeatures : IFeatureNetwork
{
    /// <summary>The name to open it by, and that of its folder under <c>models/</c> less <c>-features</c>.</summary>
    public const string Embedded = "icons";

    private const int Batch = 64;
    private readonly IconFeatureModel network;
    private readonly Device device;

    private IconFeatures(IconFeatureModel network, Device device)
    {
        (this.network, this.device) = (network, device);
        Identity = $"{Name}, bicubic to {IconFeatureModel.Side}, weights sha256 {FeatureBatches.HashOf(network)}";
    }

    /// <inheritdoc/>
    public string Name => Embedded;

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public int Dimension => IconFeatureModel.Features;

    /// <summary>Opens the weights that lie beside the program.</summary>
    /// <param name="device">Where the network runs.</param>
    /// <exception cref="CheckpointException">The folder models/icons-features is not there, or damaged.</exception>
    public static IconFeatures Open(Device device) => Open(Path.Combine(EmbeddedFolder.Find("icons-features"), "model.safetensors"), device);

    /// <summary>Opens weights of this network.</summary>
    /// <param name="path">A safetensors file.</param>
    /// <param name="device">Where the network runs.</param>
    /// <exception cref="CheckpointException">No such file, damaged, or other weights.</exception>
    public static IconFeatures Open(string path, Device device)
    {
        using var weights = Checkpoint.Open(path);
        var network = new IconFeatureModel(LayerFactory.Meta);
        try
        {
            weights.LoadInto(network, device: device);
            network.eval();
            return new IconFeatures(network, device);
        }
        catch
        {
            network.Dispose();
            throw;
        }
    }

    /// <summary>A picture as the network takes it.</summary>
    /// <param name="picture">Of any size; what is not square is squeezed.</param>
    /// <returns>(3, 64, 64) in [-1, 1].</returns>
    public static float[] Planes(RgbImage picture)
    {
        var size = new PixelSize(IconFeatureModel.Side, IconFeatureModel.Side);
        return PixelTensor.ToPlanes(picture.Size == size ? picture : new RgbImage(size, PillowResize.Resize(picture.Pixels, picture.Size, 3, size, PillowFilter.Bicubic)));
    }

    /// <inheritdoc/>
    public Tensor Features(IReadOnlyList<RgbImage> pictures) =>
        FeatureBatches.OfPictures(pictures, Batch, Planes, IconFeatureModel.Side, x => network.call(x.to(device)));

    /// <inheritdoc/>
    public void Dispose() => network.Dispose();
}
