using System.Text;
using System.Text.Json;
using CsCheck;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Text;

namespace LowRank.Tests.Text;

public sealed class ClipTokenizerTests : IDisposable
{
    private static readonly string SmallFolder = Path.Combine(Repository.Root, "tests", "fixtures", "text", "tokenizer");
    private readonly string folder = Directory.CreateTempSubdirectory("lowrank-tokenizer-").FullName;

    public ClipTokenizerTests()
    {
        foreach (var file in Directory.GetFiles(SmallFolder)) File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void A_prompt_that_fits_is_padded_and_nothing_is_cut()
    {
        var tokenizer = TokenizerFolder.Open(folder);
        var ids = tokenizer.EncodePadded("red apple", 32, out var cut);
        Assert.Null(cut);
        Assert.Equal(32, ids.Length);
        Assert.Equal([.. tokenizer.Encode("red apple"), .. Enumerable.Repeat(tokenizer.PaddingId, 28)], ids);
    }

    [Fact]
    public void A_long_prompt_says_what_is_cut()
    {
        var tokenizer = TokenizerFolder.Open(folder);
        var ids = tokenizer.EncodePadded("Red Apple, GREEN leaf", 5, out var cut);
        Assert.Equal([.. tokenizer.Encode("red apple,").AsSpan(0, 4), tokenizer.EndId], ids);
        Assert.Equal(new CutPrompt(2, "green leaf"), cut);
    }

    [Fact]
    public void A_prompt_that_just_fits_is_not_cut()
    {
        var tokenizer = TokenizerFolder.Open(folder);
        Assert.Equal(tokenizer.Encode("red apple"), tokenizer.EncodePadded("red apple", 4, out var cut));
        Assert.Null(cut);
    }

    [Fact]
    public void Every_text_of_plain_words_decodes_to_itself() =>
        Gen.String[Gen.Char["abcdefghij 123"], 1, 40].Sample(text =>
        {
            var tokenizer = TokenizerFolder.Open(SmallFolder);
            var ids = tokenizer.Encode(text);
            var letters = tokenizer.Decode(ids.AsSpan(1..^1)).Where(letter => letter != ' ');
            Assert.Equal(text.Where(letter => letter != ' '), letters);
        }, iter: 50);

    [Fact]
    public void No_text_is_unknown() =>
        Gen.String.Sample(text => Assert.All(TokenizerFolder.Open(SmallFolder).Encode(text), id => Assert.InRange(id, 0, 2290)), iter: 50);

    [Fact]
    public void White_space_is_what_the_published_tokenizer_takes_for_it()
    {
        var white = Enumerable.Range(0, 0x3001).Where(code => Rune.IsValid(code) && Rune.IsWhiteSpace(new Rune(code)));
        int[] published = [9, 10, 11, 12, 13, 0x20, 0x85, 0xA0, 0x1680, .. Enumerable.Range(0x2000, 11), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000];
        Assert.Equal(published, white);
    }

    [Fact]
    public void Half_a_surrogate_pair_is_read_as_the_replacement_character()
    {
        var tokenizer = TokenizerFolder.Open(folder);
        Assert.Equal(tokenizer.Encode("a\uFFFDb"), tokenizer.Encode("a\uD83Db"));
    }

    [Fact]
    public void A_runtime_that_cannot_normalise_refuses_what_it_would_get_wrong()
    {
        var message = Assert.Throws<OptionsException>(() => ClipTokenizer.RequireNormalisation("cafe\u0301", "e\u0301")).Message;

        Assert.Equal("this text needs Unicode normalisation, which this program runs without: \"cafe\u0301\"; "
            + "install ICU (libicu) and leave DOTNET_SYSTEM_GLOBALIZATION_INVARIANT unset, or write the text without characters beyond U+02FF", message);
    }

    [Fact]
    public void Letters_and_digits_beyond_sixteen_bits_are_told_apart()
    {
        var tokenizer = TokenizerFolder.Open(folder);
        // a letter of Linear B between letters belongs to their word; a mathematical digit between digits is a word of its own
        Assert.EndsWith("a\U00010000b", tokenizer.Decode(tokenizer.Encode("a\U00010000b").AsSpan(1..^1)), StringComparison.Ordinal);
        Assert.Equal("1 \U0001D7CF 2", tokenizer.Decode(tokenizer.Encode("1\U0001D7CF2").AsSpan(1..^1)));
    }

    [Fact]
    public void The_single_file_of_newer_tools_gives_the_same_ids()
    {
        var before = TokenizerFolder.Open(folder);
        var merges = File.ReadLines(Path.Combine(folder, "merges.txt")).Skip(1).Select(line => line.Split(' ')).ToArray();
        using var vocabulary = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "vocab.json")));
        var added = new[] { new { id = 2289, content = "<|startoftext|>", special = true }, new { id = 2291, content = "<s1>", special = false } };
        foreach (var shape in (object[])[merges, merges.Select(pair => string.Join(' ', pair))])
        {
            File.Delete(Path.Combine(folder, "vocab.json"));
            File.Delete(Path.Combine(folder, "merges.txt"));
            File.WriteAllText(Path.Combine(folder, "tokenizer.json"), JsonSerializer.Serialize(new { added_tokens = added, model = new { type = "BPE", vocab = vocabulary.RootElement, merges = shape } }));
            var tokenizer = TokenizerFolder.Open(folder);
            Assert.Equal(before.Encode("a purple frog, 23!"), tokenizer.Encode("a purple frog, 23!"));
            Assert.Equal([2289, 2291, 2290], tokenizer.Encode("<S1>"));
        }
    }

    [Fact]
    public void Tokens_behind_the_vocabulary_are_read_from_both_kinds_of_files()
    {
        File.WriteAllText(Path.Combine(folder, "added_tokens.json"), """{"<s1>": 2291}""");
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), """{"added_tokens_decoder": {"2292": {"content": "<S2>", "special": true}}, "pad_token": {"content": "!"}, "model_max_length": 1e30}""");
        var tokenizer = TokenizerFolder.Open(folder);
        Assert.Equal([2289, 2291, 2292, 2290], tokenizer.Encode("<S1><S2>"));
        Assert.Equal(2293, tokenizer.IdCount);
        Assert.Equal(0, tokenizer.PaddingId);
        Assert.Null(tokenizer.MaximumLength);
        Assert.DoesNotContain(2292, tokenizer.Encode("<s2>"));
    }

    [Fact]
    public void An_added_token_that_exists_keeps_its_id()
    {
        var tokenizer = TokenizerFolder.Open(folder).WithAddedTokens(["apple</w>", "<s1>", "<s1>"]);
        Assert.Equal(2292, tokenizer.IdCount);
        Assert.Equal([2289, 2291, 2290], tokenizer.Encode("<s1>"));
    }

    [Fact]
    public void A_folder_without_a_vocabulary_says_so()
    {
        File.Delete(Path.Combine(folder, "vocab.json"));
        AssertRefused($"the tokenizer lacks a file: vocab.json; in {folder}; a tokenizer folder holds vocab.json and merges.txt, or tokenizer.json");
    }

    [Fact]
    public void Damaged_files_are_named_with_the_place()
    {
        File.WriteAllText(Path.Combine(folder, "merges.txt"), "#version: 0.2\na b\na b c\n");
        AssertRefused($"a merge is two tokens with a space between: \"a b c\"; in {folder}/merges.txt, line 3; copy the file from the model's tokenizer, unchanged");
        File.WriteAllText(Path.Combine(folder, "merges.txt"), "#version: 0.2\na zzq\n");
        AssertRefused($"the vocabulary is not CLIP's kind: merge 1, \"a zzq\" needs the token \"zzq\", which is not there; in {folder}; copy vocab.json and merges.txt from the same tokenizer, unchanged");
        File.WriteAllText(Path.Combine(folder, "vocab.json"), """{"!": "zero"}""");
        AssertRefused($"a whole number from 0 up is expected: ! is \"zero\"; in {folder}/vocab.json; copy the file from the model again");
        File.WriteAllText(Path.Combine(folder, "vocab.json"), """{"!": 0""");
        var error = Assert.Throws<CheckpointException>(() => TokenizerFolder.Open(folder));
        Assert.StartsWith("not JSON: ", error.Message, StringComparison.Ordinal);
        Assert.EndsWith($"; in {folder}/vocab.json; copy the file from the model again", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"tokenizer_class": "T5Tokenizer"}""", "unsupported value: tokenizer_class is \"T5Tokenizer\"; in {0}/tokenizer_config.json; supported: CLIPTokenizer, CLIPTokenizerFast")]
    [InlineData("""{"do_lower_case": false}""", "unsupported value: do_lower_case is false; in {0}/tokenizer_config.json; supported: true")]
    [InlineData("""{"added_tokens_decoder": {"9": {"content": "<x>", "lstrip": true}}}""", "unsupported value: lstrip of the token \"<x>\" is true; in {0}/tokenizer_config.json; only false is supported")]
    [InlineData("""{"added_tokens_decoder": {"9": {"text": "<x>"}}}""", "a token with a \"content\" is expected: 9 is {{\"text\": \"<x>\"}}; in {0}/tokenizer_config.json; copy the file from the model again")]
    [InlineData("""{"pad_token": "[PAD]"}""", "the tokenizer's pad_token is \"[PAD]\", which its vocabulary does not have; in {0}; special_tokens_map.json and vocab.json belong to different models; copy both from the same one")]
    [InlineData("""{"pad_token": 7}""", "a text, or an object with \"content\" is expected: pad_token is 7; in {0}/tokenizer_config.json; copy the file from the model again")]
    public void A_configuration_that_asks_for_something_else_is_refused(string config, string message)
    {
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), config);
        AssertRefused(string.Format(System.Globalization.CultureInfo.InvariantCulture, message, folder));
    }

    private void AssertRefused(string message) => Assert.Equal(message, Assert.Throws<CheckpointException>(() => TokenizerFolder.Open(folder)).Message);
}
