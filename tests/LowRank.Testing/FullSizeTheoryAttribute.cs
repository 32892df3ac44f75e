using System.Runtime.CompilerServices;
using Xunit.Sdk;
using Xunit.v3;

namespace LowRank.Testing;

/// <summary>
/// A theory over networks of published size: gigabytes and minutes, on cases that are not committed. It exists only where LOWRANK_FULL is 1,
/// so that an ordinary run neither runs nor skips it.
/// </summary>
[AttributeUsage(AttributeTargets.Method)]
[XunitTestCaseDiscoverer(typeof(FullSizeDiscoverer))]
public sealed class FullSizeTheoryAttribute([CallerFilePath] string? path = null, [CallerLineNumber] int line = -1) : TheoryAttribute(path, line);

/// <summary>Finds full-size theories where they are asked for.</summary>
public sealed class FullSizeDiscoverer : TheoryDiscoverer
{
    public override ValueTask<IReadOnlyCollection<IXunitTestCase>> Discover(ITestFrameworkDiscoveryOptions discoveryOptions, IXunitTestMethod testMethod, IFactAttribute factAttribute) =>
        Environment.GetEnvironmentVariable("LOWRANK_FULL") == "1" ? base.Discover(discoveryOptions, testMethod, factAttribute) : new([]);
}
