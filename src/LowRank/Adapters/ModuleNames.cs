using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>A layer of a model that an adapter can sit on.</summary>
internal sealed record ModelLayer(string Component, string Path, nn.Module Module, LayerShape Shape);

/// <summary>
/// Every name that any convention has for the layers of one model, made from the model's own module list
/// (names flattened with underscores cannot be taken apart again).
/// </summary>
internal sealed class ModuleNames
{
    private readonly Dictionary<string, List<ModelLayer>> byName = [];
    private readonly OriginalUnetNames original;

    public ModuleNames(IReadOnlyDictionary<string, nn.Module> components)
    {
        LayersAndNorms = components
            .SelectMany(part => ModuleTree.Walk(part.Value).Select(item => (Component: part.Key, item.Path, item.Module, Shape: LayerShape.Of(item.Module) ?? LayerShape.OfNorm(item.Module))))
            .Where(item => item.Shape is not null)
            .Select(item => new ModelLayer(item.Component, item.Path, item.Module, item.Shape!))
            .ToList();
        Layers = LayersAndNorms.Where(layer => !layer.Shape.IsNorm).ToList();
        var unet = Layers.Where(layer => layer.Component == "unet").Select(layer => layer.Path).ToList();
        original = new OriginalUnetNames(unet);
        UsesOriginalNames = unet.Contains("add_embedding.linear_1");
        Components = components.Keys.ToList();
        foreach (var layer in LayersAndNorms)
        {
            foreach (var name in NamesOf(layer).Distinct()) (byName.TryGetValue(name, out var list) ? list : byName[name] = []).Add(layer);
        }
    }

    public IReadOnlyList<string> Components { get; }

    /// <summary>Linear layers and convolutions, in module order.</summary>
    public IReadOnlyList<ModelLayer> Layers { get; }

    /// <summary>With the norms, which some kinds of files change; in module order.</summary>
    public IReadOnlyList<ModelLayer> LayersAndNorms { get; }

    /// <summary>
    /// sd-scripts trains models that take their size as a condition in their original form:
    /// their UNet keys have the original names, and there are two text encoders.
    /// </summary>
    public bool UsesOriginalNames { get; }

    /// <summary>The blocks of the UNet that strengths may be given for.</summary>
    public UnetBlocks Blocks => field ??= new UnetBlocks([.. Layers.Where(layer => layer.Component == "unet").Select(layer => layer.Path)]);

    public IEnumerable<string> Names => byName.Keys;

    /// <summary>The layers a name of any convention can mean: none, one, or (paths without their component, flattened paths that coincide) several.</summary>
    public IReadOnlyList<ModelLayer> Find(string name) => byName.TryGetValue(name, out var list) ? list : [];

    /// <summary>The layers that a file's places stand for in each layout of the package of 2022.</summary>
    public IEnumerable<(string Layout, IReadOnlyList<ModelLayer> Layers)> Layouts(string component)
    {
        var own = Layers.Where(layer => layer.Component == component).ToDictionary(layer => layer.Path);
        return Package2022.Layouts(component, own.Keys).Select(layout => (layout.Layout, (IReadOnlyList<ModelLayer>)layout.Paths.Select(path => own[path]).ToList()));
    }

    /// <summary>The name sd-scripts writes.</summary>
    public string Kohya(string component, string path)
    {
        if (IsTextEncoder(component)) return KohyaPrefix(component) + Flatten(WithTextModel(path));
        return KohyaPrefix(component) + Flatten(component == "unet" && UsesOriginalNames ? original.Of(path) ?? path : path);
    }

    /// <summary>How the names that sd-scripts writes for a component begin.</summary>
    public string KohyaPrefix(string component) => component == "text_encoder" && (UsesOriginalNames || Components.Contains("text_encoder_2")) ? "lora_te1_" : KohyaPrefixes(component)[0];

    /// <summary>The name diffusers writes.</summary>
    public static string Peft(string component, string path) => $"{component}.{(IsTextEncoder(component) ? WithTextModel(path) : path)}";

    private IEnumerable<string> NamesOf(ModelLayer layer)
    {
        foreach (var path in PathsOf(layer))
        {
            yield return path;
            yield return $"{layer.Component}.{path}";
            yield return "lycoris_" + Flatten(path);
            foreach (var prefix in KohyaPrefixes(layer.Component)) yield return prefix + Flatten(path);
        }
        if (layer.Component != "unet" || original.Of(layer.Path) is not { } name) yield break;
        foreach (var prefix in KohyaPrefixes(layer.Component)) yield return prefix + Flatten(name);
    }

    /// <summary>The path, and how others write it: text encoders with or without the level <c>text_model</c>, the first of <c>to_out</c> without its number.</summary>
    private static IEnumerable<string> PathsOf(ModelLayer layer)
    {
        yield return layer.Path;
        if (IsTextEncoder(layer.Component))
        {
            const string level = "text_model.";
            yield return layer.Path.StartsWith(level, StringComparison.Ordinal) ? layer.Path[level.Length..] : level + layer.Path;
        }
        else if (layer.Path.EndsWith(".to_out.0", StringComparison.Ordinal)) yield return layer.Path[..^2];
    }

    private static bool IsTextEncoder(string component) => component.StartsWith("text_encoder", StringComparison.Ordinal);

    /// <summary>Text encoders are always written with the level that recent transformers dropped: every reader knows it.</summary>
    private static string WithTextModel(string path) => path.StartsWith("encoder.", StringComparison.Ordinal) ? "text_model." + path : path;

    private static string[] KohyaPrefixes(string component) => component switch
    {
        "text_encoder" => ["lora_te_", "lora_te1_"],
        "text_encoder_2" => ["lora_te2_"],
        _ => [$"lora_{component}_", $"oft_{component}_"],   // the second of sd-scripts' OFT
    };

    private static string Flatten(string path) => path.Replace('.', '_');
}
