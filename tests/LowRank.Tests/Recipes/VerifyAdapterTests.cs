using System.Text.Json;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>An adapter works on its model, or the report says in words why not.</summary>
public sealed class VerifyAdapterTests : IDisposable
{
    private const string ToQ = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
    private static readonly AdapterOptions Small = new() { Rank = 2 };

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    public static TheoryData<AdapterKind, string> KindsAndModels() => new(
        from kind in Enum.GetValues<AdapterKind>()
        from model in (string[])["sd1", "sdxl"]
        select (kind, model));

    [Theory, MemberData(nameof(KindsAndModels))]
    public void An_adapter_of_every_kind_is_good_on_the_model_it_was_made_on(AdapterKind kind, string pipeline)
    {
        var model = MadeAdapter.Model(pipeline);
        var report = VerifyAdapter.Run(MadeAdapter.Write(folder.Path("good.safetensors"), model, Small with { Kind = kind, Targets = ["all"] }), model);
        Assert.Empty(report.Trouble);
        Assert.Equal(AdapterVerdict.Good, report.Verdict);
        Assert.Equal(["denoiser", "text"], report.Trials.Select(trial => trial.Part).Order());
        Assert.All(report.Trials, trial =>
        {
            Assert.True(trial is { StrengthZeroIsBase: true, DetachedIsBase: true });
            Assert.InRange(trial.Change, 1e-4, 100);
            Assert.InRange(trial.MergeDifference, 0, trial.AllowedDifference);
        });
        Assert.True(report.LeastNorm > 0 && report.LargestNorm >= report.LeastNorm);
        Assert.Empty(report.Dead);
    }

    [Fact]
    public void A_good_report_reads_as_a_screen()
    {
        var path = MadeAdapter.Write(folder.Path("good.safetensors"), "icons-64", Small with { Targets = ["unet:mid_block.**.attn1.{to_q,to_k}"] });
        var text = VerifyAdapter.Run(path, "icons-64").ToString();
        Assert.Matches(
            $$"""
            ^{{path}}
            model     icons-64 \(Stable Diffusion 1\)
            keys      all 6 land: 2 modules in unet
            ‖ΔW‖      0\.\d+ to 0\.\d+, none is zero
            denoiser  the output changes by [\d.]+ %; merged gives the same within [\d.]+ % \(allowed [\d.]+ %\); strength 0 exactly the base; detached exactly the base
            tried on  noise at \d+×\d+ latents, timestep 500, "a red heart"
            verdict   good: it lands whole, changes the model, and merges as it attaches$
            """.ReplaceLineEndings("\n"), text);
    }

