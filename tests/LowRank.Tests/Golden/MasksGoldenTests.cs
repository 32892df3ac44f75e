using System.Text.Json;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Preparation;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>How masks are made, blurred and cropped with their pictures; masks as weights of latents, and the losses so weighed.</summary>
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
        var losses = (Inputs("weight.kohya.prediction", area, kohya[0]) - Inputs("weight.kohya.target", area, kohya[0])).Squared() * LossMask.Weights(area, 0, normalise: false);
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
    public void Crops_on_the_centre_of_mass_are_those_of_the_2022_package(string id)
    {
        using var golden = GoldenCase.Open(id);
        var crops = golden.Json.GetProperty("crops");
        var index = 0;
        foreach (var row in crops.GetProperty("rows").EnumerateArray())
        {
            var (size, pixels) = Picture(row.GetProperty("image"));
            var side = row.GetProperty("size").GetInt32();
            var mask = Grey(golden, $"crop.{index}.mask");
            var centre = SquareCrop.CentreOfMass(mask) ?? throw new InvalidOperationException("the mask is not empty");
            double[] expected = [.. row.GetProperty("center_of_mass").EnumerateArray().Select(value => value.GetDouble())];
            Assert.Equal(expected[0], centre.X, 1e-12 * expected[0]);
            Assert.Equal(expected[1], centre.Y, 1e-12 * expected[1]);
            var box = SquareCrop.Around(size, centre);
            Assert.Equal(Box(row.GetProperty("box")), box);
            Assert.Equal(Box(row.GetProperty("box_when_not_salient")), SquareCrop.Around(size, SquareCrop.Middle(size)));
            Assert.Equal(Grey(golden, $"crop.{index}.mask_out").Pixels, SquareCrop.Cut(mask.Pixels, size, 1, box, side).Pixels);
            using var image = golden.Tensor($"crop.{index}.image_out");
            Assert.Equal(image.data<byte>().ToArray(), SquareCrop.Cut(pixels, size, 3, box, side).Pixels);
            index++;
        }
        foreach (var row in crops.GetProperty("half_boxes").GetProperty("rows").EnumerateArray())
        {
            var size = new PixelSize(row[0].GetInt32(), row[1].GetInt32());
            var box = SquareCrop.Around(size, (row[2].GetDouble(), row[3].GetDouble()));
            Assert.Equal(Box(row[4]), box);
            Assert.Equal((row[5][1].GetInt32(), row[5][0].GetInt32()), (box.Size.Width, box.Size.Height));
        }
        Assert.Null(SquareCrop.CentreOfMass(new GreyImage(new PixelSize(2, 3), new byte[6])));

        static CropBox Box(JsonElement box) => new(box[0].GetInt32(), box[1].GetInt32(), box[2].GetInt32(), box[3].GetInt32());
    }

    [Theory, MemberData(nameof(Cases))]
    public void The_blur_is_Pillows(string id)
    {
        using var golden = GoldenCase.Open(id);
        var rows = golden.Json.GetProperty("gaussian_blur").GetProperty("rows").EnumerateArray().ToList();
        for (var index = 0; index < rows.Count; index++)
        {
            Assert.Equal(0, rows[index].GetProperty("own_formula_max").GetInt32());
            var blurred = GaussianBlur.Apply(Grey(golden, $"blur.{index}.in"), rows[index].GetProperty("radius").GetSingle());
            Assert.Equal(Grey(golden, $"blur.{index}.out").Pixels, blurred.Pixels);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Masks_from_segmentation_logits_are_those_of_the_2022_package(string id)
    {
        using var golden = GoldenCase.Open(id);
        var part = golden.Json.GetProperty("segmentation");
        Assert.Equal("small: 1 level where a value lies next to a whole number; mask: 2 levels", part.GetProperty("tolerance").GetString());
        var rows = part.GetProperty("rows").EnumerateArray().ToList();
        for (var index = 0; index < rows.Count; index++)
        {
            using var logits = golden.Tensor($"segmentation.{index}.logits");
            var values = logits.data<float>().ToArray();
            var side = rows[index].GetProperty("logits").GetInt32();
            var small = SegmentationMask.Small(values.AsSpan(0, side * side), values.AsSpan(side * side), new PixelSize(side, side), rows[index].GetProperty("temperature").GetSingle());
            Within(1, Grey(golden, $"segmentation.{index}.small"), small);
            Within(2, Grey(golden, $"segmentation.{index}.mask"), SegmentationMask.Enlarged(small, new PixelSize(rows[index].GetProperty("width").GetInt32(), rows[index].GetProperty("height").GetInt32())));
        }

        static void Within(int levels, GreyImage expected, GreyImage actual)
        {
            Assert.Equal(expected.Size, actual.Size);
            Assert.InRange(expected.Pixels.Zip(actual.Pixels, (a, b) => Math.Abs(a - b)).Max(), 0, levels);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Masks_from_boxes_are_those_of_the_2022_package(string id)
    {
        using var golden = GoldenCase.Open(id);
        var index = 0;
        foreach (var row in golden.Json.GetProperty("faces").GetProperty("rows").EnumerateArray())
        {
            var boxes = row.GetProperty("relative_boxes_x_y_w_h").EnumerateArray().Select(box => new RelativeBox(box[0].GetDouble(), box[1].GetDouble(), box[2].GetDouble(), box[3].GetDouble()));
            var mask = BoxMask.Draw(new PixelSize(row.GetProperty("width").GetInt32(), row.GetProperty("height").GetInt32()), boxes);
            Assert.Equal(Grey(golden, $"face.{index++}").Pixels, mask.Pixels);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Alpha_is_resized_as_the_trainers_resize_it(string id)
    {
        using var golden = GoldenCase.Open(id);
        var part = golden.Json.GetProperty("alpha_mask");
        var (size, pixels) = Picture(part.GetProperty("source"));
        foreach (var (name, key, filter, levels) in new[] { ("alpha.area", "down", PillowFilter.Area, 1), ("alpha.lanczos", "up", PillowFilter.Lanczos, 0) })
        {
            var to = new PixelSize(part.GetProperty(key)[1].GetInt32(), part.GetProperty(key)[0].GetInt32());
            using var expected = golden.Tensor(name);
            using var actual = tensor(PillowResize.Resize(pixels, size, 4, to, filter), expected.shape);
            TensorAssert.Close(expected, actual, rtol: 0, atol: levels, name);
        }
    }

    private static (PixelSize Size, byte[] Pixels) Picture(JsonElement json)
    {
        var size = new PixelSize(json.GetProperty("width").GetInt32(), json.GetProperty("height").GetInt32());
        var pixels = FormulaPicture.Of(json.GetProperty("name").GetString()!, size.Height, size.Width, json.GetProperty("channels").GetInt32(), json.GetProperty("seed").GetInt32());
        Assert.Equal(json.GetProperty("sha256").GetString(), FormulaPicture.Sha256(pixels));
        return (size, pixels);
    }

    private static GreyImage Grey(GoldenCase golden, string name)
    {
        using var stored = golden.Tensor(name);
        return new GreyImage(new PixelSize((int)stored.size(1), (int)stored.size(0)), stored.data<byte>().ToArray());
    }

    private static Tensor ToTensor(byte[] pixels, PixelSize size) => tensor(pixels, [1, 1, size.Height, size.Width]).to(ScalarType.Float32).Over(255);

    /// <summary>As the 2022 package cuts it: the short side resized, then the middle square, its corner rounded half to even.</summary>
    private static Tensor ShortSideCut(byte[] pixels, PixelSize size, int side)
    {
        var resized = size.Height <= size.Width ? new PixelSize(side * size.Width / size.Height, side) : new PixelSize(side, side * size.Height / size.Width);
        var whole = ToTensor(PillowResize.Resize(pixels, size, 1, resized, PillowFilter.Bilinear), resized);
        var (top, left) = ((long)Math.Round((resized.Height - side) / 2.0), (long)Math.Round((resized.Width - side) / 2.0));
        return whole.narrow(2, top, side).narrow(3, left, side);
    }
}
