using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Tests.Golden;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Adapters;

/// <summary>Writing adapters, and the whole messages of files that do not fit. What is read is held by the golden cases.</summary>
public sealed class AdapterFileTests : IDisposable
{
    private static readonly string Fixtures = Path.Combine(Repository.Root, "tests", "fixtures", "adapters", "files");

    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = NewDisposeScope();
    private readonly nn.Module net = TinyNet.Make();

    public void Dispose()
    {
        net.Dispose();
        scope.Dispose();
        folder.Dispose();
    }

    private AdapterSet Trained(float amplitude = 0.5f)
    {
        using var init = new Generator(1);
        var set = AdapterSet.Create(TinyNet.Components(net), new() { Rank = 3, Alpha = 1.5, ConvRank = 2, ConvAlpha = 3, Targets = ["all"] }, init, CPU);
        using var quiet = no_grad();
        foreach (var (name, parameter) in set.NamedParameters()) parameter.copy_(Formula.Noise(name, parameter.shape, 1, amplitude));
        return set;
    }

    private static void SetLast(AdapterSet set, float value)
    {
        using var quiet = no_grad();
        set.Layers[^1].Factors["up"][0, 0] = value;
    }

    private static AdapterModels TinyModels()
    {
        using var golden = GoldenCase.Open("adapters/sd1_delta");
        return AdapterModels.FromParams(golden.Json.GetProperty("params"));
    }

    private static string Refusal(string file, AdapterLoadOptions? options = null)
    {
        using var models = TinyModels();
        using var opened = AdapterFile.Open(Path.Combine(Fixtures, file));
        return Assert.Throws<CheckpointException>(() => AdapterSet.Load(models, opened, options)).Message;
    }

    [Theory]
    [InlineData(AdapterFormat.Kohya, StoredType.F32, 1e-7)]
    [InlineData(AdapterFormat.Peft, StoredType.F32, 1e-6)]
    [InlineData(AdapterFormat.Kohya, StoredType.F16, 2e-3)]
    [InlineData(AdapterFormat.Peft, StoredType.BF16, 2e-2)]
    public void A_written_adapter_reads_back_to_the_same_deltas(AdapterFormat format, StoredType type, double tolerance)
    {
        using var set = Trained();
        AdapterWriter.Write(folder.Path("a.safetensors"), set, new() { Format = format, Type = type });
        using var file = AdapterFile.Open(folder.Path("a.safetensors"));
        using var again = AdapterSet.Load(TinyNet.Components(net), file, new() { Strength = 0.5 });
        Assert.Equal(0.5, again.Strength);
        Assert.Empty(again.Warnings);
        Assert.Equal(set.Layers.Select(layer => layer.Path), again.Layers.Select(layer => layer.Path));
        foreach (var (before, after) in set.Layers.Zip(again.Layers)) TensorAssert.Close(before.Delta(), after.Delta(), tolerance, tolerance, before.Path);
        Assert.Equal([type], file.Tensors.Select(info => info.Type).Distinct());
    }

