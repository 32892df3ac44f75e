using System.Text.Json;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;

namespace LowRank.Tests.Recipes;

public class InspectAdapterTests
{
    private static readonly string Folder = Path.Combine(Repository.Root, "tests", "fixtures", "adapters", "files");

    private static AdapterReport Inspect(string name) => InspectAdapter.Run(Path.Combine(Folder, name));

    [Fact]
    public void A_report_reads_as_a_screen() => Assert.Equal(
        $"""
        {Folder}/sd1_kohya_mixed.safetensors   44.6 kB   sha256 9961c04567b3…
        format    kohya, F32   kind LoRA   rank 1 to 4   alpha 0.25 to 3   scale 0.0625 to 1
        base      a model of another size (its cross-attention takes text of width 12)
        modules   24 in unet, 6 in text_encoder
        targets   conv2 8, ff.net.2 4, proj_in 4, to_k 4, to_q 4, fc1 2, out_proj 2, v_proj 2
        ‖ΔW‖      unet down.0      2.3 ██████               attn 1.02, conv 1.83, ff 0.597, other 0.76
                  unet down.1      2.7 ███████
                  unet mid        7.68 ████████████████████ attn 1.12, conv 6.99, ff 1.91, other 2.29
                  unet up.0       7.25 ██████████████████▉
                  unet up.1       3.15 ████████▎            attn 1.57, conv 2.57, ff 0.349, other 0.859
                  text_encoder       2 █████▎               attn 0.802, ff 1.83
        loads in  A1111 yes   Forge yes   ComfyUI yes   diffusers yes   sd.cpp yes   kohya yes   PEFT no
        trouble   8 of 30 modules have no alpha: their scale is 1
                  ranks or alphas differ by module: diffusers scales some modules of such a file wrongly
        """, Inspect("sd1_kohya_mixed.safetensors").ToString());

    [Theory]
    [InlineData("sd1_kohya_fp16.safetensors", "kohya", "A1111 yes, Forge yes, ComfyUI yes, diffusers yes, sd.cpp yes, kohya yes, PEFT no")]
    [InlineData("sd1_lycoris.safetensors", "LyCORIS", "A1111 no, Forge yes, ComfyUI yes, diffusers no, sd.cpp unknown, kohya yes, PEFT no")]
    [InlineData("sd1_diffusers_peft_folded.safetensors", "PEFT", "A1111 no, Forge no, ComfyUI in part, diffusers yes, sd.cpp yes, kohya no, PEFT no")]
    [InlineData("sd1_diffusers_mixed.safetensors", "PEFT+diffusers 2023", "A1111 no, Forge no, ComfyUI in part, diffusers in part, sd.cpp yes, kohya no, PEFT no")]
    [InlineData("sd1_diffusers_2023.safetensors", "attention-processor+diffusers 2023", "A1111 no, Forge yes, ComfyUI yes, diffusers yes, sd.cpp yes, kohya no, PEFT no")]
    [InlineData("sd1_attn_procs_prefixed.safetensors", "attention-processor", "A1111 no, Forge no, ComfyUI in part, diffusers yes, sd.cpp yes, kohya no, PEFT no")]
    [InlineData("sd1_attn_procs_bare.bin", "attention-processor", "A1111 no, Forge yes, ComfyUI yes, diffusers no, sd.cpp unknown, kohya no, PEFT no")]
    [InlineData("sd1_peft_unet", "PEFT", "A1111 no, Forge unknown, ComfyUI no, diffusers no, sd.cpp unknown, kohya no, PEFT yes")]
    [InlineData("sd1_ancestor_A.safetensors", "2022 package", "A1111 no, Forge no, ComfyUI no, diffusers no, sd.cpp no, kohya no, PEFT no")]
    [InlineData("sd1_ancestor_A.pt", "2022 package", "A1111 no, Forge no, ComfyUI no, diffusers no, sd.cpp no, kohya no, PEFT no")]
    public void Formats_are_told_apart_and_say_where_they_load(string name, string formats, string tools)
    {
        var report = Inspect(name);
        Assert.Equal(formats, string.Join('+', report.Formats));
        Assert.Equal(tools, string.Join(", ", report.LoadsIn.Select(item => $"{item.Key} {item.Value}")));
    }

