// Trains the small network of features that KID and the other measures use where no Inception is at hand, and measures it. From the repository's folder:
//
//   dotnet run -c Release examples/icons-64/prepare.cs -- --output data/icons-64
//   dotnet run -c Release examples/icons-64/train-features.cs -- --data data/icons-64 --output models/icons-features/model.safetensors
//
// --steps N        1800 where not said
// --seed N         1 where not said
// --measure FILE   trains nothing, and prints only the table that ends a training
//
// One thread and one seed: the same pictures give the same file. Only the plain emoji that are not held out are trained on.

#:project ../../src/LowRank/LowRank.csproj
#:property PublishAot=false

using System.Diagnostics;
using System.Globalization;
using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Models;
using LowRank.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

var options = new Dictionary<string, string> { ["--steps"] = "1800", ["--seed"] = "1" };
for (var at = 0; at < args.Length; at += 2)
{
    if (args[at] is "--data" or "--output" or "--measure" or "--steps" or "--seed" && at + 1 < args.Length)
    {
        options[args[at]] = args[at + 1];
        continue;
    }
    Console.Error.WriteLine($"not an option, or without its value: {args[at]}; there are --data FOLDER, --output FILE, --measure FILE, --steps N and --seed N");
    return 2;
}
if (!options.TryGetValue("--data", out var data) || !(options.TryGetValue("--measure", out var file) || options.TryGetValue("--output", out file)))
{
    Console.Error.WriteLine("name the pictures and the file: --data FOLDER --output FILE");
    return 2;
}
string[] folders = [Path.Combine(data, "plain"), Path.Combine(data, "held-out", "emoji"), Path.Combine(data, "tango")];
if (Array.Find(folders, folder => !Directory.Exists(folder) || !Directory.EnumerateFiles(folder, "*.png", SearchOption.AllDirectories).Any()) is { } empty)
{
    Console.Error.WriteLine($"no PNG files in {empty}; make them first: dotnet run -c Release examples/icons-64/prepare.cs -- --output {data}");
    return 1;
}
set_num_threads(1);   // several threads add numbers up in another order
using var pictures = PictureTensor.Of(folders[0]);
using var heldOut = PictureTensor.Of(folders[1]);
using var tango = PictureTensor.Of(folders[2]);
if (!options.ContainsKey("--measure"))
{
    Console.WriteLine($"{pictures.size(0)} pictures to tell apart, {heldOut.size(0)} held out");
    using var training = new FeatureTraining(pictures, long.Parse(options["--seed"], CultureInfo.InvariantCulture), int.Parse(options["--steps"], CultureInfo.InvariantCulture));
    training.Run(heldOut, Console.WriteLine);
    training.Write(file);
    Console.WriteLine($"written: {file}, {new FileInfo(file).Length:N0} bytes");
}
Ruler.MeasureAll(file, pictures, heldOut, tango, Console.WriteLine);
return 0;

/// <summary>Pictures of a folder as one tensor.</summary>
internal static class PictureTensor
{
    /// <summary>All PNG files below a folder, which has some, in the order of their paths: (n, 3, 64, 64) float32 in 0 to 1.</summary>
    public static Tensor Of(string folder)
    {
        var files = Directory.GetFiles(folder, "*.png", SearchOption.AllDirectories).Order(StringComparer.Ordinal).ToList();
        using var planes = tensor(files.SelectMany(file => IconFeatures.Planes(ImageFile.Read(file))).ToArray(), files.Count, 3, IconFeatureModel.Side, IconFeatureModel.Side);
        return planes.add(1).div_(2);
    }
}

/// <summary>
/// Three questions about a picture that was moved, tinted and redrawn, all asked of the features by one linear layer each: which of the pictures it is,
/// in which way it was redrawn, and which colours it has where (the means of 4×4 cells). The layers are thrown away. They see features of mean 0 and
/// deviation 1 over the batch, as the finished network gives them over all pictures (batch norm: Ioffe and Szegedy 2015, arXiv 1502.03167).
/// </summary>
internal sealed class FeatureTraining : IDisposable
{
    private const int Batch = 64, Cells = 4, WarmUp = 100;
    private const double Rate = 3e-3;
    private readonly Tensor pictures;
    private readonly int steps;
    private readonly RandomStreams streams;
    private readonly IconFeatureModel network;
    private readonly Questions questions;

