using System.Text.Json.Serialization;

namespace LowRank.Training;

/// <summary>It was measured how far what is trained has gone. About fifty times in a run.</summary>
public sealed class NormsMeasured : TrainingEvent
{
    [JsonConstructor]
    internal NormsMeasured(long step, IReadOnlyDictionary<string, double> norms) => (Step, Norms) = (step, norms);

    /// <summary>Updates made so far.</summary>
    public long Step { get; }

    /// <summary>
    /// By block of the model (<c>unet.down_blocks.0</c>) the length of the adapter's change of its weights, ‖ΔW‖ over all layers of the block;
    /// by learned token the mean length of its vectors.
    /// </summary>
    public IReadOnlyDictionary<string, double> Norms { get; }
}
