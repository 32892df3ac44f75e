using System.Text.Json;
using LowRank.Foundation;
using LowRank.Preparation;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Tests.Data;

namespace LowRank.Tests.Recipes;

public sealed class PrepareCaptionsTests : IDisposable
{
    private readonly DataFolder folder = new();
    private readonly TemporaryFolder files = new();

    public void Dispose()
    {
        folder.Dispose();
        files.Dispose();
    }

    [Fact]
    public void A_caption_is_written_beside_each_picture_that_has_none()
    {
        folder.Picture("a.png").Picture("b.png", caption: "by hand");
        var result = Run();
        Assert.Equal((1, true), (result.Made, result.Pictures[1].Kept));
        Assert.Equal(result.Pictures[0].Made + "\n", File.ReadAllText(At("a.txt")));
        Assert.Matches("^[a-z]+( [a-z]+)*$", result.Pictures[0].Made!);
        Assert.Equal("by hand", File.ReadAllText(At("b.txt")));
    }

    [Fact]
    public void Append_puts_the_caption_behind_and_overwrite_in_place_of_one_that_is_there()
    {
        folder.Picture("a.png", caption: "by hand");
        var made = Run(options => options with { Overwrite = true, DryRun = true }).Pictures[0].Made;
        Run(options => options with { Append = true, Trigger = "sks" });
        Assert.Equal($"sks, by hand, {made}\n", File.ReadAllText(At("a.txt")));
        Run(options => options with { Overwrite = true });
        Assert.Equal(made + "\n", File.ReadAllText(At("a.txt")));
    }

    [Fact]
    public void Length_and_marks_say_where_a_caption_begins_and_ends()
    {
        folder.Picture("a.png");
        var whole = Made(options => options);
        Assert.Equal(string.Join(' ', whole.Split(' ').Take(2)), Made(options => options with { MaxLength = 3 }));
        Assert.Equal(whole, Made(options => options with { StartToken = "[bos]", EndToken = "2" }));
        var second = whole.Split(' ')[1];
        Assert.StartsWith(string.Join(' ', whole.Split(' ').Take(2)), Made(options => options with { EndToken = second }), StringComparison.Ordinal);
        Assert.NotEqual(whole, Made(options => options with { EndToken = second }));
        Assert.NotEqual(whole, Made(options => options with { StartToken = "cat" }));
    }

    [Fact]
    public void The_size_comes_from_preprocessor_config_or_from_the_option()
    {
        folder.Picture("a.png");
        Assert.Equal(
            $"model-size: not set; the model takes pictures of any size: {OnnxFiles.Encoder}; put its preprocessor_config.json beside it, or say --model-size (BLIP 384, CLIPSeg 352, ViT-GPT2 224)",
            Assert.Throws<OptionsException>(() => Run(options => options with { ModelSize = null })).Message);
        var encoder = files.Path("onnx", "encoder.onnx");
        File.Copy(OnnxFiles.Encoder, encoder);
        File.WriteAllText(files.Path("preprocessor_config.json"), """{"size": {"height": 32, "width": 32}, "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3}""");
        Assert.Equal(Made(options => options), Made(options => options with { Encoder = encoder, ModelSize = null }));
        File.WriteAllText(files.Path("preprocessor_config.json"), """{"size": 32, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.05, 0.05, 0.05], "resample": 2}""");
        Assert.NotEqual(Made(options => options), Made(options => options with { Encoder = encoder, ModelSize = null }));
        File.WriteAllText(files.Path("preprocessor_config.json"), """{"size": {"shortest_edge": 32}}""");
        Assert.Equal($$"""unsupported value: size is {"shortest_edge": 32}; in {{files.Path("preprocessor_config.json")}}; supported: a number, or equal height and width""",
            Assert.Throws<CheckpointException>(() => Run(options => options with { Encoder = encoder, ModelSize = null })).Message);
    }

    [Fact]
    public void Pieces_of_words_are_joined_in_both_kinds_of_vocabulary()
    {
        var text = files.Path("vocab.txt");
        File.WriteAllLines(text, ["[PAD]", "[DEC]", "[SEP]", "a", "snow", "##man", ",", "it", "'", "s", "cold", "."]);
        var vocabulary = CaptionVocabulary.Open(text);
        Assert.Equal((1L, 2L), vocabulary.Marks(null, null));
        Assert.Equal("a snowman, it's cold.", vocabulary.Decode([1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 2, 0, 99]));
        var json = files.Path("vocab.json");
        File.WriteAllText(json, JsonSerializer.Serialize(new Dictionary<string, int> { ["<|endoftext|>"] = 0, ["a"] = 1, ["Ġsnow"] = 2, ["man"] = 3, ["ĠcafÃ©"] = 4 }));
        var bytes = CaptionVocabulary.Open(json);
        Assert.Equal((0L, 0L), bytes.Marks(null, null));
        Assert.Equal("a snowman café", bytes.Decode([0, 1, 2, 3, 4, 0]));
        File.WriteAllLines(text, ["a", "b"]);
        Assert.Equal($"start-token: not set, and {text} has no marks that are known; say --start-token and --end-token, each a word of it or a number (BLIP: 30522 and [SEP])",
            Assert.Throws<OptionsException>(() => CaptionVocabulary.Open(text).Marks(null, null)).Message);
    }

    private PrepareCaptionsOptions Options => new() { Folder = folder.FullName, Encoder = OnnxFiles.Encoder, Decoder = OnnxFiles.Decoder, Vocabulary = OnnxFiles.Vocabulary, ModelSize = 32, MaxLength = 12 };

    private PreparationResult Run(Func<PrepareCaptionsOptions, PrepareCaptionsOptions>? change = null) =>
        PrepareCaptions.Run(change is null ? Options : change(Options), cancellation: TestContext.Current.CancellationToken);

    private string Made(Func<PrepareCaptionsOptions, PrepareCaptionsOptions> change) => Run(options => change(options) with { DryRun = true }).Pictures[0].Made!;

    private string At(string name) => Path.Combine(folder.FullName, name);
}
