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
        ‖ΔW‖      unet down.0 2.3 ▃   unet down.1 2.7 ▃   unet mid 7.68 █   unet up.0 7.25 █   unet up.1 3.15 ▄   text_encoder 2 ▃
        loads in  A1111 yes   Forge yes   ComfyUI yes   diffusers yes   sd.cpp yes   kohya yes   PEFT no
        trouble   8 of 30 modules have no alpha: their scale is 1
                  ranks or alphas differ by module: diffusers scales some modules of such a file wrongly
        """, Inspect("sd1_kohya_mixed.safetensors").ToString());

    [Theory]
    [InlineData("sd1_kohya_fp16.safetensors", "kohya", "A1111 yes, Forge yes, ComfyUI yes, diffusers yes, sd.cpp yes, kohya yes, PEFT no")]
    [InlineData("sd1_lycoris.safetensors", "LyCORIS", "A1111 no, Forge unknown, ComfyUI yes, diffusers no, sd.cpp unknown, kohya yes, PEFT no")]
    [InlineData("sd1_diffusers_peft_folded.safetensors", "PEFT", "A1111 no, Forge yes, ComfyUI no, diffusers yes, sd.cpp yes, kohya no, PEFT no")]
    [InlineData("sd1_diffusers_mixed.safetensors", "PEFT+diffusers 2023", "A1111 no, Forge no, ComfyUI no, diffusers in part, sd.cpp yes, kohya no, PEFT no")]
    [InlineData("sd1_diffusers_2023.safetensors", "attention-processor+diffusers 2023", "A1111 no, Forge no, ComfyUI no, diffusers yes, sd.cpp yes, kohya no, PEFT no")]
    [InlineData("sd1_attn_procs_prefixed.safetensors", "attention-processor", "A1111 no, Forge yes, ComfyUI yes, diffusers yes, sd.cpp yes, kohya no, PEFT no")]
    [InlineData("sd1_attn_procs_bare.bin", "attention-processor", "A1111 no, Forge unknown, ComfyUI yes, diffusers no, sd.cpp unknown, kohya no, PEFT no")]
    [InlineData("sd1_peft_unet", "PEFT", "A1111 no, Forge unknown, ComfyUI no, diffusers no, sd.cpp unknown, kohya no, PEFT yes")]
    [InlineData("sd1_ancestor_A.safetensors", "2022 package", "A1111 no, Forge no, ComfyUI no, diffusers no, sd.cpp no, kohya no, PEFT no")]
    [InlineData("sd1_ancestor_A.pt", "2022 package", "A1111 no, Forge no, ComfyUI no, diffusers no, sd.cpp no, kohya no, PEFT no")]
    public void Formats_are_told_apart_and_say_where_they_load(string name, string formats, string tools)
    {
        var report = Inspect(name);
        Assert.Equal(formats, string.Join('+', report.Formats));
        Assert.Equal(tools, string.Join(", ", report.LoadsIn.Select(item => $"{item.Key} {item.Value}")));
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
    [InlineData("bad/dora_scale_unexpected.safetensors", "")]
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
        Assert.Equal(["file", "bytes", "sha256", "formats", "types", "kinds", "modules", "targets", "ranks", "alphas", "scales", "base", "base_evidence", "norms", "embeddings", "metadata", "trouble", "loads_in"],
            first.EnumerateObject().Select(item => item.Name));
        Assert.Equal(36, first.GetProperty("modules").GetProperty("unet").GetInt32());
        Assert.Equal(["<s1> [12]", "<s2> [12]"], first.GetProperty("embeddings").EnumerateArray().Select(item => item.GetString()));
        Assert.Equal("NaN", json.RootElement[1].GetProperty("norms").GetProperty("unet down.0").GetString());
    }

    [Fact]
    public void What_is_no_adapter_file_is_refused() =>
        Assert.Equal($"no such file; {Folder}/none.safetensors; check the path", Assert.Throws<CheckpointException>(() => Inspect("none.safetensors")).Message);
}
