// The walk of docs/combine-and-extract.md, with its tables and pictures: two adapters become one and a part of the model, a fine-tuned model becomes an adapter. Run it from the
// repository's folder; two cores take about five minutes:
//
//   dotnet run -c Release examples/workbench/walk.cs                    into runs/workbench
//   dotnet run -c Release examples/workbench/walk.cs -- docs/pictures   the two sheets into another folder
//
// It trains the recipes examples/tango, examples/dreambooth and examples/full first; what is in runs/workbench already is taken as it is.

#:project ../../src/LowRank/LowRank.csproj
#:property PublishAot=false

using System.Diagnostics;
using System.Globalization;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Recipes;

const string runs = "runs/workbench";
const double strength = 0.8;
string[] prompts = ["sks face", "red heart", "printer", "battery"];
var sheets = args.Length > 0 ? args[0] : runs;
var scratch = Directory.CreateTempSubdirectory("lowrank-workbench-").FullName;
var drawn = 0;
try
{
    Combine(Trained("tango", "adapter.safetensors"), Trained("dreambooth", "adapter.safetensors", "--set", $"prior.folder={runs}/faces"));
    Extract(Trained("full", "model"));
    return 0;
}
catch (LowRankException problem)   // a model or an adapter that cannot be used: the message says what, where and what to try
{
    Console.Error.WriteLine(problem.Message);
    return 1;
}
finally
{
    Directory.Delete(scratch, recursive: true);
}

void Combine(string style, string subject)
{
    AdapterUse[] both = [new(style, strength), new(subject, strength)];
    var attached = Row("icons-64", both);
    List<(string Label, RgbImage[] Pictures)> rows = [("icons-64", Row("icons-64")), ("Tango style", Row("icons-64", both[0])), ("\"sks face\"", Row("icons-64", both[1])), ("both attached", attached)];
    Console.WriteLine("| what | rank | file | error | largest difference of a pixel |\n| --- | --- | --- | --- | --- |");
    foreach (var (label, options) in new (string, CombineOptions)[]
    {
        ("concat", new() { Inputs = both, Output = $"{runs}/concat.safetensors" }),
        ("svd, rank 8", new() { Inputs = both, Output = $"{runs}/svd-8.safetensors", Method = CombineMethod.Svd, Rank = 8 }),
        ("svd, rank 2", new() { Inputs = both, Output = $"{runs}/svd-2.safetensors", Method = CombineMethod.Svd, Rank = 2 }),
    })
    {
        var made = CombineAdapters.Run(options);
        rows.Add((label, Row("icons-64", new AdapterUse(made.Output))));
        Told(label, made, rows[^1].Pictures);
    }
    var model = $"{runs}/merged";
    if (Directory.Exists(model)) Directory.Delete(model, recursive: true);
    var merged = MergeAdapters.Run(new MergeOptions { Model = "icons-64", Adapters = both, Output = model, Precision = SavePrecision.Fp32 });
    rows.Add(("merged", Row(model)));
    Console.WriteLine(FormattableString.Invariant($"| merged into the model, fp32 | | {Directory.GetFiles(merged.Output, "*.safetensors", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length) / 1000} kB | | {Difference(attached, rows[^1].Pictures)} of 255 |"));
    Save("combined-adapters", rows);

    void Told(string label, WrittenAdapter made, RgbImage[] pictures) => Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"| {label} | {made.Modules.Max(module => module.Rank)} | {made.Bytes / 1000} kB | {(made.Error < 1e-6 ? "0" : made.Error.ToString("G3", CultureInfo.InvariantCulture))} | {Difference(attached, pictures)} of 255 |"));
}

void Extract(string tuned)
{
    List<(string Label, RgbImage[] Pictures)> rows = [("icons-64", Row("icons-64")), ("all weights trained", Row(tuned))];
    Console.WriteLine("\n| adapter | file | energy kept | error |\n| --- | --- | --- | --- |");
    foreach (var rank in new[] { 16, 4, 1 })
    {
        var made = ExtractAdapter.Run(new() { Base = "icons-64", Tuned = tuned, Output = $"{runs}/rank-{rank}.safetensors", Rank = rank });
        rows.Add(($"rank {rank}", Row("icons-64", new AdapterUse(made.Output))));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| rank {rank} | {made.Bytes / 1000} kB | {made.Energy:P1} | {made.Error:F3} |"));
        foreach (var note in made.Notes.Where(_ => rank == 1)) Console.WriteLine(note);
    }
    Save("extracted-adapters", rows);
}

// The result of a recipe of the examples; it is trained where it is not there.
string Trained(string recipe, string result, params string[] more)
{
    var folder = $"{runs}/{recipe}";
    if (!File.Exists(Path.Combine(folder, "report.html")))
    {
        var clock = Stopwatch.StartNew();
        using var program = Process.Start("dotnet", ["run", "-c", "Release", "--project", "src/LowRank.Cli", "--", "train", $"examples/{recipe}/recipe.toml", "--output", folder, .. more]);
        program.WaitForExit();
        if (program.ExitCode != 0) throw new CheckpointException($"training examples/{recipe} ended with {program.ExitCode}; see above");
        Console.WriteLine(FormattableString.Invariant($"{recipe}: {clock.Elapsed.TotalSeconds:F0} s"));
    }
    return Path.Combine(folder, result);
}

RgbImage[] Row(string model, params AdapterUse[] adapters) => [.. prompts.Select(prompt => ImageFile.Read(Generate.Run(new GenerateOptions
{
    Model = model, Adapters = adapters, Prompt = prompt, Seed = 7, Guidance = 4, Output = Path.Combine(scratch, (drawn++).ToString(CultureInfo.InvariantCulture)),
}).Pictures[0]))];

static int Difference(RgbImage[] a, RgbImage[] b) => a.Zip(b, (one, other) => one.Pixels.Zip(other.Pixels, (x, y) => Math.Abs(x - y)).Max()).Max();

// 16 colours: a fifth of the bytes, for a page
void Save(string name, List<(string Label, RgbImage[] Pictures)> rows)
{
    var sheet = ImageGrid.Sheet([.. rows.Select(row => row.Pictures)], prompts, [.. rows.Select(row => row.Label)]);
    using var image = NetVips.Image.NewFromMemory(sheet.Pixels, sheet.Size.Width, sheet.Size.Height, 3, NetVips.Enums.BandFormat.Uchar);
    using var srgb = image.Copy(interpretation: NetVips.Enums.Interpretation.Srgb);
    Directory.CreateDirectory(sheets);
    var path = Path.Combine(sheets, name + ".png");
    srgb.Pngsave(path, compression: 9, palette: true, effort: 10, dither: 0.3, bitdepth: 4);
    Console.WriteLine($"{path}: {new FileInfo(path).Length:N0} bytes");
}
