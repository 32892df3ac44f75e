using LowRank.Diffusion;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Training;

public class LatentCacheTests
{
    private static readonly CacheKey Key = CacheKey.Of("picture hash", "64x64", "model hash");

    [Fact]
    public void What_was_added_is_found_in_memory_without_a_file()
    {
        using var scope = NewDisposeScope();
        using var cache = new LatentCache(folder: null, new Listener());
        Assert.Null(cache.Find(Key));
        var latents = Formula.Noise("latents", [1, 4, 8, 8], 3);
        cache.Add(Key, Entry(latents));
        TensorAssert.Equal(latents, cache.Find(Key)!["latents"]);
        Assert.Null(cache.Find(CacheKey.Of("picture hash", "64x64", "another model")));
    }

    [Fact]
    public void What_was_added_is_found_by_a_later_run_in_the_folder()
    {
        using var scope = NewDisposeScope();
        using var folder = new TemporaryFolder();
        var (states, half) = (Formula.Noise("hidden", [1, 7, 5], 3), Formula.Noise("pooled", [1, 5], 3).to(ScalarType.BFloat16));
        using (var first = new LatentCache(folder.FullName, new Listener())) first.Add(Key, new Dictionary<string, Tensor> { ["hidden"] = states, ["pooled"] = half });
        using var second = new LatentCache(folder.FullName, new Listener());
        var found = second.Find(Key)!;
        Assert.Equal(["hidden", "pooled"], found.Keys.Order());
        TensorAssert.Equal(states, found["hidden"]);
        Assert.Equal(ScalarType.BFloat16, found["pooled"].dtype);
        TensorAssert.Equal(half, found["pooled"]);
    }

    [Theory, InlineData("cut short"), InlineData("a bit flipped"), InlineData("no safetensors")]
    public void A_damaged_file_is_told_of_and_made_again(string damage)
    {
        using var scope = NewDisposeScope();
        using var folder = new TemporaryFolder();
        var latents = Formula.Noise("latents", [1, 4, 8, 8], 3);
        using (var first = new LatentCache(folder.FullName, new Listener())) first.Add(Key, Entry(latents));
        var path = LatentCache.PathOf(folder.FullName, Key);
        var bytes = File.ReadAllBytes(path);
        if (damage == "a bit flipped") bytes[^5] ^= 1;
        File.WriteAllBytes(path, damage switch { "cut short" => bytes[..^100], "no safetensors" => "hello, world"u8.ToArray(), _ => bytes });

        var events = new Listener();
        using (var second = new LatentCache(folder.FullName, events))
        {
            Assert.Null(second.Find(Key));
            var warning = Assert.IsType<RunWarning>(Assert.Single(events.All));
            Assert.StartsWith("a cached result is damaged and will be made again: ", warning.Text, StringComparison.Ordinal);
            Assert.EndsWith(path, warning.Text, StringComparison.Ordinal);
            second.Add(Key, Entry(latents));
        }
        using var third = new LatentCache(folder.FullName, new Listener());
        TensorAssert.Equal(latents, third.Find(Key)!["latents"]);
    }

    [Fact]
    public void A_folder_that_cannot_be_written_is_told_of_once_and_the_run_goes_on_in_memory()
    {
        using var scope = NewDisposeScope();
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.Path("cache"), "a file where the folder should be");
        var events = new Listener();
        using var cache = new LatentCache(folder.Path("cache"), events);
        cache.Add(Key, Entry(ones(1)));
        cache.Add(CacheKey.Of("another"), Entry(ones(1)));
        var warning = Assert.IsType<RunWarning>(Assert.Single(events.All));
        Assert.StartsWith("the cache folder cannot be written, results stay in memory: ", warning.Text, StringComparison.Ordinal);
        Assert.NotNull(cache.Find(Key));
    }

    [Fact]
    public void A_cache_leaves_no_tensor_behind()
    {
        using var folder = new TemporaryFolder();
        LeakGuard.AssertNothingLeft(() =>
        {
            using var scope = NewDisposeScope();
            using var cache = new LatentCache(folder.FullName, new Listener());
            if (cache.Find(Key) is null) cache.Add(Key, Entry(ones(3)));
            cache.Add(Key, Entry(ones(4)));
            Assert.Equal(4, cache.Find(Key)!["latents"].numel());
        });
    }

    [Fact]
    public void Keys_tell_parts_apart_and_files_by_their_content()
    {
        Assert.NotEqual(CacheKey.Of("ab", "c"), CacheKey.Of("a", "bc"));
        Assert.NotEqual(CacheKey.Of("a", "b"), CacheKey.Of("b", "a"));
        Assert.Equal(CacheKey.Of("a", "b"), CacheKey.Of("a", "b"));
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.Path("a"), "abc");
        Assert.Equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", CacheKey.OfFile(folder.Path("a")));
    }

    [Theory, InlineData(true), InlineData(false)]
    public void Prompts_split_for_the_cache_stack_to_the_same_conditioning_in_any_order(bool pooled)
    {
        using var scope = NewDisposeScope();
        using var both = new Conditioning { Hidden = Formula.Noise("hidden", [2, 7, 5], 3), Pooled = pooled ? Formula.Noise("pooled", [2, 5], 3) : null };
        var entries = ConditioningEntries.Split(both);
        using var again = ConditioningEntries.Stack(entries);
        TensorAssert.Equal(both.Hidden, again.Hidden);
        using var swapped = ConditioningEntries.Stack([entries[1], entries[0]]);
        TensorAssert.Equal(both.Hidden[1], swapped.Hidden[0]);
        Assert.Equal(pooled, swapped.Pooled is not null);
        if (pooled) TensorAssert.Equal(both.Pooled![1], swapped.Pooled![0]);
    }

    private static Dictionary<string, Tensor> Entry(Tensor latents) => new() { ["latents"] = latents };
}
