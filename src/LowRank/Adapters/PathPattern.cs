using System.Text;
using System.Text.RegularExpressions;

namespace LowRank.Adapters;

/// <summary>
/// A pattern of module paths: <c>[component:]names</c>. <c>*</c> stands for any letters but the dot, <c>**</c> for any letters,
/// a leading <c>**.</c> also for nothing, <c>{a,b}</c> for either. It has to match the whole path.
/// </summary>
internal sealed class PathPattern
{
    private readonly Regex path;

    private PathPattern(string text, string? component, Regex path)
    {
        Text = text;
        Component = component;
        this.path = path;
    }

    public string Text { get; }

    /// <summary>The component it is limited to; null for all.</summary>
    public string? Component { get; }

    public bool Matches(string component, string modulePath) => (Component is null || Component == component) && path.IsMatch(modulePath);

    /// <summary>Parses a pattern that <see cref="ProblemOf"/> finds good.</summary>
    public static PathPattern Parse(string text)
    {
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        var component = colon < 0 ? null : text[..colon];
        return new PathPattern(text, component, new Regex($"^{ToRegex(text[(colon + 1)..])}$", RegexOptions.CultureInvariant));
    }

    /// <summary>What is wrong with the text of a pattern, or null.</summary>
    public static string? ProblemOf(string text)
    {
        if (string.IsNullOrWhiteSpace(text)) return "an empty pattern";
        var names = text[(text.IndexOf(':', StringComparison.Ordinal) + 1)..];
        if (names.Length == 0) return $"\"{text}\" names no module; write \"{text}**\" for all of it";
        var odd = names.FirstOrDefault(letter => !char.IsAsciiLetterOrDigit(letter) && !"_-.*{},+".Contains(letter, StringComparison.Ordinal));
        if (odd != default) return $"\"{text}\" contains '{odd}', which no pattern has; patterns are like \"unet:**.attn2.to_{{k,v}}\"";
        var depth = 0;
        foreach (var letter in names)
        {
            if (letter == '{' && ++depth > 1 || letter == '}' && --depth < 0) break;
        }
        return depth == 0 ? null : $"\"{text}\" has braces that do not pair";
    }

    private static string ToRegex(string names)
    {
        var regex = new StringBuilder();
        var inBraces = false;
        for (var i = 0; i < names.Length; i++)
        {
            var rest = names.AsSpan(i);
            if (rest.StartsWith("**.") && (i == 0 || names[i - 1] == '.')) { regex.Append("(?:.*\\.)?"); i += 2; }
            else if (rest.StartsWith("**")) { regex.Append(".*"); i++; }
            else if (names[i] == '*') regex.Append("[^.]*");
            else if (names[i] == '{') { regex.Append("(?:"); inBraces = true; }
            else if (names[i] == '}') { regex.Append(')'); inBraces = false; }
            else if (names[i] == ',' && inBraces) regex.Append('|');
            else regex.Append(Regex.Escape(names[i].ToString()));
        }
        return regex.ToString();
    }
}
