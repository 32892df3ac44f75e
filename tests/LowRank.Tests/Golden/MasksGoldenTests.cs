using LowRank.Diffusion;
using LowRank.Images;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Masks as weights of latents, and the losses so weighed.</summary>
public class MasksGoldenTests
{
    private static readonly NoiseSchedule Unused = new(new());

    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("masks");

    [Theory, MemberData(nameof(Cases))]
    public void Weights_and_losses_are_those_of_the_trainers(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var (json, sizes) = (golden.Json.GetProperty("weights"), golden.Json.GetProperty("params").GetProperty("weights"));
        var seed = golden.Json.GetProperty("params").GetProperty("seed").GetInt32();
        long[] kohya = [.. sizes.GetProperty("kohya_latent").EnumerateArray().Select(value => value.GetInt64())];   // channels, height, width
        var side = sizes.GetProperty("size").GetInt32();
        var expected = json.GetProperty("expected");
        var pictures = json.GetProperty("masks").EnumerateArray().Select(mask =>
        {
            var size = new PixelSize(mask.GetProperty("width").GetInt32(), mask.GetProperty("height").GetInt32());
            var pixels = FormulaPicture.Of(mask.GetProperty("name").GetString()!, size.Height, size.Width, 1, seed);
            Assert.Equal(mask.GetProperty("sha256").GetString(), FormulaPicture.Sha256(pixels));
            return (Size: size, Pixels: pixels);
        }).ToList();

        Tensor Inputs(string name, Tensor weights, long channels) => Formula.Noise(name, [weights.size(0), channels, weights.size(2), weights.size(3)], seed);
        var area = cat([.. pictures.Select(picture => LossMask.Area(ToTensor(picture.Pixels, picture.Size), kohya[1], kohya[2]))]);
        Compare("weights.area", area);
        var losses = (Inputs("weight.kohya.prediction", area, kohya[0]) - Inputs("weight.kohya.target", area, kohya[0])).square() * LossMask.Weights(area, 0, normalise: false);
        Near(expected.GetProperty("area_loss").GetDouble(), losses.mean());
        foreach (var (value, index) in expected.GetProperty("area_loss_per_item").EnumerateArray().Select((value, index) => (value.GetDouble(), index))) Near(value, losses[index].mean());

        var cut = cat([.. pictures.Select(picture => ShortSideCut(picture.Pixels, picture.Size, side))]);
        foreach (var temperature in expected.GetProperty("ancestor_loss").EnumerateObject())
        {
            var stored = golden.Tensor($"weights.ancestor.{temperature.Name}");
            var factors = LossMask.Factors(LossMask.Corner(cut, stored.size(2), stored.size(3)), double.Parse(temperature.Name, System.Globalization.CultureInfo.InvariantCulture));
            Compare($"weights.ancestor.{temperature.Name}", factors);
            var squared = ElementLoss.Squared.Of(Inputs("weight.prediction", factors, 4) * factors, Inputs("weight.target", factors, 4) * factors, Unused, [0, 0, 0]);
            Near(temperature.Value.GetDouble(), squared.mean());
        }

        void Compare(string name, Tensor actual) => TensorAssert.Close(golden.Tensor(name), actual, 1e-5, 1e-6, name);
        void Near(double value, Tensor actual) => Assert.Equal(value, actual.item<float>(), 1e-5 * value + 1e-6);
    }

    [Theory, MemberData(nameof(Cases))]
    public void Salience_crops_blur_segmentation_and_faces_are_not_built(string id) =>
        GoldenLedger.SkipNotBuilt(id, "crops by salience, Gaussian blur, masks from segmentation logits and from face boxes");

    private static Tensor ToTensor(byte[] pixels, PixelSize size) => tensor(pixels, [1, 1, size.Height, size.Width]).to(ScalarType.Float32) / 255;

    /// <summary>As the 2022 package cuts it: the short side resized, then the middle square, its corner rounded half to even.</summary>
    private static Tensor ShortSideCut(byte[] pixels, PixelSize size, int side)
    {
        var resized = size.Height <= size.Width ? new PixelSize(side * size.Width / size.Height, side) : new PixelSize(side, side * size.Height / size.Width);
        var whole = ToTensor(PillowResize.Resize(pixels, size, 1, resized, PillowFilter.Bilinear), resized);
        var (top, left) = ((long)Math.Round((resized.Height - side) / 2.0), (long)Math.Round((resized.Width - side) / 2.0));
        return whole.narrow(2, top, side).narrow(3, left, side);
    }
}
