using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>The memory behind tensors: wrap foreign memory as a tensor, look at a tensor's own memory without the 2 GB limit of a span.</summary>
internal static unsafe partial class TensorMemory
{
    /// <summary>
    /// A contiguous CPU tensor over memory that somebody else owns; <paramref name="release"/> is called by the engine when
    /// the last reference to the memory is gone. The caller owns the tensor.
    /// </summary>
    public static Tensor Wrap(byte* data, nint release, IReadOnlyList<long> shape, ScalarType type)
    {
        InitializeDeviceType(DeviceType.CPU);   // loads the engine; a first call from here would not find it
        var sizes = shape.ToArray();
        fixed (long* first = sizes)
        {
            var handle = NewTensor(data, release, first, sizes.Length, (sbyte)type, (sbyte)type, 0, -1, 0);
            if (handle == 0) CheckForErrors();
            return Tensor.UnsafeCreateTensor(handle);
        }
    }

    /// <summary>First byte of a contiguous CPU tensor. Keep the tensor alive while using it.</summary>
    public static byte* Pointer(Tensor tensor) => DataOf(tensor.Handle);

    /// <summary>Calls <paramref name="visit"/> with the whole memory of a contiguous CPU tensor, at most 1 GiB at a time.</summary>
    public static void Visit(Tensor tensor, SpanAction visit)
    {
        var length = tensor.numel() * tensor.element_size();
        const int Piece = 1 << 30;
        for (long at = 0; at < length; at += Piece)
        {
            visit(new Span<byte>(Pointer(tensor) + at, (int)Math.Min(Piece, length - at)), at);
        }
        GC.KeepAlive(tensor);
    }

    /// <param name="piece">A part of the memory.</param>
    /// <param name="offset">Where in the memory it starts.</param>
    public delegate void SpanAction(Span<byte> piece, long offset);

    // exported by TorchSharp's native half; its managed half offers neither
    [LibraryImport("LibTorchSharp", EntryPoint = "THSTensor_new")]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    private static partial nint NewTensor(void* data, nint deleter, long* sizes, int axes, sbyte type, sbyte dtype, int device, int index, byte requiresGrad);

    [LibraryImport("LibTorchSharp", EntryPoint = "THSTensor_data")]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    private static partial byte* DataOf(nint tensor);
}
