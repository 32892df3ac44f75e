using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Reflection;
using Xunit.v3;

namespace LowRank.Testing;

/// <summary>
/// What became of every golden case in this run of the tests: each test that opens a case is written down with how it ended.
/// A test assembly takes part with <see cref="GoldenLedgerAttribute"/>.
/// </summary>
public sealed class GoldenLedger
{
    /// <summary>Of this run.</summary>
    public static GoldenLedger OfRun { get; } = new();

    private static readonly string[] Fates = ["passed", "in part", "not built", "full size", "skipped", "not run", "failed"];
    private readonly ConcurrentDictionary<string, ConcurrentBag<string>> openedBy = new();
    private readonly ConcurrentBag<(string Case, TestResult Result)> ends = [];
    private readonly ConcurrentBag<(string Case, string What)> missing = [];

    /// <summary>Skips the test that runs now, and writes down what its case asks for.</summary>
    /// <param name="id">The case.</param>
    /// <param name="what">What is not built, as the case calls it.</param>
    [DoesNotReturn]
    public static void SkipNotBuilt(string id, string what)
    {
        OfRun.NotBuilt(id, what);
        Assert.Skip($"not built yet: {id} asks for {what}");
    }

    /// <summary>A test reads this case.</summary>
    public void Opened(string test, string id) => openedBy.GetOrAdd(test, _ => []).Add(id);

    /// <summary>A case, or one run of it, asks for something that is not built.</summary>
    public void NotBuilt(string id, string what) => missing.Add((id, what));

    /// <summary>A test ended: so did its part of every case that it opened.</summary>
    public void Ended(string test, TestResult result)
    {
        if (!openedBy.TryRemove(test, out var cases)) return;
        foreach (var id in cases.Distinct()) ends.Add((id, result));
    }

    /// <summary>A table with one line an area, and below it by name every case that did not pass whole. Empty when no test opened a case.</summary>
    /// <param name="all">Every case that there is, with its kind.</param>
    /// <param name="waitingKinds">Kinds that no test takes yet, as kind or area/kind.</param>
    public IReadOnlyList<string> Report(IEnumerable<(string Id, string Kind)> all, IReadOnlyCollection<string> waitingKinds) => ends.IsEmpty ? [] : [.. Lines(all, waitingKinds)];

    private IEnumerable<string> Lines(IEnumerable<(string Id, string Kind)> all, IReadOnlyCollection<string> waitingKinds)
    {
        var cases = all.Select(item => new Entry(item.Id, item.Id.Split('/')[0], FateOf(item, waitingKinds))).ToList();
        yield return Line("area", ["cases", .. Fates]);
        foreach (var area in cases.GroupBy(item => item.Area)) yield return Line(area.Key, Counts([.. area]));
        yield return Line("all", Counts(cases));
        foreach (var fate in Fates.Skip(1))
        {
            var found = cases.Where(item => item.Fate.Name == fate).ToList();
            if (fate == "not run" && found.Count > 0) yield return $"  not run: {string.Join(", ", found.Select(item => item.Id))}";
            else foreach (var item in found) yield return $"  {fate}: {item.Id}{(item.Fate.Why.Length > 0 ? $" ({item.Fate.Why})" : "")}";
        }
    }

    private static IEnumerable<string> Counts(IReadOnlyList<Entry> cases) =>
        Fates.Select(fate => cases.Count(item => item.Fate.Name == fate)).Prepend(cases.Count).Select(count => count.ToString(CultureInfo.InvariantCulture));

    private static string Line(string area, IEnumerable<string> columns) => $"{area,-10}{string.Concat(columns.Select(column => $"{column,10}"))}";

    private (string Name, string Why) FateOf((string Id, string Kind) item, IReadOnlyCollection<string> waitingKinds)
    {
        var results = ends.Where(end => end.Case == item.Id).Select(end => end.Result).ToHashSet();
        var asked = string.Join("; ", missing.Where(found => found.Case == item.Id).Select(found => found.What).Distinct().Order(StringComparer.Ordinal));
        if (results.Contains(TestResult.Failed)) return ("failed", "");
        if (results.Contains(TestResult.Passed)) return asked.Length > 0 ? ("in part", "not built: " + asked) : ("passed", "");
        if (asked.Length > 0) return ("not built", asked);
        if (waitingKinds.Any(kind => GoldenCase.IsOfKind(item, kind))) return ("not built", "kind " + item.Kind);
        if (results.Contains(TestResult.Skipped)) return ("skipped", "see the skipped tests");
        return item.Kind.EndsWith("_full", StringComparison.Ordinal) ? ("full size", "only with LOWRANK_FULL=1") : ("not run", "");
    }

    private sealed record Entry(string Id, string Area, (string Name, string Why) Fate);
}

/// <summary>On a test assembly: every test that ends is told to the <see cref="GoldenLedger"/>.</summary>
[AttributeUsage(AttributeTargets.Assembly)]
public sealed class GoldenLedgerAttribute : BeforeAfterTestAttribute
{
    /// <inheritdoc/>
    public override void After(MethodInfo methodUnderTest, IXunitTest test)
    {
        if (TestContext.Current.TestState is { } state) GoldenLedger.OfRun.Ended(test.UniqueID, state.Result);
    }
}
