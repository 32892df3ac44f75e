using static TorchSharp.torch;

namespace LowRank.Adapters.Formats;

/// <summary>One file of a converted adapter.</summary>
/// <param name="Component">The part of the model it is for where a convention has a file for each; null for all.</param>
/// <param name="Tensors">In the order in which lists have them.</param>
/// <param name="Metadata">For <c>.safetensors</c>.</param>
/// <param name="Config">PEFT's <c>adapter_config.json</c>; null for other conventions.</param>
internal sealed record ConvertedPart(string? Component, IReadOnlyList<KeyValuePair<string, Tensor>> Tensors, IReadOnlyDictionary<string, string> Metadata, string? Config = null);

/// <summary>An adapter in another convention, not yet written. Its tensors live in the caller's scope.</summary>
/// <param name="Parts">One, or one for each part of the model.</param>
/// <param name="Beside">Learned tokens that the convention has no place for.</param>
/// <param name="Changes">What is not as it was, one line each.</param>
internal sealed record ConvertedAdapter(IReadOnlyList<ConvertedPart> Parts, IReadOnlyList<AdapterEmbedding> Beside, IReadOnlyList<string> Changes);
