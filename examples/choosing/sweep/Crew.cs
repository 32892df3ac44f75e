using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;

namespace LowRank.Examples.Choosing;

/// <summary>Has trainings made, so many at a time, each by this program in a process of its own with one thread: threads of one process would wait for each other.</summary>
/// <param name="model">The base.</param>
/// <param name="output">Folder of the sweep.</param>
/// <param name="workers">How many at a time.</param>
internal sealed class Crew(string model, string output, int workers)
{
    private int done;

    /// <summary>Makes them, in this order; the first that fails stops the others, which keep what is made.</summary>
    /// <exception cref="SweepException">One could not be made; its own words are the message.</exception>
    public void Make(IReadOnlyList<Cell> cells)
    {
        try
        {
            Parallel.ForEach(Partitioner.Create(cells, EnumerablePartitionerOptions.NoBuffering), new ParallelOptions { MaxDegreeOfParallelism = workers }, cell =>
            {
                var line = InProcess(cell);
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Interlocked.Increment(ref done),3}/{cells.Count}  {line}"));
            });
        }
        catch (AggregateException problems) when (problems.InnerExceptions.OfType<SweepException>().FirstOrDefault() is { } first)
        {
            throw first;
        }
    }

    private string InProcess(Cell cell)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true, RedirectStandardError = true };
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet") start.ArgumentList.Add(typeof(Crew).Assembly.Location);
        foreach (var argument in new[] { "--cell", cell.Name, "--model", model, "--output", output }) start.ArgumentList.Add(argument);
        start.Environment["OMP_NUM_THREADS"] = "1";
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var line = process.StandardOutput.ReadToEnd().Trim();
        process.WaitForExit();
        return process.ExitCode == 0 ? line : throw new SweepException($"{cell.Name} could not be made\n{errors.Result.Trim()}");
    }
}
