using LowRank.Testing;

namespace LowRank.Cli.Tests;

/// <summary><c>lora evaluate</c>: the table, and all of what a person sees when it cannot be made.</summary>
public sealed class EvaluateCommandTests : IDisposable
{
    private readonly Shell shell = new();

    public EvaluateCommandTests() => TinyClip.Write(shell.Path("clip"), seed: 3);

    public void Dispose() => shell.Dispose();

    [Fact]
    public void A_table_is_written_and_an_earlier_one_stands_beside_it()
    {
        Assert.Equal(0, shell.Lora([.. Evaluate("first"), "--clip", shell.Path("clip")]));
        var rows = shell.Output.Split('\n').Where(line => line.Length > 0).Select(line => line.Trim().Split("  ")[0]).ToList();
        Assert.Equal(["KID", "KID, all pictures", "FID", "precision", "recall", "density", "coverage", "diversity", "CMMD", "image alignment", "CLIP score", "near-duplicates"], rows.SkipLast(3));
        foreach (var (label, file) in new[] { ("written", "evaluation.json"), ("page", "evaluation.html"), ("sheet", "nearest.png") })
        {
            Assert.Contains(shell.Output.Split('\n'), line => line.TrimStart().StartsWith(label, StringComparison.Ordinal) && line.EndsWith(shell.Path("first", file), StringComparison.Ordinal));
            Assert.True(File.Exists(shell.Path("first", file)));
        }
        Assert.Equal(
            """
            warning: there are 12 real and 9 generated pictures: with fewer than 50 of each, all of these numbers are rough
            warning: FID: clip gives 6 numbers to a picture, and 9 pictures are too few for their covariances; go by KID

            """, shell.Errors, ignoreLineEndingDifferences: true);
        Assert.Equal(0, shell.Lora([.. Evaluate("second"), "--compare", shell.Path("first", "evaluation.json")]));
        var (head, kid) = (shell.Output.Split('\n')[0], shell.Output.Split('\n')[1]);
        Assert.Equal(["this", "earlier"], head.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        var numbers = kid.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(numbers[1..4], numbers[4..7]);
    }

    [Fact]
    public void Prompts_are_drawn_measured_and_kept()
    {
        Pictures();
        shell.Write("prompts.txt", "red heart\nblue car\n");
        string[] arguments = ["evaluate", "--real", shell.Path("real"), "--model", "icons-64", "--prompts", shell.Path("prompts.txt"), "--count", "2", "--steps", "1", "--features", shell.Path("clip"), "--subset-size", "4", "-k", "2", "--output", shell.Path("drawn")];
        Assert.Equal(0, shell.Lora(arguments));
        Assert.Equal(4, Directory.GetFiles(shell.Path("drawn", "pictures"), "*.png").Length);
        var json = File.ReadAllBytes(shell.Path("drawn", "evaluation.json"));
        Assert.Equal(0, shell.Lora(arguments));
        Assert.Equal(json, File.ReadAllBytes(shell.Path("drawn", "evaluation.json")));
    }

    [Fact]
    public void A_model_of_one_file_draws_with_the_configurations_that_are_named()
    {
        Pictures();
        shell.Write("prompts.txt", "red heart\nblue car\n");
        var models = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines");
        string[] arguments = ["evaluate", "--real", shell.Path("real"), "--model", Path.Combine(models, "single-file", "sd1.safetensors"), "--prompts", shell.Path("prompts.txt"), "--count", "2", "--steps", "1", "--features", shell.Path("clip"), "--subset-size", "4", "-k", "2", "--output", shell.Path("drawn")];
        Assert.Equal(0, shell.Lora([.. arguments, "--config", Path.Combine(models, "sd1")]));
        Assert.Equal(4, Directory.GetFiles(shell.Path("drawn", "pictures"), "*.png").Length);
        Assert.Equal(CommandLine.BadInput, shell.Lora([.. arguments, "--config", Path.Combine(models, "sd1"), "--ema"]));
        Assert.StartsWith("the folder for drawn pictures holds pictures of ot", shell.Errors, StringComparison.Ordinal);   // those of other weights
    }

    [Fact]
    public void Fewer_pictures_than_a_subset_takes() => Refuses(
        """
        1 problem in the options

        subset-size  100; a subset of KID takes so many of each set, and there are 12 real and 9 generated ones: pass 4, or at most 9, or bring more pictures
        """, CommandLine.WrongUsage, Evaluate("o", subsetSize: "100"));

    [Fact]
    public void Fewer_pictures_than_neighbours() => Refuses(
        """
        1 problem in the options

        neighbours  9; a picture needs so many others in its own set, and there are 12 real and 9 generated ones: pass 8 or less, or bring more pictures
        """, CommandLine.WrongUsage, [.. Evaluate("o"), "--neighbours", "9"]);

    [Fact]
    public void Too_few_prompts_are_told_of_before_anything_is_drawn() => Refuses(
        """
        1 problem in the options

        generated  two pictures are the least that can be compared, and there are 12 real and 1 generated ones; 50 are the least that say something
        """, CommandLine.WrongUsage, Draw(shell.Write("prompts.txt", "red heart\n")));

    [Fact]
    public void An_empty_folder()
    {
        Directory.CreateDirectory(shell.Path("empty"));
        Refuses(
            """
            no pictures in FOLDER/empty
              looked for  .jpg .jpeg .png .webp .gif .bmp .tif .tiff .avif .svg in it and one level down
              try         another folder, or put pictures into this one
            """, CommandLine.BadInput, Evaluate("o", generated: "empty"));
    }

    [Fact]
    public void A_folder_that_is_not_there() => Refuses(
        """
        no such folder of pictures: FOLDER/nowhere
          try         a folder that exists
        """, CommandLine.BadInput, Evaluate("o", generated: "nowhere"));

    [Fact]
    public void A_picture_that_cannot_be_read()
    {
        Pictures();
        shell.Write(Path.Combine("generated", "broken.png"), "I am a text");
        Refuses(
            """
            picture cannot be read: FOLDER/generated/broken.png
              not a picture that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, SVG), whatever its name says
              try         to repair it, or to take it out of the folder
            """, CommandLine.BadInput, Evaluate("o"), made: "o");
    }

    [Fact]
    public void A_missing_file_of_prompts() => Refuses(
        """
        no such file of prompts: FOLDER/prompts.txt
          try         a text file with a prompt in each line
        """, CommandLine.BadInput, Draw(shell.Path("prompts.txt")));

    [Fact]
    public void A_file_without_prompts() => Refuses(
        """
        no prompts in FOLDER/prompts.txt
          try         a text file with a prompt in each line; lines that begin with # do not count
        """, CommandLine.BadInput, Draw(shell.Write("prompts.txt", "# nothing yet\n\n")));

    [Fact]
    public void A_file_of_prompts_that_is_no_text()
    {
        File.WriteAllBytes(shell.Path("prompts.txt"), [0xff, 0xfe, 0x00, 0xc3, 0x28]);
        Refuses(
            """
            the file of prompts is not UTF-8: FOLDER/prompts.txt
              try         a text file with a prompt in each line, saved as UTF-8
            """, CommandLine.BadInput, Draw(shell.Path("prompts.txt")));
    }

    [Fact]
    public void Neither_pictures_nor_a_model() => Refuses(
        """
        1 problem in the options

        generated  not set; name a folder of generated pictures, or a model that draws them
        """, CommandLine.WrongUsage, ["evaluate", "--real", Pictures(), "--output", shell.Path("o")]);

    [Fact]
    public void Options_that_do_not_go_together() => Refuses(
        """
        5 problems in the options

        generated    goes not with model: pictures are in a folder, or drawn
        prompts      not set; a model draws pictures of prompts: a text file with one in each line
        clip         FOLDER/no-clip; there is no such folder: it must be that of a CLIP model
        subset-size  1; must be 2 or more pictures
        steps        0; must be 1 or more
        """, CommandLine.WrongUsage,
        [.. Evaluate("o", subsetSize: "1"), "--model", "icons-64", "--clip", shell.Path("no-clip"), "--steps", "0"]);

    [Fact]
    public void A_way_of_resizing_that_there_is_not() => Refuses(
        """
        1 problem in the options

        resize  bilinear; must be pytorch-fid, torch-fidelity or clean-fid
        """, CommandLine.WrongUsage, [.. Evaluate("o", features: "inception.pth"), "--resize", "bilinear"]);

    [Fact]
    public void A_way_of_resizing_without_Inception() => Refuses(
        """
        1 problem in the options

        resize  clean-fid; nothing without the weights file of InceptionV3: FOLDER/clip has its own way
        """, CommandLine.WrongUsage, [.. Evaluate("o"), "--resize", "clean-fid"]);

    [Fact]
    public void Options_of_drawing_without_a_model() => Refuses(
        """
        1 problem in the options

        tokenizer, config, prediction-type, ema or variant, adapter, prompts, count, guidance  nothing without model: pictures of a folder are not drawn
        """, CommandLine.WrongUsage, [.. Evaluate("o"), "--adapter", "a.safetensors", "--prompts", "p.txt", "--count", "2", "--guidance", "3", "--ema"]);

    [Fact]
    public void The_same_folder_twice_and_an_output_inside_it() => Refuses(
        """
        2 problems in the options

        generated  FOLDER/real; is the folder of real pictures too
        output     FOLDER/real/o; lies in the folder of pictures, and would be taken for pictures itself; name a folder beside it
        """, CommandLine.WrongUsage, Evaluate(Path.Combine("real", "o"), generated: "real"));

    [Fact]
    public void A_network_that_is_not_there() => RefusesWith("no such network of features: FOLDER/inception.pth; ", CommandLine.WrongUsage, Evaluate("o", features: "inception.pth"));

    [Fact]
    public void A_file_of_weights_of_another_network() => RefusesWith("FOLDER/clip/model.safetensors", CommandLine.BadInput, Evaluate("o", features: "clip/model.safetensors"));

    [Fact]
    public void An_earlier_evaluation_that_is_none()
    {
        Refuses(
            """
            no such evaluation: FOLDER/e.json
              try         the evaluation.json in the output folder of an earlier one
            """, CommandLine.BadInput, [.. Evaluate("o"), "--compare", shell.Path("e.json")]);
        Refuses(
            """
            not an evaluation of this version: FOLDER/e.json
              unknown key "fdi" (did you mean "fid"?)
              try         the evaluation.json in the output folder of an earlier one, or evaluate those pictures again
            """, CommandLine.BadInput, [.. Evaluate("o"), "--compare", shell.Write("e.json", """{ "fdi": 1 }""")]);
    }

    private string[] Evaluate(string output, string generated = "generated", string subsetSize = "6", string features = "clip")
    {
        Pictures();
        return ["evaluate", "--real", shell.Path("real"), "--generated", shell.Path(generated), "--features", shell.Path(features), "--subsets", "3", "--output", shell.Path(output), "--subset-size", subsetSize];
    }

    private string[] Draw(string prompts) => ["evaluate", "--real", Pictures(), "--model", "icons-64", "--prompts", prompts, "--output", shell.Path("o")];

    /// <summary>12 real and 9 generated pictures with captions; gives the folder of the real ones.</summary>
    private string Pictures()
    {
        var all = Directory.GetFiles(Path.Combine(Repository.Root, "examples", "tango", "pictures"), "*.png").Order(StringComparer.Ordinal).ToList();
        foreach (var (name, files) in new[] { ("real", all.Take(12)), ("generated", all.Skip(8).Take(9)) })
        {
            if (Directory.Exists(shell.Path(name))) continue;
            Directory.CreateDirectory(shell.Path(name));
            foreach (var file in files)
            {
                File.Copy(file, shell.Path(name, Path.GetFileName(file)));
                shell.Write(Path.Combine(name, Path.GetFileNameWithoutExtension(file) + ".txt"), "an icon\n");
            }
        }
        return shell.Path("real");
    }

    /// <summary>The whole message, and nothing written but an output folder where the work had begun.</summary>
    private void Refuses(string message, int code, string[] arguments, string? made = null)
    {
        var before = Directory.GetFileSystemEntries(shell.Folder, "*", SearchOption.AllDirectories).Order().ToList();
        Assert.Equal(code, shell.Lora(arguments));
        Assert.Equal(message.ReplaceLineEndings("\n") + "\n", shell.Errors.Replace(shell.Folder, "FOLDER", StringComparison.Ordinal).Replace('\\', '/'));
        Assert.Equal(before, Directory.GetFileSystemEntries(shell.Folder, "*", SearchOption.AllDirectories).Where(path => made is null || path != shell.Path(made)).Order());
    }

    /// <summary>For messages that belong to somebody else's tests.</summary>
    private void RefusesWith(string part, int code, string[] arguments)
    {
        Assert.Equal(code, shell.Lora(arguments));
        Assert.Contains(part, shell.Errors.Replace(shell.Folder, "FOLDER", StringComparison.Ordinal).Replace('\\', '/'), StringComparison.Ordinal);
    }
}
