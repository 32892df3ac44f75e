using System.Globalization;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>A module that gets an adapter layer.</summary>
/// <param name="Component">unet, text_encoder, …</param>
/// <param name="Path">The module's path inside its component.</param>
/// <param name="Module">The layer itself; still owned by its model.</param>
/// <param name="Rank">1 or more.</param>
/// <param name="Alpha">Above 0; of a rank-stabilised layer √rank times what was asked for, so that the scale is alpha / rank for all.</param>
/// <param name="Kind">What its factors are.</param>
/// <param name="Factors">Their names and shapes, in the order in which they lie in the flat tensor.</param>
internal sealed record AdapterTarget(string Component, string Path, nn.Module Module, int Rank, double Alpha, LayerKind Kind, IReadOnlyList<Factor> Factors)
{
    /// <summary>Trainable numbers.</summary>
    public long ParameterCount => Factors.Sum(factor => factor.Count);

    internal LayerShape Shape => (LayerShape.Of(Module) ?? LayerShape.OfNorm(Module))!;
}

/// <summary>Finds the modules that <see cref="AdapterOptions"/> name.</summary>
internal static class TargetSelector
{
    private static readonly Dictionary<string, string[]> PresetPatterns = new()
    {
        ["attention"] = ["**.attn*.to_{q,k,v}", "**.attn*.to_out.0", "**.self_attn.{q,k,v,out}_proj"],
        ["attention+feedforward"] =
        [
            "**.attn*.to_{q,k,v}", "**.attn*.to_out.0", "**.ff.net.{0.proj,2}",
            "**.self_attn.{q,k,v,out}_proj", "**.mlp.fc{1,2}",
        ],
        ["all-linear"] = ["**"],
        ["all"] = ["**"],
    };

    /// <summary>Names that stand for several patterns.</summary>
    public static IReadOnlyCollection<string> Presets => PresetPatterns.Keys;

    /// <summary>The modules that get a layer, in module order. A meta-device model will do.</summary>
    /// <param name="components">The model's parts by name.</param>
    /// <param name="options">Targets, ranks and alphas.</param>
    /// <exception cref="OptionsException">Impossible options, or a pattern that matches no module that can be adapted.</exception>
    public static IReadOnlyList<AdapterTarget> Select(IReadOnlyDictionary<string, nn.Module> components, AdapterOptions options)
    {
        var problems = options.Validate().ToList();
        if (problems.Count > 0) throw new OptionsException(string.Join('\n', problems));

        var modules = components.SelectMany(part => ModuleTree.Walk(part.Value).Select(item => (Component: part.Key, item.Path, item.Module))).ToList();
        var layers = modules.DistinctBy(item => item.Module, ReferenceEqualityComparer.Instance).Select(item => new Layer(item.Component, item.Path, item.Module, LayerShape.Of(item.Module)!)).Where(layer => layer.Shape is not null).ToList();
        var chosen = new HashSet<Layer>();
        for (var i = 0; i < options.Targets.Count; i++)
        {
            var matched = layers.Where(Matcher(options.Targets[i])).ToList();
            chosen.UnionWith(matched);
            if (matched.Count == 0) problems.Add($"targets[{i}]: {Unmatched(options.Targets[i], components.Keys, modules.Select(item => (item.Component, item.Path)), "can be adapted")}");
        }
        var targets = layers.Where(chosen.Contains).ToList();
        var overrides = options.Overrides.Select(item => (Item: item, Matches: Matcher(item.Pattern))).ToList();
        for (var i = 0; i < overrides.Count && problems.Count == 0; i++)
        {
            if (!targets.Any(overrides[i].Matches))
            {
                problems.Add($"overrides[{i}].pattern: {Unmatched(overrides[i].Item.Pattern, components.Keys, targets.Select(item => (item.Component, item.Path)), "is a target")}");
            }
        }
        if (problems.Count > 0) throw new OptionsException(string.Join('\n', problems));

        var kind = LayerKind.Of(options);
        var selected = targets.Select(layer => Size(layer, options, kind, overrides.FirstOrDefault(item => item.Matches(layer)).Item)).OfType<AdapterTarget>().ToList();
        return selected.Count > 0 ? selected : throw new OptionsException("overrides: rank 0 leaves out every target module; nothing would be trained");
    }

    private static AdapterTarget? Size(Layer layer, AdapterOptions options, LayerKind kind, AdapterOverride? change)
    {
        var (rank, alpha) = options.SizeOf(layer.Shape, change);
        return rank == 0 ? null : new AdapterTarget(layer.Component, layer.Path, layer.Module, rank, alpha, kind, kind.Factors(layer.Shape, rank, options));
    }

    private static Func<Layer, bool> Matcher(string text)
    {
        var colon = text.IndexOf(':', StringComparison.Ordinal) + 1;   // a preset may be limited to a component, as a pattern may
        var patterns = (PresetPatterns.GetValueOrDefault(text[colon..])?.Select(pattern => text[..colon] + pattern) ?? [text]).Select(PathPattern.Parse).ToList();
        var linearOnly = text[colon..] == "all-linear";
        return layer => !(linearOnly && layer.Shape.IsConvolution) && patterns.Exists(pattern => pattern.Matches(layer.Component, layer.Path));
    }

    /// <summary>Why a pattern found nothing: a component that is not there, modules that are no layers, or a path that is nearly right.</summary>
    private static string Unmatched(string text, IEnumerable<string> components, IEnumerable<(string Component, string Path)> modules, string what)
    {
        if (PresetPatterns.ContainsKey(text)) return $"the preset {text} finds no module in {string.Join(", ", components)} that {what}; name modules by patterns instead";
        var pattern = PathPattern.Parse(text);
        if (pattern.Component is { } component && !components.Contains(component))
        {
            return $"\"{text}\" names the component {component}; there is {string.Join(", ", components)}";
        }
        var other = modules.Where(item => pattern.Matches(item.Component, item.Path)).ToList();
        if (other.Count > 0)
        {
            return string.Create(CultureInfo.InvariantCulture,
                $"\"{text}\" matches {other.Count} modules ({other[0].Component}:{other[0].Path}, …), none of which {what} (Linear, or Conv2d with one group and zero padding)");
        }
        var near = modules.Select(item => item.Component + ":" + item.Path).OrderBy(path => NearestName.Distance(pattern.Text, pattern.Component is null ? path[(path.IndexOf(':', StringComparison.Ordinal) + 1)..] : path)).Take(3).ToList();
        return $"\"{text}\" matches no module; nearest: {string.Join(", ", near)}";
    }

    private sealed record Layer(string Component, string Path, nn.Module Module, LayerShape Shape);
}
