// Makes the pictures of README.md, docs/methods.md, docs/generate.md and models/adapters/README.md that show what icons-64 draws. Run it from the repository's folder:
//
//   dotnet run -c Release examples/icons-64/doc-pictures.cs                 all of them: about twenty minutes on two cores
//   dotnet run -c Release examples/icons-64/doc-pictures.cs -- tango full   these only
//
// It trains the recipes of the examples into their run folders first; a run folder that is there is taken as it is. "captions" only shrinks what measure.cs drew
// (--output runs/icons-64/measured.json), and comes last.

#:project ../../src/LowRank/LowRank.csproj
#:property PublishAot=false

using System.Diagnostics;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Recipes;

string[] things = ["red heart", "battery", "printer", "folder", "cat face", "umbrella"];
var scratch = Directory.CreateTempSubdirectory("lowrank-doc-pictures-").FullName;
var drawn = 0;
var figures = new Dictionary<string, Action>
{
    ["tango"] = () => Save("tango-before-after", things, [("before", Row(things, new())), ("after", Row(things, new() { Adapter = Train("tango/recipe.toml", "tango") }))]),
    ["full"] = () => Save("full-before-after", things, [("before", Row(things, new())), ("after", Row(things, new() { Model = TrainModel("full/recipe.toml", "full") }))]),
    ["masked"] = Masked,
    ["dreambooth"] = DreamBooth,
    ["textual-inversion"] = () => Word("textual-inversion", new() { Guidance = 5 }),
    ["pivotal"] = () => Word("pivotal", new() { Guidance = 3 }),
    ["inpainting-before-after"] = Inpainting,
    ["generate"] = GeneratePage,
    ["adapters"] = ShippedAdapters,
    ["captions"] = Captions,
};
if (args.FirstOrDefault(name => !figures.ContainsKey(name)) is { } unknown)
{
    Console.Error.WriteLine($"no such picture: {unknown}; there are {string.Join(", ", figures.Keys)}");
    return 2;
}
try
{
    foreach (var name in args.Length > 0 ? args : [.. figures.Keys]) figures[name]();
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

void Masked()
{
    string[] prompts = ["red heart", "battery", "printer", "folder", "cat face"];
    var with = Train("masked/recipe.toml", "masked");
    var without = Train("masked/recipe.toml", "masked-none", "--set", "data[0].mask=none", "--set", "loss.unmasked_weight=0.1");
    Save("masked-before-after", prompts, [
        ("before", Row(prompts, new() { Guidance = 3 })),
        ("after, with masks", Row(prompts, new() { Guidance = 3, Adapter = with })),
        ("after, without them", Row(prompts, new() { Guidance = 3, Adapter = without }))]);
}

void DreamBooth()
{
    string[] prompts = ["sks face", "sks face", "face", "face", "cat face", "red heart"];
    var nothing = Train(WithoutTeacher(), "dreambooth-nothing");
    var prior = Train("dreambooth/recipe.toml", "dreambooth");
    var teacher = Train("dreambooth/teacher.toml", "dreambooth-teacher");
    var rows = new (string, string?)[] { ("before", null), ("nothing preserves", nothing), ("prior pictures", prior), ("teacher", teacher) };
    Save("dreambooth-before-after", prompts, [.. rows.Select(row => (row.Item1, Row(prompts, new() { Guidance = 3, Adapter = row.Item2 })))]);
}

// The teacher's recipe as an ordinary LoRA, with nothing that preserves.
string WithoutTeacher()
{
    var folder = Path.GetFullPath("examples/dreambooth");
    var path = Path.Combine(scratch, "nothing.toml");
    File.WriteAllLines(path, File.ReadLines(Path.Combine(folder, "teacher.toml"))
        .Where(line => !line.StartsWith("method", StringComparison.Ordinal) && !line.StartsWith("[loss]", StringComparison.Ordinal) && !line.StartsWith("teacher_", StringComparison.Ordinal))
        .Select(line => line.Replace("\"pictures\"", $"\"{Path.Combine(folder, "pictures")}\"", StringComparison.Ordinal)));
    return path;
}

void Word(string method, Settings settings)
{
    string[] prompts = ["red heart <tango>", "red heart", "printer <tango>", "printer", "battery <tango>", "battery", "cat face <tango>", "cat face"];
    var run = Trained(method + "/recipe.toml", method, []);
    var adapter = Path.Combine(run, "adapter.safetensors");
    var after = method == "pivotal" ? settings with { Adapter = adapter } : settings with { Embedding = adapter };
    Save(method + "-before-after", prompts, [("before", Row(prompts, settings)), ("after", Row(prompts, after))]);
}

void Inpainting()
{
    const string pictures = "examples/tango/pictures/";
    var (middle, half) = (Mask("middle", 16, 48, 16, 48), Mask("half", 32, 64, 0, 64));
    (string Prompt, string Picture, string Mask)[] tasks =
    [
        ("devil face", "emotes_face-devilish", middle), ("printer", "devices_printer", middle), ("blue folder", "places_folder", half),
        ("photo camera", "devices_camera-photo", middle), ("smiling face", "devices_computer", middle), ("green heart", "emblems_emblem-favorite", half),
    ];
    var model = TrainModel("inpainting/recipe.toml", "inpainting");
    var adapter = Train("inpainting/lora.toml", "inpainting-lora");
    RgbImage[] Painted(Settings settings) => [.. tasks.Select(task => Draw(task.Prompt, settings with { Image = pictures + task.Picture + ".png", Mask = task.Mask, NoiseStrength = 1, Guidance = 2, Seed = 1 }))];
    var given = tasks.Select(task => (Picture: ImageFile.Read(pictures + task.Picture + ".png"), Mask: ImageFile.Read(task.Mask))).ToList();
    Save("inpainting-before-after", [.. tasks.Select(task => task.Prompt)], [
        ("picture", [.. given.Select(one => one.Picture)]),
        ("given: the picture without the hole", [.. given.Select(one => new RgbImage(one.Picture.Size, [.. one.Picture.Pixels.Zip(one.Mask.Pixels, (colour, hole) => hole > 127 ? (byte)128 : colour)]))]),
        ("before: icons-64 with the same mask", Painted(new())),
        ("after: the inpainting model", Painted(new() { Model = model })),
        ("with the adapter", Painted(new() { Model = model, Adapter = adapter }))]);
}

void GeneratePage()
{
    var adapter = Train("tango/recipe.toml", "tango");
    const string heart = "examples/tango/pictures/emblems_emblem-favorite.png", mask = "docs/pictures/mask.png";
    double[] strengths = [0, 0.4, 0.8, 1.2];
    Save("strength", [], [.. new[] { "red heart", "printer" }.Select(prompt => ("", strengths.Select(strength => Draw(prompt, new() { Adapter = adapter, Strength = strength })).ToArray()))]);
    Save("image-to-image", [], [("", [ImageFile.Read(heart), .. new[] { 0.3, 0.6, 0.9 }.Select(noise => Draw("blue heart", new() { Adapter = adapter, Image = heart, NoiseStrength = noise }))])]);
    Save("inpainting", [], [("", [ImageFile.Read(heart), ImageFile.Read(mask), .. new long[] { 1, 2, 3 }.Select(seed => Draw("green heart", new() { Adapter = adapter, Image = heart, Mask = mask, NoiseStrength = 1, Seed = seed }))])]);
    string[] samplers = ["ddim", "ddpm", "euler", "euler-a", "heun", "dpmpp-2m", "dpmpp-2m-karras", "unipc", "lcm", "pndm", "dpm2", "dpm2-a", "dpmpp-sde", "dpmpp-2m-sde", "lms", "tcd"];   // in the order of the page's table
    Save("samplers", [], [.. samplers.Chunk(8).Select(row => ("", row.Select(sampler => Draw("red heart", new() { Adapter = adapter, Strength = 0.8, Sampler = sampler })).ToArray()))]);
}

void ShippedAdapters()
{
    string[] prompts = ["red heart", "cat face", "automobile", "key", "blue bird", "panda", "mushroom", "folder"];
    foreach (var name in new[] { "icons-tango", "icons-line", "icons-pixel" })
    {
        Save(name, prompts, [.. new[] { 0, 0.3, 0.6, 0.9, 1.2 }.Select(strength => (FormattableString.Invariant($"strength {strength}"), Row(prompts, new() { Adapter = name, Strength = strength, Guidance = 4 })))]);
    }
}

void Captions()
{
    const string measured = "runs/icons-64/measured-recall.png";
    if (!File.Exists(measured)) throw new CheckpointException($"no {measured}\n  try    dotnet run -c Release examples/icons-64/measure.cs -- icons-64 --output runs/icons-64/measured.json");
    Write("icons-64-captions", ImageFile.Read(measured));
}

// The adapter of a run; the run is made where it is not there.
string Train(string recipe, string run, params string[] more) => Path.Combine(Trained(recipe, run, more), "adapter.safetensors");

string TrainModel(string recipe, string run) => Path.Combine(Trained(recipe, run, []), "model");

string Trained(string recipe, string run, string[] more)
{
    var folder = "runs/" + run;
    if (Directory.Exists(folder)) return folder;
    var clock = Stopwatch.StartNew();
    using var program = Process.Start("dotnet", ["run", "-c", "Release", "--project", "src/LowRank.Cli", "--", "train", Path.Combine("examples", recipe), "--output", folder, .. more]);
    program.WaitForExit();
    if (program.ExitCode != 0) throw new CheckpointException($"training {recipe} ended with {program.ExitCode}; see above");
    Console.WriteLine(FormattableString.Invariant($"{recipe}: {clock.Elapsed.TotalSeconds:F0} s"));
    return folder;
}

RgbImage[] Row(string[] prompts, Settings settings) => [.. prompts.Select((prompt, at) => Draw(prompt, settings with { Seed = settings.Seed + prompts[..at].Count(earlier => earlier == prompt) }))];

RgbImage Draw(string prompt, Settings with)
{
    var result = Generate.Run(new GenerateOptions
    {
        Model = with.Model, Prompt = prompt, Seed = with.Seed, Guidance = with.Guidance, Sampler = with.Sampler,
        Adapters = with.Adapter is null ? [] : [new AdapterUse(with.Adapter, with.Strength)],
        Embeddings = with.Embedding is null ? [] : [new EmbeddingUse(with.Embedding)],
        Image = with.Image, Mask = with.Mask, NoiseStrength = with.NoiseStrength,
        Output = Path.Combine(scratch, (drawn++).ToString(System.Globalization.CultureInfo.InvariantCulture)),
    });
    return ImageFile.Read(result.Pictures[0]);
}

string Mask(string name, int left, int right, int top, int bottom)
{
    const int side = 64;
    var path = Path.Combine(scratch, name + ".png");
    ImageFile.WritePng(path, new RgbImage(new PixelSize(side, side), [.. Enumerable.Range(0, side * side).SelectMany(at =>
        Enumerable.Repeat(at % side >= left && at % side < right && at / side >= top && at / side < bottom ? (byte)255 : (byte)0, 3))]));
    return path;
}

void Save(string name, string[] columns, (string Label, RgbImage[] Pictures)[] rows)
{
    var labels = rows.Select(row => row.Label).ToArray();
    Write(name, ImageGrid.Sheet([.. rows.Select(row => row.Pictures)], columns, labels.All(label => label.Length == 0) ? [] : labels, zoom: 2));
}

// 256 colours: half the bytes, and nothing that one sees
void Write(string name, RgbImage sheet)
{
    using var image = NetVips.Image.NewFromMemory(sheet.Pixels, sheet.Size.Width, sheet.Size.Height, 3, NetVips.Enums.BandFormat.Uchar);
    using var srgb = image.Copy(interpretation: NetVips.Enums.Interpretation.Srgb);
    var path = $"docs/pictures/{name}.png";
    srgb.Pngsave(path, compression: 9, palette: true, effort: 10, dither: 0);
    Console.WriteLine($"{path}: {new FileInfo(path).Length:N0} bytes");
}

internal sealed record Settings
{
    public string Model { get; init; } = "icons-64";

    public string? Adapter { get; init; }

    public string? Embedding { get; init; }

    public double Strength { get; init; } = 1;

    public double Guidance { get; init; } = 4;

    public string Sampler { get; init; } = "ddim";

    public long Seed { get; init; } = 7;

    public string? Image { get; init; }

    public string? Mask { get; init; }

    public double NoiseStrength { get; init; } = 0.75;
}
