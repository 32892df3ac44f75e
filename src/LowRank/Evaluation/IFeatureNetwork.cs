using LowRank.Images;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>
/// A network that turns pictures into points, between which the measures of this room (KID, FID, precision, …) are taken.
/// Opened by <c>FeatureNetworks</c>; owns its weights. The same list of pictures gives the same bits.
/// </summary>
internal interface IFeatureNetwork : IDisposable
{
    /// <summary>What people call it: "inception-v3", "clip", "icons".</summary>
    string Name { get; }

    /// <summary>
    /// Name, preprocessing and SHA-256 of the weights, in one line. Two sets of features may be compared only where this is equal.
    /// </summary>
    string Identity { get; }

    /// <summary>Numbers to a picture.</summary>
    int Dimension { get; }

    /// <summary>The features of pictures of any size, which the network resizes as its weights want it; in batches, without gradients.</summary>
    /// <param name="pictures">At least one, above transparency white.</param>
    /// <returns>(n, <see cref="Dimension"/>) float32 on the CPU, in the pictures' order. The caller owns it.</returns>
    Tensor Features(IReadOnlyList<RgbImage> pictures);
}

/// <summary>A network that also puts text into the space of its pictures: CLIP.</summary>
internal interface ITextFeatureNetwork : IFeatureNetwork
{
    /// <summary>How much of a text is read, and SHA-256 of the text encoder's weights, in one line. Measures with texts may be compared only where this and <see cref="IFeatureNetwork.Identity"/> are equal.</summary>
    string TextIdentity { get; }

    /// <summary>The features of texts, to be compared with those of pictures by their angle.</summary>
    /// <param name="texts">At least one; what is longer than the model's context is cut off.</param>
    /// <returns>(n, <see cref="IFeatureNetwork.Dimension"/>) float32 on the CPU, not of unit length, in the texts' order. The caller owns it.</returns>
    Tensor TextFeatures(IReadOnlyList<string> texts);

    /// <summary>How many texts are longer than the model's context, so that <see cref="TextFeatures"/> cuts them off.</summary>
    int CountCut(IReadOnlyList<string> texts);
}
