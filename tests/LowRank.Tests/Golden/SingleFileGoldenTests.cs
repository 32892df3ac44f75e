using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Models;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>A whole model in one file of the original layout, against the folder that it is the same model as.</summary>
public class SingleFileGoldenTests
{
    public static IEnumerable<TheoryDataRow<string, string>> Cases()
    {
        foreach (var row in GoldenCase.OfKind("pipeline_folders"))
        {
            yield return new TheoryDataRow<string, string>(row.Data, ".safetensors");
            yield return new TheoryDataRow<string, string>(row.Data, ".ckpt");
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Every_tensor_is_the_folders_bit_for_bit(string id, string end)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var (folder, file) = Places(golden, end);
        var (one, other) = (ModelFiles.At(folder), ModelFiles.At(file, new ModelFileOptions { Config = folder }));

        foreach (var part in (string[])["unet", "vae", "text_encoder"])
        {
            using var expected = one.OpenWeights(part);
            using var actual = other.OpenWeights(part);
            var names = expected.Names.Where(name => !name.EndsWith("position_ids", StringComparison.Ordinal)).ToDictionary(AutoencoderKL.PresentKey);   // the folder has the names of before 2023
            Assert.Equal(names.Keys.Order(StringComparer.Ordinal), actual.Names.Order(StringComparer.Ordinal));
            foreach (var (name, old) in names)
            {
                Assert.Equal(expected.Info(old).Shape, actual.Info(name).Shape);
                TensorAssert.Equal(expected.Read(old), actual.Read(name), name);
                TensorAssert.Equal(expected.Read(old), actual.Map(name), name);
            }
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void The_same_prompt_and_latents_give_the_same_prediction_and_picture(string id, string end)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var (folder, file) = Places(golden, end);
        using var one = FamilyDetector.Open(folder);
        using var other = FamilyDetector.Open(file, files: new ModelFileOptions { Config = folder });
        using var generator = new Generator(3);
        var latents = randn([1, one.LatentChannels, 8, 8], ScalarType.Float32, generator: generator);

        Assert.Equal(one.Description, other.Description);
        TensorAssert.Equal(Predict(one), Predict(other), "prediction");
        TensorAssert.Equal(one.DecodeLatents(latents), other.DecodeLatents(latents), "picture");

        Tensor Predict(IDiffusionFamily family) => family.Predict(latents, tensor([500f]), family.WithSizes(family.EncodePrompts(["a dog"]), [new SizeCondition(64, 64, 0, 0, 64, 64)]));
    }

    private static (string Folder, string File) Places(GoldenCase golden, string end)
    {
        var of = golden.Json.GetProperty("single_file").GetProperty("of").GetString()!;
        return (Path.Combine(golden.Folder, "pipelines", of), Path.Combine(golden.Folder, "pipelines", "single-file", of + end));
    }
}
