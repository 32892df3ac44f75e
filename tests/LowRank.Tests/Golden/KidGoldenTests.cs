using System.Text.Json;
using LowRank.Evaluation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Kernel inception distance by the three libraries that people quote.</summary>
public class KidGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("kid");

    [Theory, MemberData(nameof(Cases))]
    public void Kernel_inception_distances_are_those_of_the_libraries(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var expected = golden.Json.GetProperty("expected");
        var (real, generated) = (golden.Tensor("real"), golden.Tensor("fake"));

        var spread = KernelInceptionDistance.OverSubsets(real, generated, golden.Tensor("subset_real"), golden.Tensor("subset_fake"));
        Assert.Equal(golden.Json.GetProperty("config").GetProperty("subsets").GetInt32(), spread.PerSubset.Count);
        for (var i = 0; i < spread.PerSubset.Count; i++) golden.AssertNumber(expected.GetProperty("per_subset")[i], spread.PerSubset[i], $"subset {i}");
        golden.AssertNumber(expected.GetProperty("mean"), spread.Mean, "mean");
        golden.AssertNumber(expected.GetProperty("std"), spread.Deviation, "std");
        golden.AssertNumber(expected.GetProperty("full_unequal_sizes"), KernelInceptionDistance.Of(real, generated), "full_unequal_sizes");

        var equal = expected.GetProperty("full_first_n_of_each");
        var count = equal.GetProperty("n").GetInt64();
        var (firstReal, firstGenerated) = (real[..(int)count], generated[..(int)count]);
        golden.AssertNumber(equal.GetProperty("unbiased"), KernelInceptionDistance.Of(firstReal, firstGenerated), "unbiased");
        golden.AssertNumber(equal.GetProperty("biased"), KernelInceptionDistance.Of(firstReal, firstGenerated, KidEstimator.Biased), "biased");
        golden.AssertNumber(equal.GetProperty("u_statistic"), KernelInceptionDistance.Of(firstReal, firstGenerated, KidEstimator.UStatistic), "u_statistic");

        var same = expected.GetProperty("same_distribution");
        golden.AssertNumber(same.GetProperty("value"), KernelInceptionDistance.Of(Rows(real, same.GetProperty("first")), Rows(real, same.GetProperty("second"))), "two halves of one set");
    }

    private static Tensor Rows(Tensor features, JsonElement range) => features[range[0].GetInt32()..range[1].GetInt32()];
}
