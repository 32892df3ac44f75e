using LowRank.Foundation;
using LowRank.Models.Layers;
using TorchSharp.Modules;
using static System.FormattableString;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

// huggingface/transformers, src/transformers/models/clip/modeling_clip.py, CLIPTextModel and CLIPTextModelWithProjection;
// Radford et al. 2021 (arXiv 2103.00020), section 2.4.

namespace LowRank.Models;

/// <summary>Token and position vectors, added: (B, T) int64 to (B, T, C).</summary>
internal sealed class ClipTextEmbeddings : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> token_embedding;
    private readonly Module<Tensor, Tensor> position_embedding;

    /// <summary>Learned vectors behind the table: those of ids from <c>First</c> on, in order, (n, C) each; null for none. They stay the caller's.</summary>
    private (int First, IReadOnlyList<Tensor> Rows)? placed;

    public ClipTextEmbeddings(ClipTextConfig config, LayerFactory layers) : base(nameof(ClipTextEmbeddings))
    {
        token_embedding = layers.Embedding(config.VocabSize, config.HiddenSize);
        position_embedding = layers.Embedding(config.MaxPositionEmbeddings, config.HiddenSize);
        RegisterComponents();
    }

    public override Tensor forward(Tensor ids)
    {
        using var scope = NewDisposeScope();
        var positions = TensorArithmetic.Counting(ids.size(1), ScalarType.Int64, ids.device);
        return Tokens(ids).Plus(position_embedding.call(positions)).MoveToOuterDisposeScope();
    }

    /// <summary>The table (V, C).</summary>
    public Tensor Table => ((TorchSharp.Modules.Embedding)token_embedding).weight!;

    /// <summary>Puts vectors behind the table, which itself stays untouched: no key, no row and no number of it changes.</summary>
    public void Place(int first, IReadOnlyList<Tensor> rows) => placed = rows.Count == 0 ? null : (first, rows);

    /// <summary>Ids behind the table, which stand for no word.</summary>
    public Tensor? IsPlaced(Tensor ids) => placed is { } behind ? ids.IsAtLeast(behind.First) : null;

    private Tensor Tokens(Tensor ids)
    {
        if (IsPlaced(ids) is not { } isPlaced) return token_embedding.call(ids);
        var (first, rows) = placed!.Value;
        var table = token_embedding.call(ids.FilledWhere(isPlaced, 0));                                         // (B, T, C)
        var learned = cat([.. rows]).to(table.dtype)[ids.Minus(first).AtLeast(0)];                               // (B, T, C)
        return where(isPlaced.unsqueeze(-1), learned, table);
    }
}

/// <summary>What the layers of CLIP's two encoders are told; text is causal, pictures are not.</summary>
internal sealed record ClipEncoderShape(int HiddenSize, int IntermediateSize, int Layers, int Heads, double LayerNormEps, bool QuickGelu, bool Causal);

/// <summary>Self attention; padding is not masked: (B, T, C) to (B, T, C).</summary>
internal sealed class ClipAttention : Module<Tensor, Tensor>
{
    private readonly int heads;
    private readonly bool causal;
    private readonly Module<Tensor, Tensor> k_proj;
    private readonly Module<Tensor, Tensor> v_proj;
    private readonly Module<Tensor, Tensor> q_proj;
    private readonly Module<Tensor, Tensor> out_proj;

    public ClipAttention(ClipEncoderShape shape, LayerFactory layers) : base(nameof(ClipAttention))
    {
        (heads, causal) = (shape.Heads, shape.Causal);
        k_proj = layers.Linear(shape.HiddenSize, shape.HiddenSize);
        v_proj = layers.Linear(shape.HiddenSize, shape.HiddenSize);
        q_proj = layers.Linear(shape.HiddenSize, shape.HiddenSize);
        out_proj = layers.Linear(shape.HiddenSize, shape.HiddenSize);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var attended = Attention.ScaledDotProduct(q_proj.call(x), k_proj.call(x), v_proj.call(x), heads, causal);
        return out_proj.call(attended).MoveToOuterDisposeScope();
    }
}

/// <summary>Two linear layers with GELU, or its sigmoid approximation, between: (B, T, C) to (B, T, C).</summary>
internal sealed class ClipMlp : Module<Tensor, Tensor>
{
    private readonly bool quick;
    private readonly Module<Tensor, Tensor> fc1;
    private readonly Module<Tensor, Tensor> fc2;

    public ClipMlp(ClipEncoderShape shape, LayerFactory layers) : base(nameof(ClipMlp))
    {
        quick = shape.QuickGelu;
        fc1 = layers.Linear(shape.HiddenSize, shape.IntermediateSize);
        fc2 = layers.Linear(shape.IntermediateSize, shape.HiddenSize);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var hidden = fc1.call(x);   // (B, T, intermediate)
        hidden = quick ? hidden * sigmoid(hidden.Times(1.702)) : functional.gelu(hidden);
        return fc2.call(hidden).MoveToOuterDisposeScope();
    }
}

