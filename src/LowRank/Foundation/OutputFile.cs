namespace LowRank.Foundation;

/// <summary>Looks at a file that is to be written before the work begins.</summary>
internal static class OutputFile
{
    /// <summary>Refuses an output that is one of the inputs, whatever it is called there: inputs are never changed.</summary>
    /// <param name="output">The file to write.</param>
    /// <param name="inputs">Files that are read.</param>
    /// <exception cref="OptionsException">It is one of them, or a folder.</exception>
    public static void RequireOther(string output, IEnumerable<string> inputs)
    {
        if (Directory.Exists(output)) throw new OptionsException($"the output is a folder, a file is needed; {output}; name a file in it");
        var place = PlaceOf(output);
        if (inputs.FirstOrDefault(input => PlaceOf(input) == place) is { } same)
        {
            throw new OptionsException($"the output would overwrite an input; {same}; give another name: inputs are never changed");
        }
    }

    /// <summary>Refuses an output that is one of the inputs, lies in one, or has one in it: a folder is written as a whole.</summary>
    /// <param name="output">The file or folder to write.</param>
    /// <param name="inputs">Files and folders that are read.</param>
    /// <exception cref="OptionsException">It is such a one.</exception>
    public static void RequireNotOver(string output, IEnumerable<string> inputs)
    {
        var place = PlaceOf(output);
        if (inputs.FirstOrDefault(input => PlaceOf(input) is var other && (other == place || Below(place, other) || Below(other, place))) is { } same)
        {
            throw new OptionsException($"the output would overwrite or change an input; {same}; give a place outside it: inputs are never changed");
        }

        static bool Below(string path, string folder) => path.StartsWith(folder.TrimEnd(Path.DirectorySeparatorChar) + Path.DirectorySeparatorChar, StringComparison.Ordinal);
    }

    /// <summary>The full path behind links, those of the folders above it too.</summary>
    public static string PlaceOf(string path)
    {
        var full = Path.GetFullPath(path);
        var place = Path.GetPathRoot(full)!;
        foreach (var name in full[place.Length..].Split(Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries))
        {
            place = Path.Combine(place, name);
            var target = File.Exists(place) ? File.ResolveLinkTarget(place, returnFinalTarget: true) : Directory.Exists(place) ? Directory.ResolveLinkTarget(place, returnFinalTarget: true) : null;
            if (target is not null) place = PlaceOf(target.FullName);
        }
        return place;
    }
}
