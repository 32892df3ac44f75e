namespace LowRank.Preparation;

/// <summary>Where the rating (general, sensitive, questionable, explicit) goes in a caption of tags.</summary>
public enum RatingPlace
{
    /// <summary>It is left out.</summary>
    None,

    /// <summary>Before all other tags.</summary>
    First,

    /// <summary>Behind all other tags.</summary>
    Last,
}

/// <summary>Which tags make a caption, and in which order, as sd-scripts chooses them (finetune/tag_images_by_wd14_tagger.py).</summary>
internal sealed record TagRules
{
    private const int ShortestWithSpaces = 4;   // "^_^" and "o_o" are faces, not words

    public required double GeneralThreshold { get; init; }
    public required double CharacterThreshold { get; init; }
    public bool KeepUnderscores { get; init; }
    public bool CharactersFirst { get; init; }
    public RatingPlace Rating { get; init; }

    /// <summary>Tags that are left out, with underscores or spaces.</summary>
    public IReadOnlyCollection<string> Excluded { get; init; } = [];

    /// <summary>The tags of a picture.</summary>
    /// <param name="tags">All that the model knows.</param>
    /// <param name="probabilities">Of each.</param>
    public List<string> Choose(IReadOnlyList<KnownTag> tags, ReadOnlySpan<float> probabilities)
    {
        var chosen = new List<string>();
        var rating = -1;
        for (var i = 0; i < tags.Count; i++)
        {
            if (tags[i].Category == KnownTag.Rating)
            {
                if (rating < 0 || probabilities[i] > probabilities[rating]) rating = i;
                continue;
            }
            var name = Written(tags[i].Name);
            if (Excluded.Contains(tags[i].Name) || Excluded.Contains(name)) continue;
            var isCharacter = tags[i].Category == KnownTag.Character;
            if (probabilities[i] < (isCharacter ? CharacterThreshold : GeneralThreshold)) continue;
            chosen.Insert(isCharacter && CharactersFirst ? 0 : chosen.Count, name);
        }
        if (rating >= 0 && Rating != RatingPlace.None) chosen.Insert(Rating == RatingPlace.First ? 0 : chosen.Count, Written(tags[rating].Name));
        return chosen;
    }

    private string Written(string name) => KeepUnderscores || name.Length < ShortestWithSpaces ? name : name.Replace('_', ' ');
}
