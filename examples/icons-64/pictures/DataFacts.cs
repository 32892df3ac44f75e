using System.Text.Json.Serialization;

namespace LowRank.Examples.Icons;

/// <summary>What data.json holds.</summary>
/// <param name="FontSha256">Of the font file.</param>
/// <param name="NamesSha256">Of the list of emoji.</param>
/// <param name="Pictures">In all folders.</param>
/// <param name="Folders">By name.</param>
internal sealed record DataFacts(string FontSha256, string NamesSha256, int Pictures, IReadOnlyList<FolderFacts> Folders);

/// <summary>One folder of pictures.</summary>
/// <param name="Folder">Relative to the data.</param>
/// <param name="Pictures">How many.</param>
/// <param name="Sha256">Over names, captions and pixels in order (<see cref="PictureFolder.Checksum"/>).</param>
internal sealed record FolderFacts(string Folder, int Pictures, string Sha256);

/// <summary>How they are written.</summary>
[JsonSerializable(typeof(DataFacts))]
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
internal sealed partial class FactsJson : JsonSerializerContext;
