namespace LowRank.Adapters.Formats;

/// <summary>
/// Who reads which form of an adapter of plain LoRA modules: the matrix of docs/adapter-formats.md, which says where each answer was seen.
/// A1111 1.10, Forge of June 2025, ComfyUI 0.3.49, stable-diffusion.cpp of mid-2026, diffusers 0.35 to 0.42, sd-scripts, PEFT 0.21.
/// </summary>
internal static class Readers
{
    public const string Yes = "yes", No = "no", InPart = "in part", Unknown = "unknown";

    /// <summary>In the order of the answers below.</summary>
    public static IReadOnlyList<string> Names { get; } = ["A1111", "Forge", "ComfyUI", "diffusers", "sd.cpp", "kohya", "PEFT"];

    /// <summary>By form, for layers of the UNet; <c>?</c> where nobody tried.</summary>
    private static readonly Dictionary<FileForm, string> Matrix = new()
    {
        [FileForm.Kohya] = "yyyyyyn",
        [FileForm.Lycoris] = "nyyn?yn",
        [FileForm.Peft] = "n?nn?ny",
        [FileForm.Diffusers] = "nnnyynn",
        [FileForm.LoraLayers] = "nnnyynn",
        [FileForm.AttentionProcessors] = "nyyyynn",
        [FileForm.Bare] = "nyyn?nn",
        [FileForm.Package2022] = "nnnnnnn",
    };

    /// <summary>The answers for one form, in the order of <see cref="Names"/>.</summary>
    public static IReadOnlyList<string> Of(FileForm form) => [.. Matrix[form].Select(letter => letter switch { 'y' => Yes, 'n' => No, _ => Unknown })];

    /// <summary>By reader, whether it loads all of a file: it must know every form in it.</summary>
    public static Dictionary<string, string> Of(AdapterFile file)
    {
        var forms = file.Modules.Select(module => (Form: FileForms.Of(module), module.Convention, Text: ModulePlace.Of(module).Component.StartsWith("text_encoder", StringComparison.Ordinal))).Distinct().ToList();
        var answers = Names.Select((name, place) => (Name: name, Found: forms.Select(item => item.Text ? OfText(item.Form, item.Convention, place) : Answer(item.Form, item.Convention, place)).ToList()))
            .ToDictionary(item => item.Name, item => Together(item.Name, item.Found));
        // it looks at the first key only; where that has lora_A, keys of older generations vanish without an error
        var generations = forms.Select(item => item.Convention).Distinct().ToList();
        if (generations.Contains(AdapterConvention.Peft) && generations.Count > 1) answers["diffusers"] = InPart;
        return answers;
    }

    /// <summary>ComfyUI leaves out what it does not know, with a line for each key in its log; Forge refuses a file with more than twelve such keys, A1111 a kind that it does not know.</summary>
    private static string Together(string reader, List<string> found) =>
        !found.Contains(No) ? found.Contains(Unknown) ? Unknown : Yes
        : reader == "ComfyUI" && found.Contains(Yes) ? InPart : No;

    /// <summary>Text encoders have names of their own in ComfyUI and Forge, which share the table of names: those of kohya, and paths behind <c>text_encoder.</c> with the layer's own name.</summary>
    private static string OfText(FileForm form, AdapterConvention convention, int reader) => Names[reader] is not ("ComfyUI" or "Forge") ? Answer(form, convention, reader) : form switch
    {
        FileForm.Lycoris or FileForm.AttentionProcessors => No,
        FileForm.LoraLayers or FileForm.Diffusers => Yes,
        _ => Answer(form, convention, reader),
    };

    /// <summary>Of the forms without a part's name in front, ComfyUI and Forge know attention processors only.</summary>
    private static string Answer(FileForm form, AdapterConvention convention, int reader) =>
        form == FileForm.Bare && convention != AdapterConvention.AttentionProcessors && Of(form)[reader] == Yes ? Unknown : Of(form)[reader];
}
