using System.Collections;
using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.Json;
using LowRank.Foundation;
using Tomlyn;
using Tomlyn.Model;

namespace LowRank.Recipes;

/// <summary>
/// TOML to an options record and back. Keys are the record's properties in snake_case; a property keeps its default where the
/// text is silent. Every unknown key, wrong type and missing key is found, not only the first (P19).
/// </summary>
internal static class RecipeFile
{
    /// <summary>Reads a recipe.</summary>
    /// <param name="path">The TOML file.</param>
    /// <param name="settings"><c>key=value</c> pairs that override the file: <c>training.steps=500</c>, <c>data[0].folder=pictures</c>.</param>
    /// <param name="problems">Receives every problem found, as <c>key: what is wrong</c>.</param>
    /// <exception cref="OptionsException">There is no such file, or it is no TOML at all.</exception>
    public static T Read<T>(string path, IReadOnlyList<string> settings, List<string> problems) where T : class
    {
        if (!File.Exists(path)) throw NoRecipe(path);
        var table = Parse(File.ReadAllText(path), path);
        foreach (var setting in settings) Override(table, setting, problems);
        return (T)Bind(typeof(T), table, "", problems);
    }

    /// <summary>The record that each method's recipes are read into.</summary>
    private static readonly (TrainingMethod Method, Type Options)[] Methods =
    [
        (TrainingMethod.Lora, typeof(TrainLoraOptions)),
        (TrainingMethod.Dreambooth, typeof(TrainLoraOptions)),
        (TrainingMethod.TextualInversion, typeof(TrainTextualInversionOptions)),
        (TrainingMethod.Pivotal, typeof(TrainPivotalOptions)),
        (TrainingMethod.Full, typeof(TrainFullOptions)),
    ];

    /// <summary>How the problem of a missing key ends.</summary>
    public const string Missing = ": missing, and it has no default";

    /// <summary>One key at the top of a recipe; null where it is not there or cannot be read. Nothing else of the recipe is looked at.</summary>
    public static T? ReadKey<T>(string path, IReadOnlyList<string> settings, string key, List<string> problems) where T : struct
    {
        if (!File.Exists(path)) throw NoRecipe(path);
        var table = Parse(File.ReadAllText(path), path);
        foreach (var setting in settings.Where(setting => setting.Split('=')[0].Trim() == key)) Override(table, setting, problems);
        return table.TryGetValue(key, out var value) ? (T?)Convert(typeof(T), value, key, problems) : null;
    }

    /// <summary>The record as TOML, every value written out; reading it back gives an equal record.</summary>
    public static string Write(object options)
    {
        var text = new StringBuilder();
        WriteTable(text, options, "");
        return text.ToString();
    }

    /// <summary>The name of one to start from is most often meant as that one.</summary>
    private static OptionsException NoRecipe(string path) => new(RecipeLibrary.All.Any(recipe => recipe.Name == path)
        ? $"there is no file {path}: {path} is a recipe to start from, which lora recipes {path} --output {path}.toml writes to a file"
        : $"there is no recipe {path}: give the path of a .toml file (lora recipes has some to start from)");

    private static TomlTable Parse(string text, string path)
    {
        try
        {
            return TomlSerializer.Deserialize<TomlTable>(text) ?? [];
        }
        catch (TomlException problem)
        {
            throw new OptionsException($"{path} is not valid TOML: {problem.Message.ReplaceLineEndings(" ")}", problem);
        }
    }

    private static void Override(TomlTable table, string setting, List<string> problems)
    {
        var equals = setting.IndexOf('=', StringComparison.Ordinal);
        if (equals <= 0)
        {
            problems.Add($"{setting}: --set takes key=value, such as training.steps=500");
            return;
        }
        string key = setting[..equals].Trim(), value = setting[(equals + 1)..].Trim();
        var path = key.Split('.');
        object? node = table;
        foreach (var part in path[..^1]) node = Descend(node, part);
        if (node is TomlTable owner) owner[path[^1]] = Value(value);
        else problems.Add($"{key}: --set finds no such table in the recipe");
    }

