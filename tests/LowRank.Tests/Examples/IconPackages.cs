using LowRank.Examples.Icons;

namespace LowRank.Tests.Examples;

/// <summary>The packages that hold the pictures of the base. They are not part of the repository: LOWRANK_PACKAGES names the folder into which they were unpacked; else they may be installed.</summary>
internal static class IconPackages
{
    /// <summary>The packages' files; skips the test, saying so, where they are missing or of other versions.</summary>
    public static Sources Find()
    {
        var sources = Sources.Under(Environment.GetEnvironmentVariable("LOWRANK_PACKAGES") is { Length: > 0 } folder ? folder : "/");
        try
        {
            sources.Require(anyVersion: false);
        }
        catch (IconDataException problem)
        {
            Assert.Skip($"nothing was checked against the real pictures: {problem.Message}");
        }
        return sources;
    }
}
