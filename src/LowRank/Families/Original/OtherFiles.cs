using System.Text.RegularExpressions;
using LowRank.Foundation;

namespace LowRank.Families.Original;

/// <summary>Files that people give as a model and that are none: says what they are.</summary>
internal static partial class OtherFiles
{
    /// <summary>Denoisers of other families, told by a name that only they have; with and without the prefix of whole checkpoints.</summary>
    private static readonly (string Part, string Family)[] OtherFamilies =
    [
        ("double_blocks.", "Flux"), ("joint_blocks.", "Stable Diffusion 3"), ("single_transformer_blocks.", "Flux, in the layout of diffusers"),
        ("joint_transformer_blocks.", "AuraFlow, in the layout of diffusers"), ("down_blocks.0.0.channelwise.", "Stable Cascade"), ("input_blocks.1.0.time_stack.", "Stable Video Diffusion"),
    ];

    /// <summary>Why a file is no whole model of Stable Diffusion 1, 2 or XL in the original layout; null where it seems to be one.</summary>
    public static CheckpointException? Problem(ITensorFile file)
    {
        var names = file.Tensors.Keys.Order(StringComparer.Ordinal).ToList();
        if (names.FirstOrDefault(name => Adapter().IsMatch(name)) is { } adapter || (adapter = names.All(name => name.All(char.IsAsciiDigit)) ? names.FirstOrDefault() : null) is not null)   // the 2022 package's .pt files are lists
        {
            return Refuse($"this is an adapter (LoRA or its like), no model: it holds \"{adapter}\"", "give it with --adapter, and the model that it was made for with --model");
        }
        if (file.Tensors.Count <= 4 && names.Any(name => name is "emb_params" or "clip_l" or "clip_g" || name.StartsWith("string_to_param", StringComparison.Ordinal)))
        {
            return Refuse("this is an embedding (textual inversion), no model", "give it with --embedding, and the model that it was made for with --model");
        }
        foreach (var (part, family) in OtherFamilies)
        {
            if (names.Any(name => name.StartsWith(part, StringComparison.Ordinal) || name.StartsWith(OriginalLayout.UnetPrefix + part, StringComparison.Ordinal)))
            {
                return Refuse($"this is a model of {family}, which is not supported: it holds \"{names.First(name => name.Contains(part, StringComparison.Ordinal))}\"", Supported);
            }
        }
        if (names.FirstOrDefault(name => name is "edm_mean" or "edm_vpred.sigma_max") is { } mark)   // Playground 2.5 and CosXL (ComfyUI, comfy/supported_models.py): with the usual schedule their pictures are noise
        {
            return Refuse($"this is a model that was trained on another scale of noise (EDM), which is not supported: it holds \"{mark}\"", Supported);
        }
        return names.Any(Starts(OriginalLayout.UnetPrefix)) ? Incomplete() : Single() ?? Refuse(
            $"the layout of this file is not known: it holds {string.Join(", ", names.Take(3).Select(name => $"\"{name}\""))}{(names.Count > 3 ? ", …" : "")}", Supported);

        CheckpointException? Incomplete()
        {
            if (names.Any(Starts("conditioner.embedders.0.model.")) && !names.Any(Starts("conditioner.embedders.1.")))
            {
                return Refuse("this is Stable Diffusion XL's refiner, which continues the pictures of another model and draws none by itself", "give the base model");
            }
            var hasText = names.Any(Starts("cond_stage_model.transformer.")) || names.Any(Starts("cond_stage_model.model."))
                || (names.Any(Starts("conditioner.embedders.0.transformer.")) && names.Any(Starts("conditioner.embedders.1.model.")));
            var hasPictures = names.Any(Starts(OriginalLayout.VaePrefix));
            if (!hasText && !hasPictures) return Refuse("the checkpoint holds a denoiser (UNet) only: no autoencoder (first_stage_model.…) and no text encoder (cond_stage_model.…, conditioner.embedders.…)", Whole);
            if (!hasPictures) return Refuse("the checkpoint holds no autoencoder (VAE): no tensor is named first_stage_model.…", Whole);
            return hasText ? null : Refuse($"the checkpoint holds no {(names.Any(Starts("conditioner.embedders.")) ? "complete set of text encoders: conditioner.embedders.0.transformer.… and conditioner.embedders.1.model.… are expected" : "text encoder: no tensor is named cond_stage_model.… or conditioner.embedders.…")}", Whole);
        }

        CheckpointException? Single()
        {
            var part = names.Any(Starts("down_blocks.")) && names.Any(Starts("conv_in.")) ? "denoiser (UNet)"
                : names.Any(Starts("decoder.")) && names.Any(Starts("encoder.")) ? "autoencoder (VAE)"
                : names.Any(name => name.Contains("encoder.layers.0.self_attn.", StringComparison.Ordinal) || name.StartsWith("transformer.resblocks.0.", StringComparison.Ordinal)) ? "text encoder" : null;
            return part is null ? null : Refuse($"this is one part of a model, its {part}, not a whole one", "give the folder that holds model_index.json, with this file in the folder of its part, or a checkpoint of one file with all parts");
        }

        CheckpointException Refuse(string what, string advice) => TensorFile.Refuse(file.Path, what, advice);
    }

    private const string Supported = "models of Stable Diffusion 1, 2 and XL are read: folders in the layout of diffusers, and checkpoints whose tensors are named model.diffusion_model.…",
        Whole = "take the file with all parts (denoiser, autoencoder, text encoders), or the model's folder in the layout of diffusers";

    private static Func<string, bool> Starts(string prefix) => name => name.StartsWith(prefix, StringComparison.Ordinal);

    [GeneratedRegex(@"(^|[._])lora_(up|down|mid|A|B|[a-z]+_layer)\b|\.lora\.(up|down)\.|\.(hada_w[12]|lokr_w[12]|oft_blocks|oft_diag)|_lora\.(up|down)\.|^(unet|text_encoder):\d+:(up|down)$|\.lora_linear_layer\.|^lora_(unet|te\d?|prior)_|\.on_input$")]
    private static partial Regex Adapter();
}
