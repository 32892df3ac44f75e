namespace LowRank.Foundation;

/// <summary>What a file's header says of one tensor.</summary>
public sealed class TensorInfo
{
    internal TensorInfo(string name, StoredType type, IReadOnlyList<long> shape, long offset, long length) => (Name, Type, Shape, Offset, Length) = (name, type, shape, offset, length);

    /// <summary>Key in the file.</summary>
    public string Name { get; }

    /// <summary>Element type as the file stores it.</summary>
    public StoredType Type { get; }

    /// <summary>Sizes, outermost first; empty for a single number.</summary>
    public IReadOnlyList<long> Shape { get; }

    /// <summary>First byte, counted from the start of the file.</summary>
    internal long Offset { get; }

    /// <summary>Bytes.</summary>
    public long Length { get; }
}
