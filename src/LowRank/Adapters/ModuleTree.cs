using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>The modules of a model by path, in the order in which they are registered.</summary>
internal static class ModuleTree
{
    /// <summary>Every module below <paramref name="root"/>, parents before children.</summary>
    public static IEnumerable<(string Path, nn.Module Module)> Walk(nn.Module root, string prefix = "")
    {
        foreach (var (name, child) in root.named_children())
        {
            yield return (prefix + name, child);
            foreach (var below in Walk(child, prefix + name + ".")) yield return below;
        }
    }
}
