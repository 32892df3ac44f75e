using LowRank.Testing;
using LowRank.Tests.Golden;

[assembly: GoldenLedger]
[assembly: AssemblyFixture(typeof(GoldenReport))]

namespace LowRank.Tests.Golden;

/// <summary>Writes what became of every golden case when all tests have ended.</summary>
public sealed class GoldenReport : IDisposable
{
    /// <summary>Beside the test program: golden-cases.txt.</summary>
    public static string Path { get; } = System.IO.Path.Combine(AppContext.BaseDirectory, "golden-cases.txt");

    /// <summary>Before the first test.</summary>
    public GoldenReport() => File.Delete(Path);

    /// <inheritdoc/>
    public void Dispose()
    {
        var table = GoldenLedger.OfRun.Report(GoldenCase.All(), GoldenKindsTests.NotBuiltYet);
        if (table.Count == 0) return;
        IEnumerable<string> report = [$"golden cases in {GoldenCase.FixturesFolder}", .. table];
        File.WriteAllLines(Path, report);
        foreach (var line in report.Where(line => line[0] != ' ')) Console.Out.WriteLine(line);   // the names are in the file
    }
}
