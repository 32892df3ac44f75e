using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>Pictures of the same prompts and seeds, before, while and after training. Prompts are encoded once, so that text encoders may go. Owns their states.</summary>
internal sealed class Previews : IDisposable
{
    private const int MostPrompts = 4, SheetSide = 128;

    private readonly TrainLoraOptions options;
    private readonly IDiffusionFamily family;
    private readonly RunFolder folder;
    private readonly AdapterSet adapter;
    private readonly List<(Conditioning Prompt, Conditioning Negative)> encoded = [];

    public Previews(TrainLoraOptions options, IDiffusionFamily family, TrainingData data, RunFolder folder, AdapterSet adapter)
    {
        (this.options, this.family, this.folder, this.adapter) = (options, family, folder, adapter);
        Prompts = options.Preview.Prompts.Count > 0 ? options.Preview.Prompts : [.. data.Images.Select(image => image.Caption.Split('\n')[0]).Distinct().Take(MostPrompts)];
        using var quiet = no_grad();
        foreach (var prompt in Prompts)
        {
            var generate = new GenerateOptions { Model = "", Output = "", Prompt = prompt, NegativePrompt = options.Preview.NegativePrompt };
            encoded.Add(Generate.Encode(generate, family, (family.DefaultSize, family.DefaultSize)));
        }
    }

    public IReadOnlyList<string> Prompts { get; }

    /// <summary>The pictures of the base model.</summary>
    public Row DrawBefore(CancellationToken cancellation) => new(Draw(strength: 0, cancellation));

    /// <summary>A sheet of what the adapter draws now.</summary>
    public string Write(long step, CancellationToken cancellation)
    {
        var path = folder.Preview(step);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        WriteSheet(path, [Draw(strength: 1, cancellation)], []);
        return path;
    }

    /// <summary>The base's pictures above those of the finished adapter.</summary>
    public void WriteBeforeAfter(Row before, CancellationToken cancellation) =>
        WriteSheet(folder.BeforeAfter, [before.Pictures, Draw(strength: 1, cancellation)], ["before", "after"]);

    public void Dispose()
    {
        foreach (var (prompt, negative) in encoded)
        {
            prompt.Dispose();
            negative.Dispose();
        }
    }

    private void WriteSheet(string path, IReadOnlyList<IReadOnlyList<RgbImage>> rows, IReadOnlyList<string> labels)
    {
        var zoom = Math.Max(1, SheetSide / rows[0][0].Size.Width);
        ImageFile.WritePng(path, ImageGrid.Sheet(rows, Prompts, labels, zoom));
    }

    private List<RgbImage> Draw(double strength, CancellationToken cancellation)
    {
        var generator = new ImageGenerator(family, SamplerCatalog.Make(options.Preview.Sampler, family.Schedule), new Guidance(options.Preview.Guidance));
        var size = (family.DefaultSize, family.DefaultSize);
        var pictures = new List<RgbImage>();
        adapter.Strength = strength;
        try
        {
            foreach (var (prompt, negative) in encoded)
            {
                // streams of their own: drawing previews must not move those of the training
                using var streams = new RandomStreams(options.Seed + pictures.Count);
                using var pixels = generator.Draw(prompt, negative, size, options.Preview.Steps, streams["preview"], null, new GeneratorRun(null, CancellationToken.None));
                pictures.Add(Generate.ToImage(pixels));
            }
        }
        finally
        {
            adapter.Strength = 1;
            family.Release("vae");
        }
        return pictures;
    }

    /// <summary>Pictures of one moment.</summary>
    internal sealed record Row(IReadOnlyList<RgbImage> Pictures) : IDisposable
    {
        public void Dispose() { }
    }
}
