using LowRank.Adapters;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Tests.Golden;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

public sealed class DoctorAdapterTests : IDisposable
{
    private static readonly string Files = Path.Combine(Repository.Root, "tests", "fixtures", "adapters", "files");
    private const string Q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", K = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k";

    private readonly TemporaryFolder folder = new();
    private readonly GoldenCase golden = GoldenCase.Open("adapters/sd1_delta");
    private readonly AdapterModels models;
    private readonly string model;

    public DoctorAdapterTests()
    {
        models = AdapterModels.FromParams(golden.Json.GetProperty("params"));
        model = ModelFolder.Write(folder, golden.Json.GetProperty("params"));
    }

    public void Dispose()
    {
        models.Dispose();
        golden.Dispose();
        folder.Dispose();
    }

    /// <summary>A disease, by the file that has it: what is said, what repairing does, and that it changes no weight otherwise than the file did.</summary>
    [Theory]
    [InlineData("sd1_kohya_noalpha.safetensors", "60 of 60 modules: no alpha, which some readers need and others guess: lora_te_text_model_encoder_layers_0_mlp_fc1, lora_te_text_model_encoder_layers_0_mlp_fc2, lora_te_text_model_encoder_layers_0_self_attn_k_proj and 57 more", "their rank, scale 1, as they are read", WrittenConvention.Kohya)]
    [InlineData("sd1_kohya_alpha1d.safetensors", "60 of 60 modules: alpha with an axis: lora_te_text_model_encoder_layers_0_mlp_fc1, lora_te_text_model_encoder_layers_0_mlp_fc2, lora_te_text_model_encoder_layers_0_self_attn_k_proj and 57 more", "a scalar of the same value", WrittenConvention.Kohya)]
    [InlineData("bad/alpha_zero.safetensors", $"1 of 6 modules: alpha 0, which sd-scripts reads as the rank and others as nothing at all: {Q}", "their rank, as sd-scripts reads it", WrittenConvention.Kohya)]
    [InlineData("bad/orphan_alpha.safetensors", $"1 of 6 modules: alpha without factors: {Q}", "left out: it changes nothing", WrittenConvention.Kohya)]
    [InlineData("sd1_attn_procs_bare.safetensors", "32 of 32 modules: no part of the model in front of the name: diffusers loads nothing of it, without an error: down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_k, down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out, down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q and 29 more", "rewritten as attention-processor keys throughout", WrittenConvention.AttnProcs)]
    [InlineData("sd1_diffusers_mixed.safetensors", "conventions are mixed: PEFT, diffusers 2023; readers that go by the first key lose the others in silence", "rewritten as diffusers keys throughout", WrittenConvention.Diffusers)]
    [InlineData("sd1_kohya_4d_linear.safetensors", $"7 of 8 modules: factors with other axes than their layer: diffusers refuses them: {Q}, {K}, lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_v and 4 more", "given the axes of their layers", WrittenConvention.Kohya)]
    public void A_disease_is_named_and_cured(string name, string what, string cure, WrittenConvention convention)
    {
        var report = Doctor(Path.Combine(Files, name), "out.safetensors");
        var trouble = Assert.Single(report.Troubles);
        Assert.Equal((what, cure), (trouble.What, trouble.Cure));
        CheckCured(Path.Combine(Files, name), report, convention);
    }

    [Fact]
    public void Names_that_others_write_are_put_right()
    {
        var path = Renamed("sd1_kohya_te_only.safetensors", "te1.safetensors", key => key.Replace("lora_te_", "lora_te1_", StringComparison.Ordinal));
        Assert.Equal("12 of 12 modules: the prefix of SDXL's first text encoder for the only one: sd-scripts refuses it: lora_te1_text_model_encoder_layers_0_self_attn_k_proj, lora_te1_text_model_encoder_layers_0_self_attn_v_proj, lora_te1_text_model_encoder_layers_0_self_attn_q_proj and 9 more", Cured(path, WrittenConvention.Kohya));

        path = Renamed("sd1_diffusers_peft_folded.safetensors", "level.safetensors", key => key.Replace("text_encoder.text_model.", "text_encoder.", StringComparison.Ordinal));
        Assert.StartsWith("12 of 91 modules: the level text_model left away, which file names keep: text_encoder.encoder.layers.0.self_attn.k_proj,", Cured(path, WrittenConvention.Diffusers));

        path = Renamed("sd1_diffusers_peft_folded.safetensors", "default.safetensors", key => key.Replace(".weight", ".default.weight", StringComparison.Ordinal));
        Assert.Equal("182 keys with \".default\", which PEFT has in memory only", Cured(path, WrittenConvention.Diffusers));

        path = Renamed("sd1_diffusers_peft_folded.safetensors", "alone.safetensors", key => "base_model.model." + key[(key.IndexOf('.', StringComparison.Ordinal) + 1)..]);
        Assert.Equal("PEFT's keys without adapter_config.json beside the file: nothing loads it", Cured(path, WrittenConvention.Diffusers));

        string Cured(string file, WrittenConvention convention)
        {
            var report = Doctor(file, Path.GetFileName(file) + ".out.safetensors");
            CheckCured(file, report, convention);
            return Assert.Single(report.Troubles).What;
        }
    }

