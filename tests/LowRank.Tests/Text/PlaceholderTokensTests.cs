using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Text;

namespace LowRank.Tests.Text;

public class PlaceholderTokensTests
{
    private static readonly string Folder = Path.Combine(Repository.Root, "tests", "fixtures", "text", "tokenizer");

    private static readonly ClipTokenizer Plain = TokenizerFolder.Open(Folder);

    private static ClipTokenizer With(params (string, int)[] tokens) => PlaceholderTokens.Add(Plain, tokens);

    [Fact]
    public void A_token_becomes_as_many_ids_as_it_has_vectors_wherever_it_stands_and_in_any_case()
    {
        var tokenizer = With(("<tango>", 3), ("<Dog>", 1));
        var n = Plain.IdCount;
        var heart = Plain.Encode("heart")[1];
        Assert.Equal(n + 4, tokenizer.IdCount);
        Assert.Equal([Plain.StartId, heart, n, n + 1, n + 2, n + 3, Plain.EndId], tokenizer.Encode("heart <TANGO><dog>"));
        Assert.Equal(Plain.Encode("red heart"), tokenizer.Encode("red heart"));
        Assert.Equal(n, Plain.IdCount);
    }

    [Fact]
    public void What_is_cut_of_a_prompt_is_told_with_the_token_as_a_word()
    {
        With(("<tango>", 3)).EncodePadded("heart <tango> heart", 4, out var cut);
        Assert.Equal((3, "<tango> heart"), (cut!.Tokens, cut.Text));
    }

    [Fact]
    public void No_tokens_leave_the_tokenizer_as_it_is() => Assert.Same(Plain, With());

    [Theory]
    [InlineData("heart", "the placeholder token heart is in the vocabulary of the model already, where it means something: take a made-up word, such as <heart-1>; in {0}")]
    [InlineData("<|endoftext|>", "the placeholder token <|endoftext|> is in the vocabulary of the model already, where it means something: take a made-up word, such as <|endoftext|-1>; in {0}")]
    [InlineData(" ", "a placeholder token is empty: give it a made-up word such as <my-style>")]
    public void A_token_that_means_something_already_is_refused(string token, string message) =>
        Assert.Equal(string.Format(System.Globalization.CultureInfo.InvariantCulture, message, Folder), Assert.Throws<OptionsException>(() => With((token, 1))).Message);

    [Fact]
    public void A_token_named_twice_is_refused() => Assert.Equal(
        "the placeholder token <S1> is named twice: give each token a word of its own",
        Assert.Throws<OptionsException>(() => With(("<s1>", 1), ("<S1>", 2))).Message);

    [Fact]
    public void A_start_without_a_word_is_refused() => Assert.Equal(
        "the text \" \" has no tokens, so nothing can start as it: give a word that the model knows",
        Assert.Throws<OptionsException>(() => PlaceholderTokens.IdsOf(Plain, " ")).Message);
}
