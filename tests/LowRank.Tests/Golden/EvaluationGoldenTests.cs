using System.Globalization;
using System.Text.Json;
using LowRank.Evaluation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Measures on sets of features, by the libraries that people quote.</summary>
public class EvaluationGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Kid() => GoldenCase.OfKind("kid");
    public static IEnumerable<TheoryDataRow<string>> Fid() => GoldenCase.OfKind("fid");
    public static IEnumerable<TheoryDataRow<string>> Prdc() => GoldenCase.OfKind("prdc");
    public static IEnumerable<TheoryDataRow<string>> CmmdCases() => GoldenCase.OfKind("cmmd");
    public static IEnumerable<TheoryDataRow<string>> Clip() => GoldenCase.OfKind("clip_scores");
    public static IEnumerable<TheoryDataRow<string>> Vendi() => GoldenCase.OfKind("vendi");

    [Theory, MemberData(nameof(Kid))]
    public void Kernel_inception_distances_are_those_of_the_libraries(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var expected = golden.Json.GetProperty("expected");
        var (real, generated) = (golden.Tensor("real"), golden.Tensor("fake"));

        var spread = KernelInceptionDistance.OverSubsets(real, generated, golden.Tensor("subset_real"), golden.Tensor("subset_fake"));
        AssertNumbers(golden, expected.GetProperty("per_subset"), spread.PerSubset, "subset");
        golden.AssertNumber(expected.GetProperty("mean"), spread.Mean, "mean");
        golden.AssertNumber(expected.GetProperty("std"), spread.Deviation, "std");
        golden.AssertNumber(expected.GetProperty("full_unequal_sizes"), KernelInceptionDistance.Of(real, generated), "full_unequal_sizes");

        var equal = expected.GetProperty("full_first_n_of_each");
        var count = equal.GetProperty("n").GetInt32();
        var (firstReal, firstGenerated) = (real[..count], generated[..count]);
        golden.AssertNumber(equal.GetProperty("unbiased"), KernelInceptionDistance.Of(firstReal, firstGenerated), "unbiased");
        golden.AssertNumber(equal.GetProperty("biased"), KernelInceptionDistance.Of(firstReal, firstGenerated, KidEstimator.Biased), "biased");
        golden.AssertNumber(equal.GetProperty("u_statistic"), KernelInceptionDistance.Paired(firstReal, firstGenerated, copies: 1), "u_statistic");

        var same = expected.GetProperty("same_distribution");
        golden.AssertNumber(same.GetProperty("value"), KernelInceptionDistance.Of(Rows(real, same.GetProperty("first")), Rows(real, same.GetProperty("second"))), "two halves of one set");
    }

    [Theory, MemberData(nameof(Fid))]
    public void Frechet_distances_are_those_of_the_libraries_by_either_route(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var (real, generated) = (golden.Tensor("real"), golden.Tensor("fake"));
        var known = new Dictionary<string, (Tensor First, Tensor Second)>
        {
            ["full_rank"] = (real, generated),
            ["rank_deficient"] = (real, generated),
            ["identical"] = (real, real),
            ["few_of_many"] = (real, generated),
        };
        foreach (var item in golden.Json.GetProperty("expected").EnumerateObject())
        {
            var first = known[item.Name].First[..item.Value.GetProperty("first").GetInt32()];
            var second = known[item.Name].Second[..item.Value.GetProperty("second").GetInt32()];
            using var firstStatistics = GaussianStatistics.Of(first);
            using var secondStatistics = GaussianStatistics.Of(second);
            var expected = item.Value.GetProperty("fid");
            golden.AssertNumber(expected, FrechetInceptionDistance.Of(first, second), item.Name);
            golden.AssertNumber(expected, FrechetInceptionDistance.OfFew(first, second), $"{item.Name} from features");
            golden.AssertNumber(expected, FrechetInceptionDistance.Of(firstStatistics, secondStatistics), $"{item.Name} from covariances");
        }
    }

    [Theory, MemberData(nameof(Fid))]
    public void Means_and_covariances_are_the_same_in_batches(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        foreach (var name in new[] { "real", "fake" })
        {
            var features = golden.Tensor(name);
            using var statistics = new GaussianStatistics(features.size(1));
            int[] cuts = [0, 1, 8, 50, (int)features.size(0)];
            for (var i = 1; i < cuts.Length; i++) statistics.Add(features[cuts[i - 1]..cuts[i]]);
            Assert.Equal(features.size(0), statistics.Count);
            golden.AssertClose($"{name}_mu", statistics.Mean);
            golden.AssertClose($"{name}_sigma", statistics.Covariance());
        }
    }

    [Theory, MemberData(nameof(Prdc))]
    public void Precision_recall_density_and_coverage_are_those_of_the_libraries(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var (real, generated) = (golden.Tensor("real"), golden.Tensor("fake"));
        foreach (var item in golden.Json.GetProperty("expected").EnumerateArray())
        {
            var neighbours = item.GetProperty("nearest_k").GetInt32();
            foreach (var rule in new[] { "strict", "loose" })
            {
                var expected = item.GetProperty(rule);
                var overlap = PrecisionRecall.Of(real, generated, neighbours, edgeInside: rule == "loose");
                golden.AssertNumber(expected.GetProperty("precision"), overlap.Precision, $"k {neighbours}, {rule}, precision");
                golden.AssertNumber(expected.GetProperty("recall"), overlap.Recall, $"k {neighbours}, {rule}, recall");
                golden.AssertNumber(expected.GetProperty("density"), overlap.Density, $"k {neighbours}, {rule}, density");
                golden.AssertNumber(expected.GetProperty("coverage"), overlap.Coverage, $"k {neighbours}, {rule}, coverage");
            }
        }
    }

    [Theory, MemberData(nameof(CmmdCases))]
    public void The_CLIP_discrepancy_is_that_of_the_formula(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        golden.AssertNumber(golden.Json.GetProperty("expected").GetProperty("cmmd"), Cmmd.Of(golden.Tensor("real"), golden.Tensor("fake")), "cmmd");
    }

    [Theory, MemberData(nameof(Clip))]
    public void CLIP_scores_and_alignments_are_those_of_the_libraries(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var (sizes, expected) = (golden.Json.GetProperty("params"), golden.Json.GetProperty("expected"));
        long[] shape = [sizes.GetProperty("count").GetInt64(), sizes.GetProperty("dim").GetInt64()];
        Tensor Input(string name) => Formula.Noise(name, shape, sizes.GetProperty("seed").GetInt64(), amplitude: 1);
        var (images, targets, texts) = (golden.Tensor("image"), golden.Tensor("target"), Input("clip.text"));

        var cosines = ClipScores.Cosines(images, texts);
        AssertNumbers(golden, expected.GetProperty("cos"), cosines, "cos");
        golden.AssertNumber(expected.GetProperty("clip_score_100"), ClipScores.Score(cosines), "clip_score_100");
        golden.AssertNumber(expected.GetProperty("clip_score_w"), ClipScores.FirstDefinition(cosines), "clip_score_w");
        golden.AssertNumber(expected.GetProperty("text_alignment_avg"), cosines.Average(), "text_alignment_avg");

        var alignment = ClipScores.ImageAlignment(images, targets);
        AssertNumbers(golden, expected.GetProperty("image_alignment_all"), alignment, "image_alignment");
        golden.AssertNumber(expected.GetProperty("image_alignment_avg"), alignment.Average(), "image_alignment_avg");

        var directional = ClipScores.Directional(Input("clip.image.before"), images, Input("clip.text.before"), texts);
        AssertNumbers(golden, expected.GetProperty("directional"), directional, "directional");
        golden.AssertNumber(expected.GetProperty("directional_mean"), directional.Average(), "directional_mean");
    }

    [Theory, MemberData(nameof(Vendi))]
    public void Vendi_scores_are_those_of_the_library_for_every_order(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        foreach (var item in golden.Json.GetProperty("expected").EnumerateObject())
        {
            var order = item.Name == "inf" ? double.PositiveInfinity : double.Parse(item.Name, CultureInfo.InvariantCulture);
            golden.AssertNumber(item.Value, VendiScore.Of(golden.Tensor("x"), order), $"order {item.Name}");
        }
    }

    private static void AssertNumbers(GoldenCase golden, JsonElement expected, IReadOnlyList<double> actual, string label)
    {
        Assert.Equal(expected.GetArrayLength(), actual.Count);
        for (var i = 0; i < actual.Count; i++) golden.AssertNumber(expected[i], actual[i], $"{label} {i}");
    }

    private static Tensor Rows(Tensor features, JsonElement range) => features[range[0].GetInt32()..range[1].GetInt32()];
}
