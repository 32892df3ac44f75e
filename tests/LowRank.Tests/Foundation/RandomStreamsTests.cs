using LowRank.Foundation;
using LowRank.Testing;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Foundation;

public sealed class RandomStreamsTests : IDisposable
{
    private readonly DisposeScope scope = NewDisposeScope();

    public void Dispose() => scope.Dispose();

    private static float[] Draw(RandomStreams streams, string name, int count = 5) => randn([count], generator: streams[name]).data<float>().ToArray();

    [Fact]
    public void Equal_seeds_give_equal_numbers_and_others_do_not()
    {
        using var one = new RandomStreams(7);
        using var two = new RandomStreams(7);
        using var other = new RandomStreams(8);
        var expected = Draw(one, "noise");
        Assert.Equal(expected, Draw(two, "noise"));
        Assert.NotEqual(expected, Draw(other, "noise"));
        Assert.NotEqual(expected, Draw(one, "noise"));
    }

    [Fact]
    public void Streams_do_not_depend_on_each_other()
    {
        using var one = new RandomStreams(7);
        using var two = new RandomStreams(7);
        Draw(one, "timestep", 1000);
        Draw(one, "noise");
        Draw(two, "noise");
        Assert.Equal(Draw(one, "noise"), Draw(two, "noise"));
        string[] names = ["init", "shuffle", "crop", "caption", "timestep", "noise", "preview"];
        using var fresh = new RandomStreams(0);
        Assert.Equal(names.Length, names.Select(name => Draw(fresh, name)[0]).Distinct().Count());
    }

    [Fact]
    public void Names_cannot_be_mixed_up_with_seeds()
    {
        // the seed is not merely added to a hash of the name
        var firsts = Enumerable.Range(-50, 101).SelectMany(seed =>
        {
            using var streams = new RandomStreams(seed);
            return new[] { Draw(streams, "noise", 1)[0], Draw(streams, "crop", 1)[0] };
        }).ToList();
        Assert.Equal(firsts.Count, firsts.Distinct().Count());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(long.MinValue)]
    [InlineData(long.MaxValue)]
    public void A_saved_state_goes_on_where_it_was(long seed)
    {
        using var streams = new RandomStreams(seed);
        Draw(streams, "noise", 3);              // an odd count leaves half a pair of normals behind
        randint(0, 1000, [7], generator: streams["timestep"]);
        var state = streams.Save();
        var expected = (Draw(streams, "noise"), Draw(streams, "timestep"), Draw(streams, "crop"));

        using var restored = new RandomStreams(seed);
        Draw(restored, "noise", 100);
        restored.Restore(state);
        Assert.Equal(["noise", "timestep"], state.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(expected.Item1, Draw(restored, "noise"));
        Assert.Equal(expected.Item2, Draw(restored, "timestep"));
        Assert.Equal(expected.Item3, Draw(restored, "crop"));
        streams.Restore(state);
        Assert.Equal(expected.Item1, Draw(streams, "noise"));
    }

    [Fact]
    public void The_numbers_of_a_seed_never_change()
    {
        // pinned: a run of last year must be repeatable
        using var streams = new RandomStreams(42);
        Assert.Equal(Pinned, Draw(streams, "noise", 3));
    }

    private static readonly float[] Pinned = [0.970910013f, -0.505773127f, 1.21764028f];

    [Fact]
    public void A_damaged_state_is_refused_and_the_stream_goes_on()
    {
        using var streams = new RandomStreams(3);
        Assert.Equal("the saved state of the random stream \"noise\" has 7 bytes, 5056 are needed; the training state is damaged: start from an earlier one",
            Assert.Throws<CheckpointException>(() => streams.Restore(new Dictionary<string, byte[]> { ["noise"] = new byte[7] })).Message);
        using var other = new RandomStreams(3);
        Assert.Equal(Draw(other, "noise"), Draw(streams, "noise"));
    }

    [Fact]
    public void Saving_and_restoring_leave_nothing_behind()
    {
        using var streams = new RandomStreams(3);
        Draw(streams, "noise");
        LeakGuard.AssertNothingLeft(() => streams.Restore(streams.Save()));
    }
}
