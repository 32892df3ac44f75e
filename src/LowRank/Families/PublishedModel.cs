using System.Text.Json;

namespace LowRank.Families;

/// <summary>
/// Configurations of published models, for files that come without: checkpoints of one file, and adapters whose base is not at hand.
/// They are facts of the files that these models were published as; no weights.
/// </summary>
internal sealed class PublishedModel
{
    private const string Place = "LowRank.Families.Published/";

    private PublishedModel(string name, string title) => (Name, Title) = (name, title);

    /// <summary>Every one, oldest first.</summary>
    public static IReadOnlyList<PublishedModel> All { get; } =
    [
        new("sd15", "Stable Diffusion 1"), new("sd21-base", "Stable Diffusion 2"), new("sd21", "Stable Diffusion 2 (v-prediction)"), new("sdxl", "Stable Diffusion XL"),
    ];

    /// <summary>Short: sd15, sd21-base (predicts noise), sd21 (predicts v), sdxl.</summary>
    public string Name { get; }

    /// <summary>In words.</summary>
    public string Title { get; }

    /// <summary>Parts with weights and their classes, in the order of the index.</summary>
    public IEnumerable<(string Name, string Class)> Parts
    {
        get
        {
            using var index = JsonDocument.Parse(File("model_index.json"));
            return [.. index.RootElement.EnumerateObject().Where(item => item.Value.ValueKind == JsonValueKind.Array && Has($"{item.Name}/config.json")).Select(item => (item.Name, item.Value[1].GetString()!))];
        }
    }

    /// <summary>A file of its folder: <c>model_index.json</c>, <c>unet/config.json</c>, <c>scheduler/scheduler_config.json</c>, ….</summary>
    /// <param name="path">In the layout of diffusers, with slashes.</param>
    public byte[] File(string path)
    {
        using var stream = typeof(PublishedModel).Assembly.GetManifestResourceStream($"{Place}{Name}/{path}") ?? throw new ArgumentException($"{Name} has no {path}", nameof(path));
        using var copy = new MemoryStream();
        stream.CopyTo(copy);
        return copy.ToArray();
    }

    private bool Has(string path) => typeof(PublishedModel).Assembly.GetManifestResourceInfo($"{Place}{Name}/{path}") is not null;
}
