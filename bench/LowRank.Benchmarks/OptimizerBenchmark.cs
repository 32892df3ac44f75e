using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Benchmarks;

/// <summary>What a step costs besides the model: the optimizer over the 288 tensors of an adapter on the attention of SD 1.5, rank 4 and rank 64.</summary>
internal static class OptimizerBenchmark
{
    private const int Tensors = 288;

    public static void Run(Report report)
    {
        Measure(report, rank: 4);
        Measure(report, rank: 64);
    }

    private static void Measure(Report report, int rank)
    {
        using var scope = NewDisposeScope();
        var each = 693 * rank;   // 0.8 million numbers in all at rank 4
        var parameters = new TrainedParameters(zeros(Tensors * each), randn(Tensors * each),
            [.. Enumerable.Range(0, Tensors).Select(index => new ParameterSegment($"{index}", (long)index * each, each) { Shape = [rank, each / rank] })], [new ParameterGroup(1e-4, 0.01)]);
        var size = FormattableString.Invariant($"288 tensors of rank {rank} ({Tensors * each / 1e6:F1} M numbers)");
        foreach (var kind in Enum.GetValues<OptimizerKind>())
        {
            using var optimizer = new TrainingOptions { Optimizer = kind }.MakeOptimizer(parameters);
            report.Add($"{kind} step, {size}", $"{Stopwatch.Median(51, () => optimizer.Step(1)):F2} ms", "median of 51");
        }
        using var average = new MovingAverage(parameters, new MovingAverageRule(0.99));
        report.Add($"moving average, {size}", $"{Stopwatch.Median(51, () => average.Update(100)):F2} ms", "median of 51");
        report.Add($"gradient norm, {size}", $"{Stopwatch.Median(201, () => parameters.GradientNorm()):F2} ms", "rows in fp32, their norms in fp64; median of 201");
    }
}
