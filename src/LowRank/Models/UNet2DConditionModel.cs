using LowRank.Foundation;
using LowRank.Models.Layers;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

// huggingface/diffusers, src/diffusers/models/unets/unet_2d_condition.py and unet_2d_blocks.py; Rombach et al. 2022 (arXiv 2112.10752).

namespace LowRank.Models;

/// <summary>Two convolutions with the timestep's embedding added between: (B, in, H, W), (B, E) to (B, out, H, W).</summary>
internal sealed class ResnetBlock : Module<Tensor, Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> norm1;
    private readonly Module<Tensor, Tensor> conv1;
    private readonly Module<Tensor, Tensor> time_emb_proj;
    private readonly Module<Tensor, Tensor> norm2;
    private readonly Module<Tensor, Tensor> conv2;
    private readonly Module<Tensor, Tensor>? conv_shortcut;

    public ResnetBlock(int inputs, int outputs, UNet2DConditionConfig config, LayerFactory layers) : base(nameof(ResnetBlock))
    {
        norm1 = layers.GroupNorm(config.NormNumGroups, inputs, config.NormEps);
        conv1 = layers.Conv2d(inputs, outputs, 3, padding: 1);
        time_emb_proj = layers.Linear(4 * config.BlockOutChannels[0], outputs);
        norm2 = layers.GroupNorm(config.NormNumGroups, outputs, config.NormEps);
        conv2 = layers.Conv2d(outputs, outputs, 3, padding: 1);
        conv_shortcut = inputs == outputs ? null : layers.Conv2d(inputs, outputs, 1);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x, Tensor embedding)
    {
        using var scope = NewDisposeScope();
        var shift = time_emb_proj.call(functional.silu(embedding)).unsqueeze(-1).unsqueeze(-1);   // (B, out, 1, 1)
        var hidden = NormSiluConv.Apply(norm1, conv1, x).Plus(shift);
        hidden = NormSiluConv.Apply(norm2, conv2, hidden);
        var kept = conv_shortcut is null ? x : conv_shortcut.call(x);
        return kept.Plus(hidden).MoveToOuterDisposeScope();
    }
}

/// <summary>Attention of tokens (B, L, C) to a context (B, S, D): to itself, or to the text states.</summary>
internal sealed class CrossAttention : Module<Tensor, Tensor, Tensor>
{
    private readonly int heads;
    private readonly Module<Tensor, Tensor> to_q;
    private readonly Module<Tensor, Tensor> to_k;
    private readonly Module<Tensor, Tensor> to_v;
    private readonly ModuleList<Module<Tensor, Tensor>> to_out;

    public CrossAttention(int channels, int contextSize, int heads, LayerFactory layers) : base(nameof(CrossAttention))
    {
        this.heads = heads;
        to_q = layers.Linear(channels, channels, bias: false);
        to_k = layers.Linear(contextSize, channels, bias: false);
        to_v = layers.Linear(contextSize, channels, bias: false);
        to_out = ModuleList<Module<Tensor, Tensor>>(layers.Linear(channels, channels));
        RegisterComponents();
    }

    public override Tensor forward(Tensor x, Tensor context)
    {
        using var scope = NewDisposeScope();
        var attended = Attention.ScaledDotProduct(to_q.call(x), to_k.call(context), to_v.call(context), heads);
        return to_out[0].call(attended).MoveToOuterDisposeScope();
    }
}

/// <summary>Self attention, attention to the text, feed-forward, each on a normalised copy and added: (B, L, C), (B, S, D) to (B, L, C).</summary>
internal sealed class TransformerBlock : Module<Tensor, Tensor, Tensor>
{
    private const double Eps = 1e-5;
    private readonly Module<Tensor, Tensor> norm1;
    private readonly CrossAttention attn1;
    private readonly Module<Tensor, Tensor> norm2;
    private readonly CrossAttention attn2;
    private readonly Module<Tensor, Tensor> norm3;
    private readonly FeedForward ff;

