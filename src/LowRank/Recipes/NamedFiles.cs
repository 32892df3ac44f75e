using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>The tensor files of a folder and all below it, which prompts call by name.</summary>
/// <param name="folder">Must exist.</param>
/// <param name="what">For messages: adapter, embedding.</param>
internal sealed class NamedFiles(string folder, string what)
{
    private const int MostNames = 10;
    private static readonly string[] Endings = [".safetensors", ".pt", ".bin"];

    private readonly string[] files = [.. Directory.EnumerateFiles(folder, "*", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true })
        .Where(path => Endings.Contains(Path.GetExtension(path).ToLowerInvariant())).Order(StringComparer.Ordinal)];

    /// <summary>File names without their ending.</summary>
    public IEnumerable<string> Names => files.Select(Path.GetFileNameWithoutExtension).OfType<string>().Distinct();

    /// <summary>What is wrong with the folder, for lists of problems; null for nothing.</summary>
    public static string? ProblemOf(string? folder) => folder is null || Directory.Exists(folder) ? null : $"{folder}; no such folder";

    /// <summary>The file of a name: its file name or its path below the folder, with or without ending; else what its metadata calls it (<c>ss_output_name</c>). Case counts where it must.</summary>
    /// <exception cref="OptionsException">None or several.</exception>
    public string Find(string name)
    {
        var found = Called(name, StringComparison.Ordinal);
        if (found.Count == 0) found = Called(name, StringComparison.OrdinalIgnoreCase);
        if (found.Count == 0) found = [.. files.Where(path => AliasOf(path) == name)];
        if (found is [var one]) return one;
        if (found.Count > 1) throw new OptionsException($"the {what} {name} may be {string.Join(" or ", found.Select(path => Path.GetRelativePath(folder, path)))} in {folder}; write the path below that folder");
        var names = Names.ToList();
        var some = names.Count == 0 ? $"it holds no {Endings[0]}, {Endings[1]} or {Endings[2]}" : names.Count <= MostNames ? $"it holds {string.Join(", ", names)}" : FormattableString.Invariant($"it holds {string.Join(", ", names.Take(MostNames))} and {names.Count - MostNames} more");
        throw new OptionsException($"no {what} in {folder} is named {name}{NearestName.Hint(name, names)}; {some}");
    }

    private List<string> Called(string name, StringComparison comparison) => [.. files.Where(path =>
    {
        var below = Path.GetRelativePath(folder, path).Replace('\\', '/');
        return new[] { below, below[..^Path.GetExtension(below).Length], Path.GetFileName(path), Path.GetFileNameWithoutExtension(path) }.Any(own => own.Equals(name, comparison));
    })];

    /// <summary>A file that cannot be read has no alias; what is wrong with it is told of when it is opened.</summary>
    private static string? AliasOf(string path)
    {
        if (!path.EndsWith(Endings[0], StringComparison.OrdinalIgnoreCase)) return null;
        try
        {
            using var file = SafetensorsReader.Open(path);
            return file.Metadata.GetValueOrDefault("ss_output_name");
        }
        catch (Exception problem) when (problem is LowRankException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
