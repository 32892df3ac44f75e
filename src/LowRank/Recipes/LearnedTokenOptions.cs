namespace LowRank.Recipes;

/// <summary>A made-up word to learn: the recipe's <c>[[tokens]]</c>.</summary>
public sealed record LearnedTokenOptions
{
    /// <summary>The word, which the model must not know: <c>&lt;my-style&gt;</c>. Found anywhere in a prompt, in any case.</summary>
    public required string Token { get; init; }

    /// <summary>How many vectors it has: more can say more, and take as many places in a prompt.</summary>
    public int Vectors { get; init; } = 1;

    /// <summary>Words that it starts as: one word, or as many tokens as it has vectors. Unset: random vectors of the mean length that the model's own have.</summary>
    public string? Init { get; init; }

    /// <summary>Starts as the mean of the words of <see cref="Init"/>.</summary>
    public bool InitMean { get; init; }

    /// <summary>What becomes the word wherever it stands in a caption. Unset: captions have the word already, or the template puts it there.</summary>
    public string? Replaces { get; init; }

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        if (string.IsNullOrWhiteSpace(Token)) problems.Add("token: empty; must be a made-up word such as <my-style>");
        if (Vectors < 1) problems.Add($"vectors: {Vectors}; must be 1 or more");
        if (Init is not null && string.IsNullOrWhiteSpace(Init)) problems.Add("init: empty; must be words that the model knows");
        if (InitMean && Init is null) problems.Add("init_mean: true; does nothing without init");
        if (Replaces is not null && Replaces.Length == 0) problems.Add("replaces: empty; must be a text of the captions");
        return problems;
    }
}

/// <summary>What texts the pictures are learned with.</summary>
public enum CaptionTemplate
{
    /// <summary>Their captions, which must hold the word.</summary>
    Captions,

    /// <summary>"a photo of a …" and 26 more, drawn anew in every use, in place of captions: for one thing.</summary>
#pragma warning disable CA1720   // not the type: the word that every trainer of textual inversion has for it
    Object,
#pragma warning restore CA1720

    /// <summary>"a painting in the style of …" and 18 more: for a style.</summary>
    Style,
}

/// <summary>How learned tokens are written: the recipe's <c>[embeddings]</c>.</summary>
public sealed record EmbeddingSaveOptions
{
    /// <summary>Form of the file of each token.</summary>
    public Adapters.EmbeddingFormat Format { get; init; } = Adapters.EmbeddingFormat.A1111;

    /// <summary>Element type of the files.</summary>
    public SavePrecision Precision { get; init; } = SavePrecision.Fp32;
}
