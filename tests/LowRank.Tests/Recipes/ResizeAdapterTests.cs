using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static LowRank.Tests.Recipes.AdapterSamples;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

public sealed class ResizeAdapterTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly AdapterSamples samples;

    public ResizeAdapterTests() => samples = new(folder);

    private string Output => folder.Path("out.safetensors");

    public void Dispose() => folder.Dispose();

    [Fact]
    public void The_own_rank_keeps_the_change_and_the_scale()
    {
        using var scope = NewDisposeScope();
        var input = samples.Kohya("a", 4, 2, Query, Convolution);
        var result = ResizeAdapter.Run(new() { Input = input, Output = Output, Rank = 4 });
        Assert.All(result.Modules, module => Assert.InRange(module.Error, 0, 1e-6));
        using var file = AdapterFile.Open(Output);
        Assert.All(file.Modules, module => Assert.Equal((4, 2.0), (module.Rank, module.Alpha!.Value)));
        foreach (var (layer, delta) in Deltas(Output)) Assert.InRange(Distance(delta, Deltas(input)[layer]), 0, 1e-6);
    }

    [Fact]
    public void Fewer_ranks_keep_what_is_largest_and_the_error_that_is_said_is_the_error_that_is_there()
    {
        using var scope = NewDisposeScope();
        var input = samples.Kohya("a", 8, 4, Query, Convolution);
        var wanted = Deltas(input);
        var squares = wanted.ToDictionary(item => item.Key, item => linalg.svdvals(item.Value).data<double>().Select(value => value * value).ToList());
        foreach (var precision in new SavePrecision?[] { null, SavePrecision.Fp16 })
        {
            var result = ResizeAdapter.Run(new() { Input = input, Output = Output, Rank = 3, ConvRank = 5, Precision = precision });
            foreach (var (layer, delta) in Deltas(Output))
            {
                var module = result.Modules.Single(module => module.Module == "unet." + layer);
                Assert.Equal(layer == Convolution ? 5 : 3, module.Rank);
                Assert.Equal(Distance(delta, wanted[layer]), module.Error, 1e-6);
                Assert.Equal(squares[layer].Take(module.Rank).Sum() / squares[layer].Sum(), module.Energy, 1e-6);
            }
        }
    }

    [Fact]
    public void A_rank_beyond_what_the_file_has_gives_what_it_has()
    {
        Assert.Equal(2, ResizeAdapter.Run(new() { Input = samples.Kohya("a", 2, 2, Query), Output = Output, Rank = 64 }).Modules.Single().Rank);
        Assert.Equal(2, ResizeAdapter.Run(new() { Input = samples.Kohya("a", 2, 2, Query), Output = Output, SvCumulative = 0.999 }).Modules.Single().Rank);
    }

    [Fact]
    public void Tokens_stay_and_other_conventions_become_kohya_keys()
    {
        using var scope = NewDisposeScope();
        var input = samples.Write("a.safetensors", [($"unet.{Query}.lora_A.weight", Down("a", Query, 3)), ($"unet.{Query}.lora_B.weight", Up("a", Query, 3)), ("<s1>", ones(768))]);
        Assert.Equal(["<s1>"], ResizeAdapter.Run(new() { Input = input, Output = Output, Rank = 2 }).Tokens);
        using var file = AdapterFile.Open(Output);
        Assert.Equal(Flat(Query), file.Modules.Single().Name);
    }

    [Fact]
    public void Other_kinds_are_refused_with_the_way_to_make_them_a_LoRA()
    {
        var input = samples.Loha("a.safetensors", 2, Query);
        Assert.Equal($"{Flat(Query)}: LoHa has no rank to be resized; in {input}; make a LoRA of it first: lora combine FILE OUT --method svd --rank R",
            Assert.Throws<CheckpointException>(() => ResizeAdapter.Run(new() { Input = input, Output = Output, Rank = 2 })).Message);
        Assert.False(File.Exists(Output));
    }

    [Fact]
    public void The_input_is_not_overwritten()
    {
        var input = samples.Kohya("a.safetensors", 2, 2, Query);
        Assert.Equal($"the output would overwrite an input; {input}; give another name: inputs are never changed", Assert.Throws<OptionsException>(() => ResizeAdapter.Run(new() { Input = input, Output = input, Rank = 1 })).Message);
    }

    [Fact]
    public void Options_that_contradict_each_other_are_all_told_of() => Assert.Equal("""
        8 problems in the options

        input          empty; must be an adapter
        output         "a.pt"; must be a file that ends in .safetensors
        rank           several rules say how much to keep; give one of sv-ratio, sv-fro and sv-cumulative
        rank           0; must be 1 or more
        conv-rank      0; must be 1 or more
        sv-ratio       1; must be above 1
        sv-fro         0; must be above 0 and below 1
        sv-cumulative  2; must be above 0 and below 1
        """, Assert.Throws<OptionsException>(() => ResizeAdapter.Run(new() { Input = "", Output = "a.pt", Rank = 0, ConvRank = 0, SvRatio = 1, SvFro = 0, SvCumulative = 2 })).Message, ignoreLineEndingDifferences: true);

    [Fact]
    public void A_rule_is_needed() =>
        Assert.Equal(["rank: nothing says how much to keep; give rank, sv-ratio, sv-fro or sv-cumulative"], new ResizeOptions { Input = "a", Output = "b.safetensors", ConvRank = 3 }.Validate());

    [Fact]
    public void Nothing_is_left_in_memory()
    {
        var input = samples.Kohya("a", 2, 2, Query);
        LeakGuard.AssertNothingLeft(() => ResizeAdapter.Run(new() { Input = input, Output = Output, Rank = 1 }));
    }
}
