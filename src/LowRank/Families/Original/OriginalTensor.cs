using static TorchSharp.torch;

namespace LowRank.Families.Original;

/// <summary>How a tensor of the layout of diffusers lies in a file of the original layout.</summary>
internal enum Turn
{
    /// <summary>As it is.</summary>
    None,
    /// <summary>A linear layer (o, i) as a 1×1 convolution (o, i, 1, 1).</summary>
    Convolution,
    /// <summary>Query, key and value one below the other: (3·h, …).</summary>
    Third,
    /// <summary>A matrix transposed.</summary>
    Transposed,
}

/// <summary>Where a tensor of the layout of diffusers lies in a file of the original layout.</summary>
/// <param name="Name">In the file, in full.</param>
/// <param name="Turn">How it lies there.</param>
/// <param name="Index">Which third: 0 query, 1 key, 2 value.</param>
internal sealed record OriginalTensor(string Name, Turn Turn = Turn.None, int Index = 0)
{
    /// <summary>Its shape in the layout of diffusers, by that in the file. A convolution that was written as a matrix is one already.</summary>
    public IReadOnlyList<long> ShapeOf(IReadOnlyList<long> original) => Turn switch
    {
        Turn.Convolution when original is [_, _, 1, 1] => [original[0], original[1]],
        Turn.Third when original.Count > 0 && original[0] % 3 == 0 => [original[0] / 3, .. original.Skip(1)],
        Turn.Transposed => [.. original.Reverse()],
        _ => original,
    };

    /// <summary>The tensor by the one in the file; a view of it. The caller owns it.</summary>
    public Tensor Of(Tensor original) => Turn switch
    {
        Turn.Convolution when original.dim() == 4 => original.reshape(original.shape[0], original.shape[1]),
        Turn.Third => original.narrow(0, Index * (original.shape[0] / 3), original.shape[0] / 3),
        Turn.Transposed => original.t(),
        _ => original.alias(),
    };
}
