namespace LowRank.Adapters;

/// <summary>How an adapter file names its modules and factors.</summary>
internal enum AdapterConvention
{
    /// <summary>sd-scripts and most web UIs: <c>lora_unet_down_blocks_0_….lora_down.weight</c> with an alpha for each module.</summary>
    Kohya,

    /// <summary>LyCORIS on its own: as <see cref="Kohya"/> with the prefix <c>lycoris_</c>.</summary>
    Lycoris,

    /// <summary>PEFT and today's diffusers: <c>unet.….lora_A.weight</c>, <c>base_model.model.….lora_A.weight</c>.</summary>
    Peft,

    /// <summary>diffusers of 2023: <c>unet.….to_q.lora.down.weight</c>, <c>text_encoder.….q_proj.lora_linear_layer.down.weight</c>.</summary>
    Diffusers,

    /// <summary>diffusers of early 2023, attention processors: <c>….attn1.processor.to_q_lora.down.weight</c>.</summary>
    AttentionProcessors,

    /// <summary>The package of 2022 that began it: <c>unet:0:down</c>, or a bare list; modules by their place in the model.</summary>
    Package2022,
}

internal static class AdapterConventions
{
    public static string InWords(this AdapterConvention convention) => convention switch
    {
        AdapterConvention.Kohya => "kohya",
        AdapterConvention.Lycoris => "LyCORIS",
        AdapterConvention.Peft => "PEFT",
        AdapterConvention.Diffusers => "diffusers 2023",
        AdapterConvention.AttentionProcessors => "attention-processor",
        _ => "2022 package",
    };
}
