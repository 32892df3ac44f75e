using LowRank.Evaluation;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>What the measures cost for sets as large as people publish: 10,000 features each of 2048 numbers, as Inception gives them. One after the other in one process, so the peak grows only.</summary>
internal static class MeasuresBenchmark
{
    private const int Pictures = 10_000, Numbers = 2048;

    public static void Run(Report report)
    {
        using var scope = NewDisposeScope();
        var (real, generated) = (rand(Pictures, Numbers), rand(Pictures, Numbers));
        Measure("KID, 100 subsets of 1000", () => KernelInceptionDistance.OverSubsets(real, generated, subsets: 100, size: 1000, seed: 0));
        Measure("KID of all at once", () => KernelInceptionDistance.Of(real, generated));
        Measure("FID", () => FrechetInceptionDistance.Of(real, generated));
        Measure("precision, recall, density, coverage", () => PrecisionRecall.Of(real, generated, neighbours: 5));
        Measure("CMMD", () => Cmmd.Of(real, generated));
        Measure("Vendi score", () => VendiScore.Of(generated));

        void Measure(string what, Action action)
        {
            var seconds = Stopwatch.Milliseconds(action) / 1000;
            using var process = System.Diagnostics.Process.GetCurrentProcess();
            report.Add(what, $"{seconds:F1} s", FormattableString.Invariant($"once; peak of the process until here {process.PeakWorkingSet64 / (double)(1 << 30):F2} GiB"));
        }
    }
}
