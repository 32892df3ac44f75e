using LowRank.Data;
using LowRank.Foundation;
using LowRank.Images;

namespace LowRank.Tests.Data;

/// <summary>The stated rules of drawn holes, by scripted draws, and how often what is drawn.</summary>
public sealed class RandomHolesTests
{
    [Fact]
    public void Below_its_share_all_of_the_picture_is_the_hole() =>
        Assert.Equal(["####", "####"], Draw(new InpaintingOptions { FullHoles = 0.5 }, 4, 2, 0.49));

    [Fact]
    public void A_shape_lies_where_its_draws_put_it_and_shapes_overlap() =>
        // not whole; two of 1 to 2 shapes; rectangle 4 × 2 at (1, 0); rectangle 2 × 4 at (6, 2)
        Assert.Equal(
            [
                ".####...",
                ".####...",
                "......##",
                "......##",
                "......##",
                "......##",
            ], Draw(new InpaintingOptions { FullHoles = 0.5, MaxShapes = 2, MinSize = 0.25, MaxSize = 0.75, Ellipses = 0.5 }, 8, 6,
                0.5, 0.99, 0.5, 0.5, 0.1, 0.25, 0.0, 0.9, 0.0, 0.8, 0.99, 0.99));

    [Fact]
    public void An_ellipse_fills_its_box_in_the_middle_of_each_side() =>
        Assert.Equal(
            [
                "..####..",
                ".######.",
                "########",
                "########",
                ".######.",
                "..####..",
            ], Draw(new InpaintingOptions { FullHoles = 0, MaxShapes = 1, MinSize = 1, MaxSize = 1, Ellipses = 1 }, 8, 6, 0.5, 0, 0.99, 0, 0, 0, 0));

    [Theory]
    [InlineData(64, 64)]
    [InlineData(96, 40)]
    public void Sizes_numbers_and_shares_are_those_of_the_options(int width, int height)
    {
        using var streams = new RandomStreams(3);
        var options = new InpaintingOptions { FullHoles = 0.3, MaxShapes = 1, MinSize = 0.125, MaxSize = 0.5, Ellipses = 0 };
        var holes = new RandomHoles(options, new StreamDraws(streams["inpainting"]));
        var (full, widths, heights, lefts) = (0, new HashSet<int>(), new HashSet<int>(), new HashSet<int>());
        for (var i = 0; i < 4000; i++)
        {
            var hole = holes.Draw(new PixelSize(width, height));
            if (Array.TrueForAll(hole, value => value == 255))
            {
                full++;
                continue;
            }
            var inside = Enumerable.Range(0, hole.Length).Where(at => hole[at] == 255).ToList();
            var columns = inside.Select(at => at % width).Distinct().ToList();
            var rows = inside.Select(at => at / width).Distinct().ToList();
            Assert.Equal(inside.Count, columns.Count * rows.Count);   // one rectangle
            widths.Add(columns.Count);
            heights.Add(rows.Count);
            lefts.Add(columns.Min());
        }
        Assert.InRange(full, 1080, 1320);
        Assert.Equal(Enumerable.Range(width / 8, width / 2 - width / 8 + 1), widths.Order());
        Assert.Equal(Enumerable.Range(height / 8, height / 2 - height / 8 + 1), heights.Order());
        Assert.Equal((0, width - width / 8), (lefts.Min(), lefts.Max()));
    }

    [Fact]
    public void A_hole_has_a_pixel_at_least() =>
        Assert.Equal(["....", "...#"], Draw(new InpaintingOptions { FullHoles = 0, MaxShapes = 1, MinSize = 0, MaxSize = 0 }, 4, 2, 0.5, 0, 0.2, 0, 0, 0.99, 0.99));

    private static IEnumerable<string> Draw(InpaintingOptions options, int width, int height, params double[] draws)
    {
        Assert.Empty(options.Validate());
        var script = new Scripted(draws);
        var hole = new RandomHoles(options, script).Draw(new PixelSize(width, height));
        Assert.Equal(draws.Length, script.Used);
        return hole.Chunk(width).Select(row => string.Concat(row.Select(value => value switch { 0 => '.', 255 => '#', _ => '?' })));
    }

    private sealed class Scripted(double[] draws) : IDraws
    {
        public int Used { get; private set; }

        public double Uniform() => draws[Used++];

        public int Choice(int count) => (int)(Uniform() * count);

        public int[] Permutation(int count) => throw new NotSupportedException();
    }
}
