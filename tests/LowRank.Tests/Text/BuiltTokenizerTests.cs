using LowRank.Testing;
using LowRank.Text;

namespace LowRank.Tests.Text;

public sealed class BuiltTokenizerTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    /// <summary>By hand. Words: low 5, lower 2, newest 6, widest 3 (the example of Sennrich et al. 2016, section 3.2).</summary>
    [Fact]
    public void The_pair_that_is_met_most_is_merged_and_the_ordinally_smallest_of_equal_ones()
    {
        var merges = BytePairTrainer.Train(new Dictionary<string, long> { ["low"] = 5, ["lower"] = 2, ["newest"] = 6, ["widest"] = 3 }, most: 6);
        // e s and s t</w> are met 9 times each; then es t</w> 9, l o 7, and e w, n e and w est</w> 6 each
        Assert.Equal([("e", "s"), ("es", "t</w>"), ("l", "o"), ("e", "w"), ("ew", "est</w>"), ("n", "ewest</w>")], merges);
    }

    [Fact]
    public void Merging_stops_where_no_pair_is_met_twice() =>
        Assert.Equal([("a", "b</w>")], BytePairTrainer.Train(new Dictionary<string, long> { ["ab"] = 2, ["xyz"] = 1 }, most: 100));

    [Fact]
    public void A_pair_that_overlaps_itself_is_merged_from_the_left()
    {
        var built = BuiltTokenizer.Of(new Dictionary<string, long> { ["aaaaa"] = 3 }, most: 514 + 1, longest: 16).Open("test");
        Assert.Equal("aa aa a</w>", string.Join(' ', built.Encode("aaaaa")[1..^1].Select(id => BuiltTokenizer.Of(new Dictionary<string, long> { ["aaaaa"] = 3 }, 515, 16).Tokens.ElementAt(id))));
    }

    [Fact]
    public void Texts_count_once_and_are_split_as_prompts_are_and_more_words_count_twice_and_whole() => Assert.Equal(
        new Dictionary<string, long> { ["a"] = 2, ["cat"] = 1, ["'s"] = 1, ["3"] = 1, ["d"] = 1, ["toy"] = 2, ["of"] = 4, ["3d"] = 2 },
        BuiltTokenizer.Count(["A cat's 3d toy", "a  toy", "A cat's 3d toy"], ["of", "of", "3D"]).ToDictionary());

    [Fact]
    public void What_is_written_is_read_back_and_gives_the_same_ids()
    {
        var built = BuiltTokenizer.Of(BuiltTokenizer.Count(["a red heart", "a red apple", "red hearts, ü and 漢"], []), most: 600, longest: 20);
        built.Write(folder.Path("tokenizer"));
        var read = TokenizerFolder.Open(folder.Path("tokenizer"));
        var memory = built.Open("test");
        Assert.Equal(20, read.MaximumLength);
        Assert.Equal((memory.IdCount - 2, memory.IdCount - 1, memory.IdCount - 1), (read.StartId, read.EndId, read.PaddingId));
        foreach (var prompt in (string[])["a red heart", "zxqv", "Ü漢 12 🙂", ""]) Assert.Equal(memory.Encode(prompt), read.Encode(prompt));
        Assert.Equal(3, read.Encode("red").Length);   // one token between start and end
        Assert.Equal("zxqv 🙂", read.Decode(read.Encode("zxqv 🙂").AsSpan()[1..^1]));
    }

    /// <summary>A tokenizer that another program made from these captions and words (it came with the first embedded model).</summary>
    [Fact]
    public void Another_programs_tokenizer_comes_out_merge_for_merge_and_id_for_id()
    {
        var captions = File.ReadAllLines(Repository.SampleData("noto-64/captions.tsv")).Skip(1).Select(line => line.Split('\t')[2]);
        var words = File.ReadAllText(Path.Combine(Repository.Root, "tests", "fixtures", "text", "icons-64-words.txt")).Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        BuiltTokenizer.Of(BuiltTokenizer.Count(captions, words), most: 2291, longest: 32).Write(folder.Path("tokenizer"));
        var original = Path.Combine(Repository.Root, "tests", "fixtures", "text", "tokenizer");
        Assert.Equal(File.ReadAllText(Path.Combine(original, "merges.txt")).Trim(), File.ReadAllText(folder.Path("tokenizer", "merges.txt")).Trim());
        var (expected, actual) = (Ids(original), Ids(folder.Path("tokenizer")));
        Assert.Equal(expected, actual);

        static SortedDictionary<string, int> Ids(string folder) => new(System.Text.Json.JsonSerializer.Deserialize<Dictionary<string, int>>(File.ReadAllText(Path.Combine(folder, "vocab.json")))!, StringComparer.Ordinal);
    }
}
