using System.Text.RegularExpressions;

namespace LowRank.Data;

/// <summary>What happens to a caption each time it is used. Names in parentheses are those of sd-scripts.</summary>
internal sealed record CaptionRules
{
    /// <summary>Put before the caption, with a space (caption_prefix).</summary>
    public string Prefix { get; init; } = "";

    /// <summary>Put behind the caption, with a space (caption_suffix).</summary>
    public string Suffix { get; init; } = "";

    /// <summary>How often the whole caption is left empty (caption_dropout_rate).</summary>
    public double DropoutRate { get; init; }

    /// <summary>Every n-th epoch uses empty captions; 0 never (caption_dropout_every_n_epochs).</summary>
    public int DropoutEveryEpochs { get; init; }

    /// <summary>One line of several is chosen, and one alternative of {a|b} (enable_wildcard).</summary>
    public bool Wildcards { get; init; }

    /// <summary>Tags change their order (shuffle_caption).</summary>
    public bool ShuffleTags { get; init; }

    /// <summary>What stands between tags (caption_separator).</summary>
    public string TagSeparator { get; init; } = ",";

    /// <summary>The first n tags stay where they are (keep_tokens).</summary>
    public int KeepTokens { get; init; }

    /// <summary>What stands before it, and behind a second one, stays (keep_tokens_separator); empty: not used.</summary>
    public string KeepTokensSeparator { get; init; } = "";

    /// <summary>Joins tags that move as one, and becomes the separator at the end (secondary_separator); empty: not used.</summary>
    public string SecondarySeparator { get; init; } = "";

    /// <summary>How often a movable tag is left out (caption_tag_dropout_rate).</summary>
    public double TagDropoutRate { get; init; }

    /// <summary>Movable tags in the first step of the warm-up (token_warmup_min).</summary>
    public int TokenWarmupMin { get; init; } = 1;

    /// <summary>Steps until all tags are used; below 1 a share of all steps; 0 no warm-up (token_warmup_step).</summary>
    public double TokenWarmupSteps { get; init; }

    /// <summary>Made in this order at the end.</summary>
    public IReadOnlyList<CaptionReplacement> Replacements { get; init; } = [];

    /// <summary>Whether tags are touched at all; if not, the caption keeps its spaces and separators.</summary>
    public bool ChangesTags => ShuffleTags || TokenWarmupSteps > 0 || TagDropoutRate > 0;

    /// <summary>Whether two uses of one caption may differ.</summary>
    public bool IsRandom => ChangesTags || DropoutRate > 0 || DropoutEveryEpochs > 0 || Wildcards || Replacements.Any(item => item.OneOf.Count > 0);
}

/// <summary>A text replaced wherever it stands in a caption.</summary>
/// <param name="Text">What is replaced; empty: the whole caption.</param>
/// <param name="By">By what.</param>
internal sealed record CaptionReplacement(string Text, string By)
{
    /// <summary>If not empty, drawn from instead of <see cref="By"/>.</summary>
    public IReadOnlyList<string> OneOf { get; init; } = [];
}

/// <summary>When a caption is used.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="Step">Optimizer steps done before.</param>
/// <param name="MaxSteps">Steps of the whole run.</param>
internal readonly record struct CaptionMoment(int Epoch, int Step, int MaxSteps);

/// <summary>
/// From the caption of a picture to the text of one use. Order and corners as in sd-scripts (library/train_util.py, <c>BaseDataset.process_caption</c>):
/// prefix and suffix, dropout, wildcards, tags, secondary separator, replacements. A dropped caption is empty: its prefix goes as well.
/// </summary>
internal static partial class Captions
{
    private const char OpenBrace = '\u0001';
    private const char CloseBrace = '\u0002';

    public static string Draw(string caption, CaptionRules rules, CaptionMoment moment, IDraws draws)
    {
        if (rules.Prefix.Length > 0) caption = rules.Prefix + " " + caption;
        if (rules.Suffix.Length > 0) caption = caption + " " + rules.Suffix;
        // drawn even in an epoch that drops everything, so that the numbers that follow stay the same
        var drop = rules.DropoutRate > 0 && draws.Uniform() < rules.DropoutRate;
        if (drop || rules.DropoutEveryEpochs > 0 && moment.Epoch % rules.DropoutEveryEpochs == 0) return "";
        caption = rules.Wildcards ? ChooseAlternatives(caption, draws) : caption.Split('\n')[0];
        if (rules.ChangesTags) caption = ChangeTags(caption, rules, moment, draws);
        if (rules.SecondarySeparator.Length > 0) caption = caption.Replace(rules.SecondarySeparator, rules.TagSeparator, StringComparison.Ordinal);
        foreach (var replacement in rules.Replacements)
        {
            var by = replacement.OneOf.Count > 0 ? replacement.OneOf[draws.Choice(replacement.OneOf.Count)] : replacement.By;
            caption = replacement.Text.Length == 0 ? by : caption.Replace(replacement.Text, by, StringComparison.Ordinal);
        }
        return caption;
    }

