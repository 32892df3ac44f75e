using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>The weights of one part of a model under the keys of its module, proven to fit its configuration, read one at a time. Owns the open file.</summary>
internal sealed class PartWeights : IDisposable
{
    private readonly Checkpoint file;
    private readonly Dictionary<string, string> names;

    private PartWeights(Checkpoint file, IReadOnlyCollection<string> keys, Dictionary<string, string> names) => (this.file, Keys, this.names) = (file, keys, names);

    /// <summary>The module's keys.</summary>
    public IReadOnlyCollection<string> Keys { get; }

    /// <summary>Opens a part; reads headers only.</summary>
    /// <param name="model">The model.</param>
    /// <param name="part">One with weights.</param>
    /// <exception cref="CheckpointException">The part is not there, or its weights do not fit its configuration: missing, unexpected and mis-shaped ones are listed.</exception>
    public static PartWeights Open(ModelFiles model, string part)
    {
        var kind = model.Weights(part);
        var (json, place) = model.Configuration(part);
        using var module = ModelCheck.Outline(kind, json, place) ?? throw model.Refuse(ModelFiles.IndexName, $"unsupported value: {part} is of class {kind}", "take a model of Stable Diffusion 1, 2 or XL");
        var file = model.OpenWeights(part);
        try
        {
            file.RequireFit(module, name => ModelCheck.KeyOf(kind, name));
            return new PartWeights(file, [.. module.state_dict().Keys], file.Names.Where(name => ModelCheck.KeyOf(kind, name) is not null).ToDictionary(name => ModelCheck.KeyOf(kind, name)!));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Shape of a weight.</summary>
    public IReadOnlyList<long> ShapeOf(string key) => file.Info(names[key]).Shape;

    /// <summary>How a weight is stored.</summary>
    public StoredType TypeOf(string key) => file.Info(names[key]).Type;

    /// <summary>A weight byte for byte.</summary>
    /// <param name="key">Of the module.</param>
    /// <param name="name">In the file to write.</param>
    public StreamedTensor Copy(string key, string name) => file.Copy(names[key], name);

    /// <summary>A weight in a type. The caller owns it.</summary>
    /// <param name="key">Of the module.</param>
    /// <param name="type">A float.</param>
    /// <exception cref="CheckpointException">It has numbers that the type does not hold.</exception>
    public Tensor Read(string key, StoredType type)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var stored = file.Read(names[key]);
        var value = stored.to(type.ToScalarType());
        if (type == StoredType.F16 && TypeOf(key) != type && stored.numel() > 0 && stored.abs().max().to(ScalarType.Float32).item<float>() is var most && float.IsFinite(most) && most > MostOfHalf)
        {
            throw TensorFile.Refuse(file.Path, Invariant($"tensor \"{names[key]}\" has numbers up to {most:G4}, fp16 holds them up to {MostOfHalf}"), "write bf16 or fp32");
        }
        return value.MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();

    /// <summary>Beyond it (and half a step) rounding gives infinity.</summary>
    private const float MostOfHalf = 65504;
}
