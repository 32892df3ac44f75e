using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Adapters;

public sealed class EmbeddingTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly Embedding one = new("<s1>", new Dictionary<string, Tensor> { ["text_encoder"] = Formula.Noise("one", [3, 12], 1) });
    private readonly Embedding two = new("<s2>", new Dictionary<string, Tensor> { ["text_encoder"] = Formula.Noise("l", [3, 12], 1), ["text_encoder_2"] = Formula.Noise("g", [3, 20], 1) });

    public void Dispose()
    {
        one.Dispose();
        two.Dispose();
        folder.Dispose();
    }

    [Theory]
    [InlineData(EmbeddingFormat.A1111, "emb_params")]
    [InlineData(EmbeddingFormat.A1111Pt, "string_to_param.*")]
    [InlineData(EmbeddingFormat.Diffusers, "<s1>")]
    public void What_is_written_reads_back_to_the_bit_under_the_keys_of_its_form(EmbeddingFormat format, string key)
    {
        var path = folder.Path("file" + EmbeddingWriter.Ending(format));
        EmbeddingWriter.Write(path, one, format);
        using (var file = Checkpoint.Open(path)) Assert.Equal([key], file.Names);
        var read = Assert.Single(Embedding.Read(path));
        using (read)
        {
            Assert.Equal("<s1>", read.Token);
            Assert.True(one.Vectors["text_encoder"].eq(Assert.Single(read.Vectors).Value).all().item<bool>());
        }
        var first = File.ReadAllBytes(path);
        EmbeddingWriter.Write(path, one, format);
        Assert.Equal(first, File.ReadAllBytes(path));
    }

    [Theory]
    [InlineData(EmbeddingFormat.A1111)]
    [InlineData(EmbeddingFormat.Diffusers)]
    public void Two_encoders_are_written_as_clip_l_and_clip_g(EmbeddingFormat format)
    {
        EmbeddingWriter.Write(folder.Path("two.safetensors"), two, format, StoredType.F16);
        using (var file = Checkpoint.Open(folder.Path("two.safetensors"))) Assert.Equal(["clip_g", "clip_l"], file.Names.Order());
        using var read = Assert.Single(Embedding.Read(folder.Path("two.safetensors"), "<mine>"));
        Assert.Equal("<mine>", read.Token);
        foreach (var (component, rows) in two.Vectors)
        {
            using var half = rows.to(ScalarType.Float16).to(ScalarType.Float32);
            Assert.True(half.eq(read.Vectors[component]).all().item<bool>());
        }
    }

    [Fact]
    public void A1111s_pt_has_no_place_for_two_encoders() => Assert.Equal(
        $"the embedding <s2> is not written: A1111's .pt has no place for a second text encoder; {folder.Path("two.pt")}; write it as .safetensors (format a1111)",
        Assert.Throws<CheckpointException>(() => EmbeddingWriter.Write(folder.Path("two.pt"), two, EmbeddingFormat.A1111Pt)).Message);

    [Fact]
    public void Numbers_that_are_none_are_not_written()
    {
        using var bad = new Embedding("<s1>", new Dictionary<string, Tensor> { ["text_encoder"] = TensorArithmetic.Filled([1, 12], 1e6) });
        Assert.Equal(
            $"the embedding <s1> is not written: it has numbers that are not finite as F16; {folder.Path("bad.safetensors")}; the training diverged: use an earlier save",
            Assert.Throws<CheckpointException>(() => EmbeddingWriter.Write(folder.Path("bad.safetensors"), bad, EmbeddingFormat.A1111, StoredType.F16)).Message);
        Assert.False(File.Exists(folder.Path("bad.safetensors")));
    }

    [Fact]
    public void A_name_for_several_tokens_and_a_file_without_any_are_refused()
    {
        var files = Path.Combine(Repository.Root, "tests", "fixtures", "adapters", "files");
        Assert.Equal(
            $"the file holds 2 embeddings, which cannot all be called <x>: <s1>, <s2>; in {files}/sd1_ancestor_A.safetensors; leave the name away to use theirs",
            Assert.Throws<OptionsException>(() => Embedding.Read(Path.Combine(files, "sd1_ancestor_A.safetensors"), "<x>")).Message);
        Assert.Equal(
            $"the file holds no embedding (kohya keys, rank 3); in {files}/sd1_kohya_fp32.safetensors; use it with --adapter, or give a textual-inversion file",
            Assert.Throws<CheckpointException>(() => Embedding.Read(Path.Combine(files, "sd1_kohya_fp32.safetensors"))).Message);
    }

    [Fact]
    public void Inspect_names_the_tokens_of_a_file()
    {
        EmbeddingWriter.Write(folder.Path("two.safetensors"), two);
        var report = InspectAdapter.Run(folder.Path("two.safetensors"));
        Assert.Equal(["embeddings"], report.Kinds);
        Assert.Equal(["<s2> [3,20]", "<s2> [3,12]"], report.Embeddings);
        Assert.Empty(report.Trouble);
    }

    [Theory]
    [InlineData("<tango>", "tango")]
    [InlineData("my style!", "my-style")]
    [InlineData("<>", "token")]
    public void A_word_becomes_a_file_name(string token, string expected) => Assert.Equal(expected, EmbeddingWriter.FileName(token));

    [Theory]
    [InlineData("a.pt", "a.pt", null)]
    [InlineData("a.pt=<s1>", "a.pt", "<s1>")]
    public void A_use_is_read_from_a_command_line(string text, string file, string? token) => Assert.Equal(new EmbeddingUse(file, token), EmbeddingUse.Parse(text));

    [Fact]
    public void Reading_leaves_no_tensor_behind()
    {
        EmbeddingWriter.Write(folder.Path("two.safetensors"), two);
        LeakGuard.AssertNothingLeft(() =>
        {
            foreach (var embedding in Embedding.Read(folder.Path("two.safetensors"))) embedding.Dispose();
            EmbeddingWriter.Write(folder.Path("one.pt"), one, EmbeddingFormat.A1111Pt);
        });
    }
}
