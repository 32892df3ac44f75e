using System.Text.Json;
using LowRank.Foundation;
using LowRank.Recipes;

namespace LowRank.Tests.Recipes;

/// <summary>The folder of an experiment: who may write into it, under which names, and what is said of where it lies.</summary>
public sealed class BenchKidFolderTests : IDisposable
{
    private readonly TinyBench bench = new();

    public void Dispose() => bench.Dispose();

    [Fact]
    public void A_second_program_on_the_folder_is_refused_until_the_first_is_done()
    {
        var options = bench.Small;
        var refused = 0;
        TinyBench.Run(options, worker: (name, _, stop) =>
        {
            var problem = Assert.Throws<OptionsException>(() => TinyBench.Run(options, resume: true));
            Assert.Equal(OneAtATime("an experiment", bench.Path("kid")), problem.Message, ignoreLineEndingDifferences: true);
            refused++;
            new BenchKidWork(options, BenchKidData.Read(options, stop), Blocks.Open, null, stop).Make(BenchKidPart.All(options).First(part => part.Name == name));
        });
        Assert.Equal(4, refused);   // the base and a training, each in two folds
        Assert.True(File.Exists(bench.Path("kid", "lock")), "what a killed program leaves is there, and must lock nobody out");
        TinyBench.Run(options, resume: true);
    }

    [Fact]
    public void A_part_that_another_program_makes_is_refused_and_one_that_it_has_made_is_taken()
    {
        const string Part = "judge/lora-1/fold-1/seed-3";
        var options = bench.Small;
        TinyBench.Run(options);
        var folder = bench.Path(["kid", "parts", .. Part.Split('/')]);
        var made = bench.Part(Part);
        using (FolderLock.Take(folder, Part))
        {
            BenchKid.RunPart(options, Part, cancellation: TestContext.Current.CancellationToken);   // it is made: nobody needs the lock
            File.Delete(Path.Combine(folder, "part.json"));
            Assert.Equal(OneAtATime(Part, folder), Assert.Throws<OptionsException>(() => BenchKid.RunPart(options, Part, cancellation: TestContext.Current.CancellationToken)).Message, ignoreLineEndingDifferences: true);
            Assert.Throws<OptionsException>(() => TinyBench.Run(options, resume: true));
            Assert.False(File.Exists(Path.Combine(folder, "part.json")));
        }
        TinyBench.Run(options, resume: true);
        Assert.Equal(made.Moments[^1].HeldOut, bench.Part(Part).Moments[^1].HeldOut);
    }

    [Fact]
    public void Pictures_of_folders_below_get_names_of_their_own()
    {
        Assert.Equal(["a-b.png", "a-b-2.jpg", "a-b-2-2.png", "A-B-3.png", "c.png"], BenchKidData.FlatNames(["a-b.png", "a/b.jpg", "a-b-2.png", "A-B.png", "c.png"]));

        bench.Add("set", "a-b", 64, seed: 71, "a dog, on top");
        bench.Add(Path.Combine("set", "a"), "b", 64, seed: 72, "a dog, below");
        var data = BenchKidData.Read(bench.Small, TestContext.Current.CancellationToken);
        Assert.Equal(10, data.Pictures.Select(picture => picture.Name).Distinct().Count());
        data.Write(TestContext.Current.CancellationToken);
        foreach (var (name, source, caption) in new[] { ("a-b", bench.Path("set", "a-b.png"), "a dog, on top"), ("a-b-2", bench.Path("set", "a", "b.png"), "a dog, below") })
        {
            var copy = Assert.Single(Directory.GetFiles(bench.Path("kid", "data", "fold-0"), name + ".png", SearchOption.AllDirectories));
            Assert.Equal(File.ReadAllBytes(source), File.ReadAllBytes(copy));
            Assert.Equal(caption, File.ReadAllText(Path.ChangeExtension(copy, ".txt")));
        }
    }

    [Fact]
    public void What_is_quoted_of_an_experiment_names_no_place_of_this_machine()
    {
        var result = TinyBench.Run(bench.Small);
        var recipe = JsonSerializer.Deserialize<BenchKidSummary>(File.ReadAllText(result.Results), HubJson.Own)!.Recipe;
        foreach (var line in new[] { "output = \"kid\"", "pictures = \"../set\"", "others = \"../others\"", "features = [\"blocks\"]" }) Assert.Contains(line, recipe.ReplaceLineEndings("\n").Split('\n'));
        Assert.DoesNotMatch("\"([/\\\\]|[A-Za-z]:)", recipe);
        foreach (var file in new[] { result.Results, result.Table, result.Report })
        {
            Assert.DoesNotContain(bench.Path("set"), File.ReadAllText(file), StringComparison.Ordinal);
            Assert.DoesNotContain(bench.Path("kid"), File.ReadAllText(file), StringComparison.Ordinal);
            Assert.DoesNotMatch($"[>\"';]{System.Text.RegularExpressions.Regex.Escape(TinyRun.Model)}", File.ReadAllText(file));
        }
    }

    [Fact]
    public void A_recipe_is_quoted_with_its_own_paths()
    {
        File.WriteAllText(bench.Path("recipe.toml"), "model = \"icons-64\"\noutput = \"runs/kid\"\npictures = \"set\"\nothers = \"others\"\nfeatures = [\"icons\", \"set\"]\n");
        var options = BenchKidOptions.Read(bench.Path("recipe.toml"), [$"others={bench.Path("others")}"]);
        Assert.Equal(bench.Path("set"), options.Pictures);
        var quoted = options.Portable();
        Assert.Equal(("icons-64", "runs/kid", "set", "others"), (quoted.Model, quoted.Output, quoted.Pictures, quoted.Others));
        Assert.Equal(["icons", "set"], quoted.Features);
    }

    private static string OneAtATime(string what, string folder) =>
        $"""
        {what} can be made by one program at a time: {folder}
          reason    The process cannot access the file '{Path.Combine(folder, "lock")}' because it is being used by another process.
          try       to wait for the other program, or to stop it
        """;
}