    public TransformerBlock(int channels, int contextSize, int heads, LayerFactory layers) : base(nameof(TransformerBlock))
    {
        norm1 = layers.LayerNorm(channels, Eps);
        attn1 = new CrossAttention(channels, channels, heads, layers);
        norm2 = layers.LayerNorm(channels, Eps);
        attn2 = new CrossAttention(channels, contextSize, heads, layers);
        norm3 = layers.LayerNorm(channels, Eps);
        ff = new FeedForward(channels, layers);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x, Tensor context)
    {
        using var scope = NewDisposeScope();
        var normed = norm1.call(x);
        x = x.Plus(attn1.call(normed, normed));
        x = x.Plus(attn2.call(norm2.call(x), context));
        x = x.Plus(ff.call(norm3.call(x)));
        return x.MoveToOuterDisposeScope();
    }
}

/// <summary>Transformer blocks over the pixels of a feature map, its input added: (B, C, H, W), (B, S, D) to (B, C, H, W).</summary>
internal sealed class SpatialTransformer : Module<Tensor, Tensor, Tensor>
{
    private const double Eps = 1e-6;   // whatever norm_eps says
    private readonly bool linear;
    private readonly Module<Tensor, Tensor> norm;
    private readonly Module<Tensor, Tensor> proj_in;
    private readonly ModuleList<TransformerBlock> transformer_blocks;
    private readonly Module<Tensor, Tensor> proj_out;

    public SpatialTransformer(int level, UNet2DConditionConfig config, LayerFactory layers) : base(nameof(SpatialTransformer))
    {
        var (channels, heads) = (config.BlockOutChannels[level], config.AttentionHeadDim[level]);
        linear = config.UseLinearProjection;
        norm = layers.GroupNorm(config.NormNumGroups, channels, Eps);
        proj_in = linear ? layers.Linear(channels, channels) : layers.Conv2d(channels, channels, 1);
        transformer_blocks = ModuleList(Enumerable.Range(0, config.TransformerLayersPerBlock[level])
            .Select(_ => new TransformerBlock(channels, config.CrossAttentionDim, heads, layers)).ToArray());
        proj_out = linear ? layers.Linear(channels, channels) : layers.Conv2d(channels, channels, 1);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x, Tensor context)
    {
        using var scope = NewDisposeScope();
        var (height, width) = (x.size(2), x.size(3));
        var tokens = linear ? proj_in.call(ToTokens(norm.call(x))) : ToTokens(proj_in.call(norm.call(x)));   // (B, HW, C)
        foreach (var block in transformer_blocks) tokens = block.call(tokens, context);
        var map = linear ? ToMap(proj_out.call(tokens), height, width) : proj_out.call(ToMap(tokens, height, width));   // (B, C, H, W)
        return x.Plus(map).MoveToOuterDisposeScope();
    }

    private static Tensor ToTokens(Tensor map) => map.flatten(2).transpose(1, 2).contiguous();

    private static Tensor ToMap(Tensor tokens, long height, long width) => tokens.transpose(1, 2).contiguous().unflatten(2, height, width);
}

/// <summary>Halves a feature map, odd sizes rounded up: (B, C, H, W) to (B, C, ⌈H/2⌉, ⌈W/2⌉).</summary>
internal sealed class Downsampler : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> conv;

    public Downsampler(int channels, LayerFactory layers) : base(nameof(Downsampler))
    {
        conv = layers.Conv2d(channels, channels, 3, stride: 2, padding: 1);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x) => conv.call(x);
}

/// <summary>Enlarges a feature map to the size of another, by nearest neighbour: (B, C, h, w), (B, …, H, W) to (B, C, H, W).</summary>
internal sealed class Upsampler : Module<Tensor, Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> conv;

    public Upsampler(int channels, LayerFactory layers) : base(nameof(Upsampler))
    {
        conv = layers.Conv2d(channels, channels, 3, padding: 1);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x, Tensor like)
    {
        using var larger = functional.interpolate(x, [like.size(2), like.size(3)], mode: InterpolationMode.Nearest);
        return conv.call(larger);
    }
}

/// <summary>
/// One level on the way down: (hidden (B, in, H, W), embedding (B, E), context (B, S, D), skips) to hidden (B, out, H', W').
/// Pushes the state after each layer, and after the downsampler, on the skips.
/// </summary>
internal sealed class DownBlock : Module<Tensor, Tensor, Tensor, Stack<Tensor>, Tensor>
{
    private readonly ModuleList<ResnetBlock> resnets;
    private readonly ModuleList<SpatialTransformer>? attentions;
    private readonly ModuleList<Downsampler>? downsamplers;
    private readonly BlockRunner blocks;

