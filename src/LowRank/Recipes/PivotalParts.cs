using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>What a pivotal tuning trains: an adapter and learned words, in one flat tensor, both in the model. Owns them.</summary>
internal sealed class PivotalParts : IDisposable
{
    private readonly TrainPivotalOptions options;

    /// <summary>Makes both and puts them into the model.</summary>
    public PivotalParts(TrainPivotalOptions options, IDiffusionFamily family, RandomStreams streams)
    {
        this.options = options;
        using var scope = NewDisposeScope();
        var starts = TokenTraining.Starts(options.Tokens, family, streams["init"]);
        var count = EmbeddingSet.Count(starts);
        Adapter = TrainedParts.Attach(options, options.Adapter, family, streams, reserved: count);
        var length = Adapter.FlatParameters.numel() - count;
        Tokens = new EmbeddingSet(starts, Adapter.FlatParameters.narrow(0, length, count), Adapter.FlatGradients.narrow(0, length, count));
        family.Place(Tokens);
    }

    public AdapterSet Adapter { get; }

    public EmbeddingSet Tokens { get; }

    /// <summary>Updates of both phases.</summary>
    public int TotalSteps => options.Inversion.Steps + options.Training.Steps;

    /// <summary>Everything that is trained.</summary>
    public TrainedSize Size => new(Adapter.Layers.Count, Adapter.FlatParameters.numel(), options.Save.Precision, [.. Tokens.Components]);

    /// <summary>What the first phase moves.</summary>
    public TrainedParameters OfTokens => TrainedParameters.Of(Tokens, new ParameterGroup(options.Inversion.LearningRate, options.Inversion.WeightDecay));

    /// <summary>What the second phase moves. Words that it leaves alone are part of it, with a rate of 0, so that its states hold them.</summary>
    public TrainedParameters OfAll(IDiffusionFamily family)
    {
        var ofTokens = options.Inversion.TuningLearningRate > 0 ? new ParameterGroup(options.Inversion.TuningLearningRate, options.Inversion.WeightDecay) : new ParameterGroup(0);
        var all = TrainedParameters.Of(Adapter, TrainedParts.Rates(options, Adapter, options.Inversion.Steps), Tokens, ofTokens);
        all.LeaveOut(TrainedParts.Unreached(options, family, Adapter));
        return all;
    }

    /// <summary>Whether gradients go back into the text encoders after so many updates of the run.</summary>
    public bool TextLearns(long step) => options.Inversion.TuningLearningRate > 0 || TrainedParts.TextLearns(options, step - options.Inversion.Steps);

    /// <summary>How far both have gone.</summary>
    public IReadOnlyDictionary<string, double> Norms() => BlockNorms.Of(Adapter).Concat(BlockNorms.Of(Tokens)).ToDictionary();

    /// <summary>Writes the adapter, with the words as a bundle or without.</summary>
    public void Write(string path, IDiffusionFamily family, long step, bool withTokens) =>
        AdapterWriter.Write(path, Adapter, AdapterFacts.Of(options, options.Adapter, options.Save, family, step, withTokens ? Tokens.Tokens : []));

    /// <summary>The adapter without the words, and a file for each word.</summary>
    /// <returns>The words' files.</returns>
    public IReadOnlyList<string> WriteEachAlone(RunFolder folder, IDiffusionFamily family, long step)
    {
        Write(folder.AdapterAlone, family, step, withTokens: false);
        return TokenTraining.WriteEach(folder, Tokens, options.Embeddings, AdapterFacts.OfRun(options, family, step));
    }

    public void Dispose()
    {
        Tokens.Dispose();
        Adapter.Dispose();
    }
}
