using System.Text.Json;
using System.Text.Json.Serialization;
using LowRank.Foundation;

namespace LowRank.Models;

/// <summary>What the configuration records of all models share: how problems are found and told.</summary>
internal static class PublishedConfig
{
    /// <summary>
    /// Problems of keys that this library does not read because it knows only some of their values (given as JSON text).
    /// An absent key has the first of them; a key that is not in the table has no effect on the network.
    /// </summary>
    public static IEnumerable<string> Unsupported(IReadOnlyDictionary<string, JsonElement>? unread, IReadOnlyDictionary<string, string[]> supported)
    {
        foreach (var (key, value) in unread ?? new Dictionary<string, JsonElement>())
        {
            if (!supported.TryGetValue(key, out var values) || values.Any(text => JsonElement.DeepEquals(JsonElement.Parse(text), value))) continue;
            yield return $"{key} is {value.GetRawText()}; supported: {string.Join(", ", values)}";
        }
    }

    /// <summary>Throws, listing every problem, when there is one.</summary>
    /// <param name="problems">One a line, each naming its key and value.</param>
    /// <param name="model">The class as published.</param>
    /// <param name="source">The file.</param>
    public static void Refuse(IEnumerable<string> problems, string model, string source)
    {
        var lines = problems.ToArray();
        if (lines.Length == 0) return;
        throw new CheckpointException($"{source}: this {model} cannot be built:\n  {string.Join("\n  ", lines)}");
    }
}

/// <summary>A whole number for every level of a network, or one a level: published files have both forms.</summary>
[JsonConverter(typeof(PerLevelConverter))]
internal sealed record PerLevel(bool IsList, IReadOnlyList<int> Values)
{
    public int this[int level] => IsList ? Values[level] : Values[0];

    public static implicit operator PerLevel(int value) => new(false, [value]);

    public override string ToString() => IsList ? $"[{string.Join(", ", Values)}]" : $"{Values[0]}";
}

/// <summary>Reads and writes a number or a list of numbers.</summary>
internal sealed class PerLevelConverter : JsonConverter<PerLevel>
{
    public override PerLevel Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out var single)) return single;
        if (reader.TokenType != JsonTokenType.StartArray) throw new JsonException();
        var values = new List<int>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt32(out var value)) throw new JsonException();
            values.Add(value);
        }
        return new PerLevel(true, values);
    }

    public override void Write(Utf8JsonWriter writer, PerLevel value, JsonSerializerOptions options)
    {
        if (!value.IsList)
        {
            writer.WriteNumberValue(value.Values[0]);
            return;
        }
        writer.WriteStartArray();
        foreach (var item in value.Values) writer.WriteNumberValue(item);
        writer.WriteEndArray();
    }
}
