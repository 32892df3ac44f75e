using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>Opens networks of features by what people have.</summary>
internal static class FeatureNetworks
{
    /// <summary>Opens a network.</summary>
    /// <param name="nameOrPath">"icons", the embedded network; the weights file of InceptionV3 (.pth, .pt, .safetensors), or the folder of a CLIP model.</param>
    /// <param name="input">How Inception's pictures are resized; nothing else looks at it.</param>
    /// <param name="device">Where it runs; none: the CPU.</param>
    /// <returns>The caller owns it.</returns>
    /// <exception cref="OptionsException">Nothing has this name.</exception>
    /// <exception cref="CheckpointException">The weights are damaged or of another network.</exception>
    public static IFeatureNetwork Open(string nameOrPath, InceptionInput input = InceptionInput.PytorchFid, Device? device = null)
    {
        if (nameOrPath == IconFeatures.Embedded) return IconFeatures.Open(device ?? CPU);   // before folders: many a folder of pictures has this name
        if (Directory.Exists(nameOrPath)) return ClipFeatures.Open(nameOrPath, device ?? CPU);
        if (File.Exists(nameOrPath)) return InceptionFeatures.Open(nameOrPath, input, device ?? CPU);
        throw new OptionsException($"no such network of features: {nameOrPath}{NearestName.Hint(nameOrPath, [IconFeatures.Embedded])}; expected {IconFeatures.Embedded}, which is embedded, the weights file of InceptionV3 (pt_inception-2015-12-05-6726825d.pth, or the same as .safetensors), or the folder of a CLIP model");
    }
}
