using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Examples.Icons;

/// <summary>Measures a base: its autoencoder, what it draws from captions, and how far off it is on pictures that it was not trained on. Same model and data, same numbers.</summary>
/// <param name="family">The base; stays the caller's.</param>
/// <param name="set">The data.</param>
internal sealed class BaseMeasures(IDiffusionFamily family, IconSet set)
{
    private const int AtOnce = 20, SamplerSteps = 20, ColourSeeds = 4;
    private const double GuidanceScale = 4;
    private static readonly long[] Timesteps = [50, 150, 250, 350, 450, 550, 650, 750, 850, 950];

    /// <summary>Combinations of colours and things to draw.</summary>
    public IReadOnlyList<ColourPair> Pairs { get; init; } = HeldOut.ColourPairs;

    /// <summary>The pictures that were drawn for <see cref="IconSet.Recalled"/>, after <see cref="Run"/>.</summary>
    public IReadOnlyList<RgbImage> Drawn { get; private set; } = [];

    /// <summary>The pictures that were drawn of unseen combinations, four of each in a row, after <see cref="Run"/>.</summary>
    public IReadOnlyList<RgbImage> DrawnColours { get; private set; } = [];

    /// <summary>All measures.</summary>
    /// <param name="model">As it was named.</param>
    public MeasuredBase Run(string model)
    {
        if (family.DefaultSize != Picture.IconSide) throw new IconDataException($"the model draws {family.DefaultSize} pixels: {model}\n  these measures are of icons, with {Picture.IconSide}");
        using var quiet = no_grad();
        using var scope = NewDisposeScope();
        var latents = Encoded([.. set.Plain.Select(icon => icon.Image)]);
        var channels = latents.to(ScalarType.Float64).transpose(0, 1).flatten(1);   // (C, all positions)
        Drawn = Draw([.. set.Recalled.Select((caption, at) => (caption, (long)at))]);
        var (byPixels, byLatents) = Recall(latents);
        DrawnColours = Draw([.. Pairs.SelectMany(pair => Enumerable.Range(0, ColourSeeds).Select(seed => (ColourCheck.Prompt(pair), (long)seed)))]);
        var right = Pairs.Select((pair, at) => (Prompt: ColourCheck.Prompt(pair), Right: DrawnColours.Skip(at * ColourSeeds).Take(ColourSeeds).Count(picture => ColourCheck.Has(picture, TargetOf(pair))))).ToList();
        return new MeasuredBase(
            model, family.Description,
            Psnr([.. set.Plain.Where((_, at) => at % 10 == 0)]), Psnr(set.Tango),
            channels.mean([1]).data<double>().ToArray(), channels.std(1, unbiased: false).data<double>().ToArray(),
            byPixels, byLatents,
            right.Sum(pair => pair.Right), DrawnColours.Count, right.ToDictionary(pair => pair.Prompt, pair => pair.Right),
            HeldOutErrors(set.HeldOutEmoji), HeldOutErrors(set.HeldOutColours));
    }

    /// <summary>10 · log10(1 / mean squared error) of the decoded means of latents, in 0 to 1, mean over pictures.</summary>
    private double Psnr(IReadOnlyList<Icon> icons)
    {
        var decibels = new List<double>();
        foreach (var part in icons.Chunk(AtOnce))
        {
            using var scope = NewDisposeScope();
            var pixels = Pixels([.. part.Select(icon => icon.Image)]);
            var again = family.DecodeLatents(family.EncodeImages(pixels, posterior: null)).Within(-1, 1);
            var errors = (again - pixels).Over(2).Squared().flatten(1).mean([1]);
            decibels.AddRange(errors.data<float>().ToArray().Select(error => 10 * Math.Log10(1 / error)));
        }
        return decibels.Average();
    }

    /// <summary>Draws one picture for each prompt and seed: DDIM with 20 steps and guidance 4. Each depends on its prompt and seed alone.</summary>
    private List<RgbImage> Draw(IReadOnlyList<(string Prompt, long Seed)> asked)
    {
        var drawn = new List<RgbImage>();
        var side = family.DefaultSize / family.LatentFactor;
        var generator = new ImageGenerator(family, SamplerCatalog.Create("ddim", family.Schedule));
        foreach (var part in asked.Chunk(AtOnce))
        {
            using var scope = NewDisposeScope();
            using var unused = new Generator(0);   // nothing is drawn from it: the noise is given, and DDIM draws none
            var noise = cat([.. part.Select(one => Noise(one.Seed, "noise", [1, family.LatentChannels, side, side]))], 0);
            var latents = generator.Latents(new GenerationRequest
            {
                Prompts = [.. part.Select(one => one.Prompt)],
                Height = family.DefaultSize,
                Width = family.DefaultSize,
                Steps = SamplerSteps,
                Guidance = new Guidance(GuidanceScale),
                StartNoise = noise,
            }, unused);
            var pixels = generator.Decode(latents);
            for (var at = 0; at < part.Length; at++) drawn.Add(PixelTensor.ToImage(pixels[at].contiguous().data<float>().ToArray(), new PixelSize(family.DefaultSize, family.DefaultSize)));
        }
        return drawn;
    }

