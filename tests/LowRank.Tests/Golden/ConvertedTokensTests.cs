using System.Text.Json;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>Files of learned tokens in every form, to every form and back: the same vectors, to the bit.</summary>
public sealed class ConvertedTokensTests : IDisposable
{
    private static readonly (WrittenConvention To, string Ending)[] Forms =
        [(WrittenConvention.Kohya, ".safetensors"), (WrittenConvention.Kohya, ".pt"), (WrittenConvention.Diffusers, ".safetensors"), (WrittenConvention.Legacy, ".safetensors"), (WrittenConvention.Legacy, ".pt")];

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    /// <summary>Every file of the cases that holds tokens alone.</summary>
    public static IEnumerable<TheoryDataRow<string, string>> Files()
    {
        foreach (var row in GoldenCase.OfKind("embeddings"))
        {
            using var golden = GoldenCase.Open(row.Data);
            foreach (var name in golden.Json.GetProperty("files").EnumerateArray().Select(file => file.GetProperty("file").GetString()!))
            {
                using var file = AdapterFile.Open(Path.Combine(golden.Folder, name));
                if (file.Modules.Count == 0) yield return new(row.Data, name);
            }
        }
    }

    [Theory, MemberData(nameof(Files))]
    public void A_token_keeps_its_vectors_in_every_form_and_back(string id, string name)
    {
        using var golden = GoldenCase.Open(id);
        var source = Path.Combine(golden.Folder, name);
        var expected = Vectors([source]);
        foreach (var (to, ending) in Forms)
        {
            var options = new ConvertOptions { Input = source, Output = Path.Combine(folder.FullName, "first" + ending), To = to };
            if (!Holds(to, ending, expected.Values))
            {
                Assert.Throws<CheckpointException>(() => ConvertAdapter.Run(options));
                continue;
            }
            var first = ConvertAdapter.Run(options);
            Assert.Equal(expected.Values, Vectors(first.Files).Values);
            foreach (var (back, other) in Forms.Where(form => Holds(form.To, form.Ending, expected.Values)))
            {
                var files = first.Files.SelectMany(file => ConvertAdapter.Run(new ConvertOptions { Input = file, Output = Path.Combine(folder.FullName, Path.GetFileNameWithoutExtension(file) + "-back" + other), To = back }).Files).ToList();
                Assert.Equal(expected.Values, Vectors(files).Values);
            }
        }
    }

    [Fact]
    public void Several_tokens_become_a_file_each_where_a_form_has_one_word_only()
    {
        var report = ConvertAdapter.Run(new ConvertOptions { Input = Fixture("ancestor.ti.pt"), Output = folder.Path("word.safetensors"), To = WrittenConvention.Kohya });
        Assert.Equal($"""
            {folder.Path("word-s1.safetensors")}
            from      {Fixture("ancestor.ti.pt")} (embeddings only)
            to        kohya
            also      {folder.Path("word-s2.safetensors")}
            changed   A1111 and ComfyUI call a token by its file: <s1> is word-s1 there, <s2> is word-s2 there
            """, report.ToString());
    }

    [Theory]
    [InlineData("ti_sdxl.safetensors", "out.pt", WrittenConvention.Kohya, "the embedding ti_sdxl is not written: A1111's .pt has no place for a second text encoder; F/out.pt; write it as .safetensors (format a1111)")]
    [InlineData("ti_sdxl.safetensors", "out.pt", WrittenConvention.Legacy, "the tokens are not converted: the 2022 package has one vector of one text encoder for each: ti_sdxl [3,20] for text_encoder_2, ti_sdxl [3,12] for text_encoder; in I/ti_sdxl.safetensors; --to kohya or --to diffusers holds them")]
    [InlineData("ti_sdxl.safetensors", "out", WrittenConvention.Peft, "a file of learned tokens has no PEFT form: I/ti_sdxl.safetensors\n  try     --to kohya (A1111, ComfyUI, sd-scripts), --to diffusers, or --to legacy")]
    [InlineData("ti_sdxl.safetensors", "out.pt", WrittenConvention.Diffusers, "the output must end with .safetensors: F/out.pt\n  try     give it that ending")]
    public void What_a_form_has_no_place_for_is_refused(string name, string output, WrittenConvention to, string message)
    {
        var error = Assert.ThrowsAny<LowRankException>(() => ConvertAdapter.Run(new ConvertOptions { Input = Fixture(name), Output = folder.Path(output), To = to }));
        Assert.Equal(message, error.Message.Replace(folder.FullName, "F").Replace(Path.GetDirectoryName(Fixture(name))!, "I"));
        Assert.Empty(Directory.GetFileSystemEntries(folder.FullName));
    }

    private static string Fixture(string name) => Path.Combine(Repository.Root, "tests", "fixtures", "adapters", "files", name);

    /// <summary>From what is known of the forms: A1111's .pt has one text encoder, the package of 2022 one vector for it.</summary>
    private static bool Holds(WrittenConvention to, string ending, IEnumerable<string> vectors) => (to, ending) switch
    {
        (WrittenConvention.Kohya, ".pt") => !vectors.Any(text => text.Contains("text_encoder_2", StringComparison.Ordinal)),
        (WrittenConvention.Legacy, _) => vectors.All(text => text.StartsWith("text_encoder 1x", StringComparison.Ordinal) && !text.Contains('|')),
        _ => true,
    };

    /// <summary>By place of the token, its vectors as text: some forms call it by its file.</summary>
    private static SortedDictionary<int, string> Vectors(IEnumerable<string> paths)
    {
        var found = new SortedDictionary<int, string>();
        foreach (var token in paths.SelectMany(path => Embedding.Read(path)))
        {
            found[found.Count] = string.Join('|', token.Vectors.OrderBy(item => item.Key, StringComparer.Ordinal).Select(item => $"{item.Key} {string.Join('x', item.Value.shape)} {JsonSerializer.Serialize(item.Value.data<float>().ToArray())}"));
            token.Dispose();
        }
        return found;
    }
}
