using LowRank.Recipes;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

/// <summary>The experiment in smaller forms: what chooses rates, and that a cut changes nothing.</summary>
public sealed class BenchKidCutTests : IDisposable
{
    private readonly TinyBench bench = new();

    public void Dispose() => bench.Dispose();

    [Fact]
    public void An_arm_takes_the_rate_with_the_lowest_loss_on_pictures_that_it_is_not_judged_by()
    {
        var options = bench.Options with { Arms = ["lora-1"], Seeds = [3], MeasureAt = [], LearningRates = new BenchKidRates { Lora = [1e-3, 0.1, 1e30] } };
        const string TooHigh = "1000000000000000000000000000000";
        TinyBench.Run(options);
        for (var fold = 0; fold < 2; fold++)
        {
            var tried = new[] { "0.001", "0.1", TooHigh }.Select(rate => bench.Part($"choose/lora-1/fold-{fold}/rate-{rate}")).ToList();
            var best = tried.Where(part => !part.Diverged).MinBy(part => part.Moments[^1].HeldOut)!;
            Assert.Equal(best.Rate, bench.Part($"judge/lora-1/fold-{fold}/seed-3").Rate);
            Assert.Equal([false, false, true], tried.Select(part => part.Diverged));
            var diverged = bench.Path("kid", "parts", "choose", "lora-1", $"fold-{fold}", $"rate-{TooHigh}", "run");
            Assert.Equal(["events.jsonl", "recipe.toml", "report.html"], Directory.GetFileSystemEntries(diverged).Select(Path.GetFileName).Order());   // what tells of it, and nothing large
            string Names(string part) => string.Join(' ', Directory.GetFiles(bench.Path("kid", "data", $"fold-{fold}", part), "*.png").Select(Path.GetFileNameWithoutExtension).Order());
            Assert.Equal(fold == 0 ? ("picture-0 picture-2 picture-4 picture-6", "picture-3 picture-7", "picture-1 picture-5") : ("picture-1 picture-3 picture-5 picture-7", "picture-2 picture-6", "picture-0 picture-4"), (Names("test"), Names("validation"), Names("learn")));
        }
    }

    /// <summary>Cut in a training, between parts, and while pictures are drawn.</summary>
    [Fact]
    public void An_experiment_that_was_cut_has_the_numbers_of_one_that_was_not()
    {
        var options = bench.Options with { Arms = ["full", "lora-1"], Seeds = [3], Timing = new BenchKidTiming { Rounds = 0 } };
        var straight = TinyBench.Run(options with { Output = bench.Path("straight") });
        var cuts = 0;
        var resume = false;
        while (true)
        {
            using var stop = new CancellationTokenSource();
            var parts = 0;
            void Cutting(string name, bool alone, CancellationToken cancellation)
            {
                var steps = 0;
                var work = new BenchKidWork(options, BenchKidData.Read(options, TestContext.Current.CancellationToken), Blocks.Open, new Training.Listener(item =>
                {
                    if (item is StepFinished && ++steps == 3 && parts % 3 == 2) stop.Cancel();
                }), stop.Token);
                work.Make(BenchKidPart.All(options).First(part => part.Name == name));
                if (++parts == 5) stop.Cancel();
            }
            try
            {
                var result = TinyBench.Run(options, resume, worker: Cutting, cancellation: stop.Token);
                Assert.True(cuts >= 4, $"{cuts} cuts");
                Assert.Equal(Numbers(straight), Numbers(result));
                return;
            }
            catch (OperationCanceledException)
            {
                (cuts, resume) = (cuts + 1, true);
            }
        }
        static string Numbers(BenchKidResult result) => string.Join('\n', File.ReadAllLines(result.Results).Where(line => !line.Contains("\"recipe\"", StringComparison.Ordinal)));
    }

    /// <summary>Cut in a training, and again when it is finished and not judged yet; the folders are elsewhere each time.</summary>
    [Theory]
    [InlineData("full")]
    [InlineData("lora-1")]
    public void An_experiment_whose_folders_moved_goes_on(string arm)
    {
        var small = bench.Small with { Arms = [arm], LearningRates = new BenchKidRates { Full = [1e-3], Lora = [1e-2] }, Training = bench.Options.Training with { Steps = 4 } };
        TinyBench.Run(small with { Output = bench.Path("straight") });
        var options = small;
        Cut(item => item is StepFinished { Step: 2 }, resume: false);
        Move("second");
        Cut(item => item is RunFinished, resume: true);
        Move("third");
        TinyBench.Run(options, resume: true);
        Assert.Equal(Judged("straight"), Judged("third/kid"));

        void Cut(Func<TrainingEvent, bool> when, bool resume)
        {
            using var stop = new CancellationTokenSource();
            void Work(string name, bool alone, CancellationToken cancellation) =>
                new BenchKidWork(options, BenchKidData.Read(options, TestContext.Current.CancellationToken), Blocks.Open, new Training.Listener(item =>
                {
                    if (when(item)) stop.Cancel();
                }), stop.Token).Make(BenchKidPart.All(options).First(part => part.Name == name));
            Assert.ThrowsAny<OperationCanceledException>(() => TinyBench.Run(options, resume, worker: Work, cancellation: stop.Token));
        }

        void Move(string to)
        {
            string Moved(string folder)
            {
                var place = bench.Path(to, Path.GetFileName(folder));
                Directory.Move(folder, place);
                return place;
            }
            options = options with { Output = Moved(options.Output), Pictures = Moved(options.Pictures), Others = Moved(options.Others!) };
        }

        string Judged(string experiment) => string.Join('\n', Enumerable.Range(0, 2).SelectMany(fold =>
            File.ReadAllLines(bench.Path([.. experiment.Split('/'), "parts", "judge", arm, $"fold-{fold}", "seed-3", "part.json"])).Where(line => !line.Contains("\"seconds\"", StringComparison.Ordinal))));
    }

    [Fact]
    public void Pictures_that_are_drawn_are_not_drawn_again_and_missing_ones_come_out_the_same()
    {
        var options = bench.Options with { Arms = ["lora-1"], Seeds = [3], MeasureAt = [], LearningRates = new BenchKidRates { Lora = [1e-2] }, Timing = new BenchKidTiming { Rounds = 0 } };
        TinyBench.Run(options);
        var drawn = Directory.GetFiles(bench.Path("kid", "parts", "base", "fold-0", "pictures", "step-000000")).Order(StringComparer.Ordinal).ToList();
        Assert.Equal(8, drawn.Count);   // two of each of the four test pictures
        var bytes = drawn.Select(File.ReadAllBytes).ToList();
        Assert.Equal(8, bytes.Select(Convert.ToHexString).Distinct().Count());
        File.Delete(drawn[4]);
        File.Delete(bench.Path("kid", "parts", "base", "fold-0", "part.json"));
        var stamp = File.GetLastWriteTimeUtc(drawn[0]);
        TinyBench.Run(options, resume: true);
        Assert.Equal(bytes, drawn.Select(File.ReadAllBytes));
        Assert.Equal(stamp, File.GetLastWriteTimeUtc(drawn[0]));
    }
}
