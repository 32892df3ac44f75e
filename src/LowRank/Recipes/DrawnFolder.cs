using System.Text;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>
/// A folder of drawn pictures with a note in it of what drew them, so that a drawing that was cut off goes on in its folder and no other does.
/// </summary>
internal static class DrawnFolder
{
    /// <summary>The note's file.</summary>
    public const string NoteName = "drawn.toml";

    /// <summary>Whether the folder has this note already; false where there is nothing in it.</summary>
    /// <param name="folder">Need not exist.</param>
    /// <param name="note">A record of what draws; its key <c>model</c> is for people and not compared.</param>
    /// <param name="name">What the folder is called.</param>
    /// <param name="another">What to take in its place.</param>
    /// <param name="use">What else can be done: with pictures that were not drawn, and with drawn ones.</param>
    /// <exception cref="DatasetException">The folder holds other things, or pictures of other making.</exception>
    public static bool IsClaimed(string folder, object note, string name, string another, (string Foreign, string Drawn) use)
    {
        var path = Path.Combine(folder, NoteName);
        if (!File.Exists(path))
        {
            var first = Directory.Exists(folder) ? Directory.EnumerateFileSystemEntries(folder).Select(Path.GetFileName).Where(entry => !entry!.StartsWith('.')).Order(StringComparer.Ordinal).FirstOrDefault() : null;
            return first is null ? false : throw new DatasetException($"{name} holds what was not drawn for it: {folder}\n  found       {first}, and no {NoteName} that says what drew it\n  try         {another}; {use.Foreign}");
        }
        var (old, now) = (Lines(File.ReadAllText(path)), Lines(RecipeFile.Write(note)));
        var other = now.Keys.Union(old.Keys).Where(key => key != "model" && now.GetValueOrDefault(key) != old.GetValueOrDefault(key)).ToList();
        if (other.Count == 0) return true;
        var lines = other.Select(key => $"\n  {key}: {now.GetValueOrDefault(key) ?? "not set"}; they were drawn with {old.GetValueOrDefault(key) ?? "none"}");
        throw new DatasetException($"{name} holds pictures of other making: {folder}{string.Concat(lines)}\n  try         {another}, or the old values; {use.Drawn}");
    }

    /// <summary>Makes the folder and puts the note there.</summary>
    public static void Claim(string folder, object note)
    {
        Directory.CreateDirectory(folder);
        WholeFile.Write(Path.Combine(folder, NoteName), Encoding.UTF8.GetBytes(RecipeFile.Write(note)));
    }

    private static Dictionary<string, string> Lines(string toml) =>
        toml.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.TrimEnd('\r').Split(" = ", 2)).ToDictionary(parts => parts[0], parts => parts.Length == 2 ? parts[1] : "");
}
