using System.Globalization;

namespace LowRank.Cli.Tests;

/// <summary>Whole command lines, in this process, in a folder of their own.</summary>
internal sealed class Shell : IDisposable
{
    public Shell() => Folder = Directory.CreateTempSubdirectory("lowrank-cli-").FullName;

    public string Folder { get; }

    public string Output { get; private set; } = "";
    public string Errors { get; private set; } = "";

    public string Path(params string[] parts) => System.IO.Path.Combine([Folder, .. parts]);

    public string Write(string name, string text)
    {
        File.WriteAllText(Path(name), text);
        return Path(name);
    }

    /// <summary>Runs <c>lora</c> with these arguments; returns the exit code.</summary>
    public int Lora(params string[] arguments)
    {
        using var output = new StringWriter(CultureInfo.InvariantCulture);
        using var errors = new StringWriter(CultureInfo.InvariantCulture);
        var code = CommandLine.Run(arguments, Screen.For(output, errors));
        (Output, Errors) = (output.ToString().ReplaceLineEndings("\n"), errors.ToString().ReplaceLineEndings("\n"));
        return code;
    }

    /// <summary>Three of the example's pictures with captions, and a recipe that trains on them for a few steps.</summary>
    public string TinyRecipe(string extra = "")
    {
        var pictures = System.IO.Path.Combine(LowRank.Testing.Repository.Root, "examples", "tango", "pictures");
        Directory.CreateDirectory(Path("pictures"));
        foreach (var file in Directory.GetFiles(pictures).Order(StringComparer.Ordinal).Take(6)) File.Copy(file, Path("pictures", System.IO.Path.GetFileName(file)), overwrite: true);
        return Write("recipe.toml", $$"""
            model = "icons-64"
            output = "{{Path("run").Replace('\\', '/')}}"
            seed = 3
            [[data]]
            folder = "pictures"
            [adapter]
            rank = 2
            [training]
            steps = 4
            batch_size = 2
            learning_rate = 1e-2
            save_every = 2
            [preview]
            prompts = ["red heart"]
            steps = 2
            {{extra}}
            """);
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
