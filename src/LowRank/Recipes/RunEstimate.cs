using System.Diagnostics;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>How much a run trains.</summary>
/// <param name="Modules">Layers with an adapter.</param>
/// <param name="Numbers">Trained numbers.</param>
/// <param name="Precision">Of the file.</param>
/// <param name="Encoders">Text encoders that backward goes through.</param>
internal sealed record TrainedSize(int Modules, long Numbers, SavePrecision Precision, IReadOnlyList<string> Encoders)
{
    /// <summary>Numbers in the result's file or files.</summary>
    public long Written { get; init; } = Numbers;

    /// <summary>How many of the numbers lie in tensors so large that adamw8bit keeps their state in 8 bits.</summary>
    public long Large { get; init; }

    /// <summary>Whether the model's own weights learn.</summary>
    public bool Whole { get; init; }

    /// <summary>Whether values and gradients have 16 bits.</summary>
    public bool Halved { get; init; }

    public static TrainedSize Of(Adapters.AdapterSet adapter, SavePrecision precision) =>
        new(adapter.Layers.Count, adapter.FlatParameters.numel(), precision, [.. adapter.Layers.Select(layer => layer.Component).Distinct().Where(name => name.StartsWith("text_encoder", StringComparison.Ordinal))]);
}

/// <summary>Size, memory and time of a run, from one forward pass on this machine.</summary>
internal static class RunEstimate
{
    private const double StepPerForward = 2.6;       // forward, backward to the activations, and what hangs on them; measured 2.1 to 3.3
    private const double WeightsPerForward = 1;      // backward to the weights, and their update
    private const double RecomputedForward = 1;      // gradient checkpointing makes every block twice
    private const double KeptPerOutput = 1.3;        // activations that are kept for backward, against the sum of all layers' outputs
    private const double KeptWhenRecomputed = 0.2;   // the same with gradient checkpointing: the inputs of blocks, and all of one block

    /// <summary>Of a run that trains or passes through the denoiser.</summary>
    public static TrainingPlan Of(IRunOptions options, IDiffusionFamily family, TrainingData data, TrainedSize trained)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var training = options.Training;
        var denoiser = family.Component(family.ComponentNames[0]);
        var size = Largest(data);
        var latents = zeros(training.BatchSize, family.DenoiserChannels, size.Height / family.LatentFactor, size.Width / family.LatentFactor);
        var use = TextUse.Of(options);
        using var given = Encode();
        var forward = Measure([denoiser, .. trained.Encoders.Select(family.Component)], () =>
        {
            using var conditioning = use.AreTrained ? Encode() : null;
            family.Predict(latents, TensorArithmetic.Filled([training.BatchSize], 500), conditioning ?? given);
        });
        return Of(options, family, data, trained, denoiser, forward);

