using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>The file-level part of the kind <c>pipeline_folders</c>: files to refuse, and odd ones to read.</summary>
public class MalformedFilesTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("pipeline_folders");

    public static IEnumerable<TheoryDataRow<string, string>> Files()
    {
        foreach (var row in Cases())
        {
            using var golden = GoldenCase.Open(row.Data);
            foreach (var file in golden.Json.GetProperty("malformed").EnumerateObject()) yield return new(row.Data, file.Name);
        }
    }

    [Theory, MemberData(nameof(Files))]
    public void Each_file_is_read_or_refused_as_the_reference_does(string id, string name)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var entry = golden.Json.GetProperty("malformed").GetProperty(name);
        var path = Path.Combine(golden.Folder, "pipelines", "malformed", name);
        Assert.Equal(entry.GetProperty("bytes").GetInt64(), new FileInfo(path).Length);
        var expect = entry.GetProperty("expect").GetString();
        if (expect == "refuse")
        {
            var message = Assert.Throws<CheckpointException>(() => ReadAll(path)).Message;
            Assert.Contains($"; in {path}; ", message);
        }
        else
        {
            Assert.Equal("load", expect);
            Assert.NotEmpty(ReadAll(path));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void The_good_files_hold_the_same_numbers(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var folder = Path.Combine(golden.Folder, "pipelines", "malformed");
        var safetensors = ReadAll(Path.Combine(folder, "good.safetensors"));
        var pickle = ReadAll(Path.Combine(folder, "good.pt"));
        Assert.NotEmpty(pickle);
        foreach (var (name, value) in pickle) TensorAssert.Equal(safetensors[name], value, name);
    }

    [Theory, MemberData(nameof(Cases))]
    public void Single_files_hold_the_same_numbers_in_both_formats(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var single = golden.Json.GetProperty("single_file");
        var of = single.GetProperty("of").GetString();
        var folder = Path.Combine(golden.Folder, "pipelines", "single-file");
        var safetensors = ReadAll(Path.Combine(folder, $"{of}.safetensors"));
        var pickle = ReadAll(Path.Combine(folder, $"{of}.ckpt"));
        Assert.Equal(single.GetProperty("keys").GetInt32(), safetensors.Count);
        AssertSame(safetensors, pickle);

        var encoder = ReadAll(Path.Combine(golden.Folder, "pipelines", of!, "text_encoder", "model.safetensors"));
        AssertSame(encoder, ReadAll(Path.Combine(folder, $"{of}-text_encoder.bin")));
    }

    [Theory, MemberData(nameof(Cases))]
    public void The_format_of_before_torch_1_6_is_refused_by_name(string id)
    {
        using var golden = GoldenCase.Open(id);
        var path = Path.Combine(golden.Folder, "pipelines", "single-file", "legacy-not-zip.pt");
        Assert.Equal($"a torch file of before version 1.6 (2020), which is no zip archive and is not read; in {path}; load and save it once with a later torch",
            Assert.Throws<CheckpointException>(() => Checkpoint.Open(path)).Message);
    }

    private static void AssertSame(Dictionary<string, Tensor> expected, Dictionary<string, Tensor> actual)
    {
        Assert.Equal(expected.Keys.Order(StringComparer.Ordinal), actual.Keys.Order(StringComparer.Ordinal));
        foreach (var (name, value) in expected)
        {
            Assert.Equal(value.dtype, actual[name].dtype);
            TensorAssert.Equal(value, actual[name], name);
        }
    }

    /// <summary>Opens, reads and maps everything; the readings must agree.</summary>
    private static Dictionary<string, Tensor> ReadAll(string path)
    {
        using var checkpoint = Checkpoint.Open(path);
        var tensors = checkpoint.Names.ToDictionary(name => name, checkpoint.Read);
        foreach (var (name, value) in tensors) TensorAssert.Equal(value, checkpoint.Map(name), name);
        return tensors;
    }
}
