using LowRank.Adapters;
using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>Pictures of the same prompts and seeds, before, while and after training. </summary>
internal sealed class Previews
{
    private const int MostPrompts = 4, SheetSide = 128;

    private readonly TrainLoraOptions options;
    private readonly IDiffusionFamily family;
    private readonly RunFolder folder;
    private readonly AdapterSet adapter;

    public Previews(TrainLoraOptions options, IDiffusionFamily family, TrainingData data, RunFolder folder, AdapterSet adapter)
    {
        (this.options, this.family, this.folder, this.adapter) = (options, family, folder, adapter);
        Prompts = options.Preview.Prompts.Count > 0 ? options.Preview.Prompts : [.. data.Images.Select(image => image.Caption.Split('\n')[0]).Distinct().Take(MostPrompts)];
    }

    public IReadOnlyList<string> Prompts { get; }

    /// <summary>The pictures of the base model.</summary>
    public IReadOnlyList<RgbImage> DrawBefore(CancellationToken cancellation) => Draw(strength: 0, cancellation);

    /// <summary>A sheet of what the adapter draws now.</summary>
    public string Write(long step, CancellationToken cancellation)
    {
        var path = folder.Preview(step);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        WriteSheet(path, [Draw(strength: 1, cancellation)], []);
        return path;
    }

    /// <summary>The base's pictures above those of the finished adapter.</summary>
    public void WriteBeforeAfter(IReadOnlyList<RgbImage> before, CancellationToken cancellation) =>
        WriteSheet(folder.BeforeAfter, [before, Draw(strength: 1, cancellation)], ["before", "after"]);

    private void WriteSheet(string path, IReadOnlyList<IReadOnlyList<RgbImage>> rows, IReadOnlyList<string> labels)
    {
        var zoom = Math.Max(1, SheetSide / rows[0][0].Size.Width);
        ImageFile.WritePng(path, ImageGrid.Sheet(rows, Prompts, labels, zoom));
    }

    private List<RgbImage> Draw(double strength, CancellationToken cancellation)
    {
        var generator = new ImageGenerator(family, SamplerCatalog.Create(options.Preview.Sampler, family.Schedule));
        var negative = options.Preview.NegativePrompt;
        var pictures = new List<RgbImage>();
        adapter.Strength = strength;
        try
        {
            foreach (var prompt in Prompts)
            {
                // streams of their own: drawing previews must not move those of the training
                using var streams = new RandomStreams(options.Seed + pictures.Count);
                var request = new GenerationRequest
                {
                    Prompts = [prompt],
                    NegativePrompts = negative is null ? null : [negative],
                    Height = family.DefaultSize,
                    Width = family.DefaultSize,
                    Steps = options.Preview.Steps,
                    Guidance = new Guidance(options.Preview.Guidance),
                };
                using var latents = generator.Latents(request, streams["preview"], cancellation);
                using var pixels = generator.Decode(latents);
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
}
