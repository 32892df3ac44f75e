using System.Text.Json;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Adapters.Formats;

/// <summary>
/// The places of an adapter's modules in files of the package of 2022, which tells modules apart by their number alone: of the orders that hold them all
/// the shortest, and of the two with feedforward layers the one that the package's own files have. Places without a module are written as zeros.
/// </summary>
internal sealed class Package2022Order
{
    /// <summary>The classes whose linear layers (convolutions of a resnet too) an order walks, as its files name them (cloneofsimo/lora, lora_diffusion/lora.py).</summary>
    private static readonly string[] Attention = ["CrossAttention", "Attention"], Gates = [.. Attention, "GEGLU"], Extended = ["ResnetBlock2D", .. Gates], Text = ["CLIPAttention"];

    private readonly Dictionary<string, (string Layout, IReadOnlyList<ModelLayer> Layers)> orders = [];
    private readonly HashSet<ModelLayer> known = [];

    /// <param name="names">Of the model.</param>
    /// <param name="layers">That have a module.</param>
    public Package2022Order(ModuleNames names, IEnumerable<ModelLayer> layers)
    {
        foreach (var group in layers.GroupBy(layer => layer.Component))
        {
            var layouts = names.Layouts(group.Key).ToList();
            known.UnionWith(layouts.SelectMany(layout => layout.Layers));
            var holding = layouts.Where(layout => group.All(layout.Layers.Contains)).ToList();
            if (holding.Count > 0) orders[group.Key] = holding.MinBy(layout => layout.Layers.Count);
        }
    }

    /// <summary>Why a layer has no place; null where it has one.</summary>
    public string? Lacks(ModelLayer layer) => known.Contains(layer) ? null : "outside what the package walked (attention, gates of feedforward layers, resnets; of text encoders attention)";

    /// <summary>One file with names, or a list for each part.</summary>
    /// <param name="modules">Every one with a place.</param>
    /// <param name="factors">A module and how its parameters are called, to down and up.</param>
    /// <param name="lists">Bare lists.</param>
    /// <param name="changes">Where what is added is told of.</param>
    public List<ConvertedPart> Parts(IReadOnlyList<ConvertedModule> modules, Func<ConvertedModule, Func<string, string>, IEnumerable<KeyValuePair<string, Tensor>>> factors, bool lists, List<string> changes)
    {
        var parts = new List<ConvertedPart>();
        foreach (var (component, (layout, layers)) in orders)
        {
            var own = modules.Where(module => module.Layer.Component == component).ToDictionary(module => module.Layer);
            var metadata = new Dictionary<string, string> { [component] = JsonSerializer.Serialize(Classes(component, layout)) };
            var tensors = new List<KeyValuePair<string, Tensor>>();
            var usual = own.Values.GroupBy(module => module.Source.Rank).MaxBy(group => group.Count())!;
            foreach (var (layer, place) in layers.Select((layer, place) => (layer, place)))
            {
                var name = AdapterKey.PlaceName(component, place);
                var module = own.GetValueOrDefault(layer);
                var pair = module is null ? Zeros(layer, usual.First(), name) : factors(module, parameter => $"{name}:{parameter}").ToDictionary();
                tensors.AddRange(new[] { AdapterKey.Up, AdapterKey.Down }.Select(parameter => KeyValuePair.Create($"{name}:{parameter}", pair[$"{name}:{parameter}"])));   // lists have up first
                metadata[$"{name}:rank"] = Invariant($"{module?.Source.Rank ?? usual.Key}");
            }
            if (layers.Count > own.Count) changes.Add(Invariant($"{layers.Count - own.Count} places of {component} written as zeros: the order \"{layout}\" has them, the adapter does not"));
            parts.Add(new ConvertedPart(component, tensors, metadata));
        }
        return lists ? parts : [new ConvertedPart(null, [.. parts.SelectMany(part => part.Tensors)], parts.SelectMany(part => part.Metadata).ToDictionary())];
    }

    private static string[] Classes(string component, string layout) => component != "unet" ? Text
        : layout.EndsWith("with resnets", StringComparison.Ordinal) ? Extended : layout == "attention only" ? Attention : Gates;

    private static Dictionary<string, Tensor> Zeros(ModelLayer layer, ConvertedModule like, string name) => new()
    {
        [$"{name}:{AdapterKey.Down}"] = zeros(layer.Shape.Down(like.Source.Rank), like.StoredAs(AdapterKey.Down)),
        [$"{name}:{AdapterKey.Up}"] = zeros(layer.Shape.Up(like.Source.Rank), like.StoredAs(AdapterKey.Up)),
    };
}
