namespace LowRank.Adapters;

/// <summary>Conventions that an adapter file can be converted to.</summary>
public enum WrittenConvention
{
    /// <summary>sd-scripts and the web UIs: <c>lora_unet_….lora_down.weight</c> with an alpha for each module; SDXL with its original block names, <c>lora_te1_</c> and <c>lora_te2_</c>.</summary>
    Kohya,

    /// <summary>The PEFT library: a folder with <c>adapter_config.json</c> and <c>adapter_model.safetensors</c>, one for each part of the model.</summary>
    Peft,

    /// <summary>diffusers of today: one file, <c>unet.….lora_A.weight</c>, <c>text_encoder.….lora_B.weight</c>; the scale is folded in.</summary>
    Diffusers,

    /// <summary>diffusers of 2023: <c>unet.….attn1.processor.to_q_lora.down.weight</c>, <c>text_encoder.….q_proj.lora_linear_layer.down.weight</c>; attention only.</summary>
    DiffusersOld,

    /// <summary>diffusers of early 2023: as <see cref="DiffusersOld"/>, with <c>text_encoder.….self_attn.to_q_lora.down.weight</c>; attention only.</summary>
    AttnProcs,

    /// <summary>LyCORIS on its own: <c>lycoris_….lora_down.weight</c>.</summary>
    Lycoris,

    /// <summary>The package of 2022: <c>unet:0:down</c> in <c>.safetensors</c> with its tokens beside the factors, or lists in <c>.pt</c>; modules by their place.</summary>
    Legacy,
}
