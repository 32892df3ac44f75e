using LowRank.Data;
using LowRank.Images;
using LowRank.Recipes;
using LowRank.Testing;

namespace LowRank.Tests.Data;

public class ExampleDataTests
{
    [Theory]
    [InlineData("tango", 20)]
    [InlineData("kid", 213)]
    public void Every_picture_of_the_examples_is_whole_and_captioned(string example, int pictures)
    {
        var options = new DataSetOptions { Folder = Folder(example) };
        var report = ImageFolder.Read(options, nativeResolution: 64, TestContext.Current.CancellationToken).Report;
        Assert.Equal((pictures, pictures, 0, 0), (report.Pictures, report.Captions, report.Skipped.Count, report.Warnings.Count));
        Assert.Equal([new BucketReport(new PixelSize(64, 64), pictures)], report.Buckets);
    }

    /// <summary>What docs/methods.md says of the pictures that the inpainting model is tried on: it has learned the others.</summary>
    [Fact]
    public void The_inpainting_example_has_none_of_the_pictures_of_the_tango_example()
    {
        var tried = Drawn(Folder("tango"));
        Assert.Equal(20, tried.Intersect(Drawn(Path.Combine(Folder("kid"), "twenty"))).Count());
        Assert.Empty(tried.Intersect(Drawn(Path.Combine(Folder("kid"), "others"))));

        static List<string> Drawn(string folder) => [.. Directory.GetFiles(folder, "*.png").Select(path => Convert.ToHexString(ImageFile.Read(path).Pixels.ToArray()))];
    }

    [Fact]
    public void Every_recipe_of_the_examples_is_read()
    {
        var recipes = Directory.GetFiles(Path.Combine(Repository.Root, "examples"), "*.toml", SearchOption.AllDirectories);
        Assert.NotEmpty(recipes);
        foreach (var recipe in recipes)
        {
            if (recipe == Path.Combine(Repository.Root, "examples", "kid", "recipe.toml"))   // of lora bench kid, not of lora train
            {
                Assert.All([false, true], quick => Assert.True(Directory.Exists(BenchKidOptions.Read(recipe, quick: quick).Pictures)));
                continue;
            }
            IRunOptions options = TrainingMethods.Of(recipe) switch
            {
                TrainingMethod.Lora or TrainingMethod.Dreambooth => TrainLoraOptions.Read(recipe),
                TrainingMethod.TextualInversion => TrainTextualInversionOptions.Read(recipe),
                TrainingMethod.Pivotal => TrainPivotalOptions.Read(recipe),
                TrainingMethod.Full => TrainFullOptions.Read(recipe),
                var other => throw new InvalidOperationException($"no example is read for {other}"),
            };
            var prepared = Path.Combine(Repository.Root, "data") + Path.DirectorySeparatorChar;   // what an example makes first, and the repository does not hold
            Assert.All(options.Data, set => Assert.True(set.Folder.StartsWith(prepared, StringComparison.Ordinal) || Directory.Exists(set.Folder), $"{recipe}: {set.Folder}"));
        }
    }

    private static string Folder(string example) => Path.Combine(Repository.Root, "examples", example, "pictures");
}
