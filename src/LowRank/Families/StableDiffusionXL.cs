using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>
/// Stable Diffusion XL (Podell et al. 2023, arXiv 2307.01952). Two CLIP text encoders: the denoiser reads the last hidden states but one of both,
/// side by side and not normalised, the second's projected text, and six sizes. Compare huggingface/diffusers,
/// src/diffusers/pipelines/stable_diffusion_xl/pipeline_stable_diffusion_xl.py.
/// </summary>
internal sealed class StableDiffusionXL : UnetFamily
{
    /// <summary>Layers that are never used: the last one of each encoder.</summary>
    private const int AlwaysSkipped = 1;

    private readonly PromptEncoder first;
    private readonly PromptEncoder second;
    private readonly bool zerosForNoPrompt;

    /// <inheritdoc/>
    public StableDiffusionXL(ModelFiles folder, LayerFactory placement) : base(folder, placement)
    {
        first = new PromptEncoder(folder, "", projection: false, placement);
        second = new PromptEncoder(folder, "_2", projection: true, placement);
        zerosForNoPrompt = folder.Flag("force_zeros_for_empty_prompt", otherwise: true);
        Denoiser.RequireFit(LatentChannels, first.Config.HiddenSize + second.Config.HiddenSize);
        if (first.PromptLength != second.PromptLength)
        {
            throw new CheckpointException(Invariant($"the text encoders read {first.PromptLength} and {second.PromptLength} tokens; in {folder.Path}; set model_max_length of tokenizer and tokenizer_2 as published (77)"));
        }
        if (!Denoiser.Config.HasTextTime) throw Denoiser.Unfit("unsupported value: addition_embed_type is null", "Stable Diffusion XL needs \"text_time\"");
        if (Denoiser.Config.PooledSize != second.Config.ProjectionDim)
        {
            throw Denoiser.Unfit(Invariant($"projection_class_embeddings_input_dim leaves {Denoiser.Config.PooledSize} for the pooled text, which is {second.Config.ProjectionDim} wide (projection_dim of text_encoder_2)"),
                "take all parts from one model");
        }
    }

    public override string Name => DenoiserChannels == LatentChannels ? "Stable Diffusion XL" : "Stable Diffusion XL inpainting";

    public override string BaseVersion => "sdxl_base_v1-0";

    private protected override string InpaintPipeline => "StableDiffusionXLInpaintPipeline";

    internal override IReadOnlyList<PromptEncoder> Encoders => [first, second];

    public override Conditioning EncodePrompts(IReadOnlyList<string> prompts, PromptOptions? options = null)
    {
        var seconds = options?.SecondPrompts ?? prompts;
        if (seconds.Count != prompts.Count) throw new OptionsException(Invariant($"second prompts: {seconds.Count} for {prompts.Count} pictures; give one for each"));
        var skipped = AlwaysSkipped + SkippedLayers(options, first, first.Config.NumHiddenLayers - AlwaysSkipped);
        SkippedLayers(options, second, second.Config.NumHiddenLayers - AlwaysSkipped);
        var (one, two) = (first.Chunks(prompts, options?.Weighted == true), second.Chunks(seconds, options?.Weighted == true));
        var count = one.Concat(two).Max(chunks => chunks.Count);
        using var narrow = first.Encode(one, count, Read).Hidden;
        var (wide, pooled) = second.Encode(two, count, Read);
        using (wide) return new Conditioning { Hidden = cat([narrow, wide], -1), Pooled = pooled };   // (B, T, D1 + D2)

        Tensor Read(ClipTextStates states) => states.Hidden[^(1 + skipped)].alias();
    }

    public override Conditioning EncodeNoPrompt(PromptOptions? options = null)
    {
        if (!zerosForNoPrompt) return EncodePrompts([""], options);
        return new Conditioning
        {
            Hidden = zeros([1, PromptLength, Denoiser.Config.CrossAttentionDim], Placement.Type, Placement.Device),
            Pooled = zeros([1, Denoiser.Config.PooledSize], Placement.Type, Placement.Device),
        };
    }

    public override Conditioning WithSizes(Conditioning conditioning, IReadOnlyList<SizeCondition> sizes)
    {
        if (sizes.Count != conditioning.Hidden.size(0)) throw new ArgumentException(Invariant($"{sizes.Count} sizes for {conditioning.Hidden.size(0)} pictures; give one for each"), nameof(sizes));
        var values = sizes.SelectMany(size => size.Values.Select(value => (float)value)).ToArray();
        return new Conditioning
        {
            Hidden = conditioning.Hidden.alias(),
            Pooled = conditioning.Pooled?.alias(),
            TimeIds = tensor(values, [sizes.Count, 6], device: Placement.Device),   // stays float32: in bfloat16 1023 would be 1024
        };
    }
}
