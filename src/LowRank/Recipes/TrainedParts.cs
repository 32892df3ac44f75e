using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Models.Layers;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>Which parts of a model a run trains: the denoiser, and text encoders where the recipe says so.</summary>
internal static class TrainedParts
{
    private const string Denoiser = "unet", SecondEncoder = "text_encoder_2";

    /// <summary>A fresh adapter over all of them, attached.</summary>
    /// <exception cref="OptionsException">Targets that find no module, or a model that such a run cannot train.</exception>
    public static AdapterSet Attach(TrainLoraOptions options, IDiffusionFamily family, RandomStreams streams)
    {
        ModelFit.Require(options, family);
        var denoiser = new Dictionary<string, nn.Module> { [Denoiser] = family.Component(Denoiser) };
        if (options.TextEncoder is not { } text) return AdapterSet.Create(denoiser, options.Adapter, streams["init"], CPU);
        if (text.SecondLearningRate is not null && !family.ComponentNames.Contains(SecondEncoder)) throw new OptionsException($"text_encoder.second_learning_rate: does nothing for {options.Model}: {family.Name} has one text encoder");
        var encoders = family.ComponentNames.Skip(1).ToDictionary(name => name, family.Component);
        List<AdapterTarget> targets = [.. TargetSelector.Select(denoiser, options.Adapter), .. SelectText(encoders, text.AsAdapter(options.Adapter))];
        var components = denoiser.Concat(encoders).Where(part => targets.Exists(target => target.Component == part.Key)).ToDictionary();
        return AdapterSet.Create(components, targets, options.Adapter, streams["init"], CPU);
    }

    /// <summary>What the optimizer moves: text encoders with their own rate and end.</summary>
    public static TrainedParameters Parameters(TrainLoraOptions options, IDiffusionFamily family, AdapterSet adapter)
    {
        if (options.TextEncoder is not { } text) return TrainedParameters.Of(adapter, options.Training.ParameterRates);
        using var scope = NewDisposeScope();
        var encoders = adapter.Layers.Select(layer => layer.Component).Distinct().Where(part => part != Denoiser).ToList();
        var rates = options.Training.ParameterRates with
        {
            Parts = encoders.ToDictionary(part => part, part => new ParameterGroup(part == SecondEncoder ? text.SecondLearningRate ?? text.LearningRate : text.LearningRate) { StopStep = text.StopStep }),
        };
        return TrainedParameters.Of(adapter, rates, encoders.SelectMany(part => UnreachedLayers.Find(adapter, part, Encoded)).ToHashSet());

        IEnumerable<Tensor> Encoded()
        {
            var states = family.EncodePrompts([""], TextUse.Of(options).Prompts);
            return states.Pooled is { } pooled ? [states.Hidden, pooled] : [states.Hidden];
        }
    }

    /// <summary>Whether the text encoders still learn after so many updates.</summary>
    public static bool TextLearns(TrainLoraOptions options, long step) => options.TextEncoder is { } text && step < (text.StopStep ?? long.MaxValue);

    /// <summary>Lets the blocks of the adapter's parts be computed again in backward, where the recipe says so.</summary>
    public static void SetCheckpointing(TrainLoraOptions options, IDiffusionFamily family, AdapterSet adapter, RandomStreams streams)
    {
        if (!options.Training.GradientCheckpointing) return;
        foreach (var part in adapter.Layers.Select(layer => layer.Component).Distinct()) Checkpoint(family.Component(part), streams["dropout"]);
    }

    /// <summary>Lets the blocks of a model be computed again in backward, where it can.</summary>
    /// <param name="part">The model.</param>
    /// <param name="random">What its blocks may draw from.</param>
    public static void Checkpoint(nn.Module part, Generator random)
    {
        if (part is ICheckpointed model) (model.Blocks.Recomputes, model.Blocks.Random) = (true, random);
    }

    private static IReadOnlyList<AdapterTarget> SelectText(IReadOnlyDictionary<string, nn.Module> encoders, AdapterOptions options)
    {
        try
        {
            return TargetSelector.Select(encoders, options);
        }
        catch (OptionsException problem)
        {
            throw new OptionsException("text_encoder." + problem.Message.Replace("\n", "\ntext_encoder.", StringComparison.Ordinal), problem);
        }
    }
}
