using System.Text.Json;
using LowRank.Testing;
using LowRank.Text;

namespace LowRank.Tests.Golden;

/// <summary>Token ids of CLIP's real vocabulary, which is not part of the repository: LOWRANK_DATA says where it lies.</summary>
public class TokenizerTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("tokenizer");

    private static ClipTokenizer Open(string padding = "<|endoftext|>")
    {
        var tokenizer = TokenizerFolder.Open(Repository.SampleData("clip-tokenizer"));
        return padding == "<|endoftext|>" ? tokenizer : tokenizer.WithPadding(padding);
    }

    [Theory, MemberData(nameof(Cases))]
    public void Every_text_gives_the_published_ids(string id)
    {
        using var golden = GoldenCase.Open(id);
        var tokenizer = Open();
        Check(golden.Json.GetProperty("same_everywhere"), "ids", tokenizer.Encode);
        Check(golden.Json.GetProperty("implementations_differ"), "ids", tokenizer.Encode);
    }

    [Theory, MemberData(nameof(Cases))]
    public void Padding_and_cutting_are_the_published_ones(string id)
    {
        using var golden = GoldenCase.Open(id);
        var (first, second) = (Open(), Open("!"));
        var rows = golden.Json.GetProperty("padded");
        Check(rows, "sd1", text => first.EncodePadded(text, 77, out _));
        Check(rows, "sd2 and sdxl second", text => second.EncodePadded(text, 77, out _));
        foreach (var row in rows.EnumerateArray())
        {
            var text = row.GetProperty("text").GetString()!;
            Assert.Equal(row.GetProperty("length_without_padding").GetInt32(), Math.Min(77, first.Encode(text).Length));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Added_tokens_are_found_in_the_lower_cased_text(string id)
    {
        using var golden = GoldenCase.Open(id);
        var added = golden.Json.GetProperty("added_tokens");
        var tokenizer = Open().WithAddedTokens([.. added.GetProperty("added").EnumerateArray().Select(item => item.GetString()!)]);
        Check(added.GetProperty("prompts"), "ids", tokenizer.Encode);
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_padding_exclamation_mark_is_cut_out_of_every_text(string id)
    {
        using var golden = GoldenCase.Open(id);
        var rows = golden.Json.GetProperty("exclamation_mark_pad").GetProperty("prompts");
        Check(rows, "pad_is_endoftext", Open().Encode);
        Check(rows, "pad_is_bang", Open("!").Encode);
    }

    private static void Check(JsonElement rows, string key, Func<string, int[]> encode)
    {
        Assert.NotEqual(0, rows.GetArrayLength());
        var wrong = new List<string>();
        foreach (var row in rows.EnumerateArray())
        {
            var text = row.GetProperty("text").GetString()!;
            var expected = row.GetProperty(key).EnumerateArray().Select(item => item.GetInt32()).ToArray();
            var actual = encode(text);
            if (!expected.SequenceEqual(actual)) wrong.Add($"{row.GetProperty("text").GetRawText()}: [{string.Join(", ", actual)}], expected [{string.Join(", ", expected)}]");
        }
        Assert.True(wrong.Count == 0, $"{wrong.Count} of {rows.GetArrayLength()} texts differ:\n{string.Join('\n', wrong.Take(20))}");
    }
}
