using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Text;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>The parts of a model that a full training moves, in one flat tensor that their weights are views of.</summary>
internal static class WholeParts
{
    /// <summary>Opens the model; one that is to be made needs neither weights nor tokenizers, which are built from the captions then.</summary>
    public static IDiffusionFamily Open(TrainFullOptions options)
    {
        if (options.Full.Init == WeightStart.Base) return TrainLora.Open(options);
        return FamilyDetector.OpenToMake(options.Model, TrainLora.TypeOf(options), options.Inpainting?.Widen == true, () =>
        {
            const int AnySize = 64;   // only captions are looked at
            var images = TrainingData.Read(options.Data, AnySize, options.Validation.Share).Images;
            return BuiltTokenizer.Count(images.Select(image => Captions.Plain(image.Caption, image.Options.CaptionRules)), options.Full.Words);
        });
    }

    /// <summary>Takes the parts that the recipe names out of a model, with random weights where it says so. The caller disposes the result before the model.</summary>
    /// <exception cref="OptionsException">A part that the model lacks, or a model that such a run cannot train.</exception>
    public static TrainedModules Take(TrainFullOptions options, IDiffusionFamily family, RandomStreams streams)
    {
        if (!options.Full.IsAutoencoder) ModelFit.Require(options, family);
        List<string> known = [.. family.ComponentNames, FullOptions.Autoencoder];
        var lacking = options.Full.Parts.FirstOrDefault(part => !known.Contains(part));
        if (lacking is not null) throw new OptionsException($"full.parts: {lacking}; the model {options.Model} ({family.Name}) has {string.Join(", ", known)}");
        var (full, training) = (options.Full, options.Training);
        if (full.Init == WeightStart.Random)
        {
            foreach (var part in full.Parts) family.DrawWeights(part, streams["init"]);
        }
        var rates = training.ParameterRates with { Parts = full.Encoders.ToDictionary(part => part, _ => new ParameterGroup(full.TextEncoderLearningRate ?? training.LearningRate)) };
        var trained = new TrainedModules([.. full.Parts.Select(part => (part, family.Component(part)))], rates);
        foreach (var encoder in full.Encoders)
        {
            trained.LeaveUnreached(encoder, () =>
            {
                var states = family.EncodePrompts([""], TextUse.Of(options).Prompts);
                return states.Pooled is { } pooled ? [states.Hidden, pooled] : [states.Hidden];
            });
        }
        return trained;
    }

    /// <summary>The update rule; for 16-bit weights one that rounds by chance, from a stream of its own.</summary>
    public static IOptimizer Optimizer(TrainFullOptions options, TrainedModules trained, RandomStreams streams)
    {
        var training = options.Training;
        if (training.Precision == Precision.Fp32) return training.MakeOptimizer(trained.Parameters);
        return new RoundedOptimizer(trained.Parameters, training.MakeOptimizer, count => StochasticRounding.Draw(count, streams["rounding"], trained.Values.device));
    }

    /// <summary>How much is trained and written.</summary>
    public static TrainedSize SizeOf(TrainFullOptions options, IDiffusionFamily family, TrainedModules trained) =>
        new(options.Full.Parts.Sum(part => family.Component(part).modules().Count(module => module.parameters(recurse: false).Any())), trained.Values.numel(), options.Save.Precision, [.. options.Full.Encoders])
        {
            Written = family.ParameterCount,
            Large = trained.Parameters.Segments.Where(segment => segment.Length >= AdamW8bit.SmallestQuantized).Sum(segment => segment.Length),
            Whole = true,
            Halved = options.Training.Precision == Precision.Bf16,
        };

    /// <summary>Lets the blocks of the parts be computed again in backward, where the recipe says so.</summary>
    public static void SetCheckpointing(TrainFullOptions options, IDiffusionFamily family, RandomStreams streams)
    {
        if (!options.Training.GradientCheckpointing) return;
        foreach (var part in options.Full.Parts) TrainedParts.Checkpoint(family.Component(part), streams["dropout"]);
    }
}
