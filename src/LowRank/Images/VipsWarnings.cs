using NetVips;

namespace LowRank.Images;

/// <summary>
/// libvips prints a line to the standard error for every damaged tile and odd profile. What matters of that reaches the user as an error or
/// in the data report, and a library is silent, so its warnings are taken off. libvips keeps this setting for the process; there is no smaller scope.
/// </summary>
internal static class VipsWarnings
{
    // native code calls it from its own threads at any time, so it must never be collected
    private static readonly Log.LogDelegate Ignore = static (_, _, _) => { };
    private static readonly Lazy<uint> Handler = new(() => Log.SetLogHandler("VIPS", Enums.LogLevelFlags.Warning, Ignore));

    public static void Silence() => _ = Handler.Value;
}
