using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>
/// A file in memory, copy-on-write: pages come from the file when touched, writes stay private.
/// It lives until it is disposed and the last tensor over it is gone, so that no tensor ever points to nothing.
/// </summary>
internal sealed unsafe class FileMapping : IDisposable
{
    private readonly MemoryMappedFile file;
    private readonly MemoryMappedViewAccessor view;
    private readonly byte* start;
    private readonly Release release;
    private GCHandle self;
    private int users = 1;
    private int disposed;

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    private delegate void Release(nint data);

    /// <summary>Maps a whole file that is open for reading. The handle may be closed afterwards; <paramref name="path"/> is for messages.</summary>
    /// <exception cref="CheckpointException">The system gives no address space for it.</exception>
    public FileMapping(SafeFileHandle handle, string path)
    {
        try
        {
            file = MemoryMappedFile.CreateFromFile(handle, null, 0, MemoryMappedFileAccess.CopyOnWrite, HandleInheritability.None, leaveOpen: true);
            view = file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.CopyOnWrite);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            file?.Dispose();
            throw TensorFile.Refuse(path, $"the file cannot be mapped into memory: {error.Message.TrimEnd('.')}", "check the limit of virtual memory (ulimit -v) and the file system", error);
        }
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        release = _ => Leave();
        self = GCHandle.Alloc(this);   // the engine holds the delegate by its bare address
    }

    /// <summary>A tensor over bytes of the file; the caller owns it.</summary>
    public Tensor Tensor(long offset, IReadOnlyList<long> shape, ScalarType type)
    {
        Interlocked.Increment(ref users);
        try
        {
            return TensorMemory.Wrap(start + view.PointerOffset + offset, Marshal.GetFunctionPointerForDelegate(release), shape, type);
        }
        catch
        {
            Leave();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref disposed, 1) == 0) Leave();
    }

    private void Leave()
    {
        if (Interlocked.Decrement(ref users) > 0) return;
        view.SafeMemoryMappedViewHandle.ReleasePointer();
        view.Dispose();
        file.Dispose();
        self.Free();
    }
}