    public DownBlock(int level, UNet2DConditionConfig config, LayerFactory layers, BlockRunner blocks) : base(nameof(DownBlock))
    {
        this.blocks = blocks;
        var channels = config.BlockOutChannels[level];
        var inputs = config.BlockOutChannels[Math.Max(level - 1, 0)];
        var numbers = Enumerable.Range(0, config.LayersPerBlock[level]).ToArray();
        resnets = ModuleList(numbers.Select(i => new ResnetBlock(i == 0 ? inputs : channels, channels, config, layers)).ToArray());
        if (config.DownHasAttention(level)) attentions = ModuleList(numbers.Select(_ => new SpatialTransformer(level, config, layers)).ToArray());
        if (level < config.Levels - 1) downsamplers = ModuleList(new Downsampler(channels, layers));
        RegisterComponents();
    }

    public override Tensor forward(Tensor hidden, Tensor embedding, Tensor context, Stack<Tensor> skips)
    {
        using var scope = NewDisposeScope();
        for (var i = 0; i < resnets.Count; i++)
        {
            hidden = blocks.Call(resnets[i], hidden, embedding);
            if (attentions is not null) hidden = blocks.Call(attentions[i], hidden, context);
            skips.Push(hidden.MoveToOuterDisposeScope());
        }
        if (downsamplers is not null)
        {
            hidden = downsamplers[0].call(hidden);
            skips.Push(hidden.MoveToOuterDisposeScope());
        }
        return hidden;
    }
}

/// <summary>The coarsest level's middle: (B, C, h, w), (B, E), (B, S, D) to (B, C, h, w).</summary>
internal sealed class MidBlock : Module<Tensor, Tensor, Tensor, Tensor>
{
    private readonly ModuleList<ResnetBlock> resnets;
    private readonly ModuleList<SpatialTransformer> attentions;
    private readonly BlockRunner blocks;

    public MidBlock(UNet2DConditionConfig config, LayerFactory layers, BlockRunner blocks) : base(nameof(MidBlock))
    {
        this.blocks = blocks;
        var channels = config.BlockOutChannels[^1];
        resnets = ModuleList(new ResnetBlock(channels, channels, config, layers), new ResnetBlock(channels, channels, config, layers));
        attentions = ModuleList(new SpatialTransformer(config.Levels - 1, config, layers));
        RegisterComponents();
    }

    public override Tensor forward(Tensor hidden, Tensor embedding, Tensor context)
    {
        using var scope = NewDisposeScope();
        hidden = blocks.Call(attentions[0], blocks.Call(resnets[0], hidden, embedding), context);
        return blocks.Call(resnets[1], hidden, embedding).MoveToOuterDisposeScope();
    }
}

/// <summary>
/// One level on the way up: (hidden (B, in, h, w), embedding (B, E), context (B, S, D), skips) to hidden (B, out, H, W).
/// Takes one skip a layer, last in first out, and grows to the size of the next.
/// </summary>
internal sealed class UpBlock : Module<Tensor, Tensor, Tensor, Stack<Tensor>, Tensor>
{
    private readonly ModuleList<ResnetBlock> resnets;
    private readonly ModuleList<SpatialTransformer>? attentions;
    private readonly ModuleList<Upsampler>? upsamplers;
    private readonly BlockRunner blocks;

