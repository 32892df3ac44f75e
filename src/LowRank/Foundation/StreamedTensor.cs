using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>A tensor of a file that is to be written: what the header says of it, and how its bytes are had when their turn comes.</summary>
/// <param name="Name">Key in the file.</param>
/// <param name="Type">Element type in the file.</param>
/// <param name="Shape">Sizes, outermost first.</param>
/// <param name="Visit">Gives all bytes, in pieces; called once, on any thread.</param>
internal sealed record StreamedTensor(string Name, StoredType Type, IReadOnlyList<long> Shape, Action<TensorMemory.SpanAction> Visit)
{
    /// <summary>Bytes.</summary>
    public long Length => Shape.Aggregate(1L, (product, size) => product * size) * Type.Size();

    /// <summary>A copy of another file's tensor, byte for byte.</summary>
    /// <param name="name">Its key in the file to write.</param>
    /// <param name="from">Stays open until it is written.</param>
    /// <param name="info">Of the tensor there.</param>
    public static StreamedTensor Copy(string name, ITensorFile from, TensorInfo info) => new(name, info.Type, info.Shape, visit => from.Visit(info.Name, visit));

    /// <summary>A tensor that is computed.</summary>
    /// <param name="name">Key in the file.</param>
    /// <param name="type">Element type in the file.</param>
    /// <param name="shape">Sizes, outermost first.</param>
    /// <param name="make">Gives it in that type and shape, on any device; what it makes is disposed afterwards.</param>
    public static StreamedTensor Made(string name, StoredType type, IReadOnlyList<long> shape, Func<Tensor> make) => new(name, type, shape, visit =>
    {
        using var scope = NewDisposeScope();
        var made = make();
        if (made.dtype != type.ToScalarType() || !made.shape.SequenceEqual(shape)) throw new InvalidOperationException($"\"{name}\" was made as {made.dtype} {Shapes.Show(made.shape)}, not as {type} {Shapes.Show(shape)}");
        TensorMemory.Visit(made.cpu().contiguous(), visit);
    });
}