    [Fact]
    public void A_hash_that_is_not_of_the_tensors_is_computed_anew()
    {
        using (var scope = NewDisposeScope())
        {
            using var source = SafetensorsReader.Open(Path.Combine(Files, "sd1_kohya_fp16.safetensors"));
            SafetensorsWriter.Write(folder.Path("stale.safetensors"), source.Tensors.Keys.Select(key => KeyValuePair.Create(key, source.Read(key))), source.Metadata.Append(new("sshs_model_hash", "00")).DistinctBy(item => item.Key).Select(item => item.Key == "sshs_model_hash" ? new(item.Key, "00") : item));
        }
        var report = Doctor(folder.Path("stale.safetensors"), "out.safetensors");
        Assert.Equal("sshs_model_hash is not that of the tensors: the file was changed after it was written", Assert.Single(report.Troubles).What);
        CheckCured(folder.Path("stale.safetensors"), report, WrittenConvention.Kohya);
    }

    [Fact]
    public void Modules_that_are_not_finite_are_left_out_on_request_only()
    {
        var path = Path.Combine(Files, "bad", "nan.safetensors");
        var report = Doctor(path, "out.safetensors");
        Assert.Equal((null, false), (report.Repaired, report.IsHealthy));
        Assert.Equal([$"not finite: {K} (1 infinite in lora_up)", $"not finite: {Q} (1 NaN in lora_down)"], report.Troubles.Select(trouble => trouble.What));
        report = Doctor(path, "out.safetensors", drop: true);
        Assert.True(report.IsHealthy);
        using var file = AdapterFile.Open(report.Repaired!);
        Assert.Equal(4, file.Modules.Count);
        Assert.DoesNotContain(file.Modules, module => module.Name is Q or K);
    }

    [Fact]
    public void What_would_be_guessing_is_left_and_told_of()
    {
        File.Copy(Path.Combine(Files, "bad", "missing_up.safetensors"), folder.Path("a.safetensors"));
        var report = DoctorAdapter.Run(new DoctorOptions { File = folder.Path("a.safetensors"), Fix = true, Model = null });
        Assert.Equal($"""
            {folder.Path("a.safetensors")} (kohya keys, rank 3)
            base      none of those that are known; names and axes are not held against a model (--model names one)
            trouble   {Q}: lora_down without lora_up
                      not repaired: download or save the adapter again
            verdict   1 trouble, none that can be repaired without guessing
            """, report.ToString());
        Assert.False(File.Exists(folder.Path("a.safetensors.bak")));
    }

    /// <summary>Each of these stays as it is, and is told of; what can be repaired beside it is.</summary>
    [Theory]
    [InlineData("missing_up", $"{Q}: lora_down without lora_up")]
    [InlineData("rank_mismatch", $"{Q}: rank 3 in lora_down, 2 in lora_up")]
    [InlineData("rank_one_up", $"{Q}: rank 3 in lora_down, 1 in lora_up")]
    [InlineData("alpha_vector", $"{Q}: alpha has 2 elements, must be a scalar or one element")]
    [InlineData("unknown_suffix", $"{K}: unknown parameters: lora_gate|{Q}: unknown parameters: bias_values, bias_indices, bias_size")]
    public void Damage_is_no_matter_of_repair(string name, string what)
    {
        var report = Doctor(Path.Combine(Files, "bad", name + ".safetensors"), "out.safetensors");
        Assert.Equal(what, string.Join('|', report.Troubles.Select(trouble => trouble.What)));
        Assert.All(report.Troubles, trouble => Assert.Null(trouble.Cure));
        Assert.Equal((null, false), (report.Repaired, report.IsHealthy));
    }

    [Fact]
    public void Trouble_that_stays_does_not_keep_the_rest_from_repair()
    {
        using (var scope = NewDisposeScope())
        {
            using var source = SafetensorsReader.Open(Path.Combine(Files, "bad", "nan.safetensors"));
            SafetensorsWriter.Write(folder.Path("two.safetensors"), source.Tensors.Keys.Select(key => KeyValuePair.Create(key, key == $"{K}.alpha" ? tensor(0f) : source.Read(key))));
        }
        var report = Doctor(folder.Path("two.safetensors"), "out.safetensors");
        Assert.Equal([null, null, "their rank, as sd-scripts reads it"], report.Troubles.Select(trouble => trouble.Cure));
        Assert.Equal(folder.Path("out.safetensors"), report.Repaired);
        Assert.False(report.IsHealthy);
        Assert.EndsWith("\nverdict   3 troubles, 1 repaired", report.ToString());
    }

