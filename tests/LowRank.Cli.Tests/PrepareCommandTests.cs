using System.Text.RegularExpressions;
using LowRank.Testing;

namespace LowRank.Cli.Tests;

/// <summary>lora prepare: what it writes, what it says, and what a person sees when a model or folder cannot be used.</summary>
public sealed partial class PrepareCommandTests : IDisposable
{
    private static readonly string Onnx = Path.GetDirectoryName(OnnxFiles.Tagger)!.Replace('\\', '/');

    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Fact]
    public void Tags_are_written_told_of_and_not_written_twice()
    {
        Pictures();
        Assert.Equal(0, shell.Lora(Tag("--trigger", "tango style", "--dry-run")));
        Assert.Contains("a.txt\n           tango style, 1girl, ", shell.Output, StringComparison.Ordinal);
        Assert.EndsWith(" would be  2 captions of 2 pictures; nothing was written\n", shell.Output, StringComparison.Ordinal);
        Assert.False(File.Exists(shell.Path("pictures", "a.txt")));
        shell.Write(Path.Combine("pictures", "b.txt"), "by hand");
        Assert.Equal(0, shell.Lora(Tag("--trigger", "tango style")));
        Assert.Equal(" written   1 captions of 2 pictures\n kept      1: it has a caption already\n", shell.Output);
        Assert.StartsWith("tango style, 1girl, ", File.ReadAllText(shell.Path("pictures", "a.txt")), StringComparison.Ordinal);
        Assert.Equal("by hand", File.ReadAllText(shell.Path("pictures", "b.txt")));
        Assert.Equal("", shell.Errors);
    }

    [Fact]
    public void Every_option_of_tagging_reaches_the_recipe()
    {
        Pictures();
        File.Copy(OnnxFiles.Tagger, shell.Path("tagger.onnx"));
        string Made(params string[] extra)
        {
            Assert.Equal(0, shell.Lora(["prepare", "tag", shell.Path("pictures"), "--model", shell.Path("tagger.onnx"), "--tags", Onnx + "/selected_tags.csv", "--overwrite", .. extra]));
            return File.ReadAllText(shell.Path("pictures", "a.txt")).TrimEnd();
        }
        var plain = Made();
        foreach (var extra in (string[][])[["--general-threshold", "1"], ["--character-threshold", "1"], ["--keep-underscores"], ["--characters-first"], ["--rating", "first"], ["--exclude", "sky", "-x", "o o face"], ["--trigger", "x"]])
        {
            Assert.NotEqual(plain, Made(extra));
        }
        Made("--trigger", "first");
        Assert.Equal(0, shell.Lora(Tag("--append", "--keep-underscores", "--exclude", "sky")));
        Assert.StartsWith("first, " + plain + ", ", File.ReadAllText(shell.Path("pictures", "a.txt")), StringComparison.Ordinal);
    }

    [Fact]
    public void Folders_without_a_name_are_told_of()
    {
        Pictures();
        Assert.Equal(3, shell.Lora("prepare", "mask", "", "--from", "background"));
        Assert.Equal("no folder of pictures: its name is empty; name a folder that exists\n", shell.Errors);
        Assert.Equal(3, shell.Lora("prepare", "crop", "", "--by", "centre", "--output", shell.Path("crops"), "--dry-run"));
        Assert.Equal(2, shell.Lora("prepare", "crop", shell.Path("pictures"), "--by", "centre", "--output", ""));
        Assert.Equal("1 problem in the options\n\noutput  empty; must be a folder\n", shell.Errors);
    }

    [Fact]
    public void Captions_in_words_are_written()
    {
        Pictures();
        Assert.Equal(0, shell.Lora(Caption("--model-size", "32", "--max-length", "12", "--start-token", "[bos]", "--end-token", "[eos]", "--trigger", "sks")));
        Assert.Equal(" written   2 captions of 2 pictures\n", shell.Output);
        Assert.Matches("^sks, [a-z]+( [a-z]+)*\n$", File.ReadAllText(shell.Path("pictures", "b.txt")));
    }

    [Fact]
    public void Masks_and_crops_lead_to_what_a_recipe_trains_on()
    {
        var recipe = shell.TinyRecipe();
        Assert.Equal(0, shell.Lora("prepare", "mask", shell.Path("pictures"), "--from", "background", "--blur", "2"));
        Assert.Equal(" written   3 masks of 3 pictures\n next      in [[data]] of a recipe: mask = \"sidecar\"\n", shell.Output);
        Assert.Equal(0, shell.Lora("prepare", "crop", shell.Path("pictures"), "--by", "mask", "--size", "48", "--output", shell.Path("crops")));
        Assert.Equal(" written   3 crops of 3 pictures\n next      in [[data]] of a recipe: folder = \"FOLDER/crops\"\n", shell.Output.Replace(shell.Folder, "FOLDER", StringComparison.Ordinal).Replace('\\', '/'));
        Assert.Equal(0, shell.Lora("train", recipe, "--set", "data[0].folder=crops", "--set", "data[0].mask=sidecar"));
    }

    [Fact]
    public void Training_gives_the_same_bytes_before_and_after_a_tagger_ran_in_the_same_process()
    {
        var recipe = shell.TinyRecipe();
        byte[] Train(string run)
        {
            Assert.Equal(0, shell.Lora("train", recipe, "--output", shell.Path(run)));
            return File.ReadAllBytes(shell.Path(run, "adapter.safetensors"));
        }
        var before = Train("before");
        Assert.Equal(0, shell.Lora(Tag("--append", "--dry-run")));
        Assert.Equal(before, Train("after"));
    }

    [Fact]
    public void Pictures_to_look_at_and_pictures_left_out_are_named()
    {
        Pictures();
        File.WriteAllBytes(shell.Path("pictures", "broken.png"), []);
        Assert.Equal(0, shell.Lora("prepare", "crop", shell.Path("pictures"), "--by", "centre", "--size", "128", "--output", shell.Path("crops")));
        Assert.StartsWith(
            """
             written   2 crops of 3 pictures
             skipped   1: the file is empty (0 bytes): broken.png
             look at   2: it is smaller than the size asked for: enlarged: a.png, b.png

            """, shell.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Help_names_the_four_and_a_missing_word_too()
    {
        Assert.Equal(0, shell.Lora("prepare", "--help"));
        foreach (var word in (string[])["caption", "tag", "mask", "crop"]) Assert.Contains($"  {word} <FOLDER>", shell.Output, StringComparison.Ordinal);
        Refuses(
            """
            1 problem in the arguments of lora prepare

            COMMAND  missing: caption, tag, mask, crop

            try      lora prepare --help
            """, CommandLine.WrongUsage, "prepare");
        Refuses(
            """
            2 problems in the arguments of lora prepare tag

            --modle  there is no such option; did you mean --model?
            --model  missing: A tagger in the WD14 layout (.onnx), such as wd-vit-tagger-v3.

            try      lora prepare tag --help
            """, CommandLine.WrongUsage, "prepare", "tag", "x", "--modle", "y");
    }

    [Theory]
    [InlineData("tag"), InlineData("caption"), InlineData("mask"), InlineData("crop")]
    public void The_page_has_a_row_for_every_option_and_no_other(string command)
    {
        using var nothing = new StringWriter();
        var options = PrepareCommand.Create(Screen.For(nothing, nothing)).Subcommands.Single(item => item.Name == command).Options.Select(option => option.Name).Order(StringComparer.Ordinal);
        var page = File.ReadAllText(Path.Combine(Repository.Root, "docs", "prepare.md"));
        var part = page.Split("\n## ").Single(section => section.Contains($"`lora prepare {command}`\n", StringComparison.Ordinal));
        Assert.Equal(options, FirstCell().Matches(part).Select(match => match.Groups[1].Value).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_model_with_another_layout()
    {
        Pictures();
        Refuses(
            $"""
            the ONNX model is not laid out as a WD14 tagger: {Onnx}/segmenter.onnx
              expected  one input float32 (?, side, side, 3), one output float32 (?, tags)
              found     pixel_values float32 (?, 3, ?, ?), input_ids int64 (?, ?), attention_mask int64 (?, ?) -> logits float32 (?, ?, ?)
              try       the model.onnx of a WD tagger, such as SmilingWolf's wd-vit-tagger-v3
            """, CommandLine.BadInput, "prepare", "tag", shell.Path("pictures"), "--model", Onnx + "/segmenter.onnx");
        Refuses(
            $"""
            the ONNX model is not laid out as a text-guided segmenter: {Onnx}/tagger.onnx
              expected  pixel_values float32 (?, 3, side, side), input_ids int64 (?, words), attention_mask int64 (?, words) -> logits float32 (?, height, width)
              found     input_1:0 float32 (?, 32, 32, 3) -> predictions_sigmoid float32 (?, 12)
              try       model.onnx of a CLIPSeg export
            """, CommandLine.BadInput, "prepare", "mask", shell.Path("pictures"), "--from", "text", "--text", "x", "--model", Onnx + "/tagger.onnx");
        Refuses(
            $"""
            the ONNX model is not laid out as a captioner's encoder: {Onnx}/captioner-decoder.onnx
              expected  pixel_values float32 (?, 3, side, side) -> last_hidden_state float32 (?, parts, width)
              found     input_ids int64 (?, ?), encoder_hidden_states float32 (?, ?, 12) -> logits float32 (?, ?, 20)
              try       encoder_model.onnx or vision_model.onnx of a BLIP or ViT-GPT2 export
            """, CommandLine.BadInput, Caption("--encoder", Onnx + "/captioner-decoder.onnx"));
        Refuses(
            $"""
            the ONNX model is not laid out as a captioner's decoder: {Onnx}/captioner-encoder.onnx
              expected  input_ids int64 (?, words), encoder_hidden_states float32 (?, parts, width) -> logits float32 (?, words, vocabulary); attention_mask and encoder_attention_mask may be there
              found     pixel_values float32 (?, 3, ?, ?) -> last_hidden_state float32 (?, ?, 12)
              try       decoder_model.onnx, the export without past_key_values (not decoder_model_merged.onnx)
            """, CommandLine.BadInput, Caption("--decoder", Onnx + "/captioner-encoder.onnx"));
    }

    [Fact]
    public void A_model_that_is_missing_or_none()
    {
        Pictures();
        Refuses("no such ONNX model: FOLDER/none.onnx; check the path", CommandLine.BadInput, Tag("--model", shell.Path("none.onnx")));
        var file = shell.Write("text.onnx", "I am a text");
        Refuses(
            """
            the ONNX model cannot be opened: FOLDER/text.onnx
              Load model from FOLDER/text.onnx failed:No graph was found in the protobuf.
              try       to download or copy it again, with the file of weights that may lie beside it (.onnx_data)
            """, CommandLine.BadInput, Tag("--model", file));
    }

    [Fact]
    public void A_list_of_tags_that_is_missing_another_models_or_none()
    {
        Pictures();
        File.Copy(OnnxFiles.Tagger, shell.Path("tagger.onnx"));
        Refuses("no list of tags: FOLDER/selected_tags.csv; a WD14 tagger comes with one, selected_tags.csv: put it beside the model, or name it with --tags", CommandLine.BadInput, Tag("--model", shell.Path("tagger.onnx")));
        Refuses($"the list of tags is another model's: FOLDER/two.csv has 2 tags, {Onnx}/tagger.onnx gives 12; take both files from the same model", CommandLine.BadInput,
            Tag("--tags", shell.Write("two.csv", "tag_id,name,category,count\n1,a,0,1\n2,b,4,1\n")));
        Refuses("no list of tags: FOLDER/names.csv; its first line must name the columns, with \"name\" and \"category\" among them", CommandLine.BadInput, Tag("--tags", shell.Write("names.csv", "a\nb\n")));
        Refuses("the list of tags cannot be read: FOLDER/odd.csv, line 2: category \"3\"; known are 0 (general), 4 (character) and 9 (rating); copy the file from the model again", CommandLine.BadInput, Tag("--tags", shell.Write("odd.csv", "name,category\na,3\n")));
    }

    [Fact]
    public void Options_that_contradict_each_other_or_the_model()
    {
        Pictures();
        Refuses(
            """
            2 problems in the options

            general-threshold  2; must be from 0 to 1
            append             goes not with overwrite: captions that are there are replaced, or added to
            """, CommandLine.WrongUsage, Tag("--append", "--overwrite", "--general-threshold", "2"));
        Refuses(
            """
            1 problem in the options

            exclude  long_haie; the tagger knows no such tag (did you mean "long_hair"?)
            """, CommandLine.WrongUsage, Tag("--exclude", "long haie"));
        Refuses(
            $"model-size: not set; the model takes pictures of any size: {Onnx}/captioner-encoder.onnx; put its preprocessor_config.json beside it, or say --model-size (BLIP 384, CLIPSeg 352, ViT-GPT2 224)",
            CommandLine.WrongUsage, Caption());
        Refuses("start-token: \"[cls]\" is no number and not in " + Onnx + "/captioner-vocab.txt", CommandLine.WrongUsage, Caption("--start-token", "[cls]", "--end-token", "[eos]"));
        Refuses(
            """
            1 problem in the options

            output  FOLDER/pictures/crops; lies in the folder of pictures, and would be taken for pictures itself; name a folder beside it
            """, CommandLine.WrongUsage, "prepare", "crop", shell.Path("pictures"), "--by", "centre", "--output", shell.Path("pictures", "crops"));
    }

    [Fact]
    public void A_model_that_fails_at_a_picture()
    {
        Pictures();
        Refuses(
            $"""
            the ONNX model failed: {Onnx}/captioner-decoder.onnx
              Non-zero status code returned while running Gather node. Name:'' Status Message: indices element out of data bounds, idx=20 must be within the inclusive range [-20,19]
              try       --max-length 1, if the model knows no longer texts; or another --start-token
            """, CommandLine.BadInput, Caption("--model-size", "32", "--start-token", "20", "--end-token", "[eos]"));
    }

    [Fact]
    public void Masks_from_alpha_where_there_is_none()
    {
        Pictures();
        Refuses(
            """
            none of the 2 pictures could be prepared
              a.png: it has no alpha channel
              b.png: it has no alpha channel
              try         other pictures or options: each line says what is wrong with one
            """, CommandLine.BadInput, "prepare", "mask", shell.Path("pictures"), "--from", "alpha");
    }

    [Fact]
    public void A_folder_that_is_not_there_or_empty()
    {
        Refuses("no such folder of pictures: FOLDER/nowhere\n  try         a folder that exists", CommandLine.BadInput, "prepare", "mask", shell.Path("nowhere"), "--from", "alpha");
        Directory.CreateDirectory(shell.Path("empty"));
        Refuses(
            """
            no pictures in FOLDER/empty
              looked for  .jpg .jpeg .png .webp .gif .bmp .tif .tiff .avif .svg in it and one level down
              try         another folder, or put pictures into this one
            """, CommandLine.BadInput, "prepare", "mask", shell.Path("empty"), "--from", "alpha");
    }

    private void Refuses(string message, int code, params string[] arguments)
    {
        var before = Directory.GetFiles(shell.Folder, "*", SearchOption.AllDirectories);
        Assert.Equal(code, shell.Lora(arguments));
        Assert.Equal(message.ReplaceLineEndings("\n") + "\n", shell.Errors.Replace(shell.Folder, "FOLDER", StringComparison.Ordinal).Replace('\\', '/'));
        Assert.Equal(before, Directory.GetFiles(shell.Folder, "*", SearchOption.AllDirectories));
    }

    /// <summary>Two of the example's pictures, without captions.</summary>
    private void Pictures()
    {
        Directory.CreateDirectory(shell.Path("pictures"));
        var source = Directory.GetFiles(Path.Combine(Repository.Root, "examples", "tango", "pictures"), "*.png").Order(StringComparer.Ordinal).ToList();
        File.Copy(source[0], shell.Path("pictures", "a.png"));
        File.Copy(source[1], shell.Path("pictures", "b.png"));
    }

    private string[] Tag(params string[] extra) => ["prepare", "tag", shell.Path("pictures"), .. extra.Contains("--model") ? [] : new[] { "--model", Onnx + "/tagger.onnx" }, .. extra];

    private string[] Caption(params string[] extra)
    {
        var files = new (string Option, string File)[] { ("--encoder", "captioner-encoder.onnx"), ("--decoder", "captioner-decoder.onnx"), ("--vocabulary", "captioner-vocab.txt") };
        return ["prepare", "caption", shell.Path("pictures"), .. files.Where(item => !extra.Contains(item.Option)).SelectMany(item => new[] { item.Option, $"{Onnx}/{item.File}" }), .. extra];
    }

    [GeneratedRegex(@"^\| `(--[\w-]+)`", RegexOptions.Multiline)]
    private static partial Regex FirstCell();
}