    /// <summary>A table by name (made when absent), or an entry of a table array: <c>data[0]</c>.</summary>
    private static object? Descend(object? node, string part)
    {
        if (node is not TomlTable table) return null;
        var bracket = part.IndexOf('[', StringComparison.Ordinal);
        if (bracket < 0)
        {
            if (!table.ContainsKey(part)) table[part] = new TomlTable();
            return table[part];
        }
        var valid = int.TryParse(part[(bracket + 1)..].TrimEnd(']'), CultureInfo.InvariantCulture, out var index);
        return valid && table.TryGetValue(part[..bracket], out var list) && list is IEnumerable items and not string ? items.Cast<object>().ElementAtOrDefault(index) : null;
    }

    /// <summary>As TOML would read it; what is no TOML value is a bare text, so that paths and words need no quotes.</summary>
    private static object Value(string text)
    {
        try
        {
            return TomlSerializer.Deserialize<TomlTable>("value = " + text)!["value"];
        }
        catch (TomlException)
        {
            return text;
        }
    }

    private static object Bind(Type type, TomlTable table, string prefix, List<string> problems)
    {
        var record = Activator.CreateInstance(type)!;
        var properties = Properties(type).ToDictionary(property => Key(property.Name));
        foreach (var (key, value) in table)
        {
            if (!properties.TryGetValue(key, out var property)) problems.Add(prefix + key + Unknown(key, prefix, type, properties.Keys));
            else if (Convert(property.PropertyType, value, prefix + key, problems) is { } converted)
            {
                property.SetValue(record, converted);
            }
        }
        foreach (var (key, property) in properties)
        {
            var required = property.CustomAttributes.Any(attribute => attribute.AttributeType.FullName == "System.Runtime.CompilerServices.RequiredMemberAttribute");
            if (required && !table.ContainsKey(key)) problems.Add(prefix + key + Missing);
        }
        return record;
    }

