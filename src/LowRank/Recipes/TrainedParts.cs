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
    /// <param name="options">The recipe.</param>
    /// <param name="adapter">Its adapter.</param>
    /// <param name="family">The model.</param>
    /// <param name="streams">Of the run.</param>
    /// <param name="reserved">Room for so many numbers of learned words behind those of the adapter.</param>
    /// <exception cref="OptionsException">Targets that find no module, or a model that such a run cannot train.</exception>
    public static AdapterSet Attach(IRunOptions options, AdapterOptions adapter, IDiffusionFamily family, RandomStreams streams, long reserved = 0)
    {
        ModelFit.Require(options, family);
        var denoiser = new Dictionary<string, nn.Module> { [Denoiser] = family.Component(Denoiser) };
        var targets = TargetSelector.Select(denoiser, adapter);
        if (options.TextEncoder is not { } text) return AdapterSet.Create(denoiser, targets, adapter, streams["init"], CPU, reserved);
        if (text.SecondLearningRate is not null && !family.ComponentNames.Contains(SecondEncoder)) throw new OptionsException($"text_encoder.second_learning_rate: does nothing for {options.Model}: {family.Name} has one text encoder");
        var encoders = family.ComponentNames.Skip(1).ToDictionary(name => name, family.Component);
        targets = [.. targets, .. SelectText(encoders, text.AsAdapter(adapter))];
        var components = denoiser.Concat(encoders).Where(part => targets.Any(target => target.Component == part.Key)).ToDictionary();
        return AdapterSet.Create(components, targets, adapter, streams["init"], CPU, reserved);
    }

    /// <summary>Rates of the recipe: text encoders with their own, and their own end.</summary>
    /// <param name="options">The recipe.</param>
    /// <param name="adapter">Attached.</param>
    /// <param name="firstStep">Updates before the adapter's first, from which ends are counted.</param>
    public static ParameterRates Rates(IRunOptions options, AdapterSet adapter, long firstStep = 0) => options.TextEncoder is not { } text ? options.Training.ParameterRates : options.Training.ParameterRates with
    {
        Parts = Encoders(adapter).ToDictionary(part => part, part => new ParameterGroup(part == SecondEncoder ? text.SecondLearningRate ?? text.LearningRate : text.LearningRate) { StopStep = firstStep + text.StopStep }),
    };

    /// <summary>Names of the parameters on text encoders that nothing depends on.</summary>
    public static IReadOnlySet<string> Unreached(IRunOptions options, IDiffusionFamily family, AdapterSet adapter)
    {
        using var scope = NewDisposeScope();
        return Encoders(adapter).SelectMany(part => UnreachedLayers.Find(adapter, part, Encoded)).ToHashSet();

        IEnumerable<Tensor> Encoded()
        {
            var states = family.EncodePrompts([""], TextUse.Of(options).Prompts);
            return states.Pooled is { } pooled ? [states.Hidden, pooled] : [states.Hidden];
        }
    }

    /// <summary>Whether an adapter on the text encoders still learns after so many of its updates.</summary>
    public static bool TextLearns(IRunOptions options, long step) => options.TextEncoder is { } text && step < (text.StopStep ?? long.MaxValue);

    /// <summary>Lets the blocks of parts be computed again in backward, where the recipe says so.</summary>
    public static void SetCheckpointing(IRunOptions options, IDiffusionFamily family, IEnumerable<string> parts, RandomStreams streams)
    {
        if (!options.Training.GradientCheckpointing) return;
        foreach (var part in parts) Checkpoint(family.Component(part), streams["dropout"]);
    }

    /// <summary>Parts with layers of an adapter.</summary>
    public static IEnumerable<string> PartsOf(AdapterSet adapter) => adapter.Layers.Select(layer => layer.Component).Distinct();

    private static List<string> Encoders(AdapterSet adapter) => [.. PartsOf(adapter).Where(part => part != Denoiser)];

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