    /// <param name="index">0 is the coarsest level.</param>
    /// <param name="skips">Channels of the skips; this block's are popped.</param>
    /// <param name="config">The network's.</param>
    /// <param name="layers">Makes the layers.</param>
    /// <param name="blocks">Runs them.</param>
    public UpBlock(int index, Stack<int> skips, UNet2DConditionConfig config, LayerFactory layers, BlockRunner blocks) : base(nameof(UpBlock))
    {
        this.blocks = blocks;
        var level = config.Levels - 1 - index;
        var channels = config.BlockOutChannels[level];
        var inputs = config.BlockOutChannels[Math.Min(level + 1, config.Levels - 1)];
        var numbers = Enumerable.Range(0, config.LayersPerBlock[level] + 1).ToArray();
        resnets = ModuleList(numbers.Select(i => new ResnetBlock((i == 0 ? inputs : channels) + skips.Pop(), channels, config, layers)).ToArray());
        if (config.UpHasAttention(index)) attentions = ModuleList(numbers.Select(_ => new SpatialTransformer(level, config, layers)).ToArray());
        if (level > 0) upsamplers = ModuleList(new Upsampler(channels, layers));
        RegisterComponents();
    }

    public override Tensor forward(Tensor hidden, Tensor embedding, Tensor context, Stack<Tensor> skips)
    {
        using var scope = NewDisposeScope();
        for (var i = 0; i < resnets.Count; i++)
        {
            var resnet = resnets[i];
            hidden = blocks.Call(inputs => resnet.call(cat([inputs[0], inputs[1]], 1), inputs[2]), hidden, skips.Pop(), embedding);
            if (attentions is not null) hidden = blocks.Call(attentions[i], hidden, context);
        }
        if (upsamplers is not null) hidden = upsamplers[0].call(hidden, skips.Peek());
        return hidden.MoveToOuterDisposeScope();
    }
}

/// <summary>
/// The denoiser of Stable Diffusion 1, 2 and XL: noisy latents, timesteps and text states in, prediction out.
/// Its modules are named as in the published files.
/// </summary>
public sealed class UNet2DConditionModel : Module<Tensor, Tensor, Tensor, Tensor?, Tensor?, Tensor>, ICheckpointed
{
    private readonly Module<Tensor, Tensor> conv_in;
    private readonly TimestepEmbedding time_embedding;
    private readonly TimestepEmbedding? add_embedding;
    private readonly ModuleList<DownBlock> down_blocks;
    private readonly MidBlock mid_block;
    private readonly ModuleList<UpBlock> up_blocks;
    private readonly Module<Tensor, Tensor> conv_norm_out;
    private readonly Module<Tensor, Tensor> conv_out;

    internal UNet2DConditionModel(UNet2DConditionConfig config, LayerFactory layers) : base(nameof(UNet2DConditionModel))
    {
        Config = config;
        var channels = config.BlockOutChannels;
        var embedding = 4 * channels[0];
        conv_in = layers.Conv2d(config.InChannels, channels[0], 3, padding: 1);
        time_embedding = new TimestepEmbedding(channels[0], embedding, layers);
        if (config.HasTextTime) add_embedding = new TimestepEmbedding(config.ProjectionClassEmbeddingsInputDim!.Value, embedding, layers);
        down_blocks = ModuleList(Enumerable.Range(0, config.Levels).Select(level => new DownBlock(level, config, layers, Blocks)).ToArray());
        mid_block = new MidBlock(config, layers, Blocks);
        var skips = SkipChannels(config);
        up_blocks = ModuleList(Enumerable.Range(0, config.Levels).Select(index => new UpBlock(index, skips, config, layers, Blocks)).ToArray());
        conv_norm_out = layers.GroupNorm(config.NormNumGroups, channels[0], config.NormEps);
        conv_out = layers.Conv2d(channels[0], config.OutChannels, 3, padding: 1);
        RegisterComponents();
    }

    internal UNet2DConditionConfig Config { get; }

    internal BlockRunner Blocks { get; } = new();

    BlockRunner ICheckpointed.Blocks => Blocks;

