using System.Globalization;
using System.Text.Json;
using LowRank.Data;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Everything that a resume needs to go on with the same bits: trained values, their moving average, the optimizer's state, the loop's position, the streams'
/// states, the place in the data, and the options that must not change. Owns its tensors.
/// </summary>
internal sealed class TrainingState : IDisposable
{
    private const string TensorsFile = "tensors.safetensors", FactsFile = "state.json";
    private const int Version = 1;
    private static readonly string[] SamplerStreams = ["shuffle", "crop", "caption"];

    private readonly Dictionary<string, Tensor> tensors;
    private readonly StateFacts facts;

    private TrainingState(Dictionary<string, Tensor> tensors, StateFacts facts) => (this.tensors, this.facts) = (tensors, facts);

    /// <summary>Where the loop stood.</summary>
    public LoopPosition Position => facts.Position;

    /// <summary>Where the data stood, for <see cref="BatchSampler.Restore"/>.</summary>
    public SamplerState Data => facts.Data;

    /// <summary>Takes the state of a run between two steps.</summary>
    /// <param name="loop">The loop, with its optimizer and parameters.</param>
    /// <param name="streams">All streams of the run, as they were at that moment (<see cref="RandomStreams.Save"/>).</param>
    /// <param name="data">
    /// Where the sampler stood after the last batch that was trained on (<see cref="PlannedBatch.State"/>). Its own streams are taken from here:
    /// batches are drawn ahead, so the streams themselves have moved on.
    /// </param>
    /// <param name="options">What a resumed run must not change, by name: see <see cref="RequireSameOptions"/>.</param>
    /// <param name="position">Where the loop stood at that moment: a step that was left out since has moved it on. Null: where it stands.</param>
    public static TrainingState Of(TrainingLoop loop, IReadOnlyDictionary<string, byte[]> streams, SamplerState data, IReadOnlyDictionary<string, string> options, LoopPosition? position = null)
    {
        using var scope = NewDisposeScope();
        var tensors = new Dictionary<string, Tensor> { ["parameters"] = loop.Parameters.Values.detach().cpu().clone() };
        if (loop.Average is { } average) tensors["average"] = average.Values.cpu().clone();
        foreach (var (name, tensor) in loop.Optimizer.Save()) tensors["optimizer." + name] = tensor;
        foreach (var (name, bytes) in streams.Where(stream => !SamplerStreams.Contains(stream.Key))) tensors["stream." + name] = tensor(bytes);
        foreach (var tensor in tensors.Values) tensor.DetachFromDisposeScope();
        return new TrainingState(tensors, new StateFacts(Version, position ?? loop.Position, data, Names(loop.Parameters), new SortedDictionary<string, string>(options.ToDictionary())));
    }

    /// <summary>
    /// Writes the state as a folder of its own, step-000200, beside older ones: complete under another name first, then renamed, so that
    /// a process killed at any moment leaves the state before or this one, never half of one. Older ones are removed afterwards.
    /// </summary>
    /// <param name="folder">The run's folder of states.</param>
    /// <param name="keep">How many states stay, this one included.</param>
    public void Save(string folder, int keep = 1)
    {
        Directory.CreateDirectory(folder);
        foreach (var leftover in Directory.GetDirectories(folder, ".*")) Directory.Delete(leftover, recursive: true);
        var name = string.Create(CultureInfo.InvariantCulture, $"step-{Position.Step:D6}");
        var (final, temporary) = (Path.Combine(folder, name), Path.Combine(folder, $".{name}"));
        if (!Directory.Exists(final))   // a state of this very step holds the same
        {
            Directory.CreateDirectory(temporary);
            SafetensorsWriter.Write(Path.Combine(temporary, TensorsFile), tensors);
            WholeFile.Write(Path.Combine(temporary, FactsFile), JsonSerializer.SerializeToUtf8Bytes(facts, TrainingJson.Default.StateFacts));
            Directory.Move(temporary, final);
        }
        foreach (var old in Complete(folder).SkipLast(keep)) Directory.Delete(old.Path, recursive: true);
    }

