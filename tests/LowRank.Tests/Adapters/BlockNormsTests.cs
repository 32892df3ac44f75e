using LowRank.Adapters;
using LowRank.Recipes;
using LowRank.Tests.Recipes;
using LowRank.Training;

namespace LowRank.Tests.Adapters;

public sealed class BlockNormsTests : IDisposable
{
    private readonly TinyRun run = new();

    public void Dispose() => run.Dispose();

    [Theory]
    [InlineData("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "unet.down_blocks.0")]
    [InlineData("mid_block.attentions.0.proj_in", "unet.mid_block")]
    [InlineData("conv_in", "unet.conv_in")]
    public void A_block_is_the_first_part_of_the_path_with_its_number(string path, string block) => Assert.Equal(block, BlockNorms.BlockOf("unet", path));

    [Theory, InlineData(AdapterKind.Lora), InlineData(AdapterKind.Dora), InlineData(AdapterKind.Loha), InlineData(AdapterKind.Lokr)]
    public void The_norms_of_a_run_are_those_of_the_changes_in_its_file(AdapterKind kind)
    {
        var options = run.Options with { Adapter = run.Options.Adapter with { Kind = kind, ConvRank = 1, Targets = ["all"] }, Save = new SaveOptions { Precision = SavePrecision.Fp32 } };
        var trained = TinyRun.Train(options);
        var measures = RunFolder.Open(run.Output).ReadEvents().OfType<NormsMeasured>().ToList();
        Assert.Equal([1, 2, 3, 4], measures.Select(measure => measure.Step));
        using var family = LowRank.Families.FamilyDetector.Open(TinyRun.Model);
        using var file = AdapterFile.Open(trained.Adapter);
        using var loaded = AdapterSet.Load(new Dictionary<string, TorchSharp.torch.nn.Module> { ["unet"] = family.Component("unet") }, file);
        foreach (var (block, norm) in BlockNorms.Of(loaded)) Assert.Equal(norm, measures[^1].Norms[block], norm * 1e-4);
        Assert.Contains("unet.mid_block", measures[^1].Norms.Keys);
        Assert.All(measures[^1].Norms.Values, norm => Assert.True(norm > 0));
    }

    [Fact]
    public void A_resumed_run_has_the_norms_of_one_that_was_not_stopped()
    {
        TinyRun.Train(run.Options with { Output = run.Path("whole") });
        using var stop = new CancellationTokenSource();
        TinyRun.Train(run.Options, listen: item => { if (item is StepFinished { Step: 3 }) stop.Cancel(); }, cancellation: stop.Token);
        TinyRun.Train(run.Options, resume: true);
        Assert.Equal(Norms("whole"), Norms("run"));

        IEnumerable<(long, string, double)> Norms(string folder) => RunFolder.Open(run.Path(folder)).ReadEvents().OfType<NormsMeasured>().SelectMany(item => item.Norms, (item, norm) => (item.Step, norm.Key, norm.Value));
    }
}
