using LowRank.Adapters;
using LowRank.Images;
using LowRank.Recipes;

namespace LowRank.Tests.Recipes;

/// <summary>What was trained is what draws: the file of every kind of adapter, in each convention, changes the pictures of <see cref="Generate"/> as the run's own adapter did.</summary>
public sealed class GenerateKindsTests : IDisposable
{
    private readonly TinyRun run = new();

    private static readonly Dictionary<string, AdapterOptions> Kinds = Enum.GetValues<AdapterKind>().ToDictionary(kind => kind.ToString(), kind => new AdapterOptions { Rank = 2, Kind = kind, Targets = ["all"] })
        .Append(new("PiSSA", new AdapterOptions { Rank = 2, Init = AdapterInit.Pissa }))
        .Append(new("DoRA by LyCORIS' rule", new AdapterOptions { Rank = 2, Kind = AdapterKind.Dora, DoraRule = DoraRule.Lycoris, Targets = ["all"] }))
        .Append(new("rsLoRA", new AdapterOptions { Rank = 4, UseRslora = true })).ToDictionary();

    public static TheoryData<string> Names => [.. Kinds.Keys];

    public void Dispose() => run.Dispose();

    [Theory, MemberData(nameof(Names))]
    public void A_file_draws_what_the_run_drew_in_either_convention(string name)
    {
        var drawn = new List<byte[]>();
        foreach (var format in Enum.GetValues<AdapterFormat>())
        {
            var output = run.Path(format.ToString());
            var result = TinyRun.Train(run.Options with
            {
                Output = output,
                Adapter = Kinds[name],
                Training = run.Options.Training with { LearningRate = 0.1 },
                Save = new SaveOptions { Precision = SavePrecision.Fp32, Format = format },
            });
            drawn.Add(Picture(result.Adapter));
        }
        var plain = Picture(null);
        Assert.All(drawn, pixels => Assert.NotEqual(plain, pixels));
        Assert.All(drawn, pixels => Assert.Equal(drawn[0], pixels));
        Assert.Equal(plain, Picture(run.Path(Enum.GetValues<AdapterFormat>()[0].ToString(), "adapter.safetensors"), strength: 0));
    }

    private byte[] Picture(string? adapter, double strength = 1) => ImageFile.Read(Generate.Run(new GenerateOptions
    {
        Model = TinyRun.Model,
        Prompt = "a dog",
        Output = run.Path(Guid.NewGuid().ToString("N")),
        Adapters = adapter is null ? [] : [new AdapterUse(adapter, strength)],
        Steps = 2,
        Width = 32,
        Height = 32,
    }).Pictures[0]).Pixels;
}
