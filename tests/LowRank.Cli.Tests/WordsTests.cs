using LowRank.Training;

namespace LowRank.Cli.Tests;

public sealed class WordsTests
{
    [Theory]
    [InlineData("runs/tango", "runs/tango")]
    [InlineData("a red apple", "\"a red apple\"")]
    [InlineData("a \"big\" apple", "\"a \\\"big\\\" apple\"")]
    [InlineData("", "\"\"")]
    public void A_command_to_copy_quotes_what_a_shell_would_take_apart(string word, string quoted) => Assert.Equal(quoted, Words.Quoted(word));

    [Fact]
    public void A_measure_of_held_out_pictures_is_told_against_that_before_training()
    {
        var (start, later) = (HeldOutMeasured.Of(0, [500], [("a", [0.5f])]), HeldOutMeasured.Of(20, [500], [("a", [0.45f])]));
        Assert.Equal(" held-out loss 0.5000 before training", Words.HeldOut(start, 0.5));
        Assert.Equal(" held-out loss 0.4500 at step 20 (-10.0 %)", Words.HeldOut(later, 0.5));
        Assert.Equal(" held-out loss 0.4500 at step 20", Words.HeldOut(later, before: null));   // of a resumed run
    }

    [Fact]
    public void A_place_is_told_from_the_current_folder_where_it_lies_below_it()
    {
        var here = Directory.GetCurrentDirectory();
        Assert.Equal(Path.Combine("runs", "a"), Words.Place(Path.Combine(here, "runs", "a")));
        var above = Path.GetDirectoryName(here)!;
        Assert.Equal(above, Words.Place(above));
    }

    [Theory]
    [InlineData(100, "━━━━━━━━━━━━━━━───────────────  ")]
    [InlineData(12, "━━━━━─────  ")]
    [InlineData(9, "")]
    public void The_bar_shrinks_with_the_room_and_goes_before_the_words_do(int room, string bar) => Assert.Equal(bar, Words.Bar(1, 2, room));

    [Theory]
    [InlineData(120L, " stopped   adapter and state are saved as of step 120\n go on     LINE --output \"runs/a long name\" --resume\n")]
    [InlineData(null, " stopped   before the first step; nothing was made\n")]
    public void A_stopped_run_says_what_is_saved_and_how_to_go_on_in_one_line_to_copy(long? saved, string said)
    {
        using var output = new StringWriter();
        var line = "lora train a-recipe-with-a-very-long-name.toml --set training.steps=500 --set training.learning_rate=0.003";
        Assert.Equal(CommandLine.Interrupted, TrainCommand.Stopped(Screen.For(output, TextWriter.Null), line, "runs/a long name", saved));
        Assert.Equal(said.Replace("LINE", line, StringComparison.Ordinal), output.ToString().ReplaceLineEndings("\n"));
    }
}