        Conditioning Encode()
        {
            using var texts = family.EncodePrompts([.. Enumerable.Repeat("", training.BatchSize)], use.Prompts);
            return family.WithSizes(texts, [.. Enumerable.Repeat(new SizeCondition(size.Height, size.Width, 0, 0, size.Height, size.Width), training.BatchSize)]);
        }
    }

    /// <summary>Of a run that trains the autoencoder.</summary>
    public static TrainingPlan OfAutoencoder(TrainFullOptions options, IDiffusionFamily family, TrainingData data, TrainedSize trained)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var (autoencoder, size) = (family.Component(FullOptions.Autoencoder), Largest(data));
        var pixels = zeros(options.Training.BatchSize, 3, size.Height, size.Width);
        return Of(options, family, data, trained, autoencoder, Measure([autoencoder], () => family.DecodeLatents(family.EncodeImages(pixels, null))));
    }

    /// <summary>Of a run that trains a text encoder by itself.</summary>
    public static TrainingPlan OfTextEncoder(TrainFullOptions options, IDiffusionFamily family, TrainingData data, TrainedSize trained)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var encoder = family.Component(FullOptions.Encoder);
        var captions = Enumerable.Repeat("", options.Training.BatchSize).ToList();
        return Of(options, family, data, trained, encoder, Measure([encoder], () => family.EncodePrompts(captions, TextUse.Of(options).Prompts).Dispose()));
    }

    private static PixelSize Largest(TrainingData data) => data.Images.Select(image => image.Choice.Bucket).MaxBy(bucket => bucket.Pixels);

    /// <summary>Seconds of a forward pass, and bytes of what its layers put out.</summary>
    private static (double Seconds, long Outputs) Measure(IEnumerable<nn.Module> models, Action forward)
    {
        var (outputs, seconds) = (0L, double.PositiveInfinity);
        var hooks = models.SelectMany(model => model.named_modules()).Where(item => item.module is nn.Module<Tensor, Tensor> && !item.module.children().Any())
            .Select(item => ((nn.Module<Tensor, Tensor>)item.module).register_forward_hook((_, _, output) =>
            {
                outputs += output.numel() * output.element_size();
                return output;
            })).ToList();
        for (var i = 0; i < 2; i++)   // the first pass touches the weights for the first time
        {
            outputs = 0;
            var watch = Stopwatch.StartNew();
            forward();
            seconds = Math.Min(seconds, watch.Elapsed.TotalSeconds);
        }
        foreach (var hook in hooks) hook.remove();
        return (seconds, outputs);
    }

    private static TrainingPlan Of(IRunOptions options, IDiffusionFamily family, TrainingData data, TrainedSize trained, nn.Module model, (double Seconds, long Outputs) forward)
    {
        var training = options.Training;
        var weights = model.parameters().Sum(parameter => parameter.numel() * parameter.element_size());
        var uses = data.Images.Sum(image => image.Repeats);
        var toDraw = PriorPictures.ToDraw(options);
        if (toDraw > 0) uses = 2 * Math.Max(options.Prior!.Count, data.Images.Where(image => !image.Options.Prior).Sum(image => image.Repeats));   // about: prior pictures will be as many as the others
        return new TrainingPlan
        {
            Model = options.Model,
            Family = family.Description,
            ModelWarnings = family.Warnings,
            ModelParameters = model.parameters().Sum(parameter => parameter.numel()),
            Data = data.Report,
            Modules = trained.Modules,
            Parameters = trained.Numbers,
            AdapterBytes = trained.Written * (trained.Precision == SavePrecision.Fp32 ? 4 : 2),
            Steps = options.TotalSteps,
            PicturesPerStep = training.BatchSize * training.Accumulation,
            Epochs = (double)options.TotalSteps * training.BatchSize * training.Accumulation / uses,
            MemoryBytes = Environment.WorkingSet + (long)(forward.Outputs * (training.GradientCheckpointing ? KeptWhenRecomputed : KeptPerOutput)) + LearningBytes(training, trained) + weights / 100,
            SecondsPerStep = forward.Seconds * (StepPerForward + (trained.Whole ? WeightsPerForward : 0) + (training.GradientCheckpointing ? RecomputedForward : 0)) * training.Accumulation,
            Output = options.Output,
            SecondsPerForward = forward.Seconds,
            PriorsToDraw = toDraw,
            SecondsToDraw = options.Prior is { } prior ? toDraw * prior.Steps * (prior.Guidance == 1 ? 1 : 2) * forward.Seconds / training.BatchSize : 0,
        };
    }

    /// <summary>Values, gradients, the optimizer's state and the moving average.</summary>
    private static long LearningBytes(TrainingOptions training, TrainedSize trained)
    {
        const long WithoutRounding = 8, Rounded = 2;   // bytes that AdamW and adamw8bit keep for a number
        var saved = training.Optimizer == OptimizerKind.Adamw8bit ? trained.Large * (WithoutRounding - Rounded) : 0;
        return trained.Numbers * (4 + training.StateBytesPerNumber() - (trained.Halved ? 4 : 0)) - saved;
    }

    /// <summary>What the run will write: kept results, state (values and two moments), pictures and logs.</summary>
    public static long DiskBytes(IRunOptions options, TrainingPlan plan) =>
        plan.AdapterBytes * ((options.SavesResult ? options.Training.Keep : 0) + 2) + plan.Parameters * options.Training.StateBytesPerNumber() * 2 + 50_000_000;
}
