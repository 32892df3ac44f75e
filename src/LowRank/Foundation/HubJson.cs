using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace LowRank.Foundation;

/// <summary>
/// The only two ways JSON is read and written, both in snake_case:
/// lenient for configuration files published on the hub, strict for files of ours.
/// </summary>
internal static class HubJson
{
    /// <summary>For hub files: keys that a record does not have are kept where it has <see cref="JsonExtensionDataAttribute"/>, else passed over.</summary>
    public static JsonSerializerOptions Hub { get; } = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        ReadCommentHandling = JsonCommentHandling.Skip,
        AllowTrailingCommas = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        RespectNullableAnnotations = true,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false) },
        // named, so that it works in file-based programs, which turn reflection off by default
        TypeInfoResolver = new DefaultJsonTypeInfoResolver(),
    };

    /// <summary>For our own files: unknown, missing and doubled keys are errors.</summary>
    public static JsonSerializerOptions Own { get; } = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        AllowDuplicateProperties = false,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false) },
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        WriteIndented = true,
        NewLine = "\n",
        TypeInfoResolver = new DefaultJsonTypeInfoResolver(),
    };

    /// <summary>Reads a published configuration from its text.</summary>
    /// <param name="json">UTF-8.</param>
    /// <param name="path">Where it comes from: for messages only.</param>
    /// <exception cref="CheckpointException">Not JSON, a required key missing, a value of another type.</exception>
    public static T ReadHub<T>(ReadOnlySpan<byte> json, string path)
    {
        try
        {
            return JsonSerializer.Deserialize<T>(json, Hub) ?? throw new JsonException("the file holds null");
        }
        catch (Exception error) when (error is JsonException or NotSupportedException)
        {
            throw UnreadableConfiguration(error, path);
        }
    }

    /// <summary>Reads a published configuration file.</summary>
    /// <exception cref="CheckpointException">As above, or the file is missing or cannot be opened.</exception>
    public static T ReadHub<T>(string path)
    {
        byte[] json;
        try
        {
            json = File.ReadAllBytes(path);
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new CheckpointException($"no such file; {path}; check the path, or fetch the model's folder again", error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw UnreadableConfiguration(error, path);
        }
        return ReadHub<T>(json, path);
    }

    /// <summary>Reads one of our files from its text.</summary>
    /// <param name="json">UTF-8.</param>
    /// <param name="path">Where it comes from: for messages only.</param>
    /// <exception cref="OptionsException">Not JSON, an unknown key (named with the nearest known one), a missing key, a value of another type.</exception>
    public static T ReadOwn<T>(ReadOnlySpan<byte> json, string path)
    {
        try
        {
            return JsonSerializer.Deserialize<T>(json, Own) ?? throw new JsonException("the file holds null");
        }
        catch (Exception error) when (error is JsonException or NotSupportedException)
        {
            throw new OptionsException($"{Unknown<T>(json) ?? FirstSentence(error)}; in {path}; see the documentation of {typeof(T).Name}", error);
        }
    }

    /// <summary>Reads one of our files.</summary>
    /// <exception cref="OptionsException">As above, or the file cannot be opened.</exception>
    public static T ReadOwn<T>(string path)
    {
        byte[] json;
        try
        {
            json = File.ReadAllBytes(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new OptionsException($"the file cannot be opened: {FirstSentence(error)}; {path}; check the path and its permissions", error);
        }
        return ReadOwn<T>(json, path);
    }

    /// <summary>UTF-8, indented by two spaces, a line feed at the end.</summary>
    public static byte[] WriteOwn<T>(T value) => [.. JsonSerializer.SerializeToUtf8Bytes(value, Own), (byte)'\n'];

    /// <summary>The first key that no record has, or null.</summary>
    private static string? Unknown<T>(ReadOnlySpan<byte> json)
    {
        try
        {
            var reader = new Utf8JsonReader(json);
            using var document = JsonDocument.ParseValue(ref reader);
            return Unknown(document.RootElement, Own.GetTypeInfo(typeof(T)), "");
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static string? Unknown(JsonElement element, JsonTypeInfo type, string path)
    {
        if (type.Kind == JsonTypeInfoKind.Enumerable && element.ValueKind == JsonValueKind.Array)
        {
            var item = Own.GetTypeInfo(type.ElementType!);
            return element.EnumerateArray().Select((child, i) => Unknown(child, item, $"{path.TrimEnd('.')}[{i}].")).FirstOrDefault(found => found is not null);
        }
        if (type.Kind != JsonTypeInfoKind.Object || element.ValueKind != JsonValueKind.Object) return null;
        var known = type.Properties.ToDictionary(property => property.Name);
        foreach (var child in element.EnumerateObject())
        {
            if (!known.TryGetValue(child.Name, out var property)) return $"unknown key \"{path}{child.Name}\"{NearestName.Hint(child.Name, known.Keys)}";
            if (Unknown(child.Value, Own.GetTypeInfo(property.PropertyType), $"{path}{child.Name}.") is { } found) return found;
        }
        return null;
    }

    private static CheckpointException UnreadableConfiguration(Exception error, string path) =>
        new($"the configuration cannot be read: {FirstSentence(error)}; in {path}; compare it with the published file", error);

    private static string FirstSentence(Exception error) => error.Message.ReplaceLineEndings(" ").TrimEnd('.');
}
