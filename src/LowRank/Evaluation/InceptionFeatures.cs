using LowRank.Foundation;
using LowRank.Images;
using LowRank.Models;
using LowRank.Models.Layers;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>The 2048 features that FID and KID are defined by, from a weights file that the user has. Owns the network.</summary>
internal sealed class InceptionFeatures : IFeatureNetwork
{
    private const string Published = "pt_inception-2015-12-05-6726825d.pth";
    private const string FirstKey = "Conv2d_1a_3x3.conv.weight";
    private const int Batch = 16;   // 90 MB for the largest layer's states
    private readonly InceptionInput input;
    private readonly Device device;
    private readonly InceptionV3 network;

    private InceptionFeatures(InceptionV3 network, InceptionInput input, Device device)
    {
        (this.network, this.input, this.device) = (network, input, device);
        Identity = $"{Name}, input as {InceptionPicture.Ways.First(way => way.Value == input).Key}, weights sha256 {FeatureBatches.HashOf(network)}";
    }

    /// <inheritdoc/>
    public string Name => "inception-v3";

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public int Dimension => InceptionV3.Features;

    /// <summary>Opens a weights file: pytorch-fid's and torch-fidelity's, or the same tensors as safetensors in any float type.</summary>
    /// <param name="path">.pth, .pt or .safetensors; told apart by content.</param>
    /// <param name="input">How pictures are resized and scaled.</param>
    /// <param name="device">Where the network runs.</param>
    /// <exception cref="CheckpointException">No such file, damaged, or other weights than those of FID.</exception>
    public static InceptionFeatures Open(string path, InceptionInput input, Device device)
    {
        using var weights = Checkpoint.Open(path);
        Refuse(weights);
        var network = new InceptionV3(LayerFactory.Meta);
        try
        {
            weights.LoadInto(network, InceptionV3.KeyOf, device: device);
            network.eval();
            return new InceptionFeatures(network, input, device);
        }
        catch
        {
            network.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public Tensor Features(IReadOnlyList<RgbImage> pictures) =>
        FeatureBatches.OfPictures(pictures, Batch, picture => InceptionPicture.Planes(picture, input), InceptionPicture.Side, x => network.call(x.to(device)));

    /// <inheritdoc/>
    public void Dispose() => network.Dispose();

    /// <summary>Two files that people have instead are told of by what they are, before keys are counted.</summary>
    private static void Refuse(Checkpoint weights)
    {
        if (!weights.Names.Contains(FirstKey))
        {
            var found = weights.Names.Order(StringComparer.Ordinal).FirstOrDefault();
            throw new CheckpointException(Invariant($"no weights of InceptionV3: \"{FirstKey}\" and 376 more are expected, found {weights.Names.Count} tensors{(found is null ? "" : $", such as \"{found}\"")}; in {weights.Path}; use {Published} of pytorch-fid, or the same as .safetensors"));
        }
        if (weights.Names.Contains("fc.weight") && weights.Info("fc.weight").Shape is [1000, _])
        {
            throw new CheckpointException($"the InceptionV3 that torchvision classifies with (fc of 1000 outputs, expected 1008): FID and KID are defined by other weights; in {weights.Path}; use {Published} of pytorch-fid");
        }
    }
}
