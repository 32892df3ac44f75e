using LowRank.Foundation;
using LowRank.Images;
using LowRank.Models;
using LowRank.Models.Layers;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>The projected features of CLIP's picture encoder, not of unit length: a folder that holds nothing else, such as an <c>image_encoder</c>. Owns the network.</summary>
internal sealed class ClipPictureFeatures : IFeatureNetwork
{
    private const int Batch = 16;
    private readonly ClipInput input;
    private readonly Device device;
    private readonly ClipVisionModel network;

    private ClipPictureFeatures(ClipVisionModel network, ClipInput input, Device device)
    {
        (this.network, this.input, this.device) = (network, input, device);
        Identity = $"{Name}, {input}, weights sha256 {FeatureBatches.HashOf(network)}";
    }

    /// <inheritdoc/>
    public string Name => "clip";

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public int Dimension => network.Config.ProjectionDim;

    /// <summary>Loads the picture encoder of a folder.</summary>
    /// <param name="folder">Weights, and perhaps preprocessor_config.json.</param>
    /// <param name="config">The encoder's.</param>
    /// <param name="device">Where the network runs.</param>
    /// <exception cref="CheckpointException">Weights or preprocessing are damaged, or do not fit the configuration.</exception>
    public static ClipPictureFeatures Open(string folder, ClipVisionConfig config, Device device)
    {
        var input = ClipInput.Of(folder, config.ImageSize);
        using var weights = Checkpoint.Open(folder);
        var network = new ClipVisionModel(config, LayerFactory.Meta);
        try
        {
            weights.LoadInto(network, ClipVisionModel.KeyOf, device: device);
            network.eval();
            return new ClipPictureFeatures(network, input, device);
        }
        catch
        {
            network.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public Tensor Features(IReadOnlyList<RgbImage> pictures) => FeatureBatches.OfPictures(pictures, Batch, input.Planes, input.Crop, Projected);

    /// <inheritdoc/>
    public void Dispose() => network.Dispose();

    private Tensor Projected(Tensor pictures)
    {
        using var states = network.call(pictures.to(device));
        return states.Projected.clone();
    }
}
