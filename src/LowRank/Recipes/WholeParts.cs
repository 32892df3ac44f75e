using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Text;
using LowRank.Training;
using static TorchSharp.torch;

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
        }, options.ModelFile);
    }

    /// <summary>Takes the parts that the recipe names out of a model, with random weights where it says so. The caller disposes the result before the model.</summary>
    /// <exception cref="OptionsException">A part that the model lacks, or a model that such a run cannot train.</exception>
    public static TrainedModules Take(TrainFullOptions options, IDiffusionFamily family, RandomStreams streams)
    {
        Draw(options, family, streams);
        return Move(options, family);
    }

    /// <summary>Gives parts random weights where the recipe says so.</summary>
    /// <exception cref="OptionsException">A part that the model lacks, or a model that such a run cannot train.</exception>
    public static void Draw(TrainFullOptions options, IDiffusionFamily family, RandomStreams streams)
    {
        if (options.Full.Denoises) ModelFit.Require(options, family);
        List<string> known = [.. family.ComponentNames, FullOptions.Autoencoder];
        var lacking = options.Full.Parts.FirstOrDefault(part => !known.Contains(part));
        if (lacking is not null) throw new OptionsException($"full.parts: {lacking}; the model {options.Model} ({family.Name}) has {string.Join(", ", known)}");
        foreach (var part in options.Full.Drawn) family.DrawWeights(part, streams["init"]);
    }

    /// <summary>Moves the parts that the recipe names, and more that learn beside them, into one flat tensor. The caller disposes it before them.</summary>
    public static TrainedModules Move(TrainFullOptions options, IDiffusionFamily family, params IEnumerable<(string Name, nn.Module Module)> beside)
    {
        var (full, training) = (options.Full, options.Training);
        var rates = training.ParameterRates with { Parts = full.Encoders.ToDictionary(part => part, _ => new ParameterGroup(full.TextEncoderLearningRate ?? training.LearningRate)) };
        var trained = new TrainedModules([.. Modules(options, family), .. beside], rates);
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

    /// <summary>What learns, by name: the parts, or of an autoencoder what lies behind its latents.</summary>
    private static IEnumerable<(string Name, nn.Module Module)> Modules(TrainFullOptions options, IDiffusionFamily family) => options.Vae is not { DecoderOnly: true }
        ? options.Full.Parts.Select(part => (part, family.Component(part)))
        : family.Component(FullOptions.Autoencoder).named_children().Where(child => child.name is "post_quant_conv" or "decoder").Select(child => ($"{FullOptions.Autoencoder}.{child.name}", child.module));

    /// <summary>The update rule; for 16-bit weights one that rounds by chance, from a stream of its own.</summary>
    public static IOptimizer Optimizer(TrainFullOptions options, TrainedModules trained, RandomStreams streams)
    {
        var training = options.Training;
        if (training.Precision == Precision.Fp32) return training.MakeOptimizer(trained.Parameters);
        return new RoundedOptimizer(trained.Parameters, training.MakeOptimizer, count => StochasticRounding.Draw(count, streams["rounding"], trained.Values.device));
    }

    /// <summary>How much is trained and written.</summary>
    public static TrainedSize SizeOf(TrainFullOptions options, IDiffusionFamily family, TrainedModules trained) =>
        new(Modules(options, family).Sum(part => part.Module.modules().Count(module => module.parameters(recurse: false).Any())), trained.Values.numel(), options.Save.Precision, [.. options.Full.Encoders])
        {
            Written = family.ParameterCount,
            Large = trained.Parameters.Segments.Where(segment => segment.Length >= AdamW8bit.SmallestQuantized).Sum(segment => segment.Length),
            Whole = true,
            Halved = options.Training.Precision == Precision.Bf16,
        };

    /// <summary>Writes the model with the weights to save.</summary>
    /// <param name="path">The folder.</param>
    /// <param name="options">The recipe.</param>
    /// <param name="family">The model.</param>
    /// <param name="step">Updates made.</param>
    /// <param name="weights">Puts those weights into place, until disposed.</param>
    public static void Write(string path, TrainFullOptions options, IDiffusionFamily family, long step, Func<IDisposable> weights)
    {
        using var output = weights();
        family.Write(path, AdapterFacts.TypeOf(options.Save.Precision).ToScalarType(), AdapterFacts.OfRun(options, family, step));
    }

    /// <summary>Lets the blocks of the parts be computed again in backward, where the recipe says so.</summary>
    public static void SetCheckpointing(TrainFullOptions options, IDiffusionFamily family, RandomStreams streams)
    {
        if (!options.Training.GradientCheckpointing) return;
        foreach (var part in options.Full.Parts) TrainedParts.Checkpoint(family.Component(part), streams["dropout"]);
    }
}
