using System.Text.Json;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

/// <summary>The experiment, whole, made once: that its arms differ in nothing but what learns.</summary>
public sealed class BenchKidTests(BenchKidTests.Made made) : IClassFixture<BenchKidTests.Made>
{
    /// <summary>Made for all tests here, which only look at it.</summary>
    public sealed class Made : IDisposable
    {
        internal TinyBench Bench { get; } = new();
        internal List<BenchKidProgress> Told { get; } = [];
        internal BenchKidResult Result { get; }

        public Made() => Result = TinyBench.Run(Bench.Options, listen: Told.Add);

        public void Dispose() => Bench.Dispose();
    }

    private TinyBench Bench => made.Bench;

    [Fact]
    public void The_whole_experiment_is_made_measured_and_told()
    {
        var (told, result) = (made.Told, made.Result);
        // 4 times; 2 rates of 3 arms in 2 folds, one rate of the fourth is not chosen; the base in 2 folds; 4 arms, 2 folds, 2 seeds
        Assert.Equal(4 + 12 + 2 + 16, told.Count);
        Assert.Equal(Enumerable.Range(1, 34), told.Select(item => item.Done));
        Assert.All(told, item => Assert.Equal(34, item.Parts));

        var summary = JsonSerializer.Deserialize<BenchKidSummary>(File.ReadAllText(result.Results), HubJson.Own)!;
        Assert.Equal(["base", "full", "lora-1", "lora-4", "textual-inversion"], summary.Arms.Select(arm => arm.Arm));
        Assert.Equal(["KID (blocks)", "held-out loss", "loss on other pictures"], summary.Measures());
        foreach (var arm in summary.Arms.Skip(1))
        {
            Assert.Equal([(2, 2), (4, 4)], Curve(arm, "KID (blocks)").Select(point => (point.Step, point.Trainings)));   // step 2 with the first seed only
            Assert.Equal([(0, 4), (2, 4), (4, 4)], Curve(arm, "held-out loss").Select(point => (point.Step, point.Trainings)));
            Assert.True(arm.SecondsPerStep > 0 && arm.PeakMemoryBytes > 50_000_000 && arm.ResultBytes > 0, arm.Arm);
        }
        Assert.Equal(4, (double)summary.Arms[3].TrainedNumbers / summary.Arms[2].TrainedNumbers);
        Assert.Equal([0.01, 0.01], summary.Arms[4].Rates);
        Assert.Equal(4 * 3 + 3 * 3, summary.Differences.Count);   // each arm against the base, and three against full, by three measures
        Assert.Contains("| lora-4 |", result.Text, StringComparison.Ordinal);
        Assert.Equal(result.Text, File.ReadAllText(result.Table));
        foreach (var file in new[] { result.Plot, result.Report, Bench.Path("kid", "pictures.png") }) Assert.True(new FileInfo(file).Length > 5000, file);
        Assert.DoesNotContain("http", File.ReadAllText(result.Report).Replace("http://www.w3.org", "", StringComparison.Ordinal), StringComparison.Ordinal);   // nothing is loaded
        Assert.Empty(Directory.GetDirectories(Bench.Path("kid", "parts"), "state", SearchOption.AllDirectories));   // what only a resume needs is many times as large as the results
    }

    [Fact]
    public void All_arms_see_the_same_pictures_in_the_same_order_with_the_same_timesteps_and_noise()
    {
        foreach (var fold in new[] { 0, 1 })
        {
            var seen = new[] { 3, 4 }.Select(seed => Bench.Options.Arms.Select(arm => Events($"judge/{arm}/fold-{fold}/seed-{seed}").OfType<StepFinished>().ToList()).ToList()).ToList();
            foreach (var arms in seen)
            {
                var first = Uses(arms[0]);
                Assert.Equal(8, first.Count);
                Assert.All(arms, arm => Assert.Equal(first, Uses(arm)));
                // before the first update a LoRA changes nothing, so that equal losses of the first step mean equal noise; a word in the caption does
                Assert.Equal(arms[0][0].Loss, arms[1][0].Loss, 6);
                Assert.Equal(arms[1][0].Loss, arms[2][0].Loss);
            }
            Assert.NotEqual(Uses(seen[0][0]), Uses(seen[1][0]));   // another seed, another order
            Assert.NotEqual(seen[0][0][0].Loss, seen[1][0][0].Loss);
            Assert.All(seen[0][0].SelectMany(step => step.Uses), use => Assert.DoesNotContain("test/", use.Picture, StringComparison.Ordinal));
        }
        static List<(string, long)> Uses(List<StepFinished> steps) => [.. steps.SelectMany(step => step.Uses).Select(use => (use.Picture, use.Timestep))];
    }

    [Fact]
    public void The_base_is_what_arms_measure_before_their_first_step()
    {
        foreach (var fold in new[] { 0, 1 })
        {
            var measured = Part($"base/fold-{fold}").Moments.Single();
            foreach (var arm in new[] { "full", "lora-1", "lora-4" })
            {
                var before = Part($"judge/{arm}/fold-{fold}/seed-3").Moments[0];
                Assert.Equal((0, measured.HeldOut, measured.Others), (before.Step, before.HeldOut, before.Others));
            }
            var word = Part($"judge/textual-inversion/fold-{fold}/seed-3");
            Assert.NotEqual(measured.HeldOut, word.Moments[0].HeldOut);   // the word stands in the captions of the set
            Assert.Equal([measured.Others, measured.Others], [word.Moments[0].Others, word.Moments[^1].Others]);   // in no others, and nothing of the model changes
        }
    }

    [Fact]
    public void Half_of_an_interval_is_Students_for_training_parts_that_overlap()
    {
        // 1, 2, 4: mean 7/3, deviation 1.5275; times the root of 1/3 + 1/2, 0.9129; times 4.303
        Assert.Equal(6.0003, BenchKidSummary.HalfWidth([1, 2, 4]), 3);
        Assert.True(new BenchKidDifference("", "", "", 3.8, 3.7948).ToldApart);
        Assert.False(new BenchKidDifference("", "", "", -3.7, 3.7948).ToldApart);
    }

    private static IReadOnlyList<BenchKidPoint> Curve(BenchKidArmSummary arm, string measure) => arm.Curves.Single(curve => curve.Measure == measure).Points;

    private IReadOnlyList<TrainingEvent> Events(string part) => RunFolder.Open(Bench.Path(["kid", "parts", .. part.Split('/'), "run"])).ReadEvents();

    private BenchKidMeasured Part(string name) => Bench.Part(name);
}
