using System.Text.Json;
using System.Text.Json.Nodes;
using LowRank.Testing;

namespace LowRank.Tests.Families;

/// <summary>A copy of a tiny model, to be broken.</summary>
internal sealed class ModelFolder : IDisposable
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    public ModelFolder(string pipeline)
    {
        Path = Directory.CreateTempSubdirectory("lowrank-model-").FullName;
        var source = System.IO.Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", pipeline);
        foreach (var file in Directory.GetFiles(source, "*", SearchOption.AllDirectories))
        {
            var target = File(System.IO.Path.GetRelativePath(source, file));
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(target)!);
            System.IO.File.Copy(file, target);
        }
    }

    public string Path { get; }

    public string File(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>Replaces text that must be there.</summary>
    public void Replace(string file, string before, string after)
    {
        var text = System.IO.File.ReadAllText(File(file));
        Assert.Contains(before, text, StringComparison.Ordinal);
        System.IO.File.WriteAllText(File(file), text.Replace(before, after, StringComparison.Ordinal));
    }

    /// <summary>Sets one key of a JSON object.</summary>
    public void Set(string file, string key, string json)
    {
        var root = JsonNode.Parse(System.IO.File.ReadAllText(File(file)))!;
        root[key] = JsonNode.Parse(json);
        System.IO.File.WriteAllText(File(file), root.ToJsonString(Indented));
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
