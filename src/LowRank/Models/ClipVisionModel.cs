using LowRank.Foundation;
using LowRank.Models.Layers;
using TorchSharp.Modules;
using static System.FormattableString;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

// huggingface/transformers, src/transformers/models/clip/modeling_clip.py, CLIPVisionModelWithProjection;
// Radford et al. 2021 (arXiv 2103.00020), section 2.4.

namespace LowRank.Models;

/// <summary>A class vector and the patches, each with the vector of its place: (B, 3, S, S) to (B, 1 + patches, C).</summary>
internal sealed class ClipVisionEmbeddings : Module<Tensor, Tensor>
{
    private readonly Parameter class_embedding;
    private readonly Module<Tensor, Tensor> patch_embedding;
    private readonly Module<Tensor, Tensor> position_embedding;

    public ClipVisionEmbeddings(ClipVisionConfig config, LayerFactory layers) : base(nameof(ClipVisionEmbeddings))
    {
        class_embedding = new Parameter(zeros(config.HiddenSize, layers.Type, layers.Device));
        patch_embedding = layers.Conv2d(3, config.HiddenSize, config.PatchSize, stride: config.PatchSize, bias: false);
        position_embedding = layers.Embedding(1 + config.Patches, config.HiddenSize);
        RegisterComponents();
    }

    public override Tensor forward(Tensor pictures)
    {
        using var scope = NewDisposeScope();
        var patches = patch_embedding.call(pictures).flatten(2).transpose(1, 2);   // (B, patches, C)
        var first = class_embedding.expand(pictures.size(0), 1, -1);               // (B, 1, C)
        var places = TensorArithmetic.Counting(1 + patches.size(1), ScalarType.Int64, pictures.device);
        return cat([first, patches], 1).Plus(position_embedding.call(places)).MoveToOuterDisposeScope();
    }
}

/// <summary>The transformer under the published prefix <c>vision_model.</c>: pictures to the states of the last layer and the normalised class state (B, C).</summary>
internal sealed class ClipVisionTransformer : Module<Tensor, (Tensor Last, Tensor Pooled)>
{
    private readonly ClipVisionEmbeddings embeddings;
    private readonly Module<Tensor, Tensor> pre_layrnorm;   // misspelt in every published file
    private readonly ClipEncoder encoder;
    private readonly Module<Tensor, Tensor> post_layernorm;

    public ClipVisionTransformer(ClipVisionConfig config, LayerFactory layers) : base(nameof(ClipVisionTransformer))
    {
        embeddings = new ClipVisionEmbeddings(config, layers);
        pre_layrnorm = layers.LayerNorm(config.HiddenSize, config.LayerNormEps);
        encoder = new ClipEncoder(config.EncoderShape, layers, new BlockRunner());
        post_layernorm = layers.LayerNorm(config.HiddenSize, config.LayerNormEps);
        RegisterComponents();
    }

    public override (Tensor Last, Tensor Pooled) forward(Tensor pictures)
    {
        using var scope = NewDisposeScope();
        var last = encoder.call(pre_layrnorm.call(embeddings.call(pictures)))[^1];
        var pooled = post_layernorm.call(last[TensorIndex.Colon, 0]);
        return (last.MoveToOuterDisposeScope(), pooled.MoveToOuterDisposeScope());
    }
}

/// <summary>What CLIP's picture encoder makes of pictures. Owns its tensors, which have the model's dtype.</summary>
/// <param name="Last">The last layer's states (B, 1 + patches, C), before the final norm.</param>
/// <param name="Projected">The class state behind norm and projection (B, P), not of unit length.</param>
internal sealed record ClipVisionStates(Tensor Last, Tensor Projected) : IDisposable
{
    public void Dispose()
    {
        Last.Dispose();
        Projected.Dispose();
    }
}

/// <summary>CLIP's picture encoder with its projection. Its state dict is the published checkpoint, prefix <c>vision_model.</c> included.</summary>
internal sealed class ClipVisionModel : Module<Tensor, ClipVisionStates>
{
    private readonly ClipVisionTransformer vision_model;
    private readonly Module<Tensor, Tensor> visual_projection;

    /// <param name="config">The published configuration.</param>
    /// <param name="layers">Where and in which dtype.</param>
    public ClipVisionModel(ClipVisionConfig config, LayerFactory layers) : base(nameof(ClipVisionModel))
    {
        Config = config;
        vision_model = new ClipVisionTransformer(config, layers);
        visual_projection = layers.Linear(config.HiddenSize, config.ProjectionDim, bias: false);
        RegisterComponents();
    }

    public ClipVisionConfig Config { get; }

    /// <param name="pictures">(B, 3, S, S), S as configured, less the mean and over the deviation; the model's dtype.</param>
    /// <returns>The caller owns it.</returns>
    public override ClipVisionStates forward(Tensor pictures)
    {
        if (pictures.dim() != 4 || pictures.size(1) != 3 || pictures.size(2) != Config.ImageSize || pictures.size(3) != Config.ImageSize)
        {
            throw new ArgumentException(Invariant($"the pictures are ({string.Join(", ", pictures.shape)}); expected (B, 3, {Config.ImageSize}, {Config.ImageSize})"));
        }
        using var scope = NewDisposeScope();
        var (last, pooled) = vision_model.call(pictures);
        return new ClipVisionStates(last.MoveToOuterDisposeScope(), visual_projection.call(pooled).MoveToOuterDisposeScope());
    }

    /// <summary>Key in this model of a tensor's name in the file of a picture encoder or of a whole CLIP model; null for what belongs to the text, and for a buffer of old files.</summary>
    public static string? KeyOf(string name)
    {
        if (name.EndsWith("embeddings.position_ids", StringComparison.Ordinal)) return null;
        return name.StartsWith("text_", StringComparison.Ordinal) || name == "logit_scale" ? null : name;
    }
}
