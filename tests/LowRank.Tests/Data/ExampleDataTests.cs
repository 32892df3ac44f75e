using LowRank.Data;
using LowRank.Images;
using LowRank.Testing;

namespace LowRank.Tests.Data;

public class ExampleDataTests
{
    [Fact]
    public void Every_picture_of_the_example_is_whole_and_captioned()
    {
        var options = new DataSetOptions { Folder = Path.Combine(Repository.Root, "examples", "tango", "pictures") };
        var report = ImageFolder.Read(options, nativeResolution: 64, TestContext.Current.CancellationToken).Report;
        Assert.Equal((20, 20, 0, 0), (report.Pictures, report.Captions, report.Skipped.Count, report.Warnings.Count));
        Assert.Equal([new BucketReport(new PixelSize(64, 64), 20)], report.Buckets);
    }
}