    [Fact]
    public void Layers_of_a_text_encoder_under_LyCORIS_own_names_are_not_loaded_by_all_who_load_the_UNet_s()
    {
        using var folder = new TemporaryFolder();
        var path = folder.Path("lycoris.safetensors");
        using var scope = TorchSharp.torch.NewDisposeScope();
        var tensors = new[] { "lycoris_down_blocks_0_attentions_0_proj_in", "lycoris_text_model_encoder_layers_0_mlp_fc1" }
            .SelectMany(module => new[] { (Key: module + ".lora_down.weight", Value: TorchSharp.torch.ones(2, 8)), (Key: module + ".lora_up.weight", Value: TorchSharp.torch.ones(8, 2)) })
            .ToDictionary(item => item.Key, item => item.Value);
        MadeAdapter.Write(path, tensors, []);
        Assert.Equal("A1111 no, Forge no, ComfyUI in part, diffusers no, sd.cpp unknown, kohya yes, PEFT no",
            string.Join(", ", InspectAdapter.Run(path).LoadsIn.Select(item => $"{item.Key} {item.Value}")));
        var unet = tensors.Where(item => !item.Key.Contains("text_model", StringComparison.Ordinal)).ToDictionary();
        MadeAdapter.Write(folder.Path("unet.safetensors"), unet, []);
        Assert.Equal(["yes", "yes"], InspectAdapter.Run(folder.Path("unet.safetensors")).LoadsIn.Where(item => item.Key is "Forge" or "ComfyUI").Select(item => item.Value));
    }

    [Theory]
    [InlineData("sdxl_kohya_sgm.safetensors", "Stable Diffusion XL", "metadata ss_base_model_version")]
    [InlineData("sdxl_diffusers_peft.safetensors", "Stable Diffusion XL", "it has a second text encoder")]
    [InlineData("sd1_kohya_fp32.safetensors", "Stable Diffusion 1", "metadata ss_base_model_version")]
    [InlineData("bad/other_base_by_shape.safetensors", "Stable Diffusion 2", "metadata ss_base_model_version")]
    public void The_base_is_guessed_from_metadata_names_and_shapes(string name, string expected, string because)
    {
        var report = Inspect(name);
        Assert.Equal((expected, because), (report.Base, report.BaseEvidence));
    }

    [Theory]
    [InlineData("sd1_kohya_fp16.safetensors", "")]
    [InlineData("bad/nan.safetensors", "L_to_k: not finite: 1 infinite in lora_up|L_to_q: not finite: 1 NaN in lora_down")]
    [InlineData("bad/dora_scale_unexpected.safetensors", "A1111, Forge and ComfyUI draw something else with a DoRA that has a length for each output: give them a model with it merged in (lora merge)")]
    [InlineData("bad/missing_up.safetensors", "L_to_q: lora_down without lora_up")]
    [InlineData("bad/orphan_alpha.safetensors", "L_to_q: alpha without factors; it is ignored")]
    [InlineData("bad/alpha_zero.safetensors", "L_to_q: alpha 0; read as alpha = rank, as sd-scripts does (others multiply by 0)|ranks or alphas differ by module: diffusers scales some modules of such a file wrongly")]
    [InlineData("sd1_ancestor_A.safetensors", "")]
    [InlineData("sd1_diffusers_mixed.safetensors", "generations of keys are mixed: diffusers looks at the first key only and drops the others in silence")]
    public void Trouble_is_named(string name, string expected) =>
        Assert.Equal(expected.Replace("L_", "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_"), string.Join('|', Inspect(name).Trouble));

    [Fact]
    public void A_fresh_adapter_is_reported_as_changing_nothing()
    {
        using var folder = new TemporaryFolder();
        using var net = Adapters.TinyNet.Make();
        using var init = new TorchSharp.torch.Generator(1);
        using var set = LowRank.Adapters.AdapterSet.Create(Adapters.TinyNet.Components(net), new() { Targets = ["last"] }, init, TorchSharp.torch.CPU);
        LowRank.Adapters.AdapterWriter.Write(folder.Path("fresh.safetensors"), set);
        Assert.Equal(["1 of 1 modules change nothing (a factor is zero): lora_net_last"], InspectAdapter.Run(folder.Path("fresh.safetensors")).Trouble);
    }

    [Fact]
    public void Reports_are_written_as_json_with_every_field()
    {
        using var json = JsonDocument.Parse(InspectAdapter.ToJson([Inspect("sd1_ancestor_A.safetensors"), Inspect("bad/nan.safetensors")]));
        Assert.Equal(2, json.RootElement.GetArrayLength());
        var first = json.RootElement[0];
        Assert.Equal(["file", "bytes", "sha256", "formats", "types", "kinds", "modules", "targets", "ranks", "alphas", "scales", "base", "base_evidence", "training", "norms", "norms_by_part", "embeddings", "metadata", "trouble", "loads_in"],
            first.EnumerateObject().Select(item => item.Name));
        Assert.Equal(36, first.GetProperty("modules").GetProperty("unet").GetInt32());
        Assert.Equal(["<s1> [12]", "<s2> [12]"], first.GetProperty("embeddings").EnumerateArray().Select(item => item.GetString()));
        Assert.Equal("NaN", json.RootElement[1].GetProperty("norms").GetProperty("unet down.0").GetString());
    }

