using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Models.Layers;
using LowRank.Testing;
using LowRank.Text;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Prompts with placeholder tokens of one and several vectors: ids, and what the text encoder makes of them.</summary>
public class TextualInversionPromptTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("textual_inversion_prompt");

    [Theory, MemberData(nameof(Cases))]
    public void Placeholders_become_their_ids_and_vectors(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var folder = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", golden.Json.GetProperty("folder").GetString()!);
        using var family = new StableDiffusion(DiffusersFolder.Open(folder), new LayerFactory(CPU, ScalarType.Float32));
        var plain = family.Encoders[0].Tokenizer;
        Assert.Equal(golden.Json.GetProperty("vocabulary_before").GetInt32(), plain.IdCount);
        var tokens = golden.Json.GetProperty("tokens").EnumerateArray().Select(token => (Text: token[0].GetString()!, Count: token[1].GetInt32())).ToList();
        family.Place([.. tokens.Select(token => new LearnedToken(token.Text, new Dictionary<string, Tensor>
        {
            ["text_encoder"] = Formula.Noise($"embedding {token.Text}", [token.Count, 24], golden.Json.GetProperty("seed").GetInt64(), 0.5),
        }))]);
        var written = plain.WithAddedTokens([.. tokens.SelectMany(token => Enumerable.Range(0, token.Count).Select(i => i == 0 ? token.Text : $"{token.Text}_{i}"))]);
        var entries = golden.Json.GetProperty("entries").EnumerateArray().ToList();
        Assert.NotEmpty(entries);
        for (var i = 0; i < entries.Count; i++)
        {
            var prompt = entries[i].GetProperty("prompt").GetString()!;
            Assert.Equal(written.Encode(entries[i].GetProperty("converted").GetString()!), family.Encoders[0].Tokenizer.Encode(prompt));
            using var ids = family.Encoders[0].Tokenize([prompt]);
            Assert.True(ids.eq(golden.Tensor($"prompt{i}.ids")).all().item<bool>(), $"ids of \"{prompt}\"");
            using var conditioning = family.EncodePrompts([prompt]);
            golden.AssertClose($"prompt{i}.embeds", conditioning.Hidden);
        }
        AssertPlaced(golden, family.Encoders[0].Tokenizer);
    }

    /// <summary>Each token stands for the ids that the case lists, in loading order.</summary>
    private static void AssertPlaced(GoldenCase golden, ClipTokenizer tokenizer)
    {
        foreach (var placed in golden.Json.GetProperty("placed").EnumerateArray())
        {
            Assert.Equal(placed.GetProperty("ids").EnumerateArray().Select(number => number.GetInt32()), tokenizer.Encode(placed.GetProperty("token").GetString()!)[1..^1]);
        }
    }
}
