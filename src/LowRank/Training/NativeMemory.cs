using System.Runtime.InteropServices;

namespace LowRank.Training;

/// <summary>
/// Memory that libtorch has freed and glibc keeps: over many steps of changing sizes its heap fragments and the process grows,
/// without a leak. Handing it back now and then keeps a run at its true size; a call takes some 40 ms with a large heap.
/// </summary>
internal static partial class NativeMemory
{
    /// <summary>Hands freed memory back to the system where the C library can: glibc on Linux. Elsewhere does nothing.</summary>
    public static void ReturnUnused()
    {
        if (!OperatingSystem.IsLinux()) return;
        try
        {
            _ = MallocTrim(0);
        }
        catch (EntryPointNotFoundException)
        {
            // musl has no such function, and no such heap
        }
        catch (DllNotFoundException)
        {
            // no C library of that name
        }
    }

    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32 | DllImportSearchPath.SafeDirectories)]
    private static partial int MallocTrim(nint keep);
}
