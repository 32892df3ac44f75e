using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>What vectors of a token start as.</summary>
/// <param name="Token">The word.</param>
/// <param name="Component">The text encoder: text_encoder, text_encoder_2.</param>
/// <param name="Rows">(n, C) float32.</param>
internal sealed record TokenStart(string Token, string Component, Tensor Rows);

/// <summary>
/// Vectors of learned tokens while they are trained: views of one flat tensor, with gradients in another, as in an <see cref="AdapterSet"/>.
/// Nothing else of a text encoder is here, so nothing else of it can change. Owns its tensors.
/// </summary>
internal sealed class EmbeddingSet : IDisposable
{
    private readonly List<Tensor> owned = [];
    private readonly List<TokenStart> parts = [];

    /// <param name="starts">Where each begins; copied, and still the caller's.</param>
    /// <param name="device">Where the text encoders lie.</param>
    public EmbeddingSet(IReadOnlyList<TokenStart> starts, Device device) : this(starts, Flat(starts, device), Flat(starts, device)) { }

    /// <param name="starts">Where each begins; copied, and still the caller's.</param>
    /// <param name="values">(n) float32, such as a view into the flat tensor of an adapter that is trained with it; now owned by the set.</param>
    /// <param name="gradients">(n) float32; now owned by the set.</param>
    public EmbeddingSet(IReadOnlyList<TokenStart> starts, Tensor values, Tensor gradients)
    {
        (FlatParameters, FlatGradients) = (values.DetachFromDisposeScope(), gradients.DetachFromDisposeScope());
        owned.AddRange([values, gradients]);
        using var scope = NewDisposeScope();
        var offset = 0L;
        foreach (var start in starts)
        {
            var count = start.Rows.numel();
            var gradient = gradients.narrow(0, offset, count).view(start.Rows.shape);
            var rows = values.narrow(0, offset, count).view(start.Rows.shape);
            using (no_grad()) rows.copy_(start.Rows);
            rows.requires_grad_();
            rows.grad = gradient;   // backward adds to it in place
            rows.DetachFromDisposeScope();
            owned.Add(rows);
            parts.Add(start with { Rows = rows });
            offset += count;
        }
    }

    /// <summary>Numbers that starts take in a flat tensor.</summary>
    public static long Count(IReadOnlyList<TokenStart> starts) => starts.Sum(start => start.Rows.numel());

    /// <summary>All trained numbers (n) float32: of each token in order, of each text encoder in order, row by row.</summary>
    public Tensor FlatParameters { get; }

    /// <summary>Their gradients (n) float32. Backward adds to it; set it to zero before a step.</summary>
    public Tensor FlatGradients { get; }

    /// <summary>Every part with its name (<c>text_encoder.token.&lt;s1&gt;</c>) in the order of <see cref="FlatParameters"/>; still owned by the set.</summary>
    public IEnumerable<(string Name, Tensor Parameter)> NamedParameters() => parts.Select(part => ($"{part.Component}.token.{part.Token}", part.Rows));

    /// <summary>The text encoders that read them.</summary>
    public IEnumerable<string> Components => parts.Select(part => part.Component).Distinct();

    /// <summary>The tokens as they are now: the tensors are the set's own, so do not dispose them.</summary>
    public IReadOnlyList<Embedding> Tokens => [.. parts.GroupBy(part => part.Token).Select(group => new Embedding(group.Key, group.ToDictionary(part => part.Component, part => part.Rows)))];

    /// <summary>Whether backward reaches the vectors.</summary>
    public void RequireGradients(bool required)
    {
        foreach (var part in parts) part.Rows.requires_grad_(required);
    }

    /// <summary>
    /// The norm rule of the package of 2022 (cloneofsimo/lora, lora_diffusion/cli_lora_pti.py), after an update: every vector e becomes
    /// e / max(‖e‖, 1e-12) · (‖e‖ + share · (norm − ‖e‖)).
    /// </summary>
    /// <param name="norm">The length that vectors are pulled to.</param>
    /// <param name="share">How much of the way: 0 to 1.</param>
    public void PullNorms(double norm, double share)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        foreach (var part in parts)
        {
            var lengths = part.Rows.norm(1, keepdim: true);                                                 // (n, 1)
            part.Rows.copy_(part.Rows / lengths.AtLeast(1e-12) * lengths.Plus(lengths.SubtractedFrom(norm).Times(share)));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in owned) tensor.Dispose();
        owned.Clear();
    }

    private static Tensor Flat(IReadOnlyList<TokenStart> starts, Device device) => zeros(Count(starts), ScalarType.Float32, device);
}