    public FeatureTraining(Tensor pictures, long seed, int steps)
    {
        (this.pictures, this.steps, streams) = (pictures, steps, new RandomStreams(seed));
        var layers = new LayerFactory(CPU, ScalarType.Float32);
        network = new IconFeatureModel(layers);
        questions = new Questions(layers, pictures.size(0), Redrawing.Ways.Count, 3 * Cells * Cells);
        Draw(network);
        Draw(questions);
    }

    /// <summary>Trains, telling of it every 200 steps.</summary>
    public void Run(Tensor heldOut, Action<string> tell)
    {
        using var optimizer = optim.AdamW([.. network.parameters(), .. questions.parameters()], Rate, weight_decay: 0.02);
        var clock = Stopwatch.StartNew();
        var seen = new double[4];
        for (var step = 1; step <= steps; step++)
        {
            foreach (var group in optimizer.ParamGroups) group.LearningRate = Rate * Math.Min(1, step / (double)WarmUp) * (0.01 + 0.99 * (1 + Math.Cos(Math.PI * step / steps)) / 2);
            var result = Step(optimizer);
            for (var i = 0; i < seen.Length; i++) seen[i] += result[i] / 200;
            if (step % 200 != 0) continue;
            tell(string.Create(CultureInfo.InvariantCulture, $"step {step}, {clock.Elapsed.TotalSeconds:F0} s: loss {seen[0]:F3}, picture {seen[1]:P1}, way {seen[2]:P1}, colour error {seen[3]:F4}; held out: way {WaysFound(heldOut):P1}"));
            Array.Clear(seen);
        }
    }

    /// <summary>
    /// Writes the network as float16. Its projection is scaled before, so that over the pictures every feature has mean 0 and deviation 1: the kernel of KID
    /// adds products of features up, and none shall count more for its unit.
    /// </summary>
    public void Write(string path)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var features = cat([.. pictures.split(Batch).Select(part => network.call(part * 2 - 1))]);
        var (mean, deviation) = (features.mean([0]), features.std(0, unbiased: false));
        var weights = network.state_dict();
        weights["projection.weight"].div_(deviation.unsqueeze(1));
        weights["projection.bias"].sub_(mean).div_(deviation);
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        SafetensorsWriter.Write(path, weights.Select(item => KeyValuePair.Create(item.Key, item.Value.to(ScalarType.Float16))));
    }

    public void Dispose()
    {
        network.Dispose();
        questions.Dispose();
        streams.Dispose();
    }

    /// <summary>Loss, share of pictures and of ways that were found, squared error of the colours.</summary>
    private double[] Step(optim.Optimizer optimizer)
    {
        using var scope = NewDisposeScope();
        var which = randint(0, pictures.size(0), [Batch], ScalarType.Int64, generator: streams["shuffle"]);
        var (redrawn, way) = Redrawing.Draw(Moving.Draw(pictures[which], streams["moving"]), streams["redrawing"]);
        var features = Standard(network.call(redrawn * 2 - 1));
        var (pictureScores, wayScores, cells) = questions.call(features);
        var error = nn.functional.mse_loss(cells, nn.functional.adaptive_avg_pool2d(redrawn, Cells).flatten(1));
        var loss = nn.functional.cross_entropy(pictureScores, which) + nn.functional.cross_entropy(wayScores, way) + error * 10;
        optimizer.zero_grad();
        loss.backward();
        nn.utils.clip_grad_norm_(network.parameters(), 1);
        optimizer.step();
        return [loss.item<float>(), Share(pictureScores, which), Share(wayScores, way), error.item<float>()];
    }

    /// <summary>The share of pictures whose way of drawing is found, every way once.</summary>
    private double WaysFound(Tensor unseen)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var same = new Generator(1);
        var features = Standard(network.call(cat([.. Redrawing.Ways.Select((_, way) => Redrawing.Apply(way, unseen, same))]) * 2 - 1));
        return Share(questions.call(features).Ways, torch.arange(Redrawing.Ways.Count).repeat_interleave(unseen.size(0)));
    }

    private static Tensor Standard(Tensor features) => (features - features.mean([0])) / (features.std(0, unbiased: false) + 1e-5);

    private static double Share(Tensor scores, Tensor right) => scores.argmax(1).eq(right).to(ScalarType.Float32).mean().item<float>();

    private void Draw(nn.Module part)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var drawn = RandomWeights.Draw(part, streams["init"]);
        foreach (var (key, value) in part.state_dict()) value.copy_(drawn[key]);
    }
}

/// <summary>The three layers that answer.</summary>
internal sealed class Questions : nn.Module<Tensor, (Tensor Pictures, Tensor Ways, Tensor Colours)>
{
    private readonly nn.Module<Tensor, Tensor> picture, way, colours;

