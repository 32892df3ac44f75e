using System.Text.Json.Serialization;

namespace LowRank.Training;

/// <summary>JSON of the files in a run folder, generated at build time.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    AllowOutOfOrderMetadataProperties = true)]
[JsonSerializable(typeof(TrainingEvent))]
[JsonSerializable(typeof(StateFacts))]
internal sealed partial class TrainingJson : JsonSerializerContext;
