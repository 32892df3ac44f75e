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
    ["merge-sd15"] = report => MergeBenchmark.Run(report, "sd15"),
    ["merge-sdxl"] = report => MergeBenchmark.Run(report, "sdxl"),
    ["optimizer"] = OptimizerBenchmark.Run,
    ["pictures"] = PicturesBenchmark.Run,
    ["studio"] = StudioBenchmark.Run,
    ["step-bf16"] = report => StepBenchmark.Run(report, ScalarType.BFloat16),
    ["step-fp32"] = report => StepBenchmark.Run(report, ScalarType.Float32),
};

if (args is [MergeBenchmark.Child, ..]) return MergeBenchmark.RunChild(args[1..]);

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
