using LowRank.Foundation;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Foundation;

public sealed class ShapesTests : IDisposable
{
    private readonly DisposeScope scope = NewDisposeScope();

    public void Dispose() => scope.Dispose();

    [Theory]
    [InlineData("2,4,8,8")]
    [InlineData("B, 4, h, w")]
    [InlineData("B,4,h,h")]
    [InlineData("…,8")]
    [InlineData("…,B,4,h,w")]
    public void A_shape_that_fits_gives_the_tensor_back(string pattern)
    {
        var latents = zeros(2, 4, 8, 8);
        Assert.Same(latents, Shapes.Require(latents, pattern));
    }

    [Theory]
    [InlineData("B,3,h,w", "(B,3,h,w): axis 1 is 4, not 3")]
    [InlineData("B,4,B,w", "(B,4,B,w): axis 2 (B) is 8, not 2 as before")]
    [InlineData("B,4, d", "(B,4,d): it has 4 axes, not 3")]
    [InlineData("…,a,b,c,d,e", "(…,a,b,c,d,e): it has 4 axes, not at least 5")]
    [InlineData("…,7", "(…,7): axis 3 is 8, not 7")]
    public void A_shape_that_does_not_fit_is_refused_with_tensor_and_axis(string pattern, string why)
    {
        var latents = zeros(2, 4, 8, 8);
        Assert.Equal($"latents has shape [2,4,8,8], expected {why} (Parameter 'latents')", Assert.Throws<ArgumentException>(() => Shapes.Require(latents, pattern)).Message);
    }

    [Fact]
    public void A_number_has_no_axes() => Assert.Equal([], Shapes.Require(tensor(1f), "…").shape);
}
