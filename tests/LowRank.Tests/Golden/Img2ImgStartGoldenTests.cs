using LowRank.Diffusion.Samplers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class Img2ImgStartGoldenTests
{
    /// <summary>One row for each entry of each case.</summary>
    public static IEnumerable<TheoryDataRow<string, string>> Entries()
    {
        foreach (var row in GoldenCase.OfKind("img2img_start"))
        {
            using var golden = GoldenCase.Open(row.Data);
            foreach (var entry in golden.Json.GetProperty("entries").EnumerateArray().ToArray()) yield return new(row.Data, entry.GetProperty("key").GetString()!);
        }
    }

    [Theory, MemberData(nameof(Entries))]
    public void A_noised_picture_enters_where_the_library_lets_it_in(string id, string key)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var entry = golden.Json.GetProperty("entries").EnumerateArray().Single(item => item.GetProperty("key").GetString() == key);
        var config = entry.GetProperty("config");
        var sampler = SamplerCases.Make(config, entry.GetProperty("step"));
        if (sampler is null) GoldenLedger.SkipNotBuilt(id, $"the sampler {config.GetProperty("class").GetString()}");

        var seed = golden.Json.GetProperty("seed").GetInt64();
        var shape = SamplerCases.Longs(golden.Json, "shape");
        var tolerance = golden.Json.GetProperty("tolerance");
        var (rtol, atol) = (tolerance.GetProperty("rtol").GetDouble(), tolerance.GetProperty("atol").GetDouble());
        var plan = sampler.Plan(entry.GetProperty("n").GetInt32());
        var first = plan.FirstCall(entry.GetProperty("strength").GetDouble());
        Assert.Equal(entry.GetProperty("first_index").GetInt32(), first);
        TensorAssert.Close(golden.Tensor(key + ".timesteps"), tensor(plan.Timesteps.Skip(first).ToArray()), 1e-5, 2e-3, key + ".timesteps");

        var start = plan.Noised(Formula.Noise("latents", shape, seed), Formula.Noise("noise", shape, seed), first);
        TensorAssert.Close(golden.Tensor(key + ".start"), start, rtol, atol, key + ".start");
        var draws = 0;
        var timeScale = golden.Json.GetProperty("time_scale").GetDouble();
        var final = sampler.Run(plan, start, new SamplerRun
        {
            Predict = (x, timestep) => SamplerCases.StandIn(x, timestep, timeScale),
            Noise = () => Formula.Noise($"{key}.draw{draws++}", shape, seed),
            FirstCall = first,
        });
        Assert.Equal(entry.GetProperty("draws").GetInt32(), draws);
        TensorAssert.Close(golden.Tensor(key + ".final"), final, rtol, atol, key + ".final");
    }
}
