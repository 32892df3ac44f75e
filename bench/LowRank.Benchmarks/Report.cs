using System.Globalization;
using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>Rows of a run, and the machine they were measured on.</summary>
internal sealed class Report
{
    private readonly List<(string What, string Value, string Note)> rows = [];

    /// <summary>Adds a row: what was measured, the number with its unit, how.</summary>
    public void Add(string what, FormattableString value, string note)
    {
        rows.Add((what, value.ToString(CultureInfo.InvariantCulture), note));
        Console.Error.WriteLine($"  {what}: {rows[^1].Value}");
    }

    /// <summary>Prints the rows as a table in Markdown.</summary>
    public void Print()
    {
        var (single, half) = (GemmPeak(ScalarType.Float32), GemmPeak(ScalarType.BFloat16));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"Machine: {Processor()}, {Environment.ProcessorCount} threads, {RuntimeInformation.OSDescription}, .NET {Environment.Version}."));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"GEMM peak in this run (2048³, best of 6, {get_num_threads()} threads): fp32 {single:F0} GFLOP/s, bf16 {half:F0} GFLOP/s."));
        Console.WriteLine();
        Console.WriteLine("| what | measured | how |");
        Console.WriteLine("| --- | --- | --- |");
        foreach (var (what, value, note) in rows) Console.WriteLine($"| {what} | {value} | {note} |");
    }

    /// <summary>Best of six multiplications of two 2048 × 2048 matrices, GFLOP/s.</summary>
    public static double GemmPeak(ScalarType type)
    {
        using var scope = NewDisposeScope();
        var (a, b) = (randn(2048, 2048).to(type), randn(2048, 2048).to(type));
        var best = Enumerable.Range(0, 7).Select(_ => Stopwatch.Milliseconds(() => a.mm(b).Dispose())).Skip(1).Min();
        return 2 * Math.Pow(2048, 3) / best / 1e6;
    }

    private static string Processor()
    {
        const string Path = "/proc/cpuinfo";
        var line = File.Exists(Path) ? File.ReadLines(Path).FirstOrDefault(text => text.StartsWith("model name", StringComparison.Ordinal)) : null;
        return line?.Split(':')[1].Trim() ?? RuntimeInformation.ProcessArchitecture.ToString();
    }
}

/// <summary>Times actions.</summary>
internal static class Stopwatch
{
    public static double Milliseconds(Action action)
    {
        var start = System.Diagnostics.Stopwatch.GetTimestamp();
        action();
        return System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalMilliseconds;
    }

    /// <summary>The middle one of several runs, after one that does not count.</summary>
    public static double Median(int runs, Action action)
    {
        action();
        var times = Enumerable.Range(0, runs).Select(_ => Milliseconds(action)).Order().ToList();
        return times[times.Count / 2];
    }
}