/// <summary>Attention and MLP, each on a normalised copy and added: (B, T, C) to (B, T, C).</summary>
internal sealed class ClipEncoderLayer : Module<Tensor, Tensor>
{
    private readonly ClipAttention self_attn;
    private readonly Module<Tensor, Tensor> layer_norm1;
    private readonly ClipMlp mlp;
    private readonly Module<Tensor, Tensor> layer_norm2;

    public ClipEncoderLayer(ClipEncoderShape shape, LayerFactory layers) : base(nameof(ClipEncoderLayer))
    {
        self_attn = new ClipAttention(shape, layers);
        layer_norm1 = layers.LayerNorm(shape.HiddenSize, shape.LayerNormEps);
        mlp = new ClipMlp(shape, layers);
        layer_norm2 = layers.LayerNorm(shape.HiddenSize, shape.LayerNormEps);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var attended = x.Plus(self_attn.call(layer_norm1.call(x)));
        return attended.Plus(mlp.call(layer_norm2.call(attended))).MoveToOuterDisposeScope();
    }
}

/// <summary>The layers, one after another: (B, T, C) to layers + 1 of them, the input first. The caller owns all but the input.</summary>
internal sealed class ClipEncoder : Module<Tensor, IReadOnlyList<Tensor>>
{
    private readonly ModuleList<ClipEncoderLayer> layers;
    private readonly BlockRunner blocks;

    public ClipEncoder(ClipEncoderShape shape, LayerFactory factory, BlockRunner blocks) : base(nameof(ClipEncoder))
    {
        this.blocks = blocks;
        layers = ModuleList(Enumerable.Range(0, shape.Layers).Select(_ => new ClipEncoderLayer(shape, factory)).ToArray());
        RegisterComponents();
    }

    public override IReadOnlyList<Tensor> forward(Tensor x)
    {
        var states = new List<Tensor> { x };
        foreach (var layer in layers) states.Add(blocks.Call(layer, states[^1]));
        return states;
    }
}

/// <summary>The transformer under the published prefix <c>text_model.</c>: ids (B, T) to states.</summary>
internal sealed class ClipTextTransformer : Module<Tensor, (IReadOnlyList<Tensor> Hidden, Tensor Last)>
{
    private readonly ClipTextEmbeddings embeddings;
    private readonly ClipEncoder encoder;
    private readonly Module<Tensor, Tensor> final_layer_norm;

    public ClipTextTransformer(ClipTextConfig config, LayerFactory layers, BlockRunner blocks) : base(nameof(ClipTextTransformer))
    {
        embeddings = new ClipTextEmbeddings(config, layers);
        encoder = new ClipEncoder(config.EncoderShape, layers, blocks);
        final_layer_norm = layers.LayerNorm(config.HiddenSize, config.LayerNormEps);
        RegisterComponents();
    }

    public override (IReadOnlyList<Tensor> Hidden, Tensor Last) forward(Tensor ids)
    {
        var hidden = encoder.call(embeddings.call(ids));
        return (hidden, final_layer_norm.call(hidden[^1]));
    }

    /// <inheritdoc cref="ClipTextEmbeddings.Place"/>
    public void Place(int first, IReadOnlyList<Tensor> rows) => embeddings.Place(first, rows);

    /// <inheritdoc cref="ClipTextEmbeddings.IsPlaced"/>
    public Tensor? IsPlaced(Tensor ids) => embeddings.IsPlaced(ids);

    /// <summary>The table of token vectors (V, C).</summary>
    public Tensor Table => embeddings.Table;

    /// <summary>The final norm of an earlier layer's states: clip skip.</summary>
    public Tensor Normalise(Tensor hidden) => final_layer_norm.call(hidden);
}

/// <summary>What a CLIP text encoder makes of ids (B, T). Owns its tensors, which have the model's dtype.</summary>
internal sealed record ClipTextStates : IDisposable
{
    /// <summary>Layers + 1 of (B, T, C), before the final norm: the embeddings first, then each layer's output.</summary>
    public required IReadOnlyList<Tensor> Hidden { get; init; }

    /// <summary>The last of them after the final norm (B, T, C): what SD 1 and SD 2 feed to the denoiser.</summary>
    public required Tensor Last { get; init; }

    /// <summary><see cref="Last"/> at each prompt's end (B, C).</summary>
    public required Tensor Pooled { get; init; }

    /// <summary><see cref="Pooled"/> projected (B, P): SDXL's pooled text; null for a model without projection.</summary>
    public Tensor? Projected { get; init; }

