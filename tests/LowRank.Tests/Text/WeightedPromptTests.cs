using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Text;

namespace LowRank.Tests.Text;

public class WeightedPromptTests
{
    private static readonly ClipTokenizer Tokenizer = TokenizerFolder.Open(Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", "sd1", "tokenizer"));

    [Theory]
    [InlineData("(((", "")]
    [InlineData("a ) ] : b", "a ) ] : b")]
    [InlineData("\\", "")]
    [InlineData("\\(a:1.2\\)", "(a:1.2)")]
    [InlineData("\\\\\\(", "\\(")]
    [InlineData("a\\:b", "a:b")]
    [InlineData("12:30", "12:30")]
    public void Whatever_is_typed_becomes_text(string prompt, string text) =>
        Assert.Equal(text, string.Concat(WeightedPrompt.Parse(prompt).Select(piece => piece.Text)));

    [Theory]
    [InlineData("(a:+1.5)", 1.5)]
    [InlineData("(a:.5)", 0.5)]
    [InlineData("(a:  2  )", 2)]
    [InlineData("((a:2))", 2.2)]
    [InlineData("([a:2)", 1.8181818181818181)]
    [InlineData("(a:-0)", 0)]
    public void Weights_multiply(string prompt, double weight) => Assert.Equal([new WeightedText("a", weight)], WeightedPrompt.Parse(prompt));

    [Theory]
    [InlineData("(a:1.2.3)", "1.2.3")]
    [InlineData("(a:.)", ".")]
    [InlineData("(a:99999999999999999999999999999999999999999)", "99999999999999999999999999999999999999999")]
    public void A_weight_that_is_no_number_is_refused(string prompt, string weight) =>
        Assert.Equal($"a prompt has the weight \"{weight}\", which is no number; write (words:1.2), or \\( and \\) where brackets are meant", Assert.Throws<OptionsException>(() => WeightedPrompt.Parse(prompt)).Message);

    [Theory]
    [InlineData("a [red:blue:0.5] house", "[red:blue:0.5] changes the prompt between steps, which is not supported; for a weight write (red:blue:0.5), or write \\[ and \\] where brackets are meant")]
    [InlineData("[tall::10]", "[tall::10] changes the prompt between steps, which is not supported; for a weight write (tall::10), or write \\[ and \\] where brackets are meant")]
    [InlineData("[dog:1.2]", "[dog:1.2] changes the prompt between steps, which is not supported; for a weight write (dog:1.2), or write \\[ and \\] where brackets are meant")]
    [InlineData("a [[cow|horse]] b", "[cow|horse] changes the prompt from step to step, which is not supported; take one of them, or write \\[ and \\] where brackets are meant")]
    [InlineData("a cat AND a dog", "AND between prompts is not supported (composable diffusion); write \"and\" where the word is meant, or switch weights off (--prompt-weights none)")]
    public void What_web_ui_prompts_can_do_besides_is_told_not_misread(string prompt, string message) => Assert.Equal(message, WeightedPrompt.Unsupported(prompt));

    [Theory]
    [InlineData("[dog] and (cat:1.2), \\[a|b\\] SAND")]
    [InlineData("a|b, 10:30]")]
    [InlineData("[a")]
    public void Other_prompts_are_supported(string prompt) => Assert.Null(WeightedPrompt.Unsupported(prompt));

    [Fact]
    public void A_break_inside_brackets_is_a_word()
    {
        Assert.True(WeightedPrompt.HasBreakInBrackets("(a BREAK b)"));
        Assert.False(WeightedPrompt.HasBreakInBrackets("a BREAK (b)"));
        Assert.Equal(2, Chunks("a BREAK b").Count);
        Assert.Single(Chunks("(a BREAK b)"));
        Assert.Equal(3, Chunks("BREAK BREAK b").Count);
    }

    [Fact]
    public void Words_behind_a_near_comma_begin_the_next_chunk_and_others_stay()
    {
        var near = Chunks(string.Concat(Enumerable.Repeat("a ", 60)) + "a, " + string.Concat(Enumerable.Repeat("b ", 20)));
        var far = Chunks(string.Concat(Enumerable.Repeat("a ", 40)) + "a, " + string.Concat(Enumerable.Repeat("b ", 40)));
        Assert.Equal([62, 20], near.Select(Words));
        Assert.Equal([75, 7], far.Select(Words));
    }

    [Fact]
    public void A_learned_token_is_never_parted()
    {
        var tokenizer = PlaceholderTokens.Add(Tokenizer, [("<s1>", 4)]);
        var chunks = PromptChunk.Of(tokenizer, string.Concat(Enumerable.Repeat("a ", 73)) + "(<s1>:1.5) b", 77);
        Assert.Equal([73, 5], chunks.Select(chunk => Array.IndexOf(chunk.Ids, tokenizer.EndId) - 1));
        Assert.Equal([1, 1.5f, 1.5f, 1.5f, 1.5f, 1, 1], chunks[1].Weights[..7]);
    }

    [Fact]
    public void A_learned_token_longer_than_a_chunk_is_refused() =>
        Assert.Equal(
            "the learned token <s1> has 76 vectors, and a chunk of a prompt has room for 75; take an embedding with fewer",
            Assert.Throws<OptionsException>(() => PromptChunk.Of(PlaceholderTokens.Add(Tokenizer, [("<s1>", 76)]), "a <s1>", 77)).Message);

    private static IReadOnlyList<PromptChunk> Chunks(string prompt) => PromptChunk.Of(Tokenizer, prompt, 77);

    private static int Words(PromptChunk chunk) => Array.IndexOf(chunk.Ids, Tokenizer.EndId) - 1;
}
