using System.Globalization;
using System.Text;
using LowRank.Foundation;

namespace LowRank.Preparation;

/// <summary>The tags of a WD14 tagger, as <c>selected_tags.csv</c> lists them: columns <c>name</c> and <c>category</c> among others, names with commas in quotes.</summary>
internal static class TagList
{
    /// <summary>What the file is called beside a model.</summary>
    public const string UsualName = "selected_tags.csv";

    /// <summary>Reads a list.</summary>
    /// <exception cref="CheckpointException">It is missing or not of this form; the message says where.</exception>
    public static IReadOnlyList<KnownTag> Read(string path)
    {
        if (!File.Exists(path)) throw new CheckpointException($"no list of tags: {path}; a WD14 tagger comes with one, {UsualName}: put it beside the model, or name it with --tags");
        var lines = File.ReadAllLines(path);
        var header = lines.Length == 0 ? [] : Fields(lines[0]);
        var (name, category) = (header.IndexOf("name"), header.IndexOf("category"));
        if (name < 0 || category < 0) throw new CheckpointException($"no list of tags: {path}; its first line must name the columns, with \"name\" and \"category\" among them");
        var tags = new List<KnownTag>();
        for (var i = 1; i < lines.Length; i++)
        {
            if (string.IsNullOrWhiteSpace(lines[i])) continue;
            var fields = Fields(lines[i]);
            if (fields.Count != header.Count) throw Wrong(path, i, $"{fields.Count} fields where the first line has {header.Count}");
            if (!int.TryParse(fields[category], CultureInfo.InvariantCulture, out var number) || number is not (KnownTag.General or KnownTag.Character or KnownTag.Rating))
            {
                throw Wrong(path, i, $"category \"{fields[category]}\"; known are 0 (general), 4 (character) and 9 (rating)");
            }
            tags.Add(new KnownTag(fields[name], number));
        }
        return tags;
    }

    private static CheckpointException Wrong(string path, int index, string what) =>
        new(string.Create(CultureInfo.InvariantCulture, $"the list of tags cannot be read: {path}, line {index + 1}: {what}; copy the file from the model again"));

    /// <summary>Fields of a line (RFC 4180): in quotes where they hold a comma, a quote inside doubled.</summary>
    private static List<string> Fields(string line)
    {
        var fields = new List<string>();
        var field = new StringBuilder();
        var quoted = false;
        for (var i = 0; i < line.Length; i++)
        {
            if (line[i] == '"' && quoted && i + 1 < line.Length && line[i + 1] == '"') field.Append(line[i++]);
            else if (line[i] == '"') quoted = !quoted;
            else if (line[i] == ',' && !quoted)
            {
                fields.Add(field.ToString());
                field.Clear();
            }
            else field.Append(line[i]);
        }
        fields.Add(field.ToString());
        return fields;
    }
}
