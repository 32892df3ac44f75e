using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Families;

/// <summary>Learned tokens are put behind the token table and taken out again: the model itself never changes.</summary>
public class LearnedTokenTests
{
    private static string Pipeline(string name) => Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines", name);

    private static LearnedToken Token(string text, params (string Part, Tensor Rows)[] rows) => new(text, rows.ToDictionary(item => item.Part, item => item.Rows));

    private static float[] Hidden(IDiffusionFamily family, string prompt)
    {
        using var inner = NewDisposeScope();
        return family.EncodePrompts([prompt]).Hidden.data<float>().ToArray();
    }

    [Fact]
    public void Taken_out_the_model_has_its_keys_numbers_and_outputs_to_the_bit()
    {
        using var family = FamilyDetector.Open(Pipeline("sd1"));
        using var scope = NewDisposeScope();
        Dictionary<string, string> Weights() => family.Component("text_encoder").state_dict().ToDictionary(item => item.Key, item => Convert.ToHexString(item.Value.bytes));
        var (before, plain, word) = (Weights(), Hidden(family, "a dog"), Hidden(family, "a <s1> dog"));
        family.Place([Token("<s1>", ("text_encoder", ones(2, 24)))]);
        Assert.Equal(before, Weights());
        Assert.Equal(plain, Hidden(family, "a dog"));
        Assert.NotEqual(word, Hidden(family, "a <s1> dog"));
        family.Place([]);
        Assert.Equal(before, Weights());
        Assert.Equal(word, Hidden(family, "a <s1> dog"));
    }

    [Fact]
    public void A_vector_of_a_word_under_another_name_reads_as_the_word_also_after_the_encoder_was_let_go()
    {
        using var family = FamilyDetector.Open(Pipeline("sd1"));
        using var scope = NewDisposeScope();
        var dog = family.TokenVectors("text_encoder", "dog");
        family.Place([Token("<s1>", ("text_encoder", dog))]);
        Assert.Equal(Hidden(family, "a dog on a table"), Hidden(family, "a <s1> on a table"));
        family.Release("text_encoder");
        Assert.Equal(Hidden(family, "a dog on a table"), Hidden(family, "a <s1> on a table"));
    }

    [Fact]
    public void Gradients_reach_the_vectors_in_use_and_nothing_of_the_model()
    {
        using var family = FamilyDetector.Open(Pipeline("sd1"));
        using var scope = NewDisposeScope();
        var (used, unused) = (ones(2, 24).requires_grad_(), ones(1, 24).requires_grad_());
        family.Place([Token("<s1>", ("text_encoder", used)), Token("<s2>", ("text_encoder", unused))]);
        family.EncodePrompts(["a <s1>"]).Hidden.Squared().sum().backward();
        Assert.True(used.grad!.abs().sum(1).IsAbove(0).all().item<bool>());
        Assert.Equal(0, unused.grad!.abs().sum().item<float>());
        Assert.All(family.Component("text_encoder").parameters(), parameter => Assert.Null(parameter.grad));
    }

    /// <summary>The published configuration of SDXL's encoders takes the pooled text at the largest id: a learned token, which has a larger one, is not the end.</summary>
    [Fact]
    public void The_pooled_text_is_still_taken_at_the_end_of_the_prompt()
    {
        using var family = FamilyDetector.Open(Pipeline("sdxl"));
        using var scope = NewDisposeScope();
        family.Place([Token("<s1>", ("text_encoder", family.TokenVectors("text_encoder", "dog")), ("text_encoder_2", family.TokenVectors("text_encoder_2", "dog")))]);
        var (word, token) = (family.EncodePrompts(["a dog on a table"]), family.EncodePrompts(["a <s1> on a table"]));
        Assert.True(word.Pooled!.eq(token.Pooled!).all().item<bool>());
        Assert.True(word.Hidden.eq(token.Hidden).all().item<bool>());
    }

    [Fact]
    public void Vectors_of_another_base_are_refused_and_nothing_changes()
    {
        using var family = FamilyDetector.Open(Pipeline("sd1"));
        using var scope = NewDisposeScope();
        Assert.Equal(
            $"the vectors of <s1> are [2,20], but text_encoder of this model has vectors of 24: they were learned on another base model; in {Pipeline("sd1")}/text_encoder/config.json",
            Assert.Throws<OptionsException>(() => family.Place([Token("<s1>", ("text_encoder", ones(2, 20)))])).Message);
        Assert.Equal(
            "the token <s1> has vectors for text_encoder_2, which Stable Diffusion 1 does not have: they were learned on another base model",
            Assert.Throws<OptionsException>(() => family.Place([Token("<s1>", ("text_encoder", ones(2, 24)), ("text_encoder_2", ones(2, 20)))])).Message);
    }

    [Fact]
    public void Encoding_with_learned_tokens_leaves_no_tensor_behind()
    {
        using var family = FamilyDetector.Open(Pipeline("sd1"));
        using var rows = ones(2, 24).DetachFromDisposeScope();
        family.Place([Token("<s1>", ("text_encoder", rows))]);
        LeakGuard.AssertNothingLeft(() =>
        {
            family.EncodePrompts(["a <s1> dog"]).Dispose();
            family.TokenVectors("text_encoder", "dog").Dispose();
            family.MeanTokenNorm("text_encoder");
        });
    }
}
