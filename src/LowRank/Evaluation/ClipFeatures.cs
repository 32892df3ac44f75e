using LowRank.Foundation;
using LowRank.Images;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Text;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Evaluation;

/// <summary>A whole CLIP model: pictures and texts in one space. Owns both networks.</summary>
internal sealed class ClipFeatures : ITextFeatureNetwork
{
    private const int Batch = 64;
    private readonly IFeatureNetwork pictures;
    private readonly ClipTextModel network;
    private readonly ClipTokenizer tokenizer;
    private readonly Device device;

    private ClipFeatures(IFeatureNetwork pictures, ClipTextModel network, ClipTokenizer tokenizer, Device device)
    {
        (this.pictures, this.network, this.tokenizer, this.device) = (pictures, network, tokenizer, device);
        TextIdentity = Invariant($"texts of up to {Length} tokens, weights sha256 {FeatureBatches.HashOf(network)}");
    }

    /// <inheritdoc/>
    public string Name => pictures.Name;

    /// <summary>That of the picture encoder: measures between pictures may be compared with those of the encoder alone.</summary>
    public string Identity => pictures.Identity;

    /// <inheritdoc/>
    public string TextIdentity { get; }

    /// <inheritdoc/>
    public int Dimension => pictures.Dimension;

    /// <summary>Tokens of a text, start and end among them.</summary>
    private int Length => Math.Min(tokenizer.MaximumLength ?? network.Config.MaxPositionEmbeddings, network.Config.MaxPositionEmbeddings);

    /// <summary>Opens a model's folder: config.json, weights, tokenizer, and perhaps preprocessor_config.json.</summary>
    /// <param name="folder">As published, such as openai/clip-vit-large-patch14.</param>
    /// <param name="device">Where the networks run.</param>
    /// <returns>With texts where the folder is a whole CLIP model, without where it is only the picture encoder.</returns>
    /// <exception cref="CheckpointException">No CLIP model, a damaged one, or one that is not built here.</exception>
    public static IFeatureNetwork Open(string folder, Device device)
    {
        var path = Path.Combine(folder, "config.json");
        var config = ClipConfig.Read(path);
        var pictures = ClipPictureFeatures.Open(folder, config.Vision, device);
        if (config.Text is null) return pictures;
        var network = new ClipTextModel(config.Text, projection: true, LayerFactory.Meta);
        try
        {
            using var weights = Checkpoint.Open(folder);
            weights.LoadInto(network, name => name.StartsWith("text_", StringComparison.Ordinal) ? ClipTextModel.KeyOf(name) : null, device: device);
            network.eval();
            return new ClipFeatures(pictures, network, TokenizerFolder.Open(folder), device);
        }
        catch
        {
            network.Dispose();
            pictures.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public Tensor Features(IReadOnlyList<RgbImage> pictures) => this.pictures.Features(pictures);

    /// <inheritdoc/>
    public Tensor TextFeatures(IReadOnlyList<string> texts)
    {
        if (texts.Count == 0) throw new ArgumentException("no texts", nameof(texts));
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        List<Tensor> parts = [];
        foreach (var chunk in texts.Chunk(Batch))
        {
            var ids = chunk.SelectMany(text => tokenizer.EncodePadded(text, Length, out _)).Select(id => (long)id).ToArray();
            using var states = network.call(tensor(ids, chunk.Length, Length).to(device));
            parts.Add(states.Projected!.to(ScalarType.Float32, CPU, copy: true));
        }
        return cat(parts).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public int CountCut(IReadOnlyList<string> texts) => texts.Count(text =>
    {
        tokenizer.EncodePadded(text, Length, out var cut);
        return cut is not null;
    });

    /// <inheritdoc/>
    public void Dispose()
    {
        network.Dispose();
        pictures.Dispose();
    }
}