    /// <summary>Every text that a caption can become; null when changing tags, alternatives or replacements make them too many to list.</summary>
    public static IReadOnlyList<string>? Forms(string caption, CaptionRules rules)
    {
        if ((rules with { DropoutRate = 0, DropoutEveryEpochs = 0 }).IsRandom) return null;
        var plain = Plain(caption, rules);
        return rules.IsRandom ? [plain, ""] : [plain];
    }

    /// <summary>A caption with all that is certain: prefix and suffix, nothing dropped, shuffled or chosen.</summary>
    public static string Plain(string caption, CaptionRules rules)
    {
        var certain = new CaptionRules
        {
            Prefix = rules.Prefix,
            Suffix = rules.Suffix,
            TagSeparator = rules.TagSeparator,
            SecondarySeparator = rules.SecondarySeparator,
            Replacements = [.. rules.Replacements.Where(item => item.OneOf.Count == 0)],
        };
        return Draw(caption, certain, default, draws: null!);   // nothing is drawn
    }

    /// <summary>As <see cref="Plain"/>, and where a replacement is drawn from several, the first of them.</summary>
    public static string Settled(string caption, CaptionRules rules) =>
        Plain(caption, rules with { Replacements = [.. rules.Replacements.Select(item => item.OneOf is [var first, ..] ? new CaptionReplacement(item.Text, first) : item)] });

    /// <summary>The tags of captions, by how often they occur: split at commas, in lower case.</summary>
    public static IReadOnlyDictionary<string, int> CountTags(IEnumerable<string> captions) =>
        captions.SelectMany(caption => caption.Split(','))
            .Select(tag => tag.Trim().ToLowerInvariant())
            .Where(tag => tag.Length > 0)
            .CountBy(tag => tag)
            .ToDictionary(StringComparer.Ordinal);

    private static string ChooseAlternatives(string caption, IDraws draws)
    {
        if (caption.Contains('\n', StringComparison.Ordinal))
        {
            var lines = caption.Split('\n');
            caption = lines[draws.Choice(lines.Length)];
        }
        // doubled braces are letters, taken first: {a|{b|c}} is not nested
        caption = caption.Replace("{{", OpenBrace.ToString(), StringComparison.Ordinal).Replace("}}", CloseBrace.ToString(), StringComparison.Ordinal);
        caption = Alternatives().Replace(caption, match =>
        {
            var choices = match.Groups[1].Value.Split('|');
            return choices[draws.Choice(choices.Length)];
        });
        return caption.Replace(OpenBrace, '{').Replace(CloseBrace, '}');
    }

    private static string ChangeTags(string caption, CaptionRules rules, CaptionMoment moment, IDraws draws)
    {
        var (first, movable, last) = SplitTags(caption, rules);
        movable = [.. movable.Take(TagsInWarmup(movable.Count, rules, moment))];
        if (rules.ShuffleTags)
        {
            var tags = movable;
            movable = [.. draws.Permutation(tags.Count).Select(index => tags[index])];
        }
        if (rules.TagDropoutRate > 0) movable = [.. movable.Where(_ => draws.Uniform() >= rules.TagDropoutRate)];
        return string.Join(", ", [.. first, .. movable, .. last]);
    }

    private static (List<string> First, List<string> Movable, List<string> Last) SplitTags(string caption, CaptionRules rules)
    {
        var mark = rules.KeepTokensSeparator;
        if (mark.Length == 0 || !caption.Contains(mark, StringComparison.Ordinal))
        {
            List<string> tags = [.. caption.Trim().Split(rules.TagSeparator).Select(tag => tag.Trim())];   // empty tags stay here
            return ([.. tags.Take(rules.KeepTokens)], [.. tags.Skip(rules.KeepTokens)], []);
        }
        var parts = caption.Split(mark, 3);   // a third mark stays in the text
        return (Tags(parts[0]), Tags(parts[1]), parts.Length > 2 ? Tags(parts[2]) : []);

        List<string> Tags(string text) => [.. text.Split(rules.TagSeparator).Select(tag => tag.Trim()).Where(tag => tag.Length > 0)];
    }

    private static int TagsInWarmup(int count, CaptionRules rules, CaptionMoment moment)
    {
        var steps = rules.TokenWarmupSteps < 1 ? Math.Floor(rules.TokenWarmupSteps * moment.MaxSteps) : rules.TokenWarmupSteps;
        if (steps == 0 || moment.Step >= steps) return count;
        return (int)Math.Floor(moment.Step * ((count - rules.TokenWarmupMin) / steps)) + rules.TokenWarmupMin;
    }

    [GeneratedRegex(@"\{([^}]+)\}")]
    private static partial Regex Alternatives();
}
