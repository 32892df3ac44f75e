using LowRank.Recipes;

namespace LowRank.Tests.Recipes;

public class AdapterUseTests
{
    [Theory]
    [InlineData("a.safetensors", "a.safetensors", "1")]
    [InlineData("a.safetensors=0.8", "a.safetensors", "0.8")]
    [InlineData("a=b.safetensors", "a=b.safetensors", "1")]
    [InlineData("a=b=-1.5", "a=b", "-1.5")]
    [InlineData("a=0.8,text_encoder:0.5", "a", "0.8 text_encoder:0.5")]
    [InlineData("a=unet:0.8,text_encoder_2:2", "a", "1 unet:0.8 text_encoder_2:2")]
    [InlineData("a=blocks:1/0/.5,0.7", "a", "0.7 blocks:1/0/0.5")]
    [InlineData("a=0.8,0.9", "a=0.8,0.9", "1")]
    [InlineData("a=vae:1", "a=vae:1", "1")]
    [InlineData("a=unet:1,unet:2", "a=unet:1,unet:2", "1")]
    [InlineData("a=blocks:1/x", "a=blocks:1/x", "1")]
    [InlineData("a=", "a=", "1")]
    public void A_file_with_strengths_is_read_and_what_is_no_strength_belongs_to_the_name(string text, string file, string strengths)
    {
        var use = AdapterUse.Parse(text);
        Assert.Equal((file, strengths), (use.File, use.InWords()));
    }

    [Theory]
    [InlineData("a=NaN", "a has strength NaN; must be a number")]
    [InlineData("a=1,unet:NaN", "a has strength NaN; must be a number")]
    [InlineData("a=0.5", null)]
    public void Numbers_that_are_none_are_a_problem(string text, string? problem) => Assert.Equal(problem, AdapterUse.Parse(text).Problem());
}
