using System.Text.Json;
using LowRank.Adapters;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Files of learned tokens as people have them: the word and the vectors of each, to the bit.</summary>
public class EmbeddingFilesTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("embeddings");

    [Theory, MemberData(nameof(Cases))]
    public void Every_form_gives_its_words_and_vectors(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        Assert.Equal((0, 0), golden.Tolerance("vectors"));
        foreach (var file in golden.Json.GetProperty("files").EnumerateArray())
        {
            var path = Path.Combine(golden.Folder, file.GetProperty("file").GetString()!);
            var read = Embedding.Read(path);
            try
            {
                Assert.Equal(Words(file, path), read.Select(item => item.Token));
                foreach (var (component, expected) in file.GetProperty("expect").EnumerateObject().Select(item => (item.Name, item.Value)))
                {
                    foreach (var embedding in read) AssertSame(Expected(golden, expected, embedding.Token, file), embedding.Vectors[component], path);
                }
                Assert.All(read, item => Assert.Equal(file.GetProperty("expect").EnumerateObject().Select(part => part.Name).Order(), item.Vectors.Keys.Order()));
            }
            finally
            {
                foreach (var embedding in read) embedding.Dispose();
            }
        }
    }

    /// <summary>The words a file gives; one that gives none is called by its file's name.</summary>
    private static List<string> Words(JsonElement file, string path) => file.GetProperty("token_in_file") switch
    {
        { ValueKind: JsonValueKind.Null } => [Path.GetFileNameWithoutExtension(path)],
        { ValueKind: JsonValueKind.Array } several => [.. several.EnumerateArray().Select(word => word.GetString()!)],
        var one => [one.GetString()!],
    };

    /// <summary>(n, C) float32 in the words of the case; it lives in the caller's scope.</summary>
    private static Tensor Expected(GoldenCase golden, JsonElement rule, string token, JsonElement file)
    {
        if (rule.ValueKind == JsonValueKind.Object) rule = rule.GetProperty(token);
        switch (rule.GetString()!.Split(' '))
        {
            case ["vectors" or "vectors_g"]: return golden.Tensor(rule.GetString()!);
            case ["vector", var row]: return golden.Tensor("vectors").narrow(0, long.Parse(row, System.Globalization.CultureInfo.InvariantCulture), 1);
            case ["vectors", "rounded", "to", "float16"]: return golden.Tensor("vectors").to(ScalarType.Float16).to(ScalarType.Float32);
            case ["tokens", "in", "sd1_delta.json"]:
                using (var other = GoldenCase.Open("adapters/sd1_delta")) return Token(other, token);
            default: throw new NotSupportedException($"the case has a rule that the test does not know: {rule} of {file.GetProperty("file")}");
        }
    }

    private static Tensor Token(GoldenCase golden, string token)
    {
        var numbers = golden.Json.GetProperty("tokens").GetProperty(token).EnumerateArray().Select(number => number.GetSingle()).ToArray();
        return tensor(numbers, [1, numbers.Length]);
    }

    private static void AssertSame(Tensor expected, Tensor actual, string path)
    {
        Assert.True(expected.shape.SequenceEqual(actual.shape), $"{path}: shape {string.Join('x', actual.shape)}, expected {string.Join('x', expected.shape)}");
        Assert.True(expected.eq(actual).all().item<bool>(), $"{path}: other numbers");
    }
}
