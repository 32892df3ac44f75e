using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using LowRank.Foundation;
using TorchSharp;

namespace LowRank.Recipes;

/// <summary>What a machine has, as far as LowRank cares.</summary>
public sealed class MachineReport
{
    internal MachineReport(string version, string processorFeatures, long memoryBytes, bool engineLoads, string engine, string gpus, string pictures) => (Version, ProcessorFeatures, MemoryBytes, EngineLoads, Engine, Gpus, Pictures) = (version, processorFeatures, memoryBytes, engineLoads, engine, gpus, pictures);

    /// <summary>Of LowRank.</summary>
    public string Version { get; }

    /// <summary>Vector instructions that decide which precision is fast.</summary>
    public string ProcessorFeatures { get; }

    /// <summary>What this process may use.</summary>
    public long MemoryBytes { get; }

    /// <summary>Whether libtorch could be loaded.</summary>
    public bool EngineLoads { get; }

    /// <summary>Versions and threads, or why it does not load.</summary>
    public string Engine { get; }

    /// <summary>How many GPUs the engine sees.</summary>
    public string Gpus { get; }

    /// <summary>Version of the picture library.</summary>
    public string Pictures { get; }
}

/// <summary>Looks at the machine.</summary>
public static class InspectMachine
{
    /// <summary>LowRank's version with the source revision it was built from.</summary>
    public static string Version { get; } =
        typeof(InspectMachine).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";

    /// <summary>Never throws: what cannot be found out is said in words.</summary>
    public static MachineReport Run()
    {
        var problem = NativeEngine.Check();
        return new MachineReport(
            Version,
            Features(),
            GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
            problem is null,
            problem ?? DescribeEngine(),
            problem is null ? DescribeGpus() : "unknown: the engine does not load",
            $"libvips {NetVips.NetVips.Version(0)}.{NetVips.NetVips.Version(1)}.{NetVips.NetVips.Version(2)}");
    }

    /// <summary>Throws where the engine cannot be loaded, saying why; call it before anything that computes.</summary>
    /// <exception cref="EngineException">libtorch cannot be loaded on this machine.</exception>
    public static void RequireEngine()
    {
        if (NativeEngine.Check() is { } problem) throw new EngineException(problem);
    }

    private static string Features()
    {
        var found = new List<string>();
        if (Avx2.IsSupported) found.Add("AVX2");
        if (Avx512F.IsSupported) found.Add("AVX-512");
        if (System.Runtime.Intrinsics.Arm.AdvSimd.IsSupported) found.Add("NEON");
        return found.Count > 0 ? string.Join(", ", found) : "no vector instructions found";
    }

    // apart, so that no TorchSharp type is touched before the check
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static string DescribeEngine() => $"libtorch {torch.__version__}, TorchSharp {typeof(torch).Assembly.GetName().Version?.ToString(3)}, {torch.get_num_threads()} threads";

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static string DescribeGpus() => torch.cuda.is_available() ? $"{torch.cuda.device_count()} (CUDA)" : "none that this build can use (CPU packages)";
}
