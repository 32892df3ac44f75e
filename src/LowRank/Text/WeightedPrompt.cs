using System.Buffers;
using System.Globalization;
using System.Text.RegularExpressions;
using LowRank.Foundation;

namespace LowRank.Text;

/// <summary>A piece of a prompt and how strongly it counts.</summary>
/// <param name="Text">Without the brackets.</param>
/// <param name="Weight">1 as usual.</param>
internal readonly record struct WeightedText(string Text, double Weight)
{
    /// <summary>The word that ends a chunk. Inside brackets its weight is another, and it is text.</summary>
    public bool IsBreak => Text == WeightedPrompt.Break && Weight == -1;
}

/// <summary>
/// The brackets of a prompt, by the rules of AUTOMATIC1111's web UI (modules/prompt_parser.py, <c>parse_prompt_attention</c>): <c>(x)</c> weighs 1.1,
/// <c>[x]</c> 1/1.1, <c>(x:1.3)</c> 1.3, nested ones multiply; a bracket that stays open reaches to the end, one that closes nothing is text; a backslash
/// makes the bracket or backslash behind it text, and before anything else disappears.
/// </summary>
internal static partial class WeightedPrompt
{
    /// <summary>Ends a chunk.</summary>
    public const string Break = "BREAK";

    private const string Marks = "\\()[]:";
    private static readonly SearchValues<char> AnyMark = SearchValues.Create(Marks);
    private const double Step = 1.1;

    /// <summary>The pieces in order; neighbours of equal weight are one. At least one.</summary>
    /// <exception cref="OptionsException">A weight that is no number.</exception>
    public static IReadOnlyList<WeightedText> Parse(string prompt)
    {
        var pieces = new List<WeightedText>();
        var (round, square) = (new Stack<int>(), new Stack<int>());
        for (var at = 0; at < prompt.Length;)
        {
            var mark = prompt[at];
            var number = mark == ':' && round.Count > 0 ? Number().Match(prompt, at) : null;
            var length = 1;
            if (mark == '\\')
            {
                var escaped = at + 1 < prompt.Length && Marks.IndexOf(prompt[at + 1], StringComparison.Ordinal) is >= 0 and < 5;
                pieces.Add(new(escaped ? prompt.Substring(at + 1, 1) : "", 1));
                length = escaped ? 2 : 1;
            }
            else if (mark == '(') round.Push(pieces.Count);
            else if (mark == '[') square.Push(pieces.Count);
            else if (number is { Success: true })
            {
                Multiply(round.Pop(), WeightOf(number.Groups["weight"].Value));
                length = number.Length;
            }
            else if (mark == ')' && round.Count > 0) Multiply(round.Pop(), Step);
            else if (mark == ']' && square.Count > 0) Multiply(square.Pop(), 1 / Step);
            else if (Marks.Contains(mark, StringComparison.Ordinal)) pieces.Add(new(prompt.Substring(at, 1), 1));
            else
            {
                var end = prompt.AsSpan(at).IndexOfAny(AnyMark);
                length = end < 0 ? prompt.Length - at : end;
                AddText(prompt.Substring(at, length));
            }
            at += length;
        }
        foreach (var start in round) Multiply(start, Step);
        foreach (var start in square) Multiply(start, 1 / Step);
        return Joined(pieces);

        void Multiply(int start, double factor)
        {
            for (var i = start; i < pieces.Count; i++) pieces[i] = pieces[i] with { Weight = pieces[i].Weight * factor };
        }

        void AddText(string text)
        {
            var parts = BreakWord().Split(text);
            for (var i = 0; i < parts.Length; i++)
            {
                if (i > 0) pieces.Add(new(Break, -1));
                pieces.Add(new(parts[i], 1));
            }
        }
    }

    /// <summary>What the web UI reads as a prompt that changes between steps or as several prompts, which is not supported; null for a prompt without.</summary>
    public static string? Unsupported(string prompt)
    {
        if (Composition().IsMatch(prompt)) return "AND between prompts is not supported (composable diffusion); write \"and\" where the word is meant, or switch weights off (--prompt-weights none)";
        var open = new Stack<int>();
        for (var at = 0; at < prompt.Length; at++)
        {
            if (prompt[at] == '\\') at++;
            else if (prompt[at] == '[') open.Push(at);
            else if (prompt[at] == ']' && open.TryPop(out var start))
            {
                var inside = prompt[(start + 1)..at];
                if (inside.Contains('|', StringComparison.Ordinal)) return $"[{inside}] changes the prompt from step to step, which is not supported; take one of them, or write \\[ and \\] where brackets are meant";
                if (Schedule().IsMatch(inside)) return $"[{inside}] changes the prompt between steps, which is not supported; for a weight write ({inside}), or write \\[ and \\] where brackets are meant";
            }
        }
        return null;
    }

    /// <summary>Whether a <see cref="Break"/> stands inside brackets, where the web UI reads it as a word.</summary>
    public static bool HasBreakInBrackets(string prompt) => Parse(prompt).Any(piece => piece.Text == Break && !piece.IsBreak);

    private static List<WeightedText> Joined(List<WeightedText> pieces)
    {
        var joined = new List<WeightedText>();
        foreach (var piece in pieces)
        {
            if (joined.Count > 0 && joined[^1].Weight == piece.Weight) joined[^1] = new(joined[^1].Text + piece.Text, piece.Weight);
            else joined.Add(piece);
        }
        return joined.Count > 0 ? joined : [new("", 1)];
    }

    private static double WeightOf(string text) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var weight) && float.IsFinite((float)weight)
            ? weight
            : throw new OptionsException($"a prompt has the weight \"{text}\", which is no number; write (words:1.2), or \\( and \\) where brackets are meant");

    [GeneratedRegex(@"\G:\s*(?<weight>[+-]?[.0-9]+)\s*\)")]
    private static partial Regex Number();

    [GeneratedRegex(@"\s*\bBREAK\b\s*")]
    private static partial Regex BreakWord();

    [GeneratedRegex(@"\bAND\b")]
    private static partial Regex Composition();

    [GeneratedRegex(@":\s*[+-]?[.0-9]+\s*$")]
    private static partial Regex Schedule();
}