    public void Dispose()
    {
        foreach (var state in Hidden) state.Dispose();
        Last.Dispose();
        Pooled.Dispose();
        Projected?.Dispose();
    }
}

/// <summary>CLIP's text encoder, with or without projection. Its state dict is the published checkpoint, prefix <c>text_model.</c> included.</summary>
internal sealed class ClipTextModel : Module<Tensor, ClipTextStates>, ICheckpointed
{
    /// <summary>The configured end token that means "the largest id" (see <see cref="ClipTextConfig.EosTokenId"/>).</summary>
    internal const int LargestId = 2;

    private readonly ClipTextTransformer text_model;
    private readonly Module<Tensor, Tensor>? text_projection;

    /// <param name="config">The published configuration.</param>
    /// <param name="projection">True for CLIPTextModelWithProjection.</param>
    /// <param name="layers">Where and in which dtype.</param>
    public ClipTextModel(ClipTextConfig config, bool projection, LayerFactory layers) : base(nameof(ClipTextModel))
    {
        Config = config;
        text_model = new ClipTextTransformer(config, layers, Blocks);
        text_projection = projection ? layers.Linear(config.HiddenSize, config.ProjectionDim, bias: false) : null;
        RegisterComponents();
    }

    public ClipTextConfig Config { get; }

    public BlockRunner Blocks { get; } = new();

    /// <summary>The table of token vectors (V, C) in the model's dtype; the model's own.</summary>
    public Tensor TokenTable => text_model.Table;

    /// <summary>Puts learned vectors behind the table, in place of those put before: ids from <paramref name="first"/> on read them. The table stays untouched.</summary>
    /// <param name="first">The id of the first row.</param>
    /// <param name="rows">(n, C) each, any float type, on the model's device; may require gradients. They stay the caller's. Empty takes them off.</param>
    public void Place(int first, IReadOnlyList<Tensor> rows) => text_model.Place(first, rows);

    /// <param name="ids">(B, T) int64, T at most <see cref="ClipTextConfig.MaxPositionEmbeddings"/>.</param>
    /// <returns>The caller owns it.</returns>
    public override ClipTextStates forward(Tensor ids)
    {
        if (ids.dim() != 2 || ids.size(1) > Config.MaxPositionEmbeddings)
        {
            throw new ArgumentException(Invariant($"ids is ({string.Join(", ", ids.shape)}); expected (B, T) with T up to {Config.MaxPositionEmbeddings}"));
        }
        using var scope = NewDisposeScope();
        var (hidden, last) = text_model.call(ids);
        var pooled = last[TensorArithmetic.Counting(ids.size(0), ScalarType.Int64, ids.device), EndPositions(ids)];   // (B, C)
        var projected = text_projection?.call(pooled);                                    // (B, P)
        foreach (var state in hidden) state.MoveToOuterDisposeScope();
        return new ClipTextStates
        {
            Hidden = hidden,
            Last = last.MoveToOuterDisposeScope(),
            Pooled = pooled.MoveToOuterDisposeScope(),
            Projected = projected?.MoveToOuterDisposeScope(),
        };
    }

    /// <summary>
    /// States as if the last layers were not there, after the final norm (B, T, C): diffusers' <c>clip_skip</c>,
    /// one less than the "clip skip" of kohya and A1111. For SD 1 and SD 2; SDXL takes hidden states without the norm.
    /// </summary>
    /// <param name="states">What this model gave.</param>
    /// <param name="layers">How many layers to leave out: 0 up to all.</param>
    public Tensor SkipLayers(ClipTextStates states, int layers) => text_model.Normalise(states.Hidden[^(layers + 1)]);

    /// <summary>Key in this model of a tensor's name in a file; null for buffers of old files that hold no weight.</summary>
    /// <remarks>transformers 5 writes CLIPTextModel without the prefix, and reads both; old files keep a <c>position_ids</c> buffer.</remarks>
    public static string? KeyOf(string name)
    {
        if (name.EndsWith("embeddings.position_ids", StringComparison.Ordinal)) return null;
        return name.StartsWith("text_model.", StringComparison.Ordinal) || name.StartsWith("text_projection.", StringComparison.Ordinal) ? name : "text_model." + name;
    }

    /// <summary>Where each prompt ends: (B) int64, the first end token or, as published, the largest id of the table: learned tokens behind it do not end a prompt.</summary>
    private Tensor EndPositions(Tensor ids)
    {
        if (Config.EosTokenId != LargestId) return ids.IsEqualTo(Config.EosTokenId).to(ScalarType.Int32).argmax(-1);
        return (text_model.IsPlaced(ids) is { } isPlaced ? ids.FilledWhere(isPlaced, 0) : ids).argmax(-1);
    }
}
