using LowRank.Adapters;
using LowRank.Data;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Tests.Images;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

/// <summary>A real training run on a tiny model (Stable Diffusion 1 in miniature) and three pictures, in a folder of its own.</summary>
internal sealed class TinyRun : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public TinyRun()
    {
        foreach (var (name, width, height, caption) in (IEnumerable<(string, int, int, string)>)
            [("a", 64, 64, "a dog, blue, garden"), ("b", 64, 64, "a cat, in the city, photo"), ("c", 96, 48, "an apple, on the table\na car, best quality")])
        {
            File.WriteAllBytes(folder.Path("pictures", name + ".png"), Samples.Png(width, height, seed: name[0]));
            File.WriteAllText(folder.Path("pictures", name + ".txt"), caption);
        }
    }

    public static string Model => System.IO.Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sd1");

    public string Output => folder.Path("run");

    public string Pictures => folder.Path("pictures");

    public string Path(params string[] parts) => folder.Path(parts);

    /// <summary>Everything small, previews off.</summary>
    public TrainLoraOptions Options => new()
    {
        Model = Model,
        Output = Output,
        Seed = 5,
        Data = [new DataSetOptions { Folder = Pictures }],
        Adapter = new AdapterOptions { Rank = 2 },
        Training = new TrainingOptions { Steps = 4, BatchSize = 2, LearningRate = 0.01, SaveEvery = 2 },
        Preview = new PreviewOptions { Captions = 0, Steps = 2 },
    };

    /// <summary>A file's tensors as bytes, by name: what was trained, without what the file says about it.</summary>
    public static IReadOnlyDictionary<string, string> Tensors(string path)
    {
        using var reader = SafetensorsReader.Open(path);
        return reader.Tensors.Keys.ToDictionary(name => name, name =>
        {
            using var tensor = reader.Read(name);
            return $"{tensor.dtype} {string.Join('x', tensor.shape)} {Convert.ToHexString(tensor.bytes)}";
        });
    }

    public static TrainingResult Train(TrainLoraOptions options, bool resume = false, Action<TrainingEvent>? listen = null, CancellationToken cancellation = default) =>
        TrainLora.Run(options, new Training.Listener(listen), resume, cancellation);

    public void Dispose() => folder.Dispose();
}
