using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using LowRank.Foundation;

namespace LowRank.Tests.Foundation;

public sealed class NativeEngineTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static string Library => OperatingSystem.IsWindows() ? "torch_cpu.dll" : OperatingSystem.IsMacOS() ? "libtorch_cpu.dylib" : "libtorch_cpu.so";

    [Fact]
    public void The_engine_loads_here() => Assert.Null(NativeEngine.Check());

    [Fact]
    public void A_missing_package_is_named() =>
        Assert.Equal($"The engine (libtorch) cannot be loaded: {Library} is not in {folder.Path} or {folder["x"]}. " +
            $"The native package of this system ({RuntimeInformation.RuntimeIdentifier}) was not built in: build on this system, or reference libtorch-cpu-linux-x64, libtorch-cpu-win-x64 or libtorch-cpu-osx-arm64; there is none for other systems.",
            NativeEngine.Check([folder.Path, folder["x"]]));

    [Fact]
    public void A_library_of_another_processor_is_named()
    {
        var other = RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? (Name: "x64", Code: (byte)62) : (Name: "arm64", Code: (byte)183);
        byte[] header = [0x7f, .. "ELF"u8, 2, 1, 1, 0, .. new byte[8], 3, 0, other.Code, 0, .. new byte[44]];
        File.WriteAllBytes(folder[Library], header);
        Assert.Equal($"The engine (libtorch) cannot be loaded: {Library} is for {other.Name} processors, this process runs on {RuntimeInformation.ProcessArchitecture}. " +
            "Build for this system, or run the x64 version of .NET.", NativeEngine.Check([folder.Path]));
    }

    [Fact]
    public void A_damaged_library_is_said_to_be_damaged()
    {
        File.WriteAllText(folder[Library], "no library, but long enough to be one: " + new string('x', 200));
        Assert.Matches("^The engine \\(libtorch\\) cannot be loaded: " + Regex.Escape(Library) + @" does not load \([^()/]+\)\. " +
            "It is probably damaged: delete the bin folder and the package's folder in ~/.nuget/packages, then build again.$", NativeEngine.Check([folder.Path]));
    }

    [Theory]
    [InlineData("/lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by /app/libLibTorchSharp.so)",
        "libLibTorchSharp.so needs GLIBCXX_3.4.32, and this system's C++ library is older. Programs built from this repository do not need it: build again with dotnet build. Elsewhere install libstdc++ of GCC 13 or later.")]
    [InlineData("Unable to load shared library '/app/libLibTorchSharp.so' or one of its dependencies.\nlibgomp.so.1: cannot open shared object file: No such file or directory",
        "libLibTorchSharp.so needs libgomp.so.1, which is not there. Install libgomp1 (Debian, Ubuntu) or libgomp (Fedora, RHEL).")]
    [InlineData("libc10.so: cannot open shared object file: No such file or directory",
        "libLibTorchSharp.so needs libc10.so, which is not there. Build again from a clean checkout.")]
    [InlineData("Error loading shared library ld-linux-x86-64.so.2: cannot open shared object file: No such file",
        "libLibTorchSharp.so needs glibc, and this system has another C library (Alpine's musl?). Use Debian 12, Ubuntu 22.04, RHEL 9 or later, for example in a container.")]
    [InlineData("Unable to load shared library '/app/libLibTorchSharp.so' or one of its dependencies.\n/app/libLibTorchSharp.so: undefined symbol: _ZN2at4_ops3fooE",
        "libLibTorchSharp.so does not load (undefined symbol: _ZN2at4_ops3fooE). It is probably damaged: delete the bin folder and the package's folder in ~/.nuget/packages, then build again.")]
    public void What_the_loader_says_is_put_into_words(string said, string expected) =>
        Assert.Equal("The engine (libtorch) cannot be loaded: " + expected, NativeEngine.Explain("libLibTorchSharp.so", said));

    [Fact]
    public void An_old_C_library_is_named_with_its_version()
    {
        if (!OperatingSystem.IsLinux()) Assert.Skip("glibc is Linux's");
        Assert.Matches(@"^The engine \(libtorch\) cannot be loaded: libtorch_cpu\.so needs GLIBC_2\.99, and this system's C library is older \(2\.\d+\)\. " +
            @"Use Debian 12, Ubuntu 22\.04, RHEL 9 or later, for example in a container\.$",
            NativeEngine.Explain("libtorch_cpu.so", "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.99' not found (required by /app/libtorch_cpu.so)"));
    }
}
