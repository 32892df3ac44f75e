namespace LowRank.Adapters.Formats;

/// <summary>What one key of an adapter file means. Every key is read on its own: files mix conventions.</summary>
/// <param name="Convention">How it is written.</param>
/// <param name="Module">The module as the file writes it: what stands before the parameter.</param>
/// <param name="Lookup">The module as <see cref="ModuleNames"/> knows it.</param>
/// <param name="Parameter"><c>down</c>, <c>up</c>, <c>alpha</c>, or the file's own word for any other.</param>
internal readonly record struct AdapterKey(AdapterConvention Convention, string Module, string Lookup, string Parameter)
{
    public const string Down = "down", Up = "up", Alpha = "alpha", PeftMagnitude = "lora_magnitude_vector";

    private const string PeftPrefix = "base_model.model.";

    /// <summary>Beginnings of names whose dots were replaced by underscores.</summary>
    private static readonly string[] FlatPrefixes = ["lora_", "lycoris_", "oft_", "boft_"];

    /// <summary>Ends of keys with dotted paths, longest first where one ends another.</summary>
    private static readonly (string End, AdapterConvention Convention, string Parameter)[] Ends =
    [
        (".lora_A.weight", AdapterConvention.Peft, Down),
        (".lora_B.weight", AdapterConvention.Peft, Up),
        (".lora_A.default.weight", AdapterConvention.Peft, Down),
        (".lora_B.default.weight", AdapterConvention.Peft, Up),
        (".lora_linear_layer.down.weight", AdapterConvention.Diffusers, Down),
        (".lora_linear_layer.up.weight", AdapterConvention.Diffusers, Up),
        (".lora.down.weight", AdapterConvention.Diffusers, Down),
        (".lora.up.weight", AdapterConvention.Diffusers, Up),
        (".lora_down.weight", AdapterConvention.Diffusers, Down),
        (".lora_up.weight", AdapterConvention.Diffusers, Up),
        ("_lora.down.weight", AdapterConvention.AttentionProcessors, Down),
        ("_lora.up.weight", AdapterConvention.AttentionProcessors, Up),
        (".alpha", AdapterConvention.Diffusers, Alpha),
    ];

    /// <summary>The meaning of a key; null when no convention has such keys.</summary>
    public static AdapterKey? Parse(string key)
    {
        if (ByPlace(key) is { } place) return place;
        var dot = key.IndexOf('.', StringComparison.Ordinal);
        if (dot <= 0) return null;
        return Array.Exists(FlatPrefixes, prefix => key.StartsWith(prefix, StringComparison.Ordinal)) || FlatParameter(key[(dot + 1)..]) is Down or Up
            ? Flat(key[..dot], key[(dot + 1)..])
            : Dotted(key);
    }

    /// <summary>The name by which <see cref="ModuleNames"/> knows the module at a place.</summary>
    public static string PlaceName(string component, int place) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{component}:{place}");

    /// <summary>An element of a bare list: up and down of each place in turn.</summary>
    public static AdapterKey InList(string component, int index)
    {
        var name = PlaceName(component, index / 2);
        return new AdapterKey(AdapterConvention.Package2022, name, name, index % 2 == 0 ? Up : Down);
    }

    /// <summary><c>unet:0:down</c></summary>
    private static AdapterKey? ByPlace(string key)
    {
        var parts = key.Split(':');
        if (parts.Length != 3 || parts[2] is not (Down or Up) || !int.TryParse(parts[1], System.Globalization.NumberStyles.None, null, out var place)) return null;
        var name = PlaceName(parts[0], place);
        return new AdapterKey(AdapterConvention.Package2022, name, name, parts[2]);
    }

    private static AdapterKey Flat(string module, string parameter)
    {
        var convention = module.StartsWith("lycoris_", StringComparison.Ordinal) ? AdapterConvention.Lycoris : AdapterConvention.Kohya;
        return new AdapterKey(convention, module, module, FlatParameter(parameter));
    }

    private static string FlatParameter(string parameter) => parameter switch
    {
        "lora_down.weight" or "lora_A.weight" => Down,
        "lora_up.weight" or "lora_B.weight" => Up,
        _ => parameter,
    };

    private static AdapterKey? Dotted(string key)
    {
        var end = Array.Find(Ends, item => key.EndsWith(item.End, StringComparison.Ordinal));
        var (suffix, convention, parameter) = end.End is null ? (Algorithms.EndOf(key), AdapterConvention.Peft, null) : end;
        if (suffix is null || suffix.Length >= key.Length) return null;
        var module = key[..^suffix.Length];
        var path = module.StartsWith(PeftPrefix, StringComparison.Ordinal) ? module[PeftPrefix.Length..] : module;
        parameter ??= suffix.StartsWith("." + PeftMagnitude, StringComparison.Ordinal) ? PeftMagnitude : suffix[1..];
        return new AdapterKey(convention, module, PathOf(path), parameter);
    }

    /// <summary>The module that an attention processor's path means: <c>attn1.processor.to_out</c> is <c>attn1.to_out.0</c>, a text encoder's <c>self_attn.to_q</c> is <c>self_attn.q_proj</c>.</summary>
    private static string PathOf(string path)
    {
        path = path.Replace(".processor.", ".", StringComparison.Ordinal);
        var dot = path.LastIndexOf('.');
        if (dot < 0 || !path.AsSpan(dot + 1).StartsWith("to_")) return path;
        var (parent, name) = (path[..dot], path[(dot + 4)..]);
        if (parent.EndsWith(".self_attn", StringComparison.Ordinal)) return $"{parent}.{name}_proj";
        return name == "out" ? $"{path}.0" : path;
    }
}
