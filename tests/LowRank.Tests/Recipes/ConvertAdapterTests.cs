using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using LowRank.Tests.Golden;

namespace LowRank.Tests.Recipes;

public sealed class ConvertAdapterTests : IDisposable
{
    private static readonly string Files = Path.Combine(Repository.Root, "tests", "fixtures", "adapters", "files");
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_report_says_what_is_not_as_it_was()
    {
        var report = Convert("sd1_kohya_mixed.safetensors", "out.safetensors", WrittenConvention.Diffusers, SavePrecision.Bf16);
        Assert.Equal($"""
            {folder.Path("out.safetensors")}
            from      {Files}/sd1_kohya_mixed.safetensors (kohya keys, ranks 1 to 4)
            to        diffusers, names of {folder.Path("model")}
            changed   30 modules renamed: kohya to diffusers
                      scale folded into up of 15 modules: 0.0625 to 0.5
                      3 tensors rounded to BF16: largest error 0.00024 of numbers up to 0.078, in unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.weight
            """, report.ToString());
        Assert.Equal([folder.Path("out.safetensors")], report.Files);
    }

    [Fact]
    public void Tokens_without_a_place_are_written_beside_and_told_of()
    {
        var report = Convert("sd1_ancestor_A.safetensors", "out", WrittenConvention.Peft);
        Assert.Equal($"""
            {folder.Path("out", "unet", "adapter_model.safetensors")}
            from      {Files}/sd1_ancestor_A.safetensors (2022 package keys, rank 3)
            to        PEFT, names of {folder.Path("model")}
            also      {folder.Path("out", "text_encoder", "adapter_model.safetensors")}
                      {folder.Path("out-s1.safetensors")}
                      {folder.Path("out-s2.safetensors")}
            changed   44 modules renamed: 2022 package to PEFT
                      rank and alpha of 44 modules told in adapter_config.json
                      learned tokens written beside, for want of a place inside: <s1>, <s2>
            """, report.ToString());
        using var token = Assert.Single(Embedding.Read(folder.Path("out-s2.safetensors")));
        using var source = Embedding.Read(Path.Combine(Files, "sd1_ancestor_A.safetensors"))[1];
        Assert.Equal("<s2>", token.Token);
        Assert.True(source.Vectors["text_encoder"].eq(token.Vectors["text_encoder"]).all().item<bool>());
        Assert.Equal(
            $"the learned token <s1> has no place in a PEFT file and goes into one of its own, which is there already; {folder.Path("out-s1.safetensors")}; move it away, or name another output",
            Assert.Throws<CheckpointException>(() => Convert("sd1_ancestor_A.safetensors", "out", WrittenConvention.Peft)).Message);
    }

    [Fact]
    public void What_tells_of_the_pictures_is_left_out_on_request()
    {
        var source = Path.Combine(Files, "metadata_example.safetensors");
        var report = ConvertAdapter.Run(new ConvertOptions { Input = source, Output = folder.Path("out.safetensors"), To = WrittenConvention.Kohya, StripCaptions = true });
        Assert.Equal(["left out of the metadata: ss_tag_frequency, ss_dataset_dirs, ss_reg_dataset_dirs, ss_training_comment, ss_bucket_info"], report.Changes);
        using var before = SafetensorsReader.Open(source);
        using var after = SafetensorsReader.Open(folder.Path("out.safetensors"));
        Assert.Equal(["modelspec.hash_sha256", "ss_bucket_info", "ss_dataset_dirs", "ss_reg_dataset_dirs", "ss_tag_frequency", "ss_training_comment"], before.Metadata.Keys.Except(after.Metadata.Keys).Order(StringComparer.Ordinal));
        Assert.Equal(before.Metadata["sshs_model_hash"], after.Metadata["sshs_model_hash"]);
    }

    [Fact]
    public void Modules_without_a_place_are_named() => Assert.Equal("""
        the adapter is not converted to attention-processor keys: 51 of 91 modules have no place there
          file    sd1_kohya_fp32.safetensors (kohya keys, rank 3)
          modules no projection of an attention: lora_unet_down_blocks_0_resnets_0_conv1, lora_unet_down_blocks_0_resnets_0_time_emb_proj, lora_unet_down_blocks_0_resnets_0_conv2 and 48 more
          try     kohya, which holds every kind that is read, or a convention of docs/adapter-formats.md that holds these
        """, Assert.Throws<CheckpointException>(() => Convert("sd1_kohya_fp32.safetensors", "out.safetensors", WrittenConvention.AttnProcs)).Message);

    [Fact]
    public void Numbers_that_are_none_are_not_written()
    {
        var message = Assert.Throws<CheckpointException>(() => Convert("bad/nan.safetensors", "out.safetensors", WrittenConvention.Diffusers)).Message;
        Assert.Equal($"the adapter is not converted: 2 of 12 tensors are not finite: unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight, unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k.lora_B.weight; in {Files}/bad/nan.safetensors; see `lora inspect`", message);
        Assert.False(File.Exists(folder.Path("out.safetensors")));
    }

    [Theory]
    [InlineData("out.bin", WrittenConvention.Kohya, "the output must end with .safetensors: F/out.bin\n  try     give it that ending")]
    [InlineData("out.pt", WrittenConvention.Diffusers, "the output must end with .safetensors: F/out.pt\n  try     give it that ending")]
    [InlineData("out.bin", WrittenConvention.Legacy, "the output must end with .safetensors or .pt: F/out.bin\n  try     give it that ending")]
    [InlineData("", WrittenConvention.Kohya, "kohya is written as a file, and this is a folder: F\n  try     name a file")]
    [InlineData("", WrittenConvention.Peft, "the input lies in the output folder and would be replaced: F\n  try     name another folder")]
    [InlineData("in.safetensors", WrittenConvention.Kohya, "the output would replace the input: F/in.safetensors\n  try     name another file")]
    [InlineData("in.safetensors", WrittenConvention.Peft, "PEFT is written as a folder, and this is a file: F/in.safetensors\n  try     name a folder")]
    public void An_output_that_does_not_fit_is_refused_before_any_work(string output, WrittenConvention to, string message)
    {
        File.Copy(Path.Combine(Files, "sd1_kohya_fp16.safetensors"), folder.Path("in.safetensors"));
        var error = Assert.Throws<OptionsException>(() => ConvertAdapter.Run(new ConvertOptions { Input = folder.Path("in.safetensors"), Output = Path.Combine(folder.FullName, output), To = to }));
        Assert.Equal(message, error.Message.Replace(folder.FullName, "F"));
        Assert.Equal([folder.Path("in.safetensors")], Directory.GetFileSystemEntries(folder.FullName));
    }

    private ConvertReport Convert(string name, string output, WrittenConvention to, SavePrecision? precision = null)
    {
        using var golden = GoldenCase.Open("adapters/sd1_delta");
        return ConvertAdapter.Run(new ConvertOptions { Input = Path.Combine(Files, name), Output = folder.Path(output), To = to, Precision = precision, Model = ModelFolder.Write(folder, golden.Json.GetProperty("params")) });
    }
}