    [Fact]
    public void A_kohya_file_has_its_keys_alphas_and_explains_itself()
    {
        using var set = Trained();
        AdapterWriter.Write(folder.Path("mine.safetensors"), set, new()
        {
            Base = "icons-64",
            BaseVersion = "sd_v1",
            Seed = 7,
            Steps = 600,
            Targets = ["all"],
            Resolution = (64, 64),
            PredictionType = "epsilon",
            Options = "rank = 3",
        });
        using var file = SafetensorsReader.Open(folder.Path("mine.safetensors"));
        Assert.Equal(
            [
                "lora_net_first.alpha", "lora_net_first.lora_down.weight", "lora_net_first.lora_up.weight",
                "lora_net_last.alpha", "lora_net_last.lora_down.weight", "lora_net_last.lora_up.weight",
                "lora_net_narrow.alpha", "lora_net_narrow.lora_down.weight", "lora_net_narrow.lora_up.weight",
                "lora_net_wide.alpha", "lora_net_wide.lora_down.weight", "lora_net_wide.lora_up.weight",
            ],
            file.Tensors.Keys);
        Assert.Empty(file.Tensors["lora_net_first.alpha"].Shape);
        Assert.Equal([2, 4, 3, 3], file.Tensors["lora_net_wide.lora_down.weight"].Shape);
        Assert.Equal([6, 2, 1, 1], file.Tensors["lora_net_wide.lora_up.weight"].Shape);
        Assert.Equal(3f, file.Read("lora_net_wide.alpha").to(ScalarType.Float32).item<float>());
        var expected = new Dictionary<string, string>
        {
            ["lowrank.version"] = AdapterMetadata.Version,
            ["lowrank.kind"] = "lora",
            ["lowrank.rank"] = "2, 3",
            ["lowrank.alpha"] = "1.5, 3",
            ["lowrank.targets"] = """["all"]""",
            ["lowrank.base"] = "icons-64",
            ["lowrank.base_version"] = "sd_v1",
            ["lowrank.seed"] = "7",
            ["lowrank.steps"] = "600",
            ["lowrank.options"] = "rank = 3",
            ["modelspec.sai_model_spec"] = "1.0.1",
            ["modelspec.architecture"] = "stable-diffusion-v1/lora",
            ["modelspec.implementation"] = "diffusers",
            ["modelspec.title"] = "mine",
            ["modelspec.resolution"] = "64x64",
            ["modelspec.prediction_type"] = "epsilon",
            ["ss_network_module"] = "networks.lora",
            ["ss_network_dim"] = "3",
            ["ss_network_alpha"] = "1.5",
            ["ss_network_args"] = """{"conv_alpha":"3.0","conv_dim":"2"}""",
            ["ss_output_name"] = "mine",
            ["ss_base_model_version"] = "sd_v1",
            ["ss_v2"] = "False",
            ["ss_seed"] = "7",
            ["ss_steps"] = "600",
            ["ss_resolution"] = "(64, 64)",
            ["sshs_legacy_hash"] = "e3b0c442",   // of nothing: it looks behind the first MiB
            ["sshs_model_hash"] = file.Metadata["sshs_model_hash"],
        };
        Assert.Equal(expected.OrderBy(item => item.Key, StringComparer.Ordinal), file.Metadata.OrderBy(item => item.Key, StringComparer.Ordinal));
    }

    [Fact]
    public void A_peft_file_has_one_generation_of_keys_and_no_alpha()
    {
        using var set = Trained();
        AdapterWriter.Write(folder.Path("mine.safetensors"), set, new() { Format = AdapterFormat.Peft });
        using var file = SafetensorsReader.Open(folder.Path("mine.safetensors"));
        Assert.Equal(
            ["net.first.lora_A.weight", "net.first.lora_B.weight", "net.last.lora_A.weight", "net.last.lora_B.weight", "net.narrow.lora_A.weight", "net.narrow.lora_B.weight", "net.wide.lora_A.weight", "net.wide.lora_B.weight"],
            file.Tensors.Keys);
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.DoesNotContain("lora_adapter_metadata", file.Metadata.Keys);
    }

    [Fact]
    public void Equal_adapters_give_equal_files()
    {
        using var set = Trained();
        AdapterWriter.Write(folder.Path("a.safetensors"), set, new() { Title = "t", BaseVersion = "sd_v1" });
        AdapterWriter.Write(folder.Path("b.safetensors"), set, new() { Title = "t", BaseVersion = "sd_v1" });
        Assert.Equal(File.ReadAllBytes(folder.Path("a.safetensors")), File.ReadAllBytes(folder.Path("b.safetensors")));
    }

    [Fact]
    public void Numbers_that_are_not_finite_or_do_not_fit_the_type_are_not_written()
    {
        using var set = Trained();
        SetLast(set, 70000f);
        var path = folder.Path("a.safetensors");
        Assert.Equal(
            $"the adapter is not written: 1 of 12 tensors are not finite as F16: lora_net_last.lora_up.weight; {path}; F16 holds numbers up to 65504: write BF16 or F32; if that fails too, the training diverged",
            Assert.Throws<CheckpointException>(() => AdapterWriter.Write(path, set)).Message);
        Assert.False(File.Exists(path));
        AdapterWriter.Write(path, set, new() { Type = StoredType.BF16 });
        SetLast(set, float.NaN);
        Assert.Equal(
            $"the adapter is not written: 1 of 12 tensors are not finite as F32: lora_net_last.lora_up.weight; {path}; the training diverged; use an earlier save",
            Assert.Throws<CheckpointException>(() => AdapterWriter.Write(path, set, new() { Type = StoredType.F32 })).Message);
        Assert.Throws<ArgumentException>(() => AdapterWriter.Write(path, set, new() { Type = StoredType.I8 }));
    }