    /// <summary>What is wrong with an unknown key. One that only other methods have is right in itself, so it is told of with them.</summary>
    private static string Unknown(string key, string prefix, Type type, IEnumerable<string> known)
    {
        var others = prefix.Length > 0 ? [] : Methods.Where(method => method.Options != type && Properties(method.Options).Any(property => Key(property.Name) == key)).ToList();
        if (others.Count > 0) return $": unknown key for this method; goes with method = {string.Join(", ", others.Select(method => $"\"{Word(method.Method.ToString())}\""))}";
        return ": unknown key" + (NearestName.Of(key, known) is { } near ? $"; did you mean {prefix}{near}?" : "");
    }

    private static object? Convert(Type type, object value, string key, List<string> problems)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        switch (value)
        {
            case string text when type == typeof(string): return text;
            case string text when type.IsEnum:
                if (Enum.GetNames(type).FirstOrDefault(name => Word(name) == text) is { } found) return Enum.Parse(type, found);
                problems.Add($"{key}: \"{text}\" is none of {string.Join(", ", Enum.GetNames(type).Select(Word))}{NearestName.Hint(text, Enum.GetNames(type).Select(Word))}");
                return null;
            case bool flag when type == typeof(bool): return flag;
            case long number when type == typeof(long): return number;
            case long number when type == typeof(int) && number is >= int.MinValue and <= int.MaxValue: return (int)number;
            case long number when type == typeof(double): return (double)number;
            case double number when type == typeof(double): return number;
            case TomlTable table when IsRecord(type): return Bind(type, table, key + ".", problems);
        }
        if (value is string single && ElementType(type) == typeof(string)) return new List<string> { single };
        if (ElementType(type) is { } element && value is IEnumerable items and not string and not TomlTable)
        {
            var list = (IList)Activator.CreateInstance(typeof(List<>).MakeGenericType(element))!;
            var index = 0;
            foreach (var item in items) if (Convert(element, item!, $"{key}[{index++}]", problems) is { } converted) list.Add(converted);
            return list;
        }
        problems.Add($"{key}: {Describe(value)} where {Expected(type)} is expected");
        return null;
    }

    private static void WriteTable(StringBuilder text, object record, string prefix)
    {
        var tables = new List<(string Header, object Record)>();   // TOML wants plain values before tables
        foreach (var property in Properties(record.GetType()))
        {
            var key = Key(property.Name);
            var value = property.GetValue(record);
            if (value is null) continue;
            if (IsRecord(value.GetType())) tables.Add(($"[{prefix}{key}]", value));
            else if (value is not string && ElementType(property.PropertyType) is { } element && IsRecord(element))
            {
                foreach (var item in (IEnumerable)value) tables.Add(($"[[{prefix}{key}]]", item!));
            }
            else text.Append(CultureInfo.InvariantCulture, $"{key} = {Literal(value)}\n");
        }
        foreach (var (header, inner) in tables)
        {
            text.Append(CultureInfo.InvariantCulture, $"\n{header}\n");
            WriteTable(text, inner, header.Trim('[', ']') + ".");
        }
    }

    private static string Literal(object value) => value switch
    {
        string text => "\"" + text.Replace("\\", @"\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)
            .Replace("\n", @"\n", StringComparison.Ordinal).Replace("\r", @"\r", StringComparison.Ordinal).Replace("\t", @"\t", StringComparison.Ordinal) + "\"",
        bool flag => flag ? "true" : "false",
        Enum member => $"\"{Word(member.ToString())}\"",
        double.PositiveInfinity => "inf",
        double number when double.IsInteger(number) && Math.Abs(number) < 1e15 => number.ToString("F1", CultureInfo.InvariantCulture),
        double number => number.ToString("R", CultureInfo.InvariantCulture).Replace("E", "e", StringComparison.Ordinal),
        IEnumerable list => "[" + string.Join(", ", list.Cast<object>().Select(Literal)) + "]",
        _ => System.Convert.ToString(value, CultureInfo.InvariantCulture)!,
    };

    private static IEnumerable<PropertyInfo> Properties(Type type) =>
        type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(property => property.CanWrite);

    private static bool IsRecord(Type type) => type.GetMethod("<Clone>$") is not null;

    private static Type? ElementType(Type type) =>
        type.IsGenericType && type.GetGenericArguments() is [var element] && type.IsAssignableFrom(typeof(List<>).MakeGenericType(element)) ? element : null;

    private static string Expected(Type type) => type == typeof(string) ? "a text in quotes"
        : type == typeof(bool) ? "true or false"
        : type == typeof(int) || type == typeof(long) ? "a whole number"
        : type == typeof(double) ? "a number"
        : type.IsEnum ? "one of " + string.Join(", ", Enum.GetNames(type).Select(name => $"\"{Word(name)}\""))
        : ElementType(type) is { } element ? IsRecord(element) ? "a list of tables" : "a list [ … ]"
        : "a table";

    private static string Describe(object value) => value switch
    {
        string text => $"the text \"{text}\"",
        bool flag => flag ? "true" : "false",
        long or double => string.Create(CultureInfo.InvariantCulture, $"the number {value}"),
        TomlTable => "a table",
        IEnumerable => "a list",
        _ => $"\"{value}\"",
    };

    /// <summary>LearningRate to learning_rate: how keys are written.</summary>
    internal static string Key(string name) => JsonNamingPolicy.SnakeCaseLower.ConvertName(name);

    /// <summary>CosineRestarts to cosine-restarts: how values of enumerations are written.</summary>
    internal static string Word(string name) => JsonNamingPolicy.KebabCaseLower.ConvertName(name);
}
