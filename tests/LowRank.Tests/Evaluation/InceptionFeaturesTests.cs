using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Testing;
using LowRank.Tests.Golden;
using static TorchSharp.torch;
using TorchZip = LowRank.Tests.Foundation.TorchZip;

namespace LowRank.Tests.Evaluation;

public class InceptionFeaturesTests
{
    private static readonly RgbImage[] Pictures = [Picture("a", 30, 20), Picture("b", 17, 64), Picture("c", 64, 64)];

    internal static RgbImage Picture(string name, int width, int height) => new(new PixelSize(width, height), FormulaPicture.Of(name, height, width, 3, 5));

    [Fact]
    public void A_file_of_either_format_gives_the_same_network_and_the_features_of_its_weights()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        using var network = InceptionTests.Build(7);
        SafetensorsWriter.Write(folder.Path("inception.safetensors"), network.state_dict());
        WritePth(folder.Path("inception.pth"), [.. network.state_dict(), new("Conv2d_1a_3x3.bn.num_batches_tracked", zeros(1))]);

        using var opened = FeatureNetworks.Open(folder.Path("inception.safetensors"));
        using var other = FeatureNetworks.Open(folder.Path("inception.pth"));
        var features = opened.Features(Pictures);

        using (no_grad())
        {
            var input = tensor(Pictures.SelectMany(picture => InceptionPicture.Planes(picture, InceptionInput.PytorchFid)).ToArray(), 3, 3, 299, 299);
            TensorAssert.Equal(network.call(input), features);
        }
        Assert.Equal((opened.Dimension, ScalarType.Float32, false), ((int)features.size(1), features.dtype, features.requires_grad));
        TensorAssert.Equal(features, opened.Features(Pictures));
        TensorAssert.Equal(features, other.Features(Pictures));
        Assert.Equal(opened.Identity, other.Identity);
        Assert.Equal($"inception-v3, input as pytorch-fid, weights sha256 {FeatureBatches.HashOf(network)}", opened.Identity);

        using var clean = FeatureNetworks.Open(folder.Path("inception.safetensors"), InceptionInput.CleanFid);
        Assert.Equal($"inception-v3, input as clean-fid, weights sha256 {FeatureBatches.HashOf(network)}", clean.Identity);
        Assert.NotEqual(0, (clean.Features(Pictures) - features).abs().max().item<float>());
    }

    [Fact]
    public void The_identity_tells_weights_apart()
    {
        using var scope = NewDisposeScope();
        using var one = nn.Linear(2, 1);
        using var copy = nn.Linear(2, 1);
        copy.load_state_dict(one.state_dict());
        Assert.Equal(FeatureBatches.HashOf(one), FeatureBatches.HashOf(copy));

        using (no_grad()) copy.bias!.AddInPlace(1e-3);
        Assert.NotEqual(FeatureBatches.HashOf(one), FeatureBatches.HashOf(copy));
    }

    [Fact]
    public void Pictures_in_batches_keep_their_order_and_leave_nothing_behind()
    {
        RgbImage[] pictures = [.. Enumerable.Range(0, 5).Select(i => new RgbImage(new PixelSize(1, 1), [(byte)i, (byte)(10 * i), 0]))];
        LeakGuard.AssertNothingLeft(() =>
        {
            using var features = FeatureBatches.OfPictures(pictures, 2, picture => [picture.Pixels[0], picture.Pixels[1], 0], 1, x => x.sum([1, 2, 3]).unsqueeze(1));
            Assert.Equal([0f, 11, 22, 33, 44], features.data<float>().ToArray());
        });
    }

    [Fact]
    public void A_name_of_nothing_is_told_of()
    {
        var error = Assert.Throws<OptionsException>(() => FeatureNetworks.Open("icon"));
        Assert.Equal("no such network of features: icon (did you mean \"icons\"?); expected icons, which is embedded, the weights file of InceptionV3 (pt_inception-2015-12-05-6726825d.pth, or the same as .safetensors), or the folder of a CLIP model", error.Message);
    }

    [Fact]
    public void Other_weights_are_told_of_by_what_was_found()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        var path = folder.Path("unet.safetensors");
        SafetensorsWriter.Write(path, [new("conv_in.weight", zeros(2)), new("conv_in.bias", zeros(2))]);

        var error = Assert.Throws<CheckpointException>(() => FeatureNetworks.Open(path));

        Assert.Equal($"no weights of InceptionV3: \"Conv2d_1a_3x3.conv.weight\" and 376 more are expected, found 2 tensors, such as \"conv_in.bias\"; in {path}; use pt_inception-2015-12-05-6726825d.pth of pytorch-fid, or the same as .safetensors", error.Message);
        using var network = InceptionTests.Build(1);
        Assert.Equal(377 + 95, network.state_dict().Count);
    }

    [Fact]
    public void The_classifier_of_torchvision_is_told_apart()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        var path = folder.Path("inception_v3_google.pth");
        WritePth(path, [new("Conv2d_1a_3x3.conv.weight", zeros(32, 3, 3, 3)), new("fc.weight", zeros(1000, 2048)), new("AuxLogits.fc.weight", zeros(1000, 768))]);

        var error = Assert.Throws<CheckpointException>(() => FeatureNetworks.Open(path));

        Assert.Equal($"the InceptionV3 that torchvision classifies with (fc of 1000 outputs, expected 1008): FID and KID are defined by other weights; in {path}; use pt_inception-2015-12-05-6726825d.pth of pytorch-fid", error.Message);
    }

    [Fact]
    public void A_file_that_lacks_a_weight_is_told_of_by_its_name()
    {
        using var folder = new TemporaryFolder();
        using var scope = NewDisposeScope();
        using var network = InceptionTests.Build(1);
        var path = folder.Path("inception.safetensors");
        SafetensorsWriter.Write(path, network.state_dict().Where(item => item.Key != "Mixed_6c.branch7x7_2.bn.running_var"));

        var error = Assert.Throws<CheckpointException>(() => FeatureNetworks.Open(path));

        Assert.Equal($"""
            the weights do not fit the model: 1 missing, 0 unexpected, 0 mis-shaped of 472; in {path}
              missing: Mixed_6c.branch7x7_2.bn.running_var
            the file and the model's configuration belong to different models, or to different versions of one: use the pair as published
            """, error.Message, ignoreLineEndingDifferences: true);
    }

    /// <summary>As torch.save writes a state dict of float32.</summary>
    private static void WritePth(string path, IReadOnlyList<KeyValuePair<string, Tensor>> weights)
    {
        var items = weights.Select((item, i) => (TorchZip.Word(item.Key), TorchZip.View(TorchZip.Storage("FloatStorage", $"{i}", item.Value.numel()), 0, item.Value.shape, item.Value.stride())));
        TorchZip.Write(path, TorchZip.OrderedDict([.. items]), [.. weights.Select((item, i) => ($"{i}", item.Value.bytes.ToArray()))]);
    }
}
