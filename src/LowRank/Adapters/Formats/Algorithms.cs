namespace LowRank.Adapters.Formats;

/// <summary>Kinds of adapters that are not built yet, known by the parameters that only they have.</summary>
internal static class Algorithms
{
    private static readonly (string Start, string Name)[] Parameters =
    [
        ("hada_", "LoHa"),
        ("lokr_", "LoKr"),
        ("lora_mid", "LoCon with a Tucker core"),
        ("dora_scale", "DoRA"),
        ("lora_magnitude_vector", "DoRA"),
        ("oft_", "OFT"),
        ("oft_blocks", "OFT"),
        ("rescale", "OFT"),
        ("diff_b", "full weight difference"),
        ("diff", "full weight difference"),
        ("w_norm", "trained norms"),
        ("b_norm", "trained norms"),
        ("on_input", "(IA)³"),
        ("a1.weight", "GLoRA"), ("a2.weight", "GLoRA"), ("b1.weight", "GLoRA"), ("b2.weight", "GLoRA"), ("bm.weight", "GLoRA"),
        ("lora_B.bias", "LoRA with biases"),
        ("lora_bias", "LoRA with biases"),
    ];

    private static readonly string[] Ends =
    [
        ".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b", ".hada_t1", ".hada_t2",
        ".lokr_w1", ".lokr_w1_a", ".lokr_w1_b", ".lokr_w2", ".lokr_w2_a", ".lokr_w2_b", ".lokr_t2",
        ".lora_magnitude_vector", ".lora_magnitude_vector.weight", ".lora_magnitude_vector.default.weight", ".dora_scale",
        ".lora_mid.weight", ".oft_blocks", ".oft_R.weight", ".oft_r", ".diff", ".diff_b", ".w_norm", ".b_norm", ".on_input", ".lora_B.bias",
    ];

    /// <summary>The kind a parameter belongs to; null for one nobody knows.</summary>
    public static string? NameOf(string parameter) => Array.Find(Parameters, item => parameter.StartsWith(item.Start, StringComparison.Ordinal)).Name;

    /// <summary>The end of a key with a dotted path that is such a parameter, with its dot; null for none.</summary>
    public static string? EndOf(string key) => Array.Find(Ends, end => key.EndsWith(end, StringComparison.Ordinal));
}
