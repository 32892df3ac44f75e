using System.Reflection;
using System.Text.RegularExpressions;
using LowRank.Recipes;
using LowRank.Testing;

namespace LowRank.Tests.Documents;

/// <summary>One row of the tables of docs/recipe.md.</summary>
/// <param name="Section">The table of the recipe: empty for its top, else <c>data</c>, <c>adapter.overrides</c>, …</param>
/// <param name="Examples">Its examples as key and value; they make one valid recipe together.</param>
internal sealed record RecipeRow(string Section, string Key, string Default, string Range, string Effect, IReadOnlyList<(string Key, string Value)> Examples)
{
    public string Path => Section.Length == 0 ? Key : $"{Section}.{Key}";

    /// <summary>The default as TOML; null where the page says that there is none.</summary>
    public string? DefaultValue => Default.StartsWith('`') ? Default.Trim('`') : null;

    /// <summary>The words in backticks of the range.</summary>
    public IEnumerable<string> Words => RecipePage.Spans(Range);
}

/// <summary>docs/recipe.md as its rows, and recipes made from them.</summary>
internal static partial class RecipePage
{
    public static string Text { get; } = File.ReadAllText(System.IO.Path.Combine(Repository.Root, "docs", "recipe.md"));

    public static IReadOnlyList<RecipeRow> Rows { get; } = [.. Read()];

    /// <summary>The records behind a recipe by section, and their properties by key.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyDictionary<string, PropertyInfo>> Sections { get; } =
        new[] { typeof(TrainLoraOptions), typeof(TrainTextualInversionOptions), typeof(TrainPivotalOptions), typeof(TrainFullOptions) }.SelectMany(record => Find(record, ""))
            .GroupBy(section => section.Key).ToDictionary(group => group.Key, IReadOnlyDictionary<string, PropertyInfo> (group) => group.SelectMany(item => item.Value).DistinctBy(item => item.Key).ToDictionary());

    /// <summary>The method whose recipe has a key: lora where it does.</summary>
    public static string MethodOf(string section, string key) => (section, key) switch
    {
        ("tokens" or "inversion" or "embeddings", _) or ("", "template" or "token_norm") => "pivotal",
        ("full" or "vae", _) or ("save", "intermediate") or ("inpainting", "widen") => "full",
        _ => "lora",
    };

    public static PropertyInfo PropertyOf(RecipeRow row) => Sections[row.Section][row.Key];

    /// <summary>A recipe with what has no default, and these keys. The last value of a key counts.</summary>
    public static string Recipe(string section, IEnumerable<(string Key, string Value)> keys, string? method = null)
    {
        var values = new Dictionary<string, Dictionary<string, string>>
        {
            [""] = new() { ["model"] = "\"icons-64\"", ["output"] = "\"runs/mine\"" },
            ["data"] = new() { ["folder"] = "\"pictures\"" },
        };
        var given = keys.ToList();
        method ??= given.FindLast(item => item.Key == "method").Value?.Trim('"') ?? given.Select(item => MethodOf(section, item.Key)).FirstOrDefault(of => of != "lora", "lora");
        if (method != "lora") values[""]["method"] = $"\"{method}\"";
        if (method is "pivotal" or "textual-inversion") values["tokens"] = new() { ["token"] = "\"<s1>\"" };
        if (section == "vae") values["full"] = new() { ["parts"] = "[\"vae\"]" };
        if (section == "prior") values[section] = new() { ["prompt"] = "\"a dog\"", ["folder"] = "\"class\"" };
        if (section == "training.rates") values[section] = new() { ["pattern"] = "\"unet:**\"" };
        if (section == "adapter.overrides") values[section] = new() { ["pattern"] = "\"attention\"", ["rank"] = "2" };
        if (!values.TryGetValue(section, out var own)) values[section] = own = [];
        var second = new Dictionary<string, string> { ["folder"] = "\"more\"" };   // what an example asks of the data: data.KEY
        foreach (var (key, value) in given)
        {
            var parts = key.Split('.');   // training.batch_size: what an example asks of another table
            if (parts.Length > 1 && parts[0] != "data" && !values.ContainsKey(parts[0])) values[parts[0]] = [];
            (parts.Length == 1 ? own : parts[0] == "data" ? second : values[parts[0]])[parts[^1]] = value;
        }
        if (section == "data" && (own.GetValueOrDefault("prior") == "true" || own.GetValueOrDefault("held_out") == "true")) second["repeats"] = "2";   // such pictures need others beside them
        return string.Join('\n', values.Select(item => Table(Header(item.Key), item.Value) + (item.Key == "data" && second.Count > 1 ? Table(Header("data"), second) : "")));

        static string Table(string header, Dictionary<string, string> values) => header + string.Join('\n', values.Select(pair => $"{pair.Key} = {pair.Value}")) + "\n";
    }

    public static IEnumerable<string> Spans(string cell) => Span().Matches(cell).Select(match => match.Groups[1].Value);

    private static string Header(string section) => section switch
    {
        "" => "",
        "data" or "tokens" or "adapter.overrides" or "training.rates" => $"[[{section}]]\n",
        _ => $"[{section}]\n",
    };

    private static IEnumerable<RecipeRow> Read()
    {
        string? section = null;
        foreach (var line in Text.Split('\n'))
        {
            if (line.StartsWith('#')) section = line == "## Top of the file" ? "" : SectionHeading().Match(line) is { Success: true } match ? match.Groups[1].Value : null;
            if (section is null || !line.StartsWith("| `", StringComparison.Ordinal)) continue;
            var cells = CellBorder().Split(line.Trim().Trim('|')).Select(cell => cell.Trim().Replace(@"\|", "|", StringComparison.Ordinal)).ToList();
            Assert.True(cells.Count == 5, $"five cells are expected in: {line}");
            var examples = Spans(cells[4]).Select(example => example.Split(" = ", 2)).Select(parts => (parts[0], parts[1])).ToList();
            yield return new RecipeRow(section, cells[0].Trim('`'), cells[1], cells[2], cells[3], examples);
        }
    }

    private static IEnumerable<KeyValuePair<string, IReadOnlyDictionary<string, PropertyInfo>>> Find(Type record, string section)
    {
        var properties = record.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(property => property.CanWrite).ToDictionary(property => RecipeFile.Key(property.Name));
        var inner = properties.Select(item => (item.Key, Type: ElementType(item.Value.PropertyType))).Where(item => item.Type.GetMethod("<Clone>$") is not null).ToList();
        // tables have headings of their own; lists of tables that may be empty stand in their table as well
        var keys = properties.Where(item => item.Key is "overrides" or "rates" || inner.All(other => other.Key != item.Key)).ToDictionary();
        yield return new(section, keys);
        foreach (var (key, type) in inner)
        {
            foreach (var found in Find(type, section.Length == 0 ? key : $"{section}.{key}")) yield return found;
        }
    }

    private static Type ElementType(Type type) => type.IsGenericType && type.GetGenericArguments() is [var element] ? element : type;

    [GeneratedRegex(@"`([^`]+)`")]
    private static partial Regex Span();

    [GeneratedRegex(@"^##+ `\[+([a-z_.]+)\]+`$")]
    private static partial Regex SectionHeading();

    [GeneratedRegex(@"(?<!\\)\|")]
    private static partial Regex CellBorder();
}
