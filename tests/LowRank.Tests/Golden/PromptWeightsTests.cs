using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Testing;
using LowRank.Text;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>
/// Brackets taken apart, chunks of ids with their weights, and the weighed states, as the web UI makes them. The cases also hold what a trainer does, which
/// restores the mean in other ways (<c>trainer_*</c>): those tensors are not what is built here.
/// </summary>
public class PromptWeightsTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("prompt_weights");

    [Theory, MemberData(nameof(Cases))]
    public void Brackets_become_pieces_with_weights(string id)
    {
        using var golden = GoldenCase.Open(id);
        var prompts = golden.Json.GetProperty("parse").EnumerateArray().ToList();
        Assert.NotEmpty(prompts);
        foreach (var prompt in prompts)
        {
            var expected = prompt.GetProperty("parsed").EnumerateArray().Select(piece => new WeightedText(piece[0].GetString()!, piece[1].GetDouble()));
            Assert.Equal(expected, WeightedPrompt.Parse(prompt.GetProperty("text").GetString()!));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Prompts_become_chunks_and_weighed_states(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var folder = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", golden.Json.GetProperty("folder").GetString()!);
        using var family = (UnetFamily)FamilyDetector.Open(folder);
        var tokenizer = family.Encoders[0].Tokenizer;
        var entries = golden.Json.GetProperty("prompts").EnumerateArray().ToList();
        Assert.NotEmpty(entries);
        for (var i = 0; i < entries.Count; i++)
        {
            var prompts = entries[i].GetProperty("prompts").EnumerateArray().Select(text => text.GetString()!).ToList();
            var chunks = prompts.Select(prompt => PromptChunk.Of(tokenizer, prompt, family.PromptLength)).ToList();
            Assert.Equal(entries[i].GetProperty("chunks").GetInt32(), chunks.Max(parts => parts.Count));
            AssertChunks(golden, i, tokenizer, chunks);
            using var conditioning = family.EncodePrompts(prompts, new PromptOptions { Weighted = true });
            golden.AssertClose($"prompt{i}.web_ui", conditioning.Hidden);
        }
    }

    private static void AssertChunks(GoldenCase golden, int prompt, ClipTokenizer tokenizer, List<IReadOnlyList<PromptChunk>> prompts)
    {
        for (var place = 0; golden.Has($"prompt{prompt}.chunk{place}.ids"); place++)
        {
            var (ids, weights) = (golden.Tensor($"prompt{prompt}.chunk{place}.ids"), golden.Tensor($"prompt{prompt}.chunk{place}.multipliers"));
            for (var row = 0; row < prompts.Count; row++)
            {
                var length = (int)ids.size(1);
                var chunk = place < prompts[row].Count ? prompts[row][place] : PromptChunk.Empty(tokenizer, length);
                Assert.Equal(ids[row].data<long>().ToArray(), chunk.Ids.Select(id => (long)id));
                Assert.Equal(weights[row].data<float>().ToArray(), chunk.Weights);
            }
        }
    }
}
