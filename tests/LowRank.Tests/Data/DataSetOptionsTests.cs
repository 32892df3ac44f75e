using LowRank.Data;
using LowRank.Images;

namespace LowRank.Tests.Data;

public class DataSetOptionsTests
{
    [Fact]
    public void Defaults_are_valid() => Assert.Empty(new DataSetOptions { Folder = "pictures" }.Validate());

    [Fact]
    public void All_problems_are_listed()
    {
        var options = new DataSetOptions
        {
            Folder = " ",
            Caption = "Sidecars",
            Repeats = 0,
            KeepTokens = -1,
            KeepTokensSeparator = "|||",
            TagSeparator = "",
            CaptionDropout = 1.5,
            CaptionDropoutEveryEpochs = -1,
            TagDropout = double.NaN,
            TokenWarmupSteps = -1,
            TokenWarmupMin = 0,
            Crop = (CropMode)7,
            Resolution = 500,
            Buckets = false,
            BucketMin = 4,
            BucketMax = 2,
            BucketStep = 12,
            Enlarge = false,
        };
        Assert.Equal(
            [
                "folder: empty; must name a folder of pictures",
                "repeats: 0; must be 1 or more",
                "keep_tokens: -1; must be 0 or more",
                "tag_separator: empty; must be what stands between tags",
                "caption_dropout: 1.5; must be from 0 to 1",
                "caption_dropout_every_epochs: -1; must be 0 or more",
                "tag_dropout: NaN; must be from 0 to 1",
                "token_warmup_steps: -1; must be a number of steps, or a share of the run below 1",
                "token_warmup_min: 0; must be 1 or more",
                "crop: 7; must be centre or random",
                "caption: Sidecars; did you mean sidecar?",
                "keep_tokens: -1; does nothing without shuffle_tags, tag_dropout or token_warmup_steps",
                "keep_tokens_separator: |||; would stay in the text without shuffle_tags, tag_dropout or token_warmup_steps",
                "token_warmup_min: 0; does nothing without token_warmup_steps",
                "resolution: 500; must be a multiple of 8, since a latent pixel is 8 picture pixels",
                "bucket_step: 12; must be a multiple of 8, since a latent pixel is 8 picture pixels",
                "bucket_min: 4; must be 8 or more",
                "bucket_max: 2; must be 8 or more",
                "bucket_max: 2; is below bucket_min: 4",
                "bucket_min, bucket_max, bucket_step: do nothing with buckets = false",
                "enlarge: false; does nothing with buckets = false",
            ], options.Validate());
    }

    [Theory]
    [InlineData("file_name", "file-name")]
    [InlineData("FileName", "file-name")]
    [InlineData("filenames", "file-name")]
    [InlineData("side-car", "sidecar")]
    [InlineData("meta-data", "metadata")]
    public void A_misspelt_source_of_captions_is_not_taken_for_a_text(string caption, string meant) =>
        Assert.Equal([$"caption: {caption}; did you mean {meant}?"], new DataSetOptions { Folder = "a", Caption = caption }.Validate());

    [Theory]
    [InlineData(64, 32, 128, 8)]
    [InlineData(256, 128, 512, 32)]
    [InlineData(512, 256, 1024, 64)]
    [InlineData(1024, 512, 2048, 64)]
    public void Buckets_follow_the_resolution(int resolution, int min, int max, int step)
    {
        var buckets = new DataSetOptions { Folder = "a" }.MakeBuckets(resolution);
        Assert.Equal((min, max), (buckets.Min, buckets.Max));
        Assert.All(buckets.Sizes, size => Assert.Equal((0, 0), (size.Width % step, size.Height % step)));
        Assert.Contains(new PixelSize(resolution, resolution), buckets.Sizes);
        Assert.Equal(buckets.Sizes, new DataSetOptions { Folder = "a", Resolution = resolution, BucketMin = min, BucketMax = max, BucketStep = step }.MakeBuckets(8).Sizes);
    }

    [Fact]
    public void Without_buckets_there_is_one_square() =>
        Assert.Equal([new PixelSize(96, 96)], new DataSetOptions { Folder = "a", Resolution = 96, Buckets = false }.MakeBuckets(64).Sizes);

    [Fact]
    public void One_space_stands_between_prefix_caption_and_suffix()
    {
        var rules = new DataSetOptions { Folder = "a", Prefix = "tango style, ", Suffix = " on white" }.CaptionRules;
        Assert.Equal("tango style, a box on white", Captions.Draw("a box", rules, new CaptionMoment(1, 0, 1), null!));
    }
}
