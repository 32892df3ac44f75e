using System.Text.Json;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>What sd-scripts' files say of themselves: the order of the container, both hashes, and ModelSpec's words for each base.</summary>
public sealed class AdapterMetadataGoldenTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("adapters/metadata");

    [Theory, MemberData(nameof(Cases))]
    public void A_file_written_from_its_tensors_has_their_order_and_bytes(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var example = SafetensorsReader.Open(Path.Combine(golden.Folder, golden.Json.GetProperty("file").GetString()!));
        var inserted = golden.Json.GetProperty("insertion_order").EnumerateArray().Select(name => name.GetString()!);
        SafetensorsWriter.Write(folder.Path("written.safetensors"), inserted.Select(name => KeyValuePair.Create(name, example.Read(name))), example.Metadata);
        using var written = SafetensorsReader.Open(folder.Path("written.safetensors"));
        Assert.Equal(example.Tensors.Values.OrderBy(info => info.Offset).Select(info => info.Name), written.Tensors.Values.OrderBy(info => info.Offset).Select(info => info.Name));
        Assert.Equal(golden.Json.GetProperty("data_section_bytes").GetInt64(), written.Tensors.Values.Sum(info => info.Length));
        foreach (var name in example.Tensors.Keys) Assert.Equal(example.ReadBytes(name), written.ReadBytes(name));
        Assert.Equal(example.Metadata.OrderBy(item => item.Key, StringComparer.Ordinal), written.Metadata.OrderBy(item => item.Key, StringComparer.Ordinal));
    }

    [Theory, MemberData(nameof(Cases))]
    public void Types_stand_in_the_order_of_the_container(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        var order = golden.Json.GetProperty("dtype_order").EnumerateArray().Select(name => name.GetString()!).ToList();
        var types = Enum.GetValues<StoredType>().Where(type => type is not (StoredType.F8_E4M3 or StoredType.F8_E5M2)).ToList();   // the engine has none
        SafetensorsWriter.Write(folder.Path("types.safetensors"), types.Select(type => KeyValuePair.Create($"{type}", zeros([2], type.ToScalarType()))));
        using var written = SafetensorsReader.Open(folder.Path("types.safetensors"));
        Assert.Equal(order.Intersect(types.Select(type => $"{type}")), written.Tensors.Values.OrderBy(info => info.Offset).Select(info => info.Name));
    }

    [Theory, MemberData(nameof(Cases))]
    public void Both_hashes_are_those_of_sd_scripts(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var example = SafetensorsReader.Open(Path.Combine(golden.Folder, golden.Json.GetProperty("file").GetString()!));
        var metadata = golden.Json.GetProperty("ss_metadata").EnumerateObject().ToDictionary(item => item.Name, item => item.Value.GetString()!);
        Check(golden.Json, [.. example.Tensors.Keys.Select(name => KeyValuePair.Create(name, example.Read(name)))]);
        Check(golden.Json, [.. example.Tensors.Keys.Select(name => KeyValuePair.Create(name, example.Read(name)))], example.Metadata);   // others than ss_ do not count

        var large = golden.Json.GetProperty("large_example");
        var big = new[] { KeyValuePair.Create("big", Formula.Weight("big", [450, 1000], golden.Json.GetProperty("params").GetProperty("seed").GetInt64())) };
        Check(large, big);
        SafetensorsWriter.Write(folder.Path("big.safetensors"), big, metadata);
        Assert.Equal(large.GetProperty("file_bytes").GetInt64(), new FileInfo(folder.Path("big.safetensors")).Length);

        void Check(JsonElement expected, KeyValuePair<string, Tensor>[] tensors, IReadOnlyDictionary<string, string>? said = null)
        {
            var hashes = AdapterHashes.Of(tensors, said ?? metadata);
            Assert.Equal(expected.GetProperty("sshs_model_hash").GetString(), hashes["sshs_model_hash"]);
            Assert.Equal(expected.GetProperty("sshs_legacy_hash").GetString(), hashes["sshs_legacy_hash"]);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Words_for_each_base_are_those_of_ModelSpec(string id)
    {
        using var golden = GoldenCase.Open(id);
        string[] versions = ["sd_v1", "sd_v2", "sd_v2_v", "sdxl_base_v1-0"];
        var ours = versions.SelectMany(version => new[] { "lora", "textual-inversion" }.Select(kind =>
        {
            var metadata = new Dictionary<string, string>();
            Assert.True(AdapterMetadata.AddArchitecture(metadata, version, kind, "tiny"));
            return metadata;
        })).ToDictionary(metadata => metadata["modelspec.architecture"]);
        var examples = golden.Json.GetProperty("modelspec_examples").EnumerateObject().Where(item => !item.Name.EndsWith("checkpoint", StringComparison.Ordinal)).ToList();
        Assert.NotEmpty(examples);
        foreach (var example in examples)
        {
            var own = ours[example.Value.GetProperty("modelspec.architecture").GetString()!];
            Assert.All(own, item => Assert.Equal(example.Value.GetProperty(item.Key).GetString(), item.Value));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_file_in_another_type_keeps_what_it_says_and_gets_new_hashes(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        var input = Path.Combine(golden.Folder, golden.Json.GetProperty("file").GetString()!);
        ConvertAdapter.Run(new ConvertOptions { Input = input, Output = folder.Path("half.safetensors"), To = WrittenConvention.Kohya, Precision = SavePrecision.Fp16 });
        using var source = SafetensorsReader.Open(input);
        using var half = SafetensorsReader.Open(folder.Path("half.safetensors"));
        Assert.All(half.Tensors.Values, info => Assert.Equal(StoredType.F16, info.Type));
        string[] own = ["sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256"];
        Assert.Equal(Rest(source), Rest(half));
        Assert.Equal(AdapterHashes.Of([.. half.Tensors.Keys.Select(name => KeyValuePair.Create(name, half.Read(name)))], half.Metadata)["sshs_model_hash"], half.Metadata["sshs_model_hash"]);
        Assert.NotEqual(source.Metadata["sshs_model_hash"], half.Metadata["sshs_model_hash"]);
        Assert.DoesNotContain("modelspec.hash_sha256", half.Metadata.Keys);

        IEnumerable<KeyValuePair<string, string>> Rest(SafetensorsReader file) => file.Metadata.Where(item => !own.Contains(item.Key)).OrderBy(item => item.Key, StringComparer.Ordinal);
    }
}
