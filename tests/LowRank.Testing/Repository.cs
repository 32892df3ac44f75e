namespace LowRank.Testing;

/// <summary>Where this checkout and the optional sample data lie.</summary>
public static class Repository
{
    /// <summary>The folder that holds the solution.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>The folder of real files that are not committed, named by LOWRANK_DATA; skips the test, saying so, when it is not set.</summary>
    public static string SampleData(string part)
    {
        var folder = Environment.GetEnvironmentVariable("LOWRANK_DATA");
        if (string.IsNullOrEmpty(folder)) Assert.Skip($"LOWRANK_DATA is not set: nothing was checked against the real files of {part}");
        var path = Path.Combine(folder, part);
        Assert.True(Path.Exists(path), $"LOWRANK_DATA is {folder}, which has no {part}");
        return path;
    }

    private static string FindRoot()
    {
        for (var folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "LowRank.slnx"))) return folder;
        }
        throw new InvalidOperationException("tests run from inside the repository");
    }
}