    public Questions(LayerFactory layers, long pictures, long ways, long cells) : base(nameof(Questions))
    {
        (picture, way, colours) = (layers.Linear(IconFeatureModel.Features, pictures), layers.Linear(IconFeatureModel.Features, ways), layers.Linear(IconFeatureModel.Features, cells));
        RegisterComponents();
    }

    public override (Tensor Pictures, Tensor Ways, Tensor Colours) forward(Tensor features) => (picture.call(features), way.call(features), colours.call(features));
}

/// <summary>What must not matter: place, size, side and a slight tint. Half of the pictures move by whole pixels only, so that they stay as sharp as they are.</summary>
internal static class Moving
{
    /// <summary>(B, 3, S, S) in 0 to 1, on white, to the same.</summary>
    public static Tensor Draw(Tensor pictures, Generator random)
    {
        using var scope = NewDisposeScope();
        var count = pictures.size(0);
        Tensor Uniform(double from, double to) => rand([count], generator: random) * (to - from) + from;
        var pixel = 2.0 / pictures.size(3);
        var whole = Uniform(0, 1).lt(0.5);
        var size = where(whole, ones(count), Uniform(0.92, 1.1));
        var (across, down) = (Uniform(-3, 3), Uniform(-3, 3));
        var side = where(Uniform(0, 1).lt(0.5), ones(count), -ones(count));
        var none = zeros(count);
        var place = stack([stack([size * side, none, where(whole, across.round(), across) * pixel], 1), stack([none, size, where(whole, down.round(), down) * pixel], 1)], 1);   // (B, 2, 3)
        var grid = nn.functional.affine_grid(place, [.. pictures.shape], align_corners: false);
        var moved = 1 - nn.functional.grid_sample(1 - pictures, grid, GridSampleMode.Bilinear, GridSamplePaddingMode.Zeros, align_corners: false);
        var tint = rand([count, 3, 1, 1], generator: random) * 0.12 + 0.94;
        return (1 - (1 - moved) * tint).MoveToOuterDisposeScope();
    }
}

/// <summary>Ways of drawing, so that the features know of sharpness, grain, contours, shading and palette: none is taken from the icons that will be judged.</summary>
internal static class Redrawing
{
    /// <summary>Ways by name; pictures (B, 3, S, S) in 0 to 1, on white.</summary>
    public static readonly IReadOnlyList<(string Name, Func<Tensor, Generator, Tensor> Apply)> Ways =
    [
        ("as it is", (x, _) => x.alias()),
        ("soft", (x, _) => Blur(x, 0.6)),
        ("softer", (x, _) => Blur(x, 1.1)),
        ("softest", (x, _) => Blur(x, 2)),
        ("grain", (x, random) => x + randn(x.shape, generator: random) * 0.03),
        ("coarse grain", (x, random) => x + randn(x.shape, generator: random) * 0.09),
        ("contour", (x, _) => x * (1 - 0.55 * Edge(x))),
        ("shaded", (x, _) => x + Drawn(x) * ((x * linspace(1.25, 0.65, x.size(2)).unsqueeze(1)).clamp(0, 1) - x)),
        ("shadow", (x, _) => x * (1 - 0.45 * Blur(Drawn(x).roll([3, 1], [2, 3]), 1.5) * (1 - Drawn(x)))),
        ("muted", (x, _) => Grey(x) * 0.6 + x * 0.4),
        ("grey", (x, _) => Grey(x).expand_as(x).clone()),
        ("few levels", (x, _) => (x * 3).round() / 3),
        ("large pixels", (x, _) => nn.functional.interpolate(nn.functional.avg_pool2d(x, 2), scale_factor: [2, 2], mode: InterpolationMode.Nearest)),
    ];

    /// <summary>Redraws every picture in a way of its own; four of ten stay as they are.</summary>
    /// <returns>The pictures, and the ways (B) int64.</returns>
    public static (Tensor Pictures, Tensor Ways) Draw(Tensor pictures, Generator random)
    {
        using var scope = NewDisposeScope();
        var ways = randint(0, Ways.Count, [pictures.size(0)], ScalarType.Int64, generator: random);
        ways = where(rand([pictures.size(0)], generator: random).lt(0.35), zeros_like(ways), ways);
        var redrawn = pictures.clone();
        for (var way = 1; way < Ways.Count; way++)
        {
            var mine = ways.eq(way).nonzero().flatten();
            if (mine.size(0) > 0) redrawn.index_copy_(0, mine, Apply(way, redrawn[mine], random));
        }
        return (redrawn.MoveToOuterDisposeScope(), ways.MoveToOuterDisposeScope());
    }

