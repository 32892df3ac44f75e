using LowRank.Adapters;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>A weight that changes, and where in a tensor of a file it lies.</summary>
/// <param name="Component">unet, text_encoder, ….</param>
/// <param name="Key">Of the module's state.</param>
/// <param name="View">From the file's tensor to the weight, a view of it.</param>
internal sealed record WeightPlace(string Component, string Key, Func<Tensor, Tensor> View);

/// <summary>The tensors of a merged model's files, made while they are written. One is computed at a time, with all the engine's threads; meanwhile others are read and written.</summary>
/// <param name="changes">What changes.</param>
/// <param name="type">Of all floating-point tensors; null: each keeps its own.</param>
/// <param name="progress">Hears of every tensor.</param>
/// <param name="cancellation">Stops between tensors.</param>
internal sealed class MergedWeights(WeightChanges changes, StoredType? type, IProgress<MergeProgress>? progress, CancellationToken cancellation)
{
    private readonly Lock computing = new();
    private int done, planned;

    /// <summary>Tensors that were copied byte for byte.</summary>
    public int Copied { get; private set; }

    /// <summary>Tensors that were only converted.</summary>
    public int Converted { get; private set; }

    /// <summary>Whether a weight changes.</summary>
    public bool Touches(string component, string key) => keys.Contains((component, key));

    /// <summary>Weights of a component that change.</summary>
    public IEnumerable<string> KeysOf(string component) => keys.Where(item => item.Component == component).Select(item => item.Key);

    private readonly HashSet<(string Component, string Key)> keys = [.. changes.Keys];

    /// <summary>A tensor as the merged model has it.</summary>
    /// <param name="stored">As the model has it.</param>
    /// <param name="read">Reads that.</param>
    /// <param name="places">Weights in it that change; empty for none.</param>
    public StreamedTensor Of(StreamedTensor stored, Func<Tensor> read, IReadOnlyList<WeightPlace> places)
    {
        var wanted = IsFloat(stored.Type) ? type ?? stored.Type : stored.Type;
        planned++;
        if (places.Count == 0 && wanted == stored.Type)
        {
            Copied++;
            return stored with { Visit = visit => { stored.Visit(visit); Tell(); } };
        }
        if (places.Count == 0) Converted++;
        return StreamedTensor.Made(stored.Name, wanted, stored.Shape, () =>
        {
            var tensor = read();
            lock (computing)
            {
                var merged = places.Count == 0 ? tensor : Merge(tensor, places);
                var rounded = merged.to(wanted.ToScalarType());
                if (!rounded.isfinite().all().item<bool>()) throw Refuse(stored.Name, tensor, wanted, places.Count > 0);
                Tell();
                return rounded;
            }
        });
    }

    /// <summary>Writes a file.</summary>
    public void Write(string path, IReadOnlyList<StreamedTensor> tensors, IReadOnlyDictionary<string, string> metadata) =>
        SafetensorsWriter.Write(path, tensors, metadata, Workers, cancellation);

    /// <summary>One computes while the other reads and writes.</summary>
    private const int Workers = 2;

    private Tensor Merge(Tensor stored, IReadOnlyList<WeightPlace> places)
    {
        var wide = stored.dtype is ScalarType.Float32 or ScalarType.Float64 ? stored : stored.to(ScalarType.Float32);
        foreach (var place in places)
        {
            using var view = place.View(wide);
            changes.ApplyTo(place.Component, place.Key, view);
        }
        return wide;
    }

    private void Tell() => progress?.Report(new(Interlocked.Increment(ref done), planned));

    private static CheckpointException Refuse(string name, Tensor stored, StoredType type, bool changed)
    {
        if (stored.dtype is not (ScalarType.Float32 or ScalarType.Float64) && !stored.isfinite().all().item<bool>()) return new CheckpointException($"the merged model is not written: {name} is not finite in the model itself; use a model that is not damaged: lora verify-model");
        var advice = type == StoredType.F16 ? "F16 holds numbers up to 65504: write --dtype bf16 or fp32, or use a smaller strength" : "use a smaller strength, and look at the model: lora verify-model";
        return new CheckpointException($"the merged model is not written: {name} is not finite as {type}{(changed ? " after merging" : "")}; {advice}");
    }

    private static bool IsFloat(StoredType type) => type is StoredType.F64 or StoredType.F32 or StoredType.F16 or StoredType.BF16 or StoredType.F8_E4M3 or StoredType.F8_E5M2;
}
