namespace LowRank.Adapters.Formats;

/// <summary>The ways of writing a module that readers tell apart: finer than <see cref="AdapterConvention"/>, which is what they mean.</summary>
internal enum FileForm
{
    /// <summary><c>lora_unet_….lora_down.weight</c></summary>
    Kohya,

    /// <summary><c>lycoris_….lora_down.weight</c></summary>
    Lycoris,

    /// <summary><c>base_model.model.….lora_A.weight</c></summary>
    Peft,

    /// <summary><c>unet.….lora_A.weight</c></summary>
    Diffusers,

    /// <summary><c>unet.….to_q.lora.down.weight</c>, <c>text_encoder.….q_proj.lora_linear_layer.down.weight</c></summary>
    LoraLayers,

    /// <summary><c>unet.….processor.to_q_lora.down.weight</c></summary>
    AttentionProcessors,

    /// <summary>The last three without the name of a part in front.</summary>
    Bare,

    /// <summary><c>unet:0:down</c>, or a list.</summary>
    Package2022,
}

internal static class FileForms
{
    private const string PeftPrefix = "base_model.model.";

    private static readonly string[] Parts = ["unet.", "text_encoder.", "text_encoder_2.", "transformer.", "prior."];

    /// <summary>Of one module.</summary>
    public static FileForm Of(FileModule module) => module.Convention switch
    {
        AdapterConvention.Kohya => FileForm.Kohya,
        AdapterConvention.Lycoris => FileForm.Lycoris,
        AdapterConvention.Package2022 => FileForm.Package2022,
        _ when module.Name.StartsWith(PeftPrefix, StringComparison.Ordinal) => FileForm.Peft,
        _ when !Array.Exists(Parts, part => module.Lookup.StartsWith(part, StringComparison.Ordinal)) => FileForm.Bare,
        AdapterConvention.Peft => FileForm.Diffusers,
        AdapterConvention.AttentionProcessors => FileForm.AttentionProcessors,
        _ => FileForm.LoraLayers,
    };

    /// <summary>What a file is a whole example of, so that writing that convention changes nothing in it; null for mixed files and for forms that are only read.</summary>
    public static WrittenConvention? Of(AdapterFile file)
    {
        var forms = file.Modules.GroupBy(Of).ToDictionary(group => group.Key, group => group.ToList());
        return forms.Keys.Order().ToList() switch
        {
            [FileForm.Kohya] => WrittenConvention.Kohya,
            [FileForm.Lycoris] => WrittenConvention.Lycoris,
            [FileForm.Peft] => WrittenConvention.Peft,
            [FileForm.Diffusers] => WrittenConvention.Diffusers,
            [FileForm.Package2022] => WrittenConvention.Legacy,
            [FileForm.AttentionProcessors] => WrittenConvention.AttnProcs,
            [FileForm.LoraLayers, FileForm.AttentionProcessors] when IsOld(forms[FileForm.LoraLayers], forms[FileForm.AttentionProcessors]) => WrittenConvention.DiffusersOld,
            _ => null,
        };
    }

    /// <summary>That a file has keys of several conventions or generations, and what comes of it; null for a file in order.</summary>
    public static string? Mixture(AdapterFile file) => Of(file) is null && file.Modules.Select(Of).Distinct().Skip(1).Any()
        ? $"conventions are mixed: {string.Join(", ", file.Conventions.Select(convention => convention.InWords()))}; readers that go by the first key lose the others in silence"
        : null;

    /// <summary>The convention as people say it.</summary>
    public static string InWords(this WrittenConvention convention) => convention switch
    {
        WrittenConvention.Kohya => "kohya",
        WrittenConvention.Peft => "PEFT",
        WrittenConvention.Diffusers => "diffusers",
        WrittenConvention.DiffusersOld => "diffusers 2023",
        WrittenConvention.AttnProcs => "attention-processor",
        WrittenConvention.Lycoris => "LyCORIS",
        _ => "2022 package",
    };

    private static bool IsOld(List<FileModule> layers, List<FileModule> processors) =>
        layers.TrueForAll(module => module.Lookup.StartsWith("text_encoder", StringComparison.Ordinal)) && processors.TrueForAll(module => module.Lookup.StartsWith("unet.", StringComparison.Ordinal));
}
