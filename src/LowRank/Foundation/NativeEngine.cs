using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>
/// Whether the engine (libtorch, and TorchSharp's library around it) loads on this system, and if not, why.
/// TorchSharp itself answers every failure with a missing package, and copies half a gigabyte before it does.
/// </summary>
internal static partial class NativeEngine
{
    private const string Sure = "Debian 12, Ubuntu 22.04, RHEL 9";

    /// <summary>Loads the engine. Takes about a fifth of a second the first time.</summary>
    /// <returns>Null when it loads; else one paragraph: what failed, and what to try.</returns>
    public static string? Check()
    {
        var folders = $"{AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES")}".Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .Prepend(AppContext.BaseDirectory).Select(Path.TrimEndingDirectorySeparator).Distinct().ToList();
        if (Check(folders) is { } failure) return failure;
        try
        {
            using var one = ones(1);
            return null;
        }
        catch (Exception error) when (error is TypeInitializationException or NotSupportedException or DllNotFoundException or EntryPointNotFoundException)
        {
            return Failed($"its libraries load, but not through TorchSharp ({(error.InnerException ?? error).Message.Split('\n')[0].TrimEnd('.')})",
                "The two are probably of versions that do not fit: build again from a clean checkout");
        }
    }

    /// <summary>The same for libraries in these folders, without TorchSharp.</summary>
    internal static string? Check(IReadOnlyList<string> folders)
    {
        foreach (var name in (string[])["torch_cpu", "LibTorchSharp"])
        {
            var file = OperatingSystem.IsWindows() ? name + ".dll" : OperatingSystem.IsMacOS() ? $"lib{name}.dylib" : $"lib{name}.so";
            var path = folders.Select(folder => Path.Combine(folder, file)).FirstOrDefault(File.Exists);
            if (path is null)
            {
                return Failed($"{file} is not in {string.Join(" or ", folders)}",
                    $"The native package of this system ({RuntimeInformation.RuntimeIdentifier}) was not built in: build on this system, or reference libtorch-cpu-linux-x64, libtorch-cpu-win-x64 or libtorch-cpu-osx-arm64; there is none for other systems");
            }
            if (OtherProcessor(path) is { } processor)
            {
                return Failed($"{file} is for {processor} processors, this process runs on {RuntimeInformation.ProcessArchitecture}", "Build for this system, or run the x64 version of .NET");
            }
            try
            {
                NativeLibrary.Load(path);
            }
            catch (Exception error) when (error is DllNotFoundException or BadImageFormatException)
            {
                return Explain(file, error.Message);
            }
        }
        return null;
    }

    /// <summary>The paragraph for what the system's loader said about a library.</summary>
    internal static string Explain(string file, string said)
    {
        if (CppVersion().Match(said) is { Success: true } cpp)
        {
            return Failed($"{file} needs {cpp.Value}, and this system's C++ library is older",
                $"Programs built from this repository do not need it: build again with dotnet build. Elsewhere install libstdc++ of GCC 13 or later");
        }
        if (GlibcVersion().Match(said) is { Success: true } glibc)
        {
            return Failed($"{file} needs {glibc.Value}, and this system's C library is older{Installed()}", $"Use {Sure} or later, for example in a container");
        }
        if (MissingLibrary().Match(said) is { Success: true } missing && missing.Groups[1].Value != file)
        {
            var library = missing.Groups[1].Value;
            var package = library switch { "libgomp.so.1" => "libgomp1 (Debian, Ubuntu) or libgomp (Fedora, RHEL)", "libstdc++.so.6" => "libstdc++6", _ => null };
            if (library.StartsWith("ld-linux", StringComparison.Ordinal)) return Failed($"{file} needs glibc, and this system has another C library (Alpine's musl?)", $"Use {Sure} or later, for example in a container");
            return Failed($"{file} needs {library}, which is not there", package is null ? "Build again from a clean checkout" : $"Install {package}");
        }
        return Failed($"{file} does not load ({Words(said)})", "It is probably damaged: delete the bin folder and the package's folder in ~/.nuget/packages, then build again");
    }

    private static string Failed(string what, string advice) => $"The engine (libtorch) cannot be loaded: {what}. {advice}.";

    /// <summary>The loader's own words, without .NET's introduction and the list of places.</summary>
    private static string Words(string said)
    {
        var lines = said.Split('\n');
        var own = lines.Select(line => LoaderLine().Match(line)).FirstOrDefault(match => match.Success);
        return (own is null ? lines[0] : own.Groups[1].Value).Trim().TrimEnd('.');
    }

    private static string Installed()
    {
        try
        {
            return OperatingSystem.IsLinux() ? $" ({Marshal.PtrToStringUTF8(GlibcInstalled())})" : "";
        }
        catch (Exception error) when (error is EntryPointNotFoundException or DllNotFoundException)
        {
            return "";
        }
    }

    /// <summary>The processor an ELF library is for, where it is not this one (header: Tool Interface Standard ELF 1.2, e_machine).</summary>
    private static string? OtherProcessor(string path)
    {
        var header = new byte[20];
        using (var file = File.OpenRead(path)) file.ReadAtLeast(header, header.Length, throwOnEndOfStream: false);
        if (header is not [0x7f, (byte)'E', (byte)'L', (byte)'F', ..]) return null;
        var (name, same) = (header[18] | (header[19] << 8)) switch
        {
            62 => ("x64", RuntimeInformation.ProcessArchitecture == Architecture.X64),
            183 => ("arm64", RuntimeInformation.ProcessArchitecture == Architecture.Arm64),
            3 => ("x86", RuntimeInformation.ProcessArchitecture == Architecture.X86),
            _ => ("other", false),
        };
        return same ? null : name;
    }

    [GeneratedRegex(@"(GLIBCXX|CXXABI)_[\d.]+\d")]
    private static partial Regex CppVersion();

    [GeneratedRegex(@"GLIBC_[\d.]+\d")]
    private static partial Regex GlibcVersion();

    [GeneratedRegex(@"([\w+.-]+\.so[.\d]*): cannot open shared object file")]
    private static partial Regex MissingLibrary();

    [GeneratedRegex(@"^/\S+: (.+)")]
    private static partial Regex LoaderLine();

    [LibraryImport("libc", EntryPoint = "gnu_get_libc_version")]
    private static partial nint GlibcInstalled();
}