    /// <summary>The newest state of a folder; null when there is none.</summary>
    /// <exception cref="CheckpointException">It cannot be read.</exception>
    public static TrainingState? OpenNewest(string folder)
    {
        if (!Directory.Exists(folder) || Complete(folder) is not [.., (_, var newest)]) return null;
        var facts = ReadFacts(Path.Combine(newest, FactsFile));
        using var scope = NewDisposeScope();
        using var reader = SafetensorsReader.Open(Path.Combine(newest, TensorsFile));
        var tensors = reader.Tensors.Keys.ToDictionary(name => name, name => reader.Read(name).clone().DetachFromDisposeScope());
        return new TrainingState(tensors, facts);
    }

    /// <summary>Refuses options that would make the rest of the run another one.</summary>
    /// <exception cref="OptionsException">Some differ; the message lists each with both values.</exception>
    public void RequireSameOptions(IReadOnlyDictionary<string, string> options)
    {
        var names = facts.Options.Keys.Union(options.Keys).Order(StringComparer.Ordinal);
        var changed = names.Where(name => facts.Options.GetValueOrDefault(name) != options.GetValueOrDefault(name)).ToList();
        if (changed.Count == 0) return;
        var lines = changed.Select(name => $"\n  {name}: {options.GetValueOrDefault(name) ?? "not set"}; the run began with {facts.Options.GetValueOrDefault(name) ?? "nothing"}");
        throw new OptionsException($"a resumed run keeps its options, and {changed.Count} changed:{string.Concat(lines)}\n  try       the old values, or a new run in another output folder");
    }

    /// <summary>Puts a run of the same make into this state; the sampler takes <see cref="Data"/> afterwards.</summary>
    /// <exception cref="CheckpointException">The state is of other parameters or another optimizer.</exception>
    public void Restore(TrainingLoop loop, RandomStreams streams)
    {
        if (!facts.Parameters.SequenceEqual(Names(loop.Parameters))) throw new CheckpointException(OtherParameters(loop.Parameters));
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        loop.Parameters.Values.copy_(tensors["parameters"]);
        loop.Average?.Values.copy_(tensors["average"]);
        loop.Optimizer.Restore(Under("optimizer.").ToDictionary(item => item.Name, item => item.Tensor));
        streams.Restore(Under("stream.").ToDictionary(item => item.Name, item => item.Tensor.data<byte>().ToArray()));
        loop.Position = Position;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in tensors.Values) tensor.Dispose();
    }

    private IEnumerable<(string Name, Tensor Tensor)> Under(string prefix) =>
        tensors.Where(item => item.Key.StartsWith(prefix, StringComparison.Ordinal)).Select(item => (item.Key[prefix.Length..], item.Value));

    private static List<string> Names(TrainedParameters parameters) =>
        [.. parameters.Segments.Select(segment => string.Create(CultureInfo.InvariantCulture, $"{segment.Name} ({segment.Length})"))];

    private static List<(long Step, string Path)> Complete(string folder) =>
        [.. Directory.GetDirectories(folder, "step-*").Select(path => (Step: long.Parse(Path.GetFileName(path)["step-".Length..], CultureInfo.InvariantCulture), path)).OrderBy(item => item.Step)];

    private static StateFacts ReadFacts(string path)
    {
        try
        {
            var facts = JsonSerializer.Deserialize(File.ReadAllBytes(path), TrainingJson.Default.StateFacts)!;
            return facts.Version == Version ? facts : throw new CheckpointException(
                string.Create(CultureInfo.InvariantCulture, $"the training state {path} has version {facts.Version}; this program reads version {Version}. Resume with the program that wrote it."));
        }
        catch (Exception problem) when (problem is JsonException or IOException)
        {
            throw new CheckpointException($"the training state {path} cannot be read: {problem.Message}", problem);
        }
    }

    private string OtherParameters(TrainedParameters parameters)
    {
        var now = Names(parameters);
        return string.Create(CultureInfo.InvariantCulture,
            $"""
            the saved training state is of another adapter
              saved     {facts.Parameters.Count} tensors, such as {facts.Parameters.Except(now).FirstOrDefault() ?? "none that is missing now"}
              now       {now.Count} tensors, such as {now.Except(facts.Parameters).FirstOrDefault() ?? "none that is new"}
              try       the adapter options that the run began with
            """);
    }
}

/// <summary>The part of a training state that is no tensor.</summary>
internal sealed record StateFacts(int Version, LoopPosition Position, SamplerState Data, IReadOnlyList<string> Parameters, IReadOnlyDictionary<string, string> Options);