    /// <summary>The prediction. Run it with <c>call</c>, which honours hooks.</summary>
    /// <param name="sample">Noisy latents (B, C, h, w), the model's dtype, already scaled; C = in_channels.</param>
    /// <param name="timesteps">(B), or one for all; any dtype, 0…999, may be fractional.</param>
    /// <param name="encoder_hidden_states">Text states (B, S, D), the model's dtype; D = cross_attention_dim.</param>
    /// <param name="text_embeds">SDXL: pooled text (B, P), the model's dtype. Null for networks without.</param>
    /// <param name="time_ids">SDXL: (B, 6), original height and width, crop top and left, target height and width, in pixels; float32. Null for networks without.</param>
    /// <returns>(B, out_channels, h, w), the model's dtype.</returns>
    /// <exception cref="ArgumentException">A shape that does not fit the network.</exception>
    public override Tensor forward(Tensor sample, Tensor timesteps, Tensor encoder_hidden_states, Tensor? text_embeds, Tensor? time_ids)
    {
        Check(sample, timesteps, encoder_hidden_states, text_embeds, time_ids);
        using var scope = NewDisposeScope();
        var embedding = Embed(timesteps, text_embeds, time_ids, sample.dtype);
        var hidden = conv_in.call(sample);
        var skips = new Stack<Tensor>([hidden]);
        foreach (var block in down_blocks) hidden = block.call(hidden, embedding, encoder_hidden_states, skips);
        hidden = mid_block.call(hidden, embedding, encoder_hidden_states);
        foreach (var block in up_blocks) hidden = block.call(hidden, embedding, encoder_hidden_states, skips);
        return NormSiluConv.Apply(conv_norm_out, conv_out, hidden).MoveToOuterDisposeScope();
    }

    /// <summary>What the resnets learn of the timestep and of SDXL's sizes: (B or 1, 4 · first channels).</summary>
    private Tensor Embed(Tensor timesteps, Tensor? pooled, Tensor? timeIds, ScalarType type)
    {
        using var scope = NewDisposeScope();
        var sinusoid = TimestepEmbedding.Sinusoid(timesteps.flatten(), Config.BlockOutChannels[0], Config.FlipSinToCos, Config.FreqShift);
        var embedding = time_embedding.call(sinusoid.to_type(type));
        if (add_embedding is not null)
        {
            var sizes = TimestepEmbedding.Sinusoid(timeIds!.flatten(), Config.AdditionTimeEmbedDim!.Value, Config.FlipSinToCos, Config.FreqShift);
            sizes = sizes.reshape(pooled!.size(0), -1).to_type(type);   // (B, 6 · size)
            embedding = embedding.Plus(add_embedding.call(cat([pooled, sizes], 1)));
        }
        return embedding.MoveToOuterDisposeScope();
    }

    private void Check(Tensor sample, Tensor timesteps, Tensor context, Tensor? pooled, Tensor? timeIds)
    {
        var (pixels, text, batch) = (sample.shape, context.shape, sample.size(0));
        Require(pixels.Length == 4 && pixels[1] == Config.InChannels, nameof(sample), sample, $"(B, {Config.InChannels}, h, w)");
        Require(timesteps.numel() == 1 || timesteps.numel() == batch, nameof(timesteps), timesteps, $"({batch}) or one number");
        Require(text.Length == 3 && text[0] == batch && text[2] == Config.CrossAttentionDim, "encoder_hidden_states", context, $"({batch}, S, {Config.CrossAttentionDim})");
        if (Config.HasTextTime)
        {
            Require(pooled is not null && pooled.shape.SequenceEqual([batch, Config.PooledSize]), "text_embeds", pooled, $"({batch}, {Config.PooledSize})");
            Require(timeIds is not null && timeIds.shape.SequenceEqual([batch, 6]), "time_ids", timeIds, $"({batch}, 6)");
        }
        else
        {
            Require(pooled is null, "text_embeds", pooled, "null: this network has no pooled text");
            Require(timeIds is null, "time_ids", timeIds, "null: this network has no size conditions");
        }
    }

    private static void Require(bool holds, string name, Tensor? value, string expected)
    {
        if (!holds) throw new ArgumentException($"{name} is {(value is null ? "null" : $"({string.Join(", ", value.shape)})")}; expected {expected}");
    }

    /// <summary>Channels of every skip, the last on top: the first convolution's, each layer's, each downsampler's.</summary>
    private static Stack<int> SkipChannels(UNet2DConditionConfig config)
    {
        var skips = new Stack<int>([config.BlockOutChannels[0]]);
        for (var level = 0; level < config.Levels; level++)
        {
            var count = config.LayersPerBlock[level] + (level < config.Levels - 1 ? 1 : 0);
            for (var i = 0; i < count; i++) skips.Push(config.BlockOutChannels[level]);
        }
        return skips;
    }
}
