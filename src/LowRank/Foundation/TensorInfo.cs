namespace LowRank.Foundation;

/// <summary>What a file's header says of one tensor.</summary>
/// <param name="Name">Key in the file.</param>
/// <param name="Type">Element type as the file stores it.</param>
/// <param name="Shape">Sizes, outermost first; empty for a single number.</param>
/// <param name="Offset">First byte, counted from the start of the file.</param>
/// <param name="Length">Bytes.</param>
public sealed record TensorInfo(string Name, StoredType Type, IReadOnlyList<long> Shape, long Offset, long Length);