    /// <summary>Redraws pictures in one way.</summary>
    public static Tensor Apply(int way, Tensor pictures, Generator random)
    {
        using var scope = NewDisposeScope();
        return Ways[way].Apply(pictures, random).clamp(0, 1).MoveToOuterDisposeScope();
    }

    /// <summary>Gaussian, borders repeated.</summary>
    public static Tensor Blur(Tensor x, double deviation)
    {
        using var scope = NewDisposeScope();
        var radius = (int)Math.Ceiling(3 * deviation);
        var taps = arange(-radius, radius + 1, ScalarType.Float32).pow(2).div(-2 * deviation * deviation).exp();
        var flat = x.flatten(0, 1).unsqueeze(1);
        flat = nn.functional.pad(flat, [radius, radius, radius, radius], PaddingModes.Replicate);
        flat = nn.functional.conv2d(flat, (taps / taps.sum()).reshape(1, 1, -1, 1));
        return nn.functional.conv2d(flat, (taps / taps.sum()).reshape(1, 1, 1, -1)).squeeze(1).reshape(x.shape).MoveToOuterDisposeScope();
    }

    private static Tensor Grey(Tensor x) => (x * tensor([0.299f, 0.587f, 0.114f]).reshape(3, 1, 1)).sum(1, keepdim: true);

    /// <summary>1 where something is drawn (not white), else 0.</summary>
    private static Tensor Drawn(Tensor x) => x.amin([1], keepdim: true).lt(0.97).to(ScalarType.Float32);

    /// <summary>1 along the border of what is drawn.</summary>
    private static Tensor Edge(Tensor x) => nn.functional.max_pool2d(Drawn(x), 3, stride: 1, padding: 1) + nn.functional.max_pool2d(1 - Drawn(x), 3, stride: 1, padding: 1) - 1;
}

/// <summary>
/// How well a kind of features measures: KID of sets that should be near, of sets that should be far, and how far in units of chance.
/// Sets have 71 pictures, a third of the Tango icons, and are drawn 200 times; chance is the spread between two such sets of Tango icons.
/// </summary>
internal sealed class Ruler(Func<Tensor, Tensor> features, Tensor pictures, Tensor heldOut, Tensor tango, Tensor rebuilt)
{
    private const int Size = 71, Draws = 200;