    [Fact]
    public void A_module_that_changes_nothing_is_named_and_forgiven()
    {
        var path = MadeAdapter.Write(folder.Path("half.safetensors"), "icons-64", Small with { Targets = ["unet:mid_block.**.attn1.{to_q,to_k}"] }, set => set.Layers[0].Factors["up"].zero_());
        var report = VerifyAdapter.Run(path, "icons-64");
        Assert.Equal((AdapterVerdict.Good, 0.0), (report.Verdict, report.LeastNorm));
        Assert.Equal(["unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"], report.Dead);
        Assert.Contains("; 1 change nothing: unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q\n", report.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void An_adapter_that_changes_nothing_is_unusable() =>
        Unusable(MadeAdapter.Write(folder.Path("fresh.safetensors"), "icons-64", Small, set => set.Layers.ToList().ForEach(layer => layer.Factors["up"].zero_())),
            "it changes nothing: every ΔW is zero; take a later save of the adapter, or train it longer");

    [Fact]
    public void Factors_that_are_finite_but_not_their_product_are_unusable()
    {
        var path = MadeAdapter.Write(folder.Path("huge.safetensors"), "icons-64", Small with { Targets = ["unet:mid_block.**.attn1.to_q"] }, set => set.FlatParameters.copy_(TensorArithmetic.Filled(set.FlatParameters.shape, 1e30)));
        var report = VerifyAdapter.Run(path, "icons-64");
        Assert.Equal(
        [
            "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q: ΔW is not finite: the product of its factors overflows",
            "denoiser: the output with the adapter is not finite; its changes are too large for the model",
        ], report.Trouble);
        Assert.Equal(AdapterVerdict.Unusable, report.Verdict);
    }

    [Fact]
    public void Numbers_that_are_none_are_unusable()
    {
        using var scope = NewDisposeScope();
        var down = ones(2, 64);
        down[0, 0] = tensor(float.NaN);
        var path = MadeAdapter.Write(folder.Path("nan.safetensors"), new() { [ToQ + ".lora_down.weight"] = down, [ToQ + ".lora_up.weight"] = ones(64, 2) });
        Unusable(path, $"""
            adapter cannot be used: 1 module not finite
              file    nan.safetensors (kohya keys, rank 2)
              model   icons-64 (Stable Diffusion 1)
              module  {ToQ}: not finite: 1 NaN in lora_down
              try     an earlier save of the adapter: the training diverged, or half precision overflowed
                      `lora inspect nan.safetensors`
            """);
    }

    [Fact]
    public void Half_a_download_is_unusable()
    {
        var path = MadeAdapter.Write(folder.Path("half.safetensors"), "icons-64", Small);
        var bytes = File.ReadAllBytes(path);
        File.WriteAllBytes(path, bytes[..(bytes.Length / 2)]);
        var report = VerifyAdapter.Run(path, "icons-64");
        Assert.Equal(AdapterVerdict.Unusable, report.Verdict);
        Assert.Matches($"^the file is cut short: tensor \"lora_unet_\\S+\" ends at byte \\d+, the file has {bytes.Length / 2} bytes; in {path}; download or copy the file again$", Assert.Single(report.Trouble));
        Assert.Equal($"{path}\nmodel     icons-64 (Stable Diffusion 1)\ntrouble   {report.Trouble[0]}\nverdict   unusable: see trouble", report.ToString());
    }

    [Fact]
    public void A_good_file_of_another_model_is_mismatched_and_the_models_it_fits_are_named()
    {
        using var scope = NewDisposeScope();
        const string name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k";
        var path = MadeAdapter.Write(folder.Path("sd2.safetensors"), new() { [name + ".lora_down.weight"] = ones(2, 1024), [name + ".lora_up.weight"] = ones(640, 2), [name + ".alpha"] = tensor(2f) });
        Assert.Equal($"""
            {path}
            model     icons-64 (Stable Diffusion 1)
            trouble   adapter does not fit this model: 1 of 1 module of other shapes; it was made for another base: its cross-attention takes text of width 1024, this model's 128 (768 is Stable Diffusion 1, 1024 is 2, 2048 is XL)
                        file    sd2.safetensors (kohya keys, rank 2; made for Stable Diffusion 2: its cross-attention takes text of width 1024)
                        model   icons-64 (Stable Diffusion 1)
                        shapes  {name}: lora_down has 1024 input columns, the layer has 128
                        try     a base model of the kind the adapter was made for
                                `lora inspect sd2.safetensors`
            it fits   Stable Diffusion 2, Stable Diffusion 2 (v-prediction)
            verdict   mismatched: the file is in order, and made for another model
            """.ReplaceLineEndings("\n"), VerifyAdapter.Run(path, "icons-64").ToString());
        Assert.Equal(AdapterVerdict.Mismatched, VerifyAdapter.Run(path, "icons-64").Verdict);
    }

    [Fact]
    public void What_metadata_says_against_the_model_is_a_warning()
    {
        var path = MadeAdapter.Write(folder.Path("says.safetensors"), "icons-64", Small, save: new AdapterSaveOptions { BaseVersion = "sd_v2" });
        var report = VerifyAdapter.Run(path, "icons-64");
        Assert.Equal(["the adapter says it was made for Stable Diffusion 2 (ss_base_model_version sd_v2), this model is Stable Diffusion 1 (sd_v1); the shapes fit, the pictures may not"], report.Warnings);
        Assert.Equal(AdapterVerdict.Good, report.Verdict);
    }

    public static TheoryData<double, double, bool, bool, string> Failures() => new()
    {
        { 0.1, 2e-4, true, true, "denoiser: merged into the weights it gives another output than attached: 0.02 % apart, 0.011 % would be rounding" },
        { 0.1, 1e-6, false, true, "denoiser: strength 0 does not give the base's output" },
        { 0.1, 1e-6, true, false, "denoiser: taken off, the model does not give what it gave before" },
        { 0, 0, true, true, "denoiser: attached, it changes nothing of the output" },
        { double.NaN, double.NaN, true, true, "denoiser: the output with the adapter is not finite; its changes are too large for the model" },
    };

    [Theory, MemberData(nameof(Failures))]
    public void What_a_trial_can_show_is_said(double change, double difference, bool zero, bool detached, string expected) => Assert.Equal([expected],
        new AdapterTrial { Part = "denoiser", Change = change, MergeDifference = difference, AllowedDifference = 1.1e-4, StrengthZeroIsBase = zero, DetachedIsBase = detached }.Trouble);

    [Fact]
    public void A_report_is_one_json_document_with_every_field()
    {
        var path = MadeAdapter.Write(folder.Path("good.safetensors"), "icons-64", Small with { Targets = ["unet:mid_block.**.attn1.to_q"] });
        using var json = JsonDocument.Parse(VerifyAdapter.Run(path, "icons-64").ToJson());
        Assert.Equal(["file", "model", "verdict", "keys", "modules", "least_norm", "largest_norm", "dead", "tried_on", "trials", "fits_instead", "warnings", "trouble"], json.RootElement.EnumerateObject().Select(item => item.Name));
        Assert.Equal("good", json.RootElement.GetProperty("verdict").GetString());
        Assert.Equal(["part", "change", "merge_difference", "allowed_difference", "strength_zero_is_base", "detached_is_base"], json.RootElement.GetProperty("trials")[0].EnumerateObject().Select(item => item.Name));
    }

    [Fact]
    public void What_a_module_adds_to_a_bias_is_merged_where_the_layer_has_none()
    {
        using var scope = NewDisposeScope();
        var path = MadeAdapter.Write(folder.Path("bias.safetensors"), new() { [ToQ + ".lora_down.weight"] = ones(2, 64), [ToQ + ".lora_up.weight"] = ones(64, 2), [ToQ + ".diff_b"] = ones(64) });
        var report = VerifyAdapter.Run(path, "icons-64");
        Assert.Equal(AdapterVerdict.Good, report.Verdict);
        Assert.Equal(Math.Sqrt(64 * 64 * 4 + 64), report.LargestNorm!.Value, 1e-4);
        Assert.Empty(report.Trouble);
    }

    [Fact]
    public void A_fault_of_the_model_is_not_the_adapters()
    {
        using var model = new Families.ModelFolder("sd1");
        var path = MadeAdapter.Write(folder.Path("good.safetensors"), model.Path, Small);
        File.Delete(model.File("unet/diffusion_pytorch_model.safetensors"));
        Assert.StartsWith($"the folder holds no weights: it has config.json; in {model.Path}/unet; ", Assert.Throws<CheckpointException>(() => VerifyAdapter.Run(path, model.Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_not_there_is_an_error() =>
        Assert.Equal($"no such file; {folder.Path("none.safetensors")}; check the path", Assert.Throws<CheckpointException>(() => VerifyAdapter.Run(folder.Path("none.safetensors"), "icons-64")).Message);

    private static void Unusable(string path, string trouble)
    {
        var report = VerifyAdapter.Run(path, "icons-64");
        Assert.Equal([trouble.ReplaceLineEndings("\n")], report.Trouble);
        Assert.Equal(AdapterVerdict.Unusable, report.Verdict);
    }
}
