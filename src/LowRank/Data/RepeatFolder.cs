using System.Globalization;

namespace LowRank.Data;

/// <summary>Folder names that say how often their pictures are repeated: <c>10_tok dog</c> is 10 times, with the words "tok dog" for pictures without a caption.</summary>
/// <param name="Repeats">1 or more.</param>
/// <param name="ClassWords">May be empty.</param>
internal readonly record struct RepeatFolder(int Repeats, string ClassWords)
{
    /// <summary>Reads a folder's name as sd-scripts does (library/config_util.py); null where it is no such name.</summary>
    public static RepeatFolder? Parse(string name)
    {
        var parts = name.Split('_', 2);
        if (!int.TryParse(parts[0].Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var repeats) || repeats < 1) return null;
        return new RepeatFolder(repeats, parts.Length > 1 ? parts[1] : "");
    }
}