    /// <summary>The trained network; for comparison colours of 8×8 blocks, and the middle of the base's autoencoder in 4×4 blocks.</summary>
    public static void MeasureAll(string file, Tensor pictures, Tensor heldOut, Tensor tango, Action<string> tell)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var network = IconFeatures.Open(file, CPU);
        var folder = Path.Combine(EmbeddedFolder.Find("icons-64"), "vae");
        using var autoencoder = new AutoencoderKL(AutoencoderKLConfig.Parse(File.ReadAllBytes(Path.Combine(folder, "config.json")), folder), LayerFactory.Meta);
        using (var weights = Checkpoint.Open(folder)) weights.LoadInto(autoencoder);
        using var posterior = autoencoder.Encode(tango * 2 - 1);
        var rebuilt = ((autoencoder.Decode(posterior.Mean) + 1) / 2).clamp(0, 1);
        tell(network.Identity);
        (string, Func<Tensor, Tensor>)[] kinds =
        [
            ("icons", x => network.Features([.. x.unbind().Select(Picture)])),
            ("pixels", ByChannel(Blocks, pictures)),
            ("autoencoder", ByChannel(x => Middle(autoencoder, x), pictures)),
        ];
        foreach (var (name, features) in kinds) new Ruler(features, pictures, heldOut, tango, rebuilt).Measure(line => tell($"{name,-12} {line}"));
    }

    private void Measure(Action<string> tell)
    {
        using var scope = NewDisposeScope();
        using var random = new Generator(1);
        var (emoji, icons) = (features(pictures), features(tango));
        Say("emoji against held-out emoji", KernelInceptionDistance.Of(emoji, features(heldOut)));
        Say("emoji against Tango", KernelInceptionDistance.Of(emoji, icons));
        var order = randperm(pictures.size(0), ScalarType.Int64, generator: random);
        var (half, others) = (features(pictures[order[..900]]), pictures[order[900..]]);
        Say("half the emoji against the others", KernelInceptionDistance.Of(half, features(others)));
        foreach (var amount in (double[])[0.4, 0.7, 1.2, 2]) Say($"half against the others blurred by {amount}", KernelInceptionDistance.Of(half, features(Redrawing.Blur(others, amount))));
        foreach (var amount in (double[])[0.02, 0.05, 0.1]) Say($"half against the others with noise of {amount}", KernelInceptionDistance.Of(half, features(Noisy(others, amount))));

        var chance = Spread(icons, icons);
        Say("Tango against Tango", chance);
        Effect("emoji", emoji[order[..(int)icons.size(0)]]);
        Effect("Tango blurred by 0.5", features(Redrawing.Blur(tango, 0.5)));
        Effect("Tango with noise of 0.03", features(Noisy(tango, 0.03)));
        Effect("Tango with a quarter more colour", features((tango + (tango - tango.mean([1], keepdim: true)) * 0.25).clamp(0, 1)));
        Effect("Tango with red and blue swapped", features(tango.flip(1)));
        Effect("Tango mirrored", features(tango.flip(3)));
        Effect("Tango through the autoencoder", features(rebuilt));
        Effect("Tango, every fifth an emoji", where(torch.arange(0, icons.size(0)).remainder(5).eq(0).unsqueeze(1), emoji[order[..(int)icons.size(0)]], icons));

        Tensor Noisy(Tensor x, double amount) => (x + randn(x.shape, generator: random) * amount).clamp(0, 1);

        void Say(string what, object value) => tell(string.Create(CultureInfo.InvariantCulture, $"{what,-45} {(value is KidSpread spread ? $"{spread.Mean,8:F4} ± {spread.Deviation:F4}" : $"{value,8:F4}")}"));

        void Effect(string what, Tensor other)
        {
            var spread = Spread(icons, other);
            var units = Math.Sqrt((spread.Deviation * spread.Deviation + chance.Deviation * chance.Deviation) / 2);
            tell(string.Create(CultureInfo.InvariantCulture, $"{$"Tango against {what}",-45} {spread.Mean,8:F4} ± {spread.Deviation:F4}   effect {(spread.Mean - chance.Mean) / units:F1}"));
        }

        KidSpread Spread(Tensor one, Tensor other)
        {
            var (left, right) = (new List<Tensor>(), new List<Tensor>());
            for (var draw = 0; draw < Draws; draw++)
            {
                var mixed = randperm(one.size(0), ScalarType.Int64, generator: random);   // no picture is met by itself or by its copy
                left.Add(mixed[..Size]);
                right.Add(mixed[Size..(2 * Size)]);
            }
            return KernelInceptionDistance.OverSubsets(one, other, stack(left), stack(right));
        }
    }

    private static RgbImage Picture(Tensor x) => PixelTensor.ToImage((x * 2 - 1).contiguous().data<float>().ToArray(), new PixelSize((int)x.size(2), (int)x.size(1)));

    /// <summary>Mean and deviation of each colour in 8×8 blocks: (n, 6, 64).</summary>
    private static Tensor Blocks(Tensor x)
    {
        var means = nn.functional.avg_pool2d(x, 8);
        var squares = nn.functional.avg_pool2d(x * x, 8);
        return cat([means, (squares - means * means).clamp_min(0).sqrt()], 1).flatten(2);
    }

    /// <summary>What the autoencoder's mid block gives, in 4×4 blocks: (n, 64, 16).</summary>
    private static Tensor Middle(AutoencoderKL autoencoder, Tensor x)
    {
        List<Tensor> parts = [];
        var block = (nn.Module<Tensor, Tensor>)autoencoder.named_modules().Single(item => item.name == "encoder.mid_block").module;
        var hook = block.register_forward_hook((_, _, output) =>
        {
            parts.Add(nn.functional.avg_pool2d(output, 4).flatten(2).DetachFromDisposeScope());
            return output;
        });
        foreach (var part in x.split(64)) autoencoder.Encode(part * 2 - 1).Dispose();
        hook.remove();
        return cat(parts);
    }

    /// <summary>(n, channels, cells) to (n, channels · cells) with mean 0 and deviation 1 of every channel over the pictures: by cell, corners that never change would count most.</summary>
    private static Func<Tensor, Tensor> ByChannel(Func<Tensor, Tensor> features, Tensor pictures)
    {
        var raw = features(pictures);
        var (mean, deviation) = (raw.mean([0, 2], keepdim: true), raw.std([0, 2], unbiased: false, keepdim: true));
        return x => ((features(x) - mean) / deviation).flatten(1);
    }
}
