using LowRank.Foundation;
using LowRank.Text;

namespace LowRank.Tests.Text;

public class PromptTagsTests
{
    [Theory]
    [InlineData("<lora:a>", 1, 1)]
    [InlineData("<lora:a:0.5>", 0.5, 0.5)]
    [InlineData("<lora:a:-.5:2>", -0.5, 2)]
    [InlineData("<lora:a:te=0.5>", 0.5, 0.5)]
    [InlineData("<lora:a:unet=0.5>", 1, 0.5)]
    [InlineData("<lora:a:0.2:0.3:TE=0.5:unet=2>", 0.5, 2)]
    [InlineData("<lyco:a:1e-1>", 0.1, 0.1)]
    [InlineData("<LoRA: a :0.5>", 0.5, 0.5)]
    public void Strengths_stand_in_their_place_or_by_name(string tag, double encoder, double unet)
    {
        var (rest, tags) = PromptTags.Take($"x, {tag} y");
        Assert.Equal("x,  y", rest);
        var found = Assert.Single(tags);
        Assert.Equal(("a", encoder, unet), (found.Name, found.TextEncoder, found.Unet));
        Assert.Empty(found.Blocks);
    }

    [Fact]
    public void Several_tags_keep_their_order_and_block_weights_their_numbers()
    {
        var (rest, tags) = PromptTags.Take("<lora:b.v2 (1):1:lbw=1,0,0.5><lora:a/b>cat<3, <my-word> a<b:c>");
        Assert.Equal("cat<3, <my-word> a<b:c>", rest);
        Assert.Equal(["b.v2 (1)", "a/b"], tags.Select(tag => tag.Name));
        Assert.Equal([1, 0, 0.5], tags[0].Blocks);
    }

    [Theory]
    [InlineData("<hypernet:a:1>", "prompt: <hypernet:a:1> is not understood: hypernetworks are not supported; take it out of the prompt")]
    [InlineData("<lora:a:1:1:8>", "prompt: <lora:a:1:1:8> is not understood: 8 in the fourth place is not supported; write <lora:name:te:unet>")]
    [InlineData("<lora:a:dyn=8>", "prompt: <lora:a:dyn=8> is not understood: dyn= is not supported; te=, unet= and lbw= are")]
    [InlineData("<lora:a:strong>", "prompt: <lora:a:strong> is not understood: \"strong\" is no number")]
    [InlineData("<lora:a:1:lbw=MIDD>", "prompt: <lora:a:1:lbw=MIDD> is not understood: \"MIDD\" is no number")]
    [InlineData("<lora:a:inf>", "prompt: <lora:a:inf> is not understood: \"inf\" is no number")]
    [InlineData("<lora:a:te=1:te=2>", "prompt: <lora:a:te=1:te=2> is not understood: te is given twice; give it once")]
    [InlineData("<lora: :1>", "prompt: <lora: :1> is not understood: it has no name; write <lora:name:0.8>")]
    [InlineData("<lora:unet=1>", "prompt: <lora:unet=1> is not understood: it has no name; write <lora:name:0.8>")]
    [InlineData("<lora:>", "prompt: \"<lora:>\" names an adapter, but is no whole tag; write <lora:name:0.8>")]
    public void What_is_not_understood_is_refused(string prompt, string message) => Assert.Equal(message, Assert.Throws<OptionsException>(() => PromptTags.Take(prompt)).Message);
}