    [Fact]
    public void Metadata_of_a_training_is_told_in_words()
    {
        using var folder = new TemporaryFolder();
        var training = Words(folder, new()
        {
            ["modelspec.title"] = "Wolf",
            ["modelspec.author"] = "A. N. Other",
            ["ss_training_started_at"] = "1700000000.25",
            ["ss_training_comment"] = "None",
            ["ss_steps"] = "20",
            ["ss_max_train_steps"] = "40",
            ["ss_epoch"] = "2",
            ["ss_num_epochs"] = "4",
            ["ss_seed"] = "42",
            ["ss_sd_model_name"] = "v1-5.safetensors",
            ["ss_learning_rate"] = "0.0003",
            ["ss_unet_lr"] = "0.0001",
            ["ss_text_encoder_lr"] = "5e-05",
            ["ss_lr_scheduler"] = "cosine",
            ["ss_lr_warmup_steps"] = "0",
            ["ss_optimizer"] = "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1)",
            ["ss_resolution"] = "(512, 768)",
            ["ss_total_batch_size"] = "4",
            ["ss_gradient_accumulation_steps"] = "2",
            ["ss_mixed_precision"] = "bf16",
            ["ss_noise_offset"] = "0.05",
            ["ss_min_snr_gamma"] = "5.0",
            ["ss_clip_skip"] = "2",
            ["ss_num_train_images"] = "20",
            ["ss_num_reg_images"] = "0",
            ["ss_dataset_dirs"] = """{"10_wolf": {"n_repeats": 10, "img_count": 2}}""",
            ["ss_tag_frequency"] = """{"a": {"wolf": 2, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1}, "b": {"wolf": 3, "g": 1, "h": 1, "i": 1, "j": 1, "k": 1}}""",
        });
        Assert.Equal(new Dictionary<string, string>
        {
            ["made"] = "title \"Wolf\", by A. N. Other, 2023-11-14 22:13 UTC",
            ["trained"] = "20 steps of 40, 2 of 4 epochs, seed 42, on v1-5.safetensors",
            ["rates"] = "UNet 0.0001, text encoder 5e-05, cosine, AdamW8bit",
            ["settings"] = "512×768 px, batch 4, gradients of 2 batches, bf16, noise offset 0.05, min-SNR gamma 5.0, clip skip 2",
            ["pictures"] = "20 an epoch, 10_wolf: 2 pictures × 10",
            ["tags"] = "wolf 5, b 1, c 1, d 1, e 1, f 1, g 1, h 1, i 1, j 1 and 1 more",
        }, training);
    }

    [Theory]
    [InlineData("ss_tag_frequency", "not json")]
    [InlineData("ss_tag_frequency", "[1]")]
    [InlineData("ss_tag_frequency", "{\"a\": 3}")]
    [InlineData("ss_dataset_dirs", "{\"a\": 3}")]
    [InlineData("ss_training_started_at", "yesterday")]
    [InlineData("ss_training_started_at", "1e300")]
    [InlineData("ss_seed", "None")]
    [InlineData("ss_training_comment", "")]
    public void Metadata_that_says_nothing_is_passed_over(string key, string value)
    {
        using var folder = new TemporaryFolder();
        Assert.Empty(Words(folder, new() { [key] = value }));
    }

    [Fact]
    public void Of_a_large_file_the_header_is_read_unless_asked_for_all()
    {
        using var folder = new TemporaryFolder();
        using var scope = TorchSharp.torch.NewDisposeScope();
        var path = MadeAdapter.Write(folder.Path("large.safetensors"), new() { ["lora_unet_mid_block_attn1_to_q.lora_down.weight"] = TorchSharp.torch.ones(4, (int)InspectAdapter.ReadWholeUpTo / 16 + 1), ["lora_unet_mid_block_attn1_to_q.lora_up.weight"] = TorchSharp.torch.ones(8, 4) });
        var header = InspectAdapter.Run(path);
        Assert.Equal((null, 0, 0), (header.Sha256, header.Norms.Count, header.NormsByPart.Count));
        Assert.Contains("\n‖ΔW‖      not computed, nor the hash: only the header was read; --full reads all 50 MB\n", header.ToString(), StringComparison.Ordinal);
        var full = InspectAdapter.Run(path, full: true);
        Assert.Equal(64, full.Sha256!.Length);
        Assert.Equal(["unet mid"], full.Norms.Keys);
    }