    /// <summary>Looks for the right pictures among all emoji.</summary>
    /// <param name="latents">Of all emoji.</param>
    private (Ranks ByPixels, Ranks ByLatents) Recall(Tensor latents)
    {
        var captions = set.Plain.Select((icon, at) => (icon.Caption, at)).ToDictionary(pair => pair.Caption, pair => pair.at);
        var right = set.Recalled.Select(caption => captions[caption]).ToList();
        using var own = Encoded(Drawn);
        var (small, smallDrawn) = (set.Plain.Select(icon => Small(icon.Image)).ToList(), Drawn.Select(Small).ToList());
        var (codes, codesDrawn) = (Rows(latents), Rows(own));
        return (Ranks.Of([.. right.Select((place, at) => Ranks.Place(smallDrawn[at], small, place))]),
            Ranks.Of([.. right.Select((place, at) => Ranks.Place(codesDrawn[at], codes, place))]));
    }

    /// <summary>The denoiser's errors with noise that follows from each picture's name.</summary>
    private HeldOutErrors HeldOutErrors(IReadOnlyList<Icon> icons)
    {
        var loss = new HeldOutLoss(family.Schedule, family.PredictionType, family.Predict, Timesteps);
        var sums = new double[Timesteps.Length];
        foreach (var icon in icons)
        {
            using var scope = NewDisposeScope();
            using var conditioning = family.EncodePrompts([icon.Caption]);
            var latents = family.EncodeImages(Pixels([icon.Image]), posterior: null);
            var errors = loss.Of(new HeldOutPicture(latents, conditioning, Noise(0, "noise of " + icon.Name, latents.shape)));
            for (var at = 0; at < sums.Length; at++) sums[at] += errors[at] / icons.Count;
        }
        List<double> pictures = [.. sums.Select((error, at) => error * CleanShare(family.PredictionType, family.Schedule.AlphasCumprod[(int)Timesteps[at]]))];
        return new HeldOutErrors(icons.Count, sums.Average(), pictures.Average(), [.. Timesteps.Select(timestep => (int)timestep)], sums, pictures);
    }

    /// <summary>
    /// What the squared error of a prediction is to that of the clean latents x which follow from it: from z = √ᾱ·x + √(1−ᾱ)·noise,
    /// x = (z − √(1−ᾱ)·noise) / √ᾱ and x = √ᾱ·z − √(1−ᾱ)·velocity (Salimans and Ho 2022, appendix D).
    /// </summary>
    public static double CleanShare(PredictionType type, double alphaBar) => type switch
    {
        PredictionType.Epsilon => (1 - alphaBar) / alphaBar,
        PredictionType.VPrediction => 1 - alphaBar,
        PredictionType.Sample => 1,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "no clean latents follow from it"),
    };

    /// <summary>Colours averaged over blocks: 16 × 16 × 3 numbers in 0 to 1.</summary>
    public static float[] Small(RgbImage picture)
    {
        const int side = 16, block = Picture.IconSide / side;
        var small = new float[side * side * 3];
        for (var at = 0; at < Picture.IconSide * Picture.IconSide; at++)
        {
            var cell = at / Picture.IconSide / block * side + at % Picture.IconSide / block;
            for (var channel = 0; channel < 3; channel++) small[cell * 3 + channel] += picture.Pixels[at * 3 + channel] / (255f * block * block);
        }
        return small;
    }

    private static Target TargetOf(ColourPair pair) => Recolouring.Targets.Single(target => target.Word == pair.Colour);

    private static Tensor Noise(long seed, string name, long[] shape)
    {
        using var streams = new RandomStreams(seed);
        return randn(shape, ScalarType.Float32, CPU, generator: streams[name]);
    }

    /// <summary>Scaled latents of pictures, (B, C, h, w); the caller owns them.</summary>
    private Tensor Encoded(IReadOnlyList<RgbImage> pictures)
    {
        using var scope = NewDisposeScope();
        return cat([.. pictures.Chunk(AtOnce).Select(part => family.EncodeImages(Pixels(part), posterior: null))], 0).MoveToOuterDisposeScope();
    }

    /// <summary>(B, 3, 64, 64) float32 in [-1, 1].</summary>
    private static Tensor Pixels(RgbImage[] pictures) => tensor(pictures.SelectMany(PixelTensor.ToPlanes).ToArray(), [pictures.Length, 3, Picture.IconSide, Picture.IconSide]);

    private static List<float[]> Rows(Tensor latents)
    {
        var (all, length) = (latents.contiguous().data<float>().ToArray(), (int)(latents.numel() / latents.size(0)));
        return [.. all.Chunk(length)];
    }
}
