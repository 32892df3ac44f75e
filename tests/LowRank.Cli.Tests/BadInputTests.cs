using LowRank.Testing;

namespace LowRank.Cli.Tests;

/// <summary>What a person sees when what they gave cannot be used: all of it, as the program writes it.</summary>
public sealed class BadInputTests : IDisposable
{
    private static readonly string Fixtures = Path.Combine(Repository.Root, "tests", "fixtures");
    private static readonly string Long = string.Join(' ', Enumerable.Repeat("apple", 40)) + " pear";
    private static readonly string Cut = "12 tokens: \"" + string.Join(' ', Enumerable.Repeat("apple", 10)) + " pear\"";

    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Fact]
    public void A_missing_folder_of_pictures() => Refuses(
        """
        no such folder of pictures: FOLDER/nowhere
          try         a folder that exists; a recipe's data folders are relative to the recipe file
        """, CommandLine.BadInput, Train("data[0].folder=nowhere"));

    [Fact]
    public void An_empty_folder_of_pictures()
    {
        Directory.CreateDirectory(shell.Path("empty"));
        Refuses(
            """
            no pictures in FOLDER/empty
              looked for  .jpg .jpeg .png .webp .gif .bmp .tif .tiff .avif .svg in it and one level down
              try         another folder, or put pictures into this one
            """, CommandLine.BadInput, Train("data[0].folder=empty"));
    }

    [Fact]
    public void An_empty_folder_of_prior_pictures()
    {
        Directory.CreateDirectory(shell.Path("empty"));
        Refuses(
            """
            no pictures in FOLDER/empty
              looked for  .jpg .jpeg .png .webp .gif .bmp .tif .tiff .avif .svg in it and one level down
              try         another folder, pictures of the class in this one, or [prior] in place of this table: then the model draws them
            """, CommandLine.BadInput, Train("data=[{folder='pictures'}, {folder='empty', prior=true}]"));
    }

    [Fact]
    public void A_folder_for_drawn_prior_pictures_that_holds_other_things() => Refuses(
        """
        prior.folder holds what was not drawn for it: FOLDER/pictures
          found       FIRST, and no drawn.toml that says what drew it
          try         another prior.folder; pictures of your own go into a [[data]] table with prior = true
        """.Replace("FIRST", FirstPicture(), StringComparison.Ordinal), CommandLine.BadInput, Train("prior={prompt='a heart', folder='pictures'}"));

    [Fact]
    public void A_teacher_beside_a_trained_text_encoder() => Refuses(
        """
        1 problem in FOLDER/recipe.toml

        loss.teacher_weight  0.5; not with [text_encoder]: what the base reads in a caption would be lost; leave out one of them, or take [prior] in place of the teacher
        """, CommandLine.WrongUsage, Train("loss.teacher_weight=0.5", "text_encoder={rank=2}"));

    [Fact]
    public void A_new_word_that_the_model_knows_already() => Refuses(
        $"the placeholder token dog is in the vocabulary of the model already, where it means something: take a made-up word, such as <dog-1>; in {Path.Combine(Fixtures, "models", "pipelines", "sd1")}/tokenizer",
        CommandLine.WrongUsage, Invert("[{token='dog'}]"));

    [Fact]
    public void A_start_of_several_words_for_one_vector() => Refuses(
        "tokens[0].init: \"cat dog\" is 2 tokens for text_encoder of this model, and <s1> has 1 vector; give one word, or vectors = 2, or init_mean = true",
        CommandLine.WrongUsage, Invert("[{token='<s1>', init='cat dog'}]"));

    [Fact]
    public void An_option_that_the_optimizer_does_not_have() => Refuses(
        """
        1 problem in FOLDER/recipe.toml

        training.momentum  0.5; does nothing without optimizer = "sgd"
        """, CommandLine.WrongUsage, Train("training.optimizer=lion", "training.momentum=0.5"));

    [Fact]
    public void A_table_that_only_other_methods_have_and_words_that_are_nearly_right() => Refuses(
        """
        4 problems in FOLDER/recipe.toml

        adapter             unknown key for this method; goes with method = "lora", "dreambooth", "pivotal"
        training.optimizer  "adamw9bit" is none of adamw, adamw8bit, adam, lion, adafactor, came, prodigy, adamw-schedule-free, sgd (did you mean "adamw8bit"?)
        full                unknown key for this method; goes with method = "full"
        tokens              missing, and it has no default
        """, CommandLine.WrongUsage, Train("method=textual-inversion", "training.optimizer=adamw9bit", "full.init=random"));

    [Fact]
    public void A_mask_of_another_size_than_its_picture()
    {
        var name = FirstPicture();
        var mask = Path.ChangeExtension(name, ".mask.png");
        File.Copy(Path.Combine(Repository.Root, "docs", "pictures", "crops.png"), shell.Path("pictures", mask));
        Refuses(
            $"""
            masks in FOLDER/pictures that do not fit their pictures
              {mask} is 676×304, {name} is 64×64
              try         masks of exactly their picture's size: they are resized, cut and mirrored together
            """, CommandLine.BadInput, Train("data[0].mask=sidecar"));
    }

    [Fact]
    public void Pictures_without_captions_where_captions_are_asked_for()
    {
        shell.TinyRecipe();
        foreach (var caption in Directory.GetFiles(shell.Path("pictures"), "*.txt")) File.Delete(caption);
        var names = Directory.GetFiles(shell.Path("pictures")).Select(path => Path.GetFileNameWithoutExtension(path)!).Order(StringComparer.Ordinal).ToList();
        Refuses(
            $"""
            none of the 3 pictures in FOLDER/pictures can be used
              {string.Join("\n  ", names.Select(name => $"{name}.png: no caption: neither {name}.txt nor {name}.caption is there"))}
              try         captions beside the pictures, or caption set to a text for all of them, or to "file-name"
            """, CommandLine.BadInput, ["train", shell.Path("recipe.toml")]);
    }

    [Fact]
    public void Broken_pictures_are_named_and_counted_and_nothing_is_trained_when_none_is_left()
    {
        Broken();
        Assert.Equal(0, shell.Lora([.. Train("data[0].folder=broken", "data[0].caption=x"), "--dry-run"]));
        Assert.Contains("broken: 1 picture, all captioned \"x\", 4 skipped\n", shell.Output, StringComparison.Ordinal);
        Assert.Equal("", shell.Errors);
        File.Delete(shell.Path("broken", "misnamed.jpg"));
        Refuses(
            """
            none of the 4 pictures in FOLDER/broken can be used
              bomb.svg: its header says 20000×20000, above the limit of 178,956,970 pixels; make it smaller if it is real
              cut.png: the file ends before the picture does: an unfinished copy or download
              empty.png: the file is empty (0 bytes)
              text.png: not a picture that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, SVG), whatever its name says
              try         other pictures: each line says what is wrong with one
            """, CommandLine.BadInput, Train("data[0].folder=broken", "data[0].caption=x"));
    }

    [Fact]
    public void A_start_picture_that_is_broken()
    {
        Broken();
        Refuses(
            """
            picture cannot be read: FOLDER/broken/cut.png
              the file ends before the picture does: an unfinished copy or download
            """, CommandLine.BadInput, Generate("icons-64", "--image", shell.Path("broken", "cut.png")));
    }

    [Fact]
    public void A_model_that_is_not_there() => Refuses(
        "no model is there; icon-64 (did you mean \"icons-64\"?); name a folder that holds model_index.json, a checkpoint of one file (.safetensors, .ckpt), or an embedded model: icons-64", CommandLine.BadInput, Train("model=icon-64"));

    [Fact]
    public void A_model_that_lacks_a_part()
    {
        Directory.Delete(Model("vae"), recursive: true);
        Refuses("the model lacks a part: the folder vae is missing; in FOLDER/model; copy the whole model, with every part that model_index.json names",
            CommandLine.BadInput, Train($"model={shell.Path("model")}"));
    }

    [Fact]
    public void A_value_in_a_models_configuration_that_is_not_supported()
    {
        var config = Model("unet", "config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"act_fn\": \"silu\"", "\"act_fn\": \"relu\"", StringComparison.Ordinal));
        Refuses(
            """
            FOLDER/model/unet/config.json: this UNet2DConditionModel cannot be built:
              act_fn is "relu"; supported: "silu", "swish"
            """, CommandLine.BadInput, Generate(shell.Path("model")));
    }

    [Fact]
    public void A_checkpoint_that_is_cut_short()
    {
        using (var weights = File.OpenWrite(Model("unet", "diffusion_pytorch_model.safetensors"))) weights.SetLength(1000);
        Refuses(
            "the file is cut short: its header has 76296 bytes and starts at byte 8, the file has 1000 bytes; in FOLDER/model/unet/diffusion_pytorch_model.safetensors; download or copy the file again",
            CommandLine.BadInput, Generate(shell.Path("model")));
    }

    [Fact]
    public void A_checkpoint_that_wants_to_run_a_program()
    {
        File.Delete(Model("unet", "diffusion_pytorch_model.safetensors"));
        File.Copy(Path.Combine(Fixtures, "adapters", "files", "bad", "evil.pt"), Model("unet", "diffusion_pytorch_model.bin"));
        Refuses(
            "the pickle wants __builtin__.print, which no tensor needs; nothing of it was run; in FOLDER/model/unet/diffusion_pytorch_model.bin; the file may be hostile: get it as .safetensors, or from somebody you trust",
            CommandLine.BadInput, Generate(shell.Path("model")));
    }

    [Fact]
    public void An_adapter_for_another_base() => Refuses(
        """
        adapter does not fit this model: 4 of 4 modules of other shapes; it was made for another base: its cross-attention takes text of width 24, this model's 128 (768 is Stable Diffusion 1, 1024 is 2, 2048 is XL)
          file    other_base_by_shape.safetensors (kohya keys, rank 3; made for Stable Diffusion 2: metadata ss_base_model_version)
          model   icons-64 (Stable Diffusion 1)
          shapes  lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k: lora_down has 24 input columns, the layer has 128
                  lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k: lora_down has 24 input columns, the layer has 128
                  lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k: lora_down has 24 input columns, the layer has 128
                  lora_unet_up_blocks_1_attentions_1_transformer_blocks_0_attn2_to_k: lora_down has 24 input columns, the layer has 128
          try     a base model of the kind the adapter was made for
                  `lora inspect other_base_by_shape.safetensors`
        """, CommandLine.BadInput, Generate("icons-64", "--adapter", Path.Combine(Fixtures, "adapters", "files", "bad", "other_base_by_shape.safetensors")));

    [Fact]
    public void An_adapter_that_is_not_there() =>
        Refuses("no such file; FOLDER/nowhere.safetensors; check the path", CommandLine.BadInput, Generate("icons-64", "--adapter", shell.Path("nowhere.safetensors")));

    [Fact]
    public void A_prompt_longer_than_the_window_is_a_warning_that_says_what_is_cut()
    {
        Assert.Equal(0, shell.Lora("generate", "--model", "icons-64", "--prompt", Long, "--prompt-weights", "none", "--steps", "1", "--output", shell.Path("pictures")));
        Assert.Equal($"warning: the prompt is longer than the model's 32 tokens; cut away: {Cut}\n", shell.Errors);
    }

    [Fact]
    public void A_caption_longer_than_the_window_is_a_warning_that_says_what_is_cut()
    {
        var recipe = shell.TinyRecipe();
        var caption = Directory.GetFiles(shell.Path("pictures"), "*.txt").Order(StringComparer.Ordinal).First();
        File.WriteAllText(caption, Long);
        Assert.Equal(0, shell.Lora("train", recipe));
        Assert.Equal($"warning: a caption is longer than the model's 32 tokens; cut away: {Cut}; of {Path.ChangeExtension(caption, ".png")}", shell.Errors.Trim());
    }

    [Fact]
    public void An_output_below_a_file_is_found_before_the_run()
    {
        var file = shell.Write("occupied", "a file where a folder should be");
        Refuses(
            """
            the output folder cannot be written: FOLDER/occupied/run
              reason    FOLDER/occupied is a file, and a folder should be there
              try       another output folder, or its permissions and the disk it lies on
            """, CommandLine.WrongUsage, [.. Train(), "--output", Path.Combine(file, "run")]);
        Assert.DoesNotContain("step", shell.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_used_run_folder_and_a_resume_with_changed_options()
    {
        Assert.Equal(0, shell.Lora(Train()));
        Refuses(
            """
            the output folder already holds a run: FOLDER/run
              found     events.jsonl
              try       to resume that run (--resume), another output folder, or remove the folder
            """, CommandLine.WrongUsage, Train());
        Refuses(
            """
            a resumed run keeps its options, and 2 changed:
              seed: 4; the run began with 3
              training.learning_rate: 0.5; the run began with 0.01
              try       the old values, or a new run in another output folder
            """, CommandLine.WrongUsage, [.. Train("training.learning_rate=0.5", "seed=4"), "--resume"]);
    }

    [Fact]
    public void A_recipe_with_an_unknown_key_a_wrong_type_and_impossible_values_has_them_all_told_at_once()
    {
        shell.TinyRecipe();
        Refuses(
            """
            4 problems in FOLDER/recipe.toml

            adapter.rank         the text "four" where a whole number is expected
            training.stpes       unknown key; did you mean training.steps?
            training.batch_size  0; must be 1 or more
            preview.sampler      euleer; must be one of ddim, ddpm, euler, euler-a, heun, dpmpp-2m, dpmpp-2m-karras, unipc, lcm, pndm, dpm2, dpm2-a, dpmpp-sde, dpmpp-2m-sde, lms, tcd, deis, dpmpp-2s; did you mean euler?
            """, CommandLine.WrongUsage, Train("training.stpes=5", "adapter.rank=four", "training.batch_size=0", "preview.sampler=euleer"));
    }

    [Fact]
    public void An_inpainting_recipe_for_a_model_with_4_channels() => Refuses(
        """
        1 problem in the recipe for the model icons-64

        inpainting  Stable Diffusion 1 has 4 input channels and sees no holes: leave the [inpainting] table out, take an inpainting model, which has 9, or make one: method = "full" with widen = true
        """, CommandLine.WrongUsage, Train("inpainting.full_holes=0.5"));

    [Fact]
    public void An_inpainting_model_with_9_channels_without_pictures_and_in_a_recipe_without_holes()
    {
        var model = Path.Combine(Fixtures, "models", "pipelines", "sd1-inpaint");
        Refuses(
            $"""
            1 problem in the recipe for the model {model}

            inpainting  not set; Stable Diffusion 1 inpainting has 9 input channels, for pictures with holes: add an [inpainting] table, or take the model it was made from
            """, CommandLine.WrongUsage, Train($"model={model}"));
        Refuses("Stable Diffusion 1 inpainting paints in pictures; give a picture and a mask", CommandLine.WrongUsage, Generate(model));
    }

    [Fact]
    public void Pictures_that_could_not_be_written_are_not_made() => Refuses(
        """
        the output folder cannot be written: FOLDER/recipe.toml/x
          reason    FOLDER/recipe.toml is a file, and a folder should be there
          try       another output folder, or its permissions and the disk it lies on
        """, CommandLine.WrongUsage, ["generate", "--model", "icons-64", "--prompt", "x", "--output", Path.Combine(shell.TinyRecipe(), "x")]);

    [Fact]
    public void A_resume_where_no_run_is() => Refuses(
        """
        there is no run in FOLDER/run
          looked for  FOLDER/run/events.jsonl
          try         the folder that the run was started with, or start a new run
        """, CommandLine.WrongUsage, [.. Train(), "--resume"]);

    /// <summary>The whole of standard error, with the test's folder called FOLDER; and no file was written.</summary>
    private void Refuses(string message, int code, string[] arguments)
    {
        var before = Directory.GetFiles(shell.Folder, "*", SearchOption.AllDirectories);
        Assert.Equal(code, shell.Lora(arguments));
        Assert.Equal(message.ReplaceLineEndings("\n") + "\n", shell.Errors.Replace(shell.Folder, "FOLDER", StringComparison.Ordinal).Replace('\\', '/'));
        Assert.Equal(before, Directory.GetFiles(shell.Folder, "*", SearchOption.AllDirectories));
    }

    private string[] Train(params string[] settings) => ["train", shell.TinyRecipe(), .. settings.SelectMany(setting => new[] { "--set", setting })];

    private string[] Generate(string model, params string[] extra) => ["generate", "--model", model, "--prompt", "x", "--steps", "1", "--output", shell.Path("pictures-made"), .. extra];

    private string[] Invert(string tokens)
    {
        var arguments = Train("method=textual-inversion", $"model={Path.Combine(Fixtures, "models", "pipelines", "sd1")}", $"tokens={tokens}", "template=object");
        File.WriteAllText(shell.Path("recipe.toml"), File.ReadAllText(shell.Path("recipe.toml")).ReplaceLineEndings("\n").Replace("[adapter]\nrank = 2\n", "", StringComparison.Ordinal));
        return arguments;
    }

    private string FirstPicture()
    {
        shell.TinyRecipe();
        return Directory.GetFiles(shell.Path("pictures")).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal).First();
    }

    /// <summary>A copy of a tiny model, to be broken; gives the path of one of its files.</summary>
    private string Model(params string[] part)
    {
        var source = Path.Combine(Fixtures, "models", "pipelines", "sd1");
        foreach (var file in Directory.GetFiles(source, "*", SearchOption.AllDirectories).Where(_ => !Directory.Exists(shell.Path("model", "vae"))).ToList())
        {
            var target = shell.Path("model", Path.GetRelativePath(source, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target, overwrite: true);
        }
        return shell.Path(["model", .. part]);
    }

    /// <summary>A picture under another format's name, and four files that are no pictures.</summary>
    private void Broken()
    {
        Directory.CreateDirectory(shell.Path("broken"));
        var good = File.ReadAllBytes(Directory.GetFiles(Path.Combine(Repository.Root, "examples", "tango", "pictures"), "*.png").Order(StringComparer.Ordinal).First());
        File.WriteAllBytes(shell.Path("broken", "misnamed.jpg"), good);
        File.WriteAllBytes(shell.Path("broken", "cut.png"), good[..200]);
        File.WriteAllBytes(shell.Path("broken", "empty.png"), []);
        shell.Write(Path.Combine("broken", "text.png"), "I am a text");
        shell.Write(Path.Combine("broken", "bomb.svg"), "<svg xmlns='http://www.w3.org/2000/svg' width='20000' height='20000'/>");
    }
}
