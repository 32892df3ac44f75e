using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Models.Layers;

namespace LowRank.Families;

/// <summary>
/// Stable Diffusion 1 and 2, their inpainting models, and small models of the same make (Rombach et al. 2022, arXiv 2112.10752).
/// One CLIP text encoder; the denoiser reads its normalised last states. Compare huggingface/diffusers,
/// src/diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py.
/// </summary>
internal sealed class StableDiffusion : UnetFamily
{
    private readonly PromptEncoder encoder;

    /// <inheritdoc/>
    public StableDiffusion(ModelFiles folder, LayerFactory placement) : base(folder, placement)
    {
        encoder = new PromptEncoder(folder, "", projection: false, placement);
        Denoiser.RequireFit(LatentChannels, encoder.Config.HiddenSize);
        if (Denoiser.Config.HasTextTime) throw Denoiser.Unfit("unsupported value: addition_embed_type is \"text_time\", which is Stable Diffusion XL's", "the pipeline named in model_index.json has no sizes to give; supported: null");
    }

    /// <summary>SD 2 is told by its linear projections, which no SD 1 has.</summary>
    private bool IsSecond => Denoiser.Config.UseLinearProjection;

    public override string Name => $"Stable Diffusion {(IsSecond ? 2 : 1)}{(DenoiserChannels == LatentChannels ? "" : " inpainting")}";

    public override string BaseVersion => !IsSecond ? "sd_v1" : PredictionType == PredictionType.VPrediction ? "sd_v2_v" : "sd_v2";

    private protected override string InpaintPipeline => "StableDiffusionInpaintPipeline";

    internal override IReadOnlyList<PromptEncoder> Encoders => [encoder];

    public override Conditioning EncodePrompts(IReadOnlyList<string> prompts, PromptOptions? options = null)
    {
        if (options?.SecondPrompts is not null) throw new OptionsException($"second prompts: {Name} has one text encoder; give them to models with two");
        var skipped = SkippedLayers(options, encoder, encoder.Config.NumHiddenLayers);
        var chunks = encoder.Chunks(prompts, options?.Weighted == true);
        return new Conditioning { Hidden = encoder.Encode(chunks, chunks.Max(parts => parts.Count), states => skipped == 0 ? states.Last.alias() : encoder.Model.SkipLayers(states, skipped)).Hidden };
    }

    public override Conditioning EncodeNoPrompt(PromptOptions? options = null) => EncodePrompts([""], options);

    public override Conditioning WithSizes(Conditioning conditioning, IReadOnlyList<SizeCondition> sizes) => new() { Hidden = conditioning.Hidden.alias() };
}
