using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace LowRank.Examples.Icons;

/// <summary>One emoji of the list that Unicode publishes, without skin tones.</summary>
/// <param name="Index">Place in the list of those that are used, from 0.</param>
/// <param name="Sequence">Its characters, as a text engine wants them.</param>
/// <param name="Name">Its name as Unicode writes it: "flag: France".</param>
/// <param name="Caption">Its name as plain words: "flag france".</param>
/// <param name="Group">"Animals &amp; Nature".</param>
/// <param name="Subgroup">"animal-mammal".</param>
internal sealed partial record Emoji(int Index, string Sequence, string Name, string Caption, string Group, string Subgroup)
{
    /// <summary>Kinds of pictures that mean something else, or nothing, when they are mirrored.</summary>
    private static readonly string[] OneWay =
    [
        "hand-single-finger", "time", "money", "transport-sign", "arrow", "religion", "zodiac", "av-symbol", "gender", "math",
        "punctuation", "currency", "other-symbol", "keycap", "alphanum",
    ];

    /// <summary>Whether it may be mirrored: no flags, letters, arrows, clocks, and nothing with left or right in its name.</summary>
    public bool MayFlip => Group != "Flags" && !OneWay.Contains(Subgroup) && !Sides().IsMatch(Caption);

    /// <summary>Its characters as code points in hexadecimal, with spaces between.</summary>
    public string CodePoints => string.Join(' ', Sequence.EnumerateRunes().Select(rune => rune.Value.ToString("X4", CultureInfo.InvariantCulture)));

    /// <summary>
    /// Reads Unicode's emoji-test.txt: lines such as "1F34E ; fully-qualified # 🍎 E0.6 red apple" under "# group:" and "# subgroup:".
    /// Other statuses (such as minimally-qualified) are other ways to write the same emoji and are left out.
    /// </summary>
    /// <param name="lines">The lines of the file.</param>
    /// <param name="tones">Whether the five skin tones of people and hands come along.</param>
    public static IReadOnlyList<Emoji> Read(IEnumerable<string> lines, bool tones = false)
    {
        var found = new List<Emoji>();
        string group = "", subgroup = "";
        foreach (var line in lines)
        {
            if (line.StartsWith("# group: ", StringComparison.Ordinal)) group = line["# group: ".Length..];
            if (line.StartsWith("# subgroup: ", StringComparison.Ordinal)) subgroup = line["# subgroup: ".Length..];
            if (Entry().Match(line) is not { Success: true } entry || entry.Groups["status"].Value != "fully-qualified") continue;
            var points = entry.Groups["points"].Value.Split(' ').Select(point => int.Parse(point, NumberStyles.HexNumber, CultureInfo.InvariantCulture)).ToList();
            if (!tones && points.Exists(point => point is >= 0x1F3FB and <= 0x1F3FF)) continue;
            var name = entry.Groups["name"].Value;
            found.Add(new Emoji(found.Count, string.Concat(points.Select(char.ConvertFromUtf32)), name, PlainWords(name), group, subgroup));
        }
        return found;
    }

    /// <summary>A name in plain words: "Côte d’Ivoire" becomes "cote divoire", "blond-haired" becomes "blond haired".</summary>
    public static string PlainWords(string name)
    {
        var words = new StringBuilder();
        foreach (var letter in name.Normalize(NormalizationForm.FormD))
        {
            if (CharUnicodeInfo.GetUnicodeCategory(letter) == UnicodeCategory.NonSpacingMark || "’“”':,().!".Contains(letter)) continue;
            words.Append(letter switch { '-' => " ", '&' => "and", _ => char.ToLowerInvariant(letter).ToString() });
        }
        return Spaces().Replace(words.ToString(), " ").Trim();
    }

    [GeneratedRegex(@"^(?<points>[0-9A-F ]+?) *; (?<status>[a-z-]+) *# \S+ E\d+\.\d+ (?<name>.+)$")]
    private static partial Regex Entry();

    [GeneratedRegex(@"\b(left|right)")]
    private static partial Regex Sides();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