    [Fact]
    public void An_adapter_for_another_base_is_refused_with_what_it_is_and_what_to_try() => Assert.Equal(
        """
        adapter does not fit this model: 588 of 783 keys (196 of 261 modules) find no module
          file    sdxl_kohya_sgm.safetensors (kohya keys, rank 3; made for Stable Diffusion XL: metadata ss_base_model_version)
          model   sd15/ (Stable Diffusion 1)
          keys    lora_te2_text_model_encoder_layers_0_mlp_fc1
                  lora_te2_text_model_encoder_layers_0_mlp_fc2
                  lora_te2_text_model_encoder_layers_0_self_attn_k_proj
                  lora_te2_text_model_encoder_layers_0_self_attn_out_proj
                  lora_te2_text_model_encoder_layers_0_self_attn_q_proj
                  lora_te2_text_model_encoder_layers_0_self_attn_v_proj
                  lora_te2_text_model_encoder_layers_1_mlp_fc1
                  lora_te2_text_model_encoder_layers_1_mlp_fc2
                  lora_te2_text_model_encoder_layers_1_self_attn_k_proj
                  lora_te2_text_model_encoder_layers_1_self_attn_out_proj
                  and 186 more
          try     a base model of the adapter's kind: Stable Diffusion XL
                  keys of this model begin with lora_unet_, lora_te_
                  `lora inspect sdxl_kohya_sgm.safetensors`
        """, Refusal("sdxl_kohya_sgm.safetensors", new() { Model = "sd15/ (Stable Diffusion 1)", BaseVersion = "sd_v1" }));

    [Fact]
    public void Some_keys_that_find_no_module_are_refused_unless_allowed() => Assert.Equal(
        """
        adapter does not fit this model: 2 of 20 keys (1 of 7 modules) find no module
          file    some_unmatched.safetensors (kohya keys, rank 3)
          model   unet, text_encoder
          keys    lora_unet_down_blocks_9_attentions_0_proj_in
          try     keys of this model begin with lora_unet_, lora_te_
                  allow unmatched modules, to use the rest
                  `lora inspect some_unmatched.safetensors`
        """, Refusal("bad/some_unmatched.safetensors"));

    [Fact]
    public void Shapes_of_another_base_are_told_by_the_width_of_its_text() => Assert.Equal(
        """
        adapter does not fit this model: 4 of 4 modules of other shapes; it was made for another base: its cross-attention takes text of width 24, this model's 12 (768 is Stable Diffusion 1, 1024 is 2, 2048 is XL)
          file    other_base_by_shape.safetensors (kohya keys, rank 3; made for Stable Diffusion 2: metadata ss_base_model_version)
          model   unet, text_encoder
          shapes  lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k: lora_down has 24 input columns, the layer has 12
                  lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k: lora_down has 24 input columns, the layer has 12
                  lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k: lora_down has 24 input columns, the layer has 12
                  lora_unet_up_blocks_1_attentions_1_transformer_blocks_0_attn2_to_k: lora_down has 24 input columns, the layer has 12
          try     a base model of the kind the adapter was made for
                  `lora inspect other_base_by_shape.safetensors`
        """, Refusal("bad/other_base_by_shape.safetensors"));

    [Fact]
    public void Factors_that_are_not_finite_are_named_with_the_likely_cause() => Assert.Equal(
        """
        adapter cannot be used: 2 modules not finite
          file    nan.safetensors (kohya keys, rank 3)
          model   unet, text_encoder
          module  lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q: not finite: 1 NaN in lora_down
                  lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k: not finite: 1 infinite in lora_up
          try     an earlier save of the adapter: the training diverged, or half precision overflowed
                  `lora inspect nan.safetensors`
        """, Refusal("bad/nan.safetensors"));

