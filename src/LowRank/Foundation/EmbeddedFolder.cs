namespace LowRank.Foundation;

/// <summary>Models and adapters that come with the program, as folders.</summary>
internal static class EmbeddedFolder
{
    /// <summary>The folder <c>models/NAME</c> beside the program, above it (a checkout), or above the current directory.</summary>
    /// <param name="name">Of the model, or "adapters".</param>
    /// <exception cref="CheckpointException">It is at none of these places.</exception>
    public static string Find(string name) => Places(name).FirstOrDefault(Directory.Exists) ?? throw new CheckpointException(
        $"the folder models/{name} that comes with the program is not there; looked for it beside the program ({AppContext.BaseDirectory}) and in the folders above it and above {Directory.GetCurrentDirectory()}; copy the folder models/{name} from the repository beside the program");

    private static IEnumerable<string> Places(string name)
    {
        foreach (var start in (string[])[AppContext.BaseDirectory, Directory.GetCurrentDirectory()])
        {
            for (var folder = start; folder is not null; folder = Path.GetDirectoryName(folder)) yield return Path.Combine(folder, "models", name);
        }
    }
}
