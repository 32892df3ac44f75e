using LowRank.Adapters;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Adapters;

/// <summary>What several files change in one weight.</summary>
public sealed class WeightChangesTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void However_many_adapters_change_a_weight_nothing_of_them_stays_in_memory(int count)
    {
        using var folder = new TemporaryFolder();
        using var net = TinyNet.Make();
        var path = folder.Path("adapter.safetensors");
        using (no_grad())
        using (var init = new Generator(3))
        using (var set = AdapterSet.Create(TinyNet.Components(net), new AdapterOptions { Rank = 2, Targets = ["all"] }, init, CPU))
        {
            foreach (var layer in set.Layers) layer.Factors["up"].normal_(0, 1, init);
            AdapterWriter.Write(path, set);
        }
        using var file = AdapterFile.Open(path);
        using var weight = net.state_dict()["first.weight"].detach().clone();
        using var before = weight.clone();
        var changes = new WeightChanges(new ModuleNames(TinyNet.Components(net)));
        for (var i = 0; i < count; i++) changes.Add(file, 0.5, new PartStrengths(new Dictionary<string, double>(), []), new AdapterLoadOptions());
        LeakGuard.AssertNothingLeft(() => changes.ApplyTo("net", "first.weight", weight));
        using var change = weight.sub(before);
        using var norm = change.norm();
        Assert.Equal(2 * changes.Norms[("net", "first.weight")], norm.item<float>(), 4);   // the guard applies it twice
    }
}