    [Theory]
    [InlineData("bad/unknown_suffix.safetensors", "unknown parameters: bias_values, bias_indices, bias_size")]
    [InlineData("bad/rank_one_up.safetensors", "rank 3 in lora_down, 1 in lora_up")]
    [InlineData("bad/alpha_vector.safetensors", "alpha has 2 elements, must be a scalar or one element")]
    [InlineData("sd1_ancestor_A.ti.pt", "it holds embeddings only: <s1>, <s2>")]
    public void Every_other_fault_is_named(string file, string fault) => Assert.Contains(fault, Refusal(file));

    [Fact]
    public void Embeddings_in_the_file_and_another_base_in_its_metadata_are_warned_about()
    {
        using var models = TinyModels();
        using var withTokens = AdapterFile.Open(Path.Combine(Fixtures, "sd1_ancestor_A.safetensors"));
        using (var set = AdapterSet.Load(models, withTokens)) Assert.Equal(["the file also holds embeddings, which are not applied: <s1>, <s2>"], set.Warnings);
        using var other = AdapterFile.Open(Path.Combine(Fixtures, "bad", "other_base_by_metadata.safetensors"));
        using (var set = AdapterSet.Load(models, other, new() { BaseVersion = "sd_v1" }))
        {
            Assert.Equal(
                ["the adapter says it was made for Stable Diffusion XL (ss_base_model_version sdxl_base_v1-0), this model is Stable Diffusion 1 (sd_v1); the shapes fit, the pictures may not"],
                set.Warnings);
        }
    }

    /// <summary>Each kind that is not read, under both ways of writing names: refused by its name, never dropped.</summary>
    [Theory]
    [InlineData("oft_R.weight", "OFT")]
    [InlineData("oft_r", "OFT")]
    public void Kinds_that_are_not_read_are_refused_by_name(string parameter, string kind)
    {
        foreach (var module in new[] { "lora_net_last", "net.last" })
        {
            var path = folder.Path("kind.safetensors");
            SafetensorsWriter.Write(path, [new($"{module}.{parameter}", ones(2)), new("lora_net_first.lora_down.weight", ones(1, 8)), new("lora_net_first.lora_up.weight", ones(7, 1))]);
            using var file = AdapterFile.Open(path);
            Assert.Contains($"{module}: {kind} ({parameter}) is not read by this version", Assert.Throws<CheckpointException>(() => AdapterSet.Load(TinyNet.Components(net), file)).Message);
        }
    }

    [Fact]
    public void A_key_of_no_convention_is_refused_by_name()
    {
        var path = folder.Path("odd.safetensors");
        SafetensorsWriter.Write(path, [new("what.is.this", ones(2)), new("net.first.lora_A.weight", ones(1, 8)), new("net.first.lora_B.weight", ones(7, 1))]);
        using var file = AdapterFile.Open(path);
        Assert.Equal(
            """
            adapter cannot be used: 1 problem
              file    odd.safetensors (PEFT keys, rank 1)
              model   net
              problem unknown keys: what.is.this
              try     a file in one of the conventions of docs/adapter-formats.md
                      `lora inspect odd.safetensors`
            """, Assert.Throws<CheckpointException>(() => AdapterSet.Load(TinyNet.Components(net), file)).Message);
    }

    [Fact]
    public void Text_encoder_keys_are_read_with_and_without_the_level_text_model()
    {
        using var models = TinyModels();
        foreach (var level in new[] { "text_model.", "" })
        {
            var path = folder.Path("te.safetensors");
            SafetensorsWriter.Write(path, [new($"text_encoder.{level}encoder.layers.0.self_attn.q_proj.lora_A.weight", ones(1, 12)), new($"text_encoder.{level}encoder.layers.0.self_attn.q_proj.lora_B.weight", ones(12, 1))]);
            using var file = AdapterFile.Open(path);
            using var set = AdapterSet.Load(models, file);
            Assert.Equal("text_model.encoder.layers.0.self_attn.q_proj", Assert.Single(set.Layers).Path);
        }
    }
}
