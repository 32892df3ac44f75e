using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Evaluation;

public class IconFeaturesTests
{
    private static RgbImage[] Read(params string[] folder) =>
        [.. Directory.GetFiles(Path.Combine([Repository.Root, .. folder]), "*.png").Order(StringComparer.Ordinal).Select(ImageFile.Read)];

    private static RgbImage[] Emoji => Read("tests", "fixtures", "evaluation", "emoji");

    [Fact]
    public void The_embedded_weights_are_those_that_their_card_names()
    {
        using var network = FeatureNetworks.Open("icons");
        var file = Path.Combine(Repository.Root, "models", "icons-features", "model.safetensors");
        var card = File.ReadAllText(Path.Combine(Repository.Root, "models", "icons-features", "README.md"));
        Assert.Contains($"`{network.Identity}`", card, StringComparison.Ordinal);
        Assert.StartsWith("icons, bicubic to 64, weights sha256 ", network.Identity, StringComparison.Ordinal);
        Assert.InRange(new FileInfo(file).Length, 100_000, 1_500_000);
        Assert.Equal(192, network.Dimension);
    }

    [Fact]
    public void The_same_pictures_give_the_same_bits()
    {
        using var scope = NewDisposeScope();
        using var network = FeatureNetworks.Open("icons");
        using var again = FeatureNetworks.Open("icons");
        RgbImage[] pictures = [.. Emoji.Take(3), InceptionFeaturesTests.Picture("wide", 130, 40)];
        var features = network.Features(pictures);
        Assert.Equal((4L, 192L, ScalarType.Float32, false), (features.size(0), features.size(1), features.dtype, features.requires_grad));
        TensorAssert.Equal(features, network.Features(pictures));
        TensorAssert.Equal(features, again.Features(pictures));
        Assert.Equal(network.Identity, again.Identity);
    }

    [Fact]
    public void Drawings_of_another_style_are_far_and_the_more_blurred_the_farther()
    {
        using var scope = NewDisposeScope();
        using var network = FeatureNetworks.Open("icons");
        var emoji = Emoji;
        var tango = Read("examples", "tango", "pictures");
        var (half, others) = Halves(emoji);
        var (someTango, otherTango) = Halves(tango);
        double Distance(IReadOnlyList<RgbImage> left, IReadOnlyList<RgbImage> right) => KernelInceptionDistance.Of(network.Features(left), network.Features(right));

        var same = Distance(half, others);
        double[] blurred = [same, .. new[] { 0.7, 1.2, 2 }.Select(deviation => Distance(half, [.. others.Select(picture => Blurred(picture, deviation))]))];
        double[] noisy = [same, .. new[] { 0.03, 0.1 }.Select(amount => Distance(half, [.. others.Select(picture => Noisy(picture, amount))]))];
        var style = Distance(emoji, tango);
        var within = Distance(someTango, otherTango);

        Assert.Equal(blurred.Order(), blurred);
        Assert.Equal(noisy.Order(), noisy);
        Assert.InRange(Math.Abs(same), 0, blurred[1] / 2);
        Assert.True(style > 4 * Math.Max(Math.Abs(same), Math.Abs(within)), $"Tango {style}, halves of one style {same} and {within}");
    }

    [Fact]
    public void Weights_of_another_network_are_refused_by_name()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        using var network = new IconFeatureModel(new LayerFactory(CPU, ScalarType.Float32));
        var path = folder.Path("model.safetensors");
        SafetensorsWriter.Write(path, network.state_dict().Where(item => item.Key != "stem.bias").Append(new("stem.scale", zeros(1))));

        var error = Assert.Throws<CheckpointException>(() => IconFeatures.Open(path, CPU));

        Assert.Equal($"""
            the weights do not fit the model: 1 missing, 1 unexpected, 0 mis-shaped of 34; in {path}
              missing: stem.bias
              unexpected: stem.scale
            the file and the model's configuration belong to different models, or to different versions of one: use the pair as published
            """, error.Message, ignoreLineEndingDifferences: true);
    }

    [Fact]
    public void A_forward_and_backward_leave_nothing_behind()
    {
        using var network = new IconFeatureModel(new LayerFactory(CPU, ScalarType.Float32));
        using var pictures = Formula.Noise("x", [2, 3, 64, 64], 1);
        LeakGuard.AssertNothingLeft(() =>
        {
            using var features = network.call(pictures);
            using var sum = features.sum();
            sum.backward();
            network.zero_grad();
        });
    }

    private static (RgbImage[] Even, RgbImage[] Odd) Halves(RgbImage[] pictures) => ([.. pictures.Where((_, i) => i % 2 == 0)], [.. pictures.Where((_, i) => i % 2 == 1)]);

    /// <summary>By 2 σ² repetitions of the smallest blur, whose variance is half a pixel².</summary>
    private static RgbImage Blurred(RgbImage picture, double deviation)
    {
        using var scope = NewDisposeScope();
        var x = tensor(IconFeatures.Planes(picture), 3, 1, 64, 64);
        var taps = tensor([0.25f, 0.5f, 0.25f]);
        for (var i = 0; i < (int)Math.Round(2 * deviation * deviation); i++)
        {
            x = nn.functional.conv2d(nn.functional.pad(x, [1, 1, 1, 1], TorchSharp.PaddingModes.Replicate), taps.reshape(1, 1, 1, 3));
            x = nn.functional.conv2d(x, taps.reshape(1, 1, 3, 1));
        }
        return PixelTensor.ToImage(x.data<float>().ToArray(), picture.Size);
    }

    private static RgbImage Noisy(RgbImage picture, double amount)
    {
        var planes = IconFeatures.Planes(picture);
        var noise = Formula.Uniform("noise", planes.Length, 1);
        return PixelTensor.ToImage([.. planes.Select((value, i) => value + (float)(amount * 2 * Math.Sqrt(3) * noise[i]))], picture.Size);
    }
}
