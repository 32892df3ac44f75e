namespace LowRank.Adapters.Formats;

/// <summary>
/// Who reads which form of an adapter of plain LoRA modules: the matrix of docs/adapter-formats.md, which says where each answer was seen.
/// A1111 1.10, Forge, ComfyUI and stable-diffusion.cpp of mid-2026, diffusers 0.35 to 0.42, sd-scripts, PEFT 0.21.
/// </summary>
internal static class Readers
{
    public const string Yes = "yes", No = "no", InPart = "in part", Unknown = "unknown";

    /// <summary>In the order of the answers below.</summary>
    public static IReadOnlyList<string> Names { get; } = ["A1111", "Forge", "ComfyUI", "diffusers", "sd.cpp", "kohya", "PEFT"];

    /// <summary>By form; <c>?</c> where nobody tried.</summary>
    private static readonly Dictionary<FileForm, string> Matrix = new()
    {
        [FileForm.Kohya] = "yyyyyyn",
        [FileForm.Lycoris] = "n?yn?yn",
        [FileForm.Peft] = "n?nn?ny",
        [FileForm.Diffusers] = "nynyynn",
        [FileForm.LoraLayers] = "nnnyynn",
        [FileForm.AttentionProcessors] = "nyyyynn",
        [FileForm.Bare] = "n?yn?nn",
        [FileForm.Package2022] = "nnnnnnn",
    };

    /// <summary>The answers for one form, in the order of <see cref="Names"/>.</summary>
    public static IReadOnlyList<string> Of(FileForm form) => [.. Matrix[form].Select(letter => letter switch { 'y' => Yes, 'n' => No, _ => Unknown })];

    /// <summary>By reader, whether it loads all of a file: it must know every form in it.</summary>
    public static Dictionary<string, string> Of(AdapterFile file)
    {
        var forms = file.Modules.Select(module => (Form: FileForms.Of(module), module.Convention)).Distinct().ToList();
        var answers = Names.Select((name, place) => (Name: name, Found: forms.Select(item => Answer(item.Form, item.Convention, place)).ToList()))
            .ToDictionary(item => item.Name, item => item.Found.Contains(No) ? No : item.Found.Contains(Unknown) ? Unknown : Yes);
        // it looks at the first key only; where that has lora_A, keys of older generations vanish without an error
        var generations = forms.Select(item => item.Convention).Distinct().ToList();
        if (generations.Contains(AdapterConvention.Peft) && generations.Count > 1) answers["diffusers"] = InPart;
        return answers;
    }

    /// <summary>Of the forms without a part's name in front, ComfyUI and Forge know attention processors only.</summary>
    private static string Answer(FileForm form, AdapterConvention convention, int reader) =>
        form == FileForm.Bare && convention != AdapterConvention.AttentionProcessors && Of(form)[reader] == Yes ? Unknown : Of(form)[reader];
}
