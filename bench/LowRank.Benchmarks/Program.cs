using LowRank.Benchmarks;
using static TorchSharp.torch;

// dotnet run -c Release --project bench/LowRank.Benchmarks -- NAME...
// Prints rows for bench/RESULTS.md: what, the number, and the machine with its GEMM peak of the same run.

var benchmarks = new Dictionary<string, Action<Report>>
{
    ["attention"] = AttentionBenchmark.Run,
    ["extract"] = ExtractBenchmark.Run,
    ["files"] = FilesBenchmark.Run,
    ["hooks"] = HooksBenchmark.Run,
    ["icons-step"] = IconsStepBenchmark.Run,
    ["inspect"] = InspectBenchmark.Run,
    ["kinds"] = KindsBenchmark.Run,
    ["measures"] = MeasuresBenchmark.Run,
    ["optimizer"] = OptimizerBenchmark.Run,
    ["pictures"] = PicturesBenchmark.Run,
    ["studio"] = StudioBenchmark.Run,
    ["step-bf16"] = report => StepBenchmark.Run(report, ScalarType.BFloat16),
    ["step-fp32"] = report => StepBenchmark.Run(report, ScalarType.Float32),
};

var unknown = args.FirstOrDefault(name => !benchmarks.ContainsKey(name));
if (args.Length == 0 || unknown is not null)
{
    if (unknown is not null) Console.Error.WriteLine($"no benchmark is named \"{unknown}\"");
    Console.Error.WriteLine($"usage: dotnet run -c Release --project bench/LowRank.Benchmarks -- NAME...   (names: {string.Join(", ", benchmarks.Keys)})");
    return 2;
}

var report = new Report();
foreach (var name in args) benchmarks[name](report);
report.Print();
return 0;