    [Fact]
    public void A_file_repaired_in_its_place_is_kept_as_it_was()
    {
        var (source, path) = (Path.Combine(Files, "bad", "alpha_zero.safetensors"), folder.Path("a.safetensors"));
        File.Copy(source, path);
        var report = DoctorAdapter.Run(new DoctorOptions { File = path, Fix = true, Model = model });
        Assert.Equal($"""
            {path} (kohya keys, rank 3)
            base      {model}
            trouble   1 of 6 modules: alpha 0, which sd-scripts reads as the rank and others as nothing at all: {Q}
                      repaired: their rank, as sd-scripts reads it
            written   {path}; as it was in {path}.bak
            verdict   1 trouble, all repaired
            """, report.ToString());
        Assert.Equal(File.ReadAllBytes(source), File.ReadAllBytes(path + ".bak"));
        Assert.Empty(DoctorAdapter.Run(new DoctorOptions { File = path, Model = model }).Troubles);
        File.Copy(source, path, overwrite: true);
        Assert.Equal(
            $"the file would be kept as it is under a name that is there already: {path}.bak\n  try     move it away, or name an output: --fix OUT.safetensors",
            Assert.Throws<OptionsException>(() => DoctorAdapter.Run(new DoctorOptions { File = path, Fix = true, Model = model })).Message);
    }

    [Theory]
    [InlineData("sd1_kohya_fp32.safetensors")]
    [InlineData("sd1_kohya_bf16.safetensors")]
    [InlineData("sd1_lycoris.safetensors")]
    [InlineData("sd1_diffusers_peft_folded.safetensors")]
    [InlineData("sd1_diffusers_peft_metadata.safetensors")]
    [InlineData("sd1_diffusers_2023.safetensors")]
    [InlineData("sd1_attn_procs_prefixed.safetensors")]
    [InlineData("sd1_ancestor_A.safetensors")]
    [InlineData("sd1_ancestor_A.pt")]
    [InlineData("sd1_peft_unet")]
    [InlineData("bad/whole.safetensors")]
    public void A_file_in_order_is_healthy(string name)
    {
        var report = DoctorAdapter.Run(new DoctorOptions { File = Path.Combine(Files, name), Model = model });
        Assert.Empty(report.Troubles);
        Assert.EndsWith("\nverdict   healthy", report.ToString());
    }

    [Theory]
    [InlineData("sd1_kohya_fp16.safetensors", "out.bin", "the output must end with .safetensors: F/out.bin\n  try     give it that ending")]
    [InlineData("sd1_kohya_fp16.safetensors", "model/model_index.json.safetensors", null)]
    [InlineData("sd1_ancestor_A.pt", "out.safetensors", "a list of the 2022 package has neither names nor alphas that could be repaired: I/sd1_ancestor_A.pt\n  try     lora convert, to any convention")]
    [InlineData("sd1_attn_procs_bare.bin", null, "only a .safetensors file is repaired in its own place: I/sd1_attn_procs_bare.bin\n  try     name an output: --fix OUT.safetensors")]
    [InlineData("sd1_peft_unet", "out.safetensors", "a PEFT adapter belongs beside its configuration: F/out.safetensors\n  try     leave the output away: the file is repaired in its own place and kept as FILE.bak")]
    public void A_place_that_does_not_fit_is_refused(string name, string? output, string? message)
    {
        var options = new DoctorOptions { File = Path.Combine(Files, name), Fix = true, Output = output is null ? null : Path.Combine(folder.FullName, output), Model = model };
        if (message is null) Assert.True(DoctorAdapter.Run(options).IsHealthy);
        else Assert.Equal(message, Assert.Throws<OptionsException>(() => DoctorAdapter.Run(options)).Message.Replace(folder.FullName, "F").Replace(Files, "I"));
    }

    private DoctorReport Doctor(string path, string output, bool drop = false) =>
        DoctorAdapter.Run(new DoctorOptions { File = path, Fix = true, Output = Path.Combine(folder.FullName, output), DropNotFinite = drop, Model = model });

    private string Renamed(string name, string target, Func<string, string> rename)
    {
        using var scope = NewDisposeScope();
        using var source = SafetensorsReader.Open(Path.Combine(Files, name));
        SafetensorsWriter.Write(folder.Path(target), source.Tensors.Keys.Select(key => KeyValuePair.Create(rename(key), source.Read(key))));
        return folder.Path(target);
    }

    /// <summary>The repaired file is healthy, of the convention, and changes every weight as the sick one was read to.</summary>
    private void CheckCured(string path, DoctorReport report, WrittenConvention convention)
    {
        Assert.True(report.IsHealthy);
        Assert.Empty(DoctorAdapter.Run(new DoctorOptions { File = report.Repaired!, Model = model }).Troubles);
        using var file = AdapterFile.Open(report.Repaired!);
        Assert.Equal(convention, FileForms.Of(file));
        ConversionTests.Compare(ConversionTests.Deltas(path, models), ConversionTests.Deltas(report.Repaired!, models), 0);
    }
}