    [Fact]
    public void Numbers_that_half_precision_cannot_hold_are_trouble()
    {
        using var folder = new TemporaryFolder();
        using var scope = TorchSharp.torch.NewDisposeScope();
        var path = MadeAdapter.Write(folder.Path("wide.safetensors"), new() { ["lora_unet_x.lora_down.weight"] = TorchSharp.torch.ones(2, 8), ["lora_unet_x.lora_up.weight"] = TensorArithmetic.Filled([8, 2], 7e4), ["lora_unet_x.alpha"] = TorchSharp.torch.tensor(2f) });
        Assert.Equal(["1 tensors hold numbers that half precision cannot (up to 7E+04 in lora_up of lora_unet_x): programs that load it as fp16 make infinities of them; use it as bf16 or fp32"], InspectAdapter.Run(path).Trouble);
    }

    [Fact]
    public void Clamped_numbers_are_trouble()
    {
        using var folder = new TemporaryFolder();
        using var scope = TorchSharp.torch.NewDisposeScope();
        var down = TensorArithmetic.Counting(800, TorchSharp.torch.ScalarType.Float32).view(2, 400).AtMost(780);
        var path = MadeAdapter.Write(folder.Path("clamped.safetensors"), new() { ["lora_unet_x.lora_down.weight"] = down, ["lora_unet_x.lora_up.weight"] = TorchSharp.torch.ones(8, 2), ["lora_unet_x.alpha"] = TorchSharp.torch.tensor(2f) });
        Assert.Equal(["1 tensors were clamped, as some tools do when they extract an adapter: many of their numbers are exactly the largest (20 of 800 in lora_down of lora_unet_x)"], InspectAdapter.Run(path).Trouble);
    }

    [Fact]
    public void Norms_are_drawn_as_a_picture_and_never_over_the_adapter()
    {
        using var folder = new TemporaryFolder();
        var report = Inspect("sd1_kohya_mixed.safetensors");
        InspectAdapter.Plot(report, folder.Path("norms.png"));
        var picture = File.ReadAllBytes(folder.Path("norms.png"));
        Assert.Equal([0x89, (byte)'P', (byte)'N', (byte)'G'], picture[..4]);
        Assert.InRange(picture.Length, 5_000, 100_000);
        Assert.Equal($"the plot would overwrite the adapter; {report.File}; give it another name", Assert.Throws<OptionsException>(() => InspectAdapter.Plot(report, report.File)).Message);
        var none = Inspect("learned_embeds.safetensors");
        Assert.Equal($"there is nothing to plot: {none.File} holds no changes of layers whose length is known", Assert.Throws<OptionsException>(() => InspectAdapter.Plot(none, folder.Path("none.png"))).Message);
    }

    [Fact]
    public void Alphas_of_every_type_are_read()
    {
        using var folder = new TemporaryFolder();
        using var scope = TorchSharp.torch.NewDisposeScope();
        foreach (var type in new[] { TorchSharp.torch.ScalarType.Float64, TorchSharp.torch.ScalarType.Float32, TorchSharp.torch.ScalarType.Float16, TorchSharp.torch.ScalarType.BFloat16, TorchSharp.torch.ScalarType.Int64, TorchSharp.torch.ScalarType.Int32, TorchSharp.torch.ScalarType.Int16, TorchSharp.torch.ScalarType.Byte })
        {
            var path = MadeAdapter.Write(folder.Path($"{type}.safetensors"), new() { ["lora_unet_x.lora_down.weight"] = TorchSharp.torch.ones(2, 8), ["lora_unet_x.lora_up.weight"] = TorchSharp.torch.ones(8, 2), ["lora_unet_x.alpha"] = TorchSharp.torch.tensor(3f).to(type) });
            Assert.Equal([3.0], InspectAdapter.Run(path).Alphas);
        }
    }

    private static IReadOnlyDictionary<string, string> Words(TemporaryFolder folder, Dictionary<string, string> metadata)
    {
        using var scope = TorchSharp.torch.NewDisposeScope();
        return InspectAdapter.Run(MadeAdapter.Write(folder.Path("words.safetensors"), new() { ["lora_unet_x.lora_down.weight"] = TorchSharp.torch.ones(2, 8), ["lora_unet_x.lora_up.weight"] = TorchSharp.torch.ones(8, 2) }, metadata)).Training;
    }

    [Fact]
    public void What_is_no_adapter_file_is_refused() =>
        Assert.Equal($"no such file; {Folder}/none.safetensors; check the path", Assert.Throws<CheckpointException>(() => Inspect("none.safetensors")).Message);
}
