namespace LowRank.Adapters;

/// <summary>How the change of a layer is made of small factors.</summary>
public enum AdapterKind
{
    /// <summary>ΔW = scale · up · down (arXiv:2106.09685); convolutions too, which other tools call LoCon.</summary>
    Lora,

    /// <summary>LoRA with the length of each output's weights as numbers of their own (arXiv:2402.09353).</summary>
    Dora,

    /// <summary>ΔW = scale · (w1_a · w1_b) ∘ (w2_a · w2_b), element by element (arXiv:2108.06098): rank r² from factors of rank r.</summary>
    Loha,

    /// <summary>ΔW = scale · w1 ⊗ w2, the Kronecker product (arXiv:2212.10650): very small files.</summary>
    Lokr,
}

/// <summary>How a fresh LoRA or DoRA starts.</summary>
public enum AdapterInit
{
    /// <summary>down uniform in ±1/√fan-in (Kaiming with a = √5), up zero: what most trainers do.</summary>
    Kaiming,

    /// <summary>down normal with deviation 1 / rank, up zero (PEFT's gaussian).</summary>
    Gaussian,

    /// <summary>Rows of down of length 1 and at right angles, up zero.</summary>
    Orthogonal,

    /// <summary>The largest singular directions of the base's weight (arXiv:2404.02948). The file then holds twice the rank, for the untouched base.</summary>
    Pissa,
}

/// <summary>Which of the two DoRA rules in use trains.</summary>
public enum DoraRule
{
    /// <summary>PEFT and the paper: no gradient through the norm.</summary>
    Peft,

    /// <summary>LyCORIS: the gradient goes through the norm, to which 2⁻²³ is added.</summary>
    Lycoris,
}
