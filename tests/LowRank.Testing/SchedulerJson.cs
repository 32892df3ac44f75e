using System.Text.Json;

namespace LowRank.Testing;

/// <summary>Reads records that mirror a <c>scheduler_config.json</c> from parts of golden cases.</summary>
public static class SchedulerJson
{
    private static readonly JsonSerializerOptions SnakeCase = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    public static T Read<T>(JsonElement json) => json.Deserialize<T>(SnakeCase)!;

    /// <summary>The keys a record reads.</summary>
    public static IEnumerable<string> Keys(Type record) => record.GetProperties()
        .Where(property => property.CanWrite && property.Name != "OtherKeys")
        .Select(property => JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name));
}
