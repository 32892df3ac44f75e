using System.Globalization;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Evaluation;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>Draws the captions of a test part, and compares what came out with its real pictures. Owns the networks.</summary>
internal sealed class BenchKidPictures : IDisposable
{
    private readonly BenchKidOptions options;
    private readonly IReadOnlyList<BenchKidPicture> test;
    private readonly CancellationToken cancellation;
    private readonly List<(IFeatureNetwork Network, Tensor Real)> judges = [];

    /// <summary>Opens the networks and looks at the real pictures.</summary>
    /// <param name="options">Valid.</param>
    /// <param name="test">The test part.</param>
    /// <param name="open">Opens a network by its name in the recipe.</param>
    /// <param name="cancellation">Stops between batches of pictures.</param>
    public BenchKidPictures(BenchKidOptions options, IReadOnlyList<BenchKidPicture> test, Func<string, IFeatureNetwork> open, CancellationToken cancellation)
    {
        (this.options, this.test, this.cancellation) = (options, test, cancellation);
        var real = test.Select(picture => ImageFile.Read(picture.Source)).ToList();
        foreach (var name in options.Features)
        {
            var network = open(name);
            judges.Add((network, network.Features(real)));
        }
    }

    /// <summary>Names and identities of the networks.</summary>
    public IReadOnlyDictionary<string, string> Networks => judges.ToDictionary(judge => judge.Network.Name, judge => judge.Network.Identity);

    /// <summary>
    /// Draws what is not drawn yet, and gives the KID (all pictures) by each network. A drawn picture has the caption of a real one, so the two are not independent:
    /// such pairs are left out (<see cref="KernelInceptionDistance.Paired"/>), which is what keeps it unbiased.
    /// </summary>
    /// <param name="folder">Of the part; the pictures go below it.</param>
    /// <param name="step">Updates made.</param>
    /// <param name="use">What to draw with.</param>
    /// <param name="suffix">Behind every caption.</param>
    public IReadOnlyDictionary<string, double> Kid(string folder, int step, GenerateOptions use, string suffix)
    {
        var drawn = Draw(Folder(folder, step), use, suffix);
        return judges.ToDictionary(judge => judge.Network.Name, judge =>
        {
            using var features = judge.Network.Features(drawn);
            return KernelInceptionDistance.Paired(judge.Real, features, options.Draw.PerCaption);
        });
    }

    /// <summary>Where the pictures of a part after so many steps lie.</summary>
    public static string Folder(string part, int step) => Path.Combine(part, "pictures", string.Create(CultureInfo.InvariantCulture, $"step-{step:D6}"));

    /// <summary>The file of a picture.</summary>
    public static string File(string folder, BenchKidPicture picture, int copy) => Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileNameWithoutExtension(picture.Name)}-{copy}.png"));

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (network, real) in judges)
        {
            network.Dispose();
            real.Dispose();
        }
    }

    private List<RgbImage> Draw(string folder, GenerateOptions use, string suffix)
    {
        Directory.CreateDirectory(folder);
        var wanted = test.SelectMany(picture => Enumerable.Range(0, options.Draw.PerCaption).Select(copy => (Picture: picture, Copy: copy, Path: File(folder, picture, copy)))).ToList();
        var missing = wanted.Chunk(options.Draw.BatchSize).Where(batch => batch.Any(item => !System.IO.File.Exists(item.Path))).ToList();   // batches are always the same ones: rounding may depend on them
        if (missing.Count > 0)
        {
            using var quiet = no_grad();
            using var family = FamilyDetector.Open(use.Model, options.Training.Precision == Precision.Bf16 ? ScalarType.BFloat16 : ScalarType.Float32);
            using var studio = Studio.Over(family, use.Model);
            studio.LoadAll(NamedInPrompts.OfFiles(use), allowUnmatched: false, _ => { });
            var rules = new CaptionRules { Suffix = suffix };
            foreach (var batch in missing)
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                using var noise = new NamedNoise(batch.Select(item => Path.GetFileName(item.Path)));
                var generator = new ImageGenerator(family, SamplerCatalog.Create(options.Draw.Sampler, family.Schedule)) { Draw = noise.Draw };
                var pixels = generator.Decode(generator.Latents(new GenerationRequest
                {
                    Prompts = [.. batch.Select(item => Captions.Plain(item.Picture.Caption, rules))],
                    Height = family.DefaultSize,
                    Width = family.DefaultSize,
                    Steps = options.Draw.Steps,
                    Guidance = new Guidance(options.Draw.Guidance),
                    SkippedLayers = options.Training.ClipSkip - 1,
                    NegativeSkippedLayers = options.Training.ClipSkip - 1,
                }, noise.Unused, cancellation));
                for (var i = 0; i < batch.Length; i++) ImageFile.WritePng(batch[i].Path, Generate.ToImage(pixels[i..(i + 1)]));
            }
        }
        return [.. wanted.Select(item => ImageFile.Read(item.Path))];
    }

    /// <summary>Noise for each picture of a batch from its name, so that it is the same in every arm and with every other picture beside it.</summary>
    private sealed class NamedNoise(IEnumerable<string> names) : IDisposable
    {
        private readonly RandomStreams streams = new(0);
        private readonly List<string> names = [.. names];

        /// <summary>What the generation asks for besides; nothing is drawn from it without a picture to start from.</summary>
        public Generator Unused => streams["preview"];

        /// <summary>(B, C, h, w) float32.</summary>
        public Tensor Draw(long[] shape) => cat([.. names.Select(name => randn([1, .. shape[1..]], ScalarType.Float32, CPU, generator: streams["noise of " + name]))]);

        public void Dispose() => streams.Dispose();
    }
}
