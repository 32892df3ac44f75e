using System.Text;
using System.Text.Json;
using LowRank.Foundation;
using LowRank.Testing;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Foundation;

public sealed class SafetensorsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    public static TheoryData<StoredType> Computable => [.. Enum.GetValues<StoredType>().Where(type => !type.ToString().StartsWith("F8", StringComparison.Ordinal))];

    [Theory, MemberData(nameof(Computable))]
    public void What_was_written_is_read_and_mapped_bit_for_bit_in_every_type(StoredType stored)
    {
        var type = stored.ToScalarType();
        var whole = TensorArithmetic.Counting(24, ScalarType.Float32).Minus(7).to(type).reshape(2, 3, 4);
        var tensors = new Dictionary<string, Tensor>
        {
            ["whole"] = whole,
            ["number"] = whole[1, 2, 3],
            ["nothing"] = zeros([0, 5], dtype: type),
            ["turned"] = whole.transpose(0, 2),
            ["odd"] = whole.flatten()[1..4],
            ["ünïcode \"quoted\" \\ \n 🐕"] = whole[0],
        };
        var path = folder["every.safetensors"];
        SafetensorsWriter.Write(path, tensors, new Dictionary<string, string> { ["b"] = "two\n\"é\"", ["a"] = "" });

        using var reader = SafetensorsReader.Open(path);
        Assert.Equal(new Dictionary<string, string> { ["b"] = "two\n\"é\"", ["a"] = "" }, reader.Metadata);
        Assert.Equal(tensors.Keys.Order(), reader.Tensors.Keys.Order());
        foreach (var (name, expected) in tensors)
        {
            Assert.Equal(stored, reader.Tensors[name].Type);
            foreach (var actual in new[] { reader.Read(name), reader.Map(name) })
            {
                Assert.Equal(type, actual.dtype);
                TensorAssert.Equal(expected, actual, name);
            }
            Assert.Equal(Bytes(expected), reader.ReadBytes(name));
        }
    }

    [Fact]
    public void Tensors_lie_as_the_reference_library_orders_them_and_equal_content_gives_equal_bytes()
    {
        ScalarType[] types = [ScalarType.Bool, ScalarType.Byte, ScalarType.Int8, ScalarType.Int16, ScalarType.Float16, ScalarType.BFloat16, ScalarType.Int32, ScalarType.Float32, ScalarType.Float64, ScalarType.Int64];
        var tensors = types.SelectMany((type, i) => new[] { ($"z{i}", type), ($"a{i}", type) }).ToDictionary(item => item.Item1, item => ones(1, dtype: item.type));
        tensors["\uE000"] = ones(1, dtype: ScalarType.Int64);
        tensors["🐕"] = ones(1, dtype: ScalarType.Int64);   // after the former by bytes, before it by UTF-16 units
        var metadata = new Dictionary<string, string> { ["format"] = "pt", ["Zebra"] = "1", ["apple"] = "2" };
        SafetensorsWriter.Write(folder["one"], tensors, metadata);
        SafetensorsWriter.Write(folder["two"], tensors.Reverse(), metadata.Reverse());

        Assert.Equal(File.ReadAllBytes(folder["one"]), File.ReadAllBytes(folder["two"]));
        using var reader = SafetensorsReader.Open(folder["one"]);
        string[] expected = ["a9", "z9", "\uE000", "🐕", "a8", "z8", "a7", "z7", "a6", "z6", "a5", "z5", "a4", "z4", "a3", "z3", "a2", "z2", "a1", "z1", "a0", "z0"];
        Assert.Equal(expected, reader.Tensors.Keys);
        Assert.Equal(expected, reader.Tensors.Values.OrderBy(info => info.Offset).Select(info => info.Name));
        Assert.Equal(["Zebra", "apple", "format"], reader.Metadata.Keys);
        Assert.Equal(0, reader.Tensors["a9"].Offset % 8);
    }

    [Fact]
    public void A_mapped_tensor_can_be_written_to_and_the_file_does_not_change()
    {
        var path = folder["weights.safetensors"];
        SafetensorsWriter.Write(path, new Dictionary<string, Tensor> { ["w"] = zeros(5) });
        var before = File.ReadAllBytes(path);
        using var reader = SafetensorsReader.Open(path);
        reader.Map("w").copy_(tensor(3f));
        Assert.Equal(3, reader.Map("w").mean().item<float>());
        Assert.Equal(before, File.ReadAllBytes(path));
        Assert.Equal(0, reader.Read("w").mean().item<float>());
    }

    [Fact]
    public void A_mapped_tensor_outlives_its_reader()
    {
        var path = folder["weights.safetensors"];
        SafetensorsWriter.Write(path, new Dictionary<string, Tensor> { ["w"] = TensorArithmetic.Counting(100_000, ScalarType.Float32), ["v"] = ones(3) });
        Tensor mapped, view;
        using (var reader = SafetensorsReader.Open(path))
        {
            mapped = reader.Map("w");
            view = reader.Map("v")[1..];
        }
        Assert.Equal(99_999, mapped[99_999].item<float>());
        mapped.Dispose();
        Assert.Equal(2, view.sum().item<float>());
    }

    [Fact]
    public void The_memory_is_given_back_when_reader_and_tensors_are_gone()
    {
        if (!OperatingSystem.IsLinux()) Assert.Skip("the list of mappings is read from /proc");
        var path = folder["mapped-here.safetensors"];
        SafetensorsWriter.Write(path, new Dictionary<string, Tensor> { ["w"] = ones(5) });
        var reader = SafetensorsReader.Open(path);
        var tensor = reader.Map("w");
        Assert.True(IsMapped());
        reader.Dispose();
        Assert.True(IsMapped());
        tensor.Dispose();
        Assert.False(IsMapped());

        bool IsMapped() => File.ReadAllText("/proc/self/maps").Contains("mapped-here.safetensors", StringComparison.Ordinal);
    }

    [Fact]
    public void Reading_and_mapping_leave_nothing_behind()
    {
        var path = folder["weights.safetensors"];
        SafetensorsWriter.Write(path, new Dictionary<string, Tensor> { ["w"] = ones(5), ["b"] = ones(2, dtype: ScalarType.Bool), ["z"] = zeros(0) });
        LeakGuard.AssertNothingLeft(() =>
        {
            using var reader = SafetensorsReader.Open(path);
            foreach (var name in reader.Tensors.Keys)
            {
                reader.Read(name).Dispose();
                reader.Map(name).Dispose();
            }
            SafetensorsWriter.Write(folder["copy"], new Dictionary<string, Tensor>());
        });
    }

    [Theory]
    [InlineData("F8_E4M3")]
    [InlineData("F8_E5M2")]
    public void Eight_bit_floats_are_read_as_bytes_and_refused_as_tensors(string type)
    {
        var path = Make($$$"""{"w":{"dtype":"{{{type}}}","shape":[3],"data_offsets":[0,3]}}""", [1, 2, 3]);
        using var reader = SafetensorsReader.Open(path);
        Assert.Equal([1, 2, 3], reader.ReadBytes("w"));
        var expected = $"tensor \"w\" is {type}: 8-bit floats can be read as bytes, not computed with; in {path}; use the 16-bit version of the file";
        Assert.Equal(expected, Assert.Throws<CheckpointException>(() => reader.Read("w")).Message);
        Assert.Equal(expected, Assert.Throws<CheckpointException>(() => reader.Map("w")).Message);
    }

    [Fact]
    public void Any_byte_but_zero_is_true()
    {
        using var reader = SafetensorsReader.Open(Make("""{"w":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}}""", [0, 1, 255]));
        Assert.Equal([false, true, true], reader.Map("w").data<bool>().ToArray());
    }

    [Fact]
    public void A_tensor_that_is_not_there_is_refused_with_the_nearest_name()
    {
        var path = Make("""{"first.weight":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}""", []);
        using var reader = SafetensorsReader.Open(path);
        Assert.Equal($"no tensor is named \"frist.weight\" (did you mean \"first.weight\"?); in {path}; list the file's names with: lora inspect",
            Assert.Throws<CheckpointException>(() => reader.Read("frist.weight")).Message);
    }

    public static TheoryData<string, string> DamagedHeaders => new()
    {
        { "", "the header is not JSON: it does not start with {" },
        { " {}", "the header is not JSON: it does not start with {" },
        { """{"w":1}""", "tensor \"w\" is damaged: its entry is not an object" },
        { """{"w":{}}""", "tensor \"w\" is damaged: it has no dtype" },
        { """{"w":{"dtype":"U8","shape":2,"data_offsets":[0,2]}}""", "tensor \"w\" is damaged: it has no shape" },
        { """{"w":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}}""", "tensor \"w\" is damaged: its shape holds -2" },
        { """{"w":{"dtype":"U8","shape":[2.5],"data_offsets":[0,2]}}""", "tensor \"w\" is damaged: its shape holds 2.5" },
        { """{"w":{"dtype":"U8","shape":["2"],"data_offsets":[0,2]}}""", "tensor \"w\" is damaged: its shape holds \"2\"" },
        { """{"w":{"dtype":"U8","shape":[2]}}""", "tensor \"w\" is damaged: it has no data_offsets" },
        { """{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,1,2]}}""", "tensor \"w\" is damaged: its data_offsets are [0,1,2]" },
        { """{"w":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}}""", "tensor \"w\" is damaged: its data_offsets are [2,0]" },
        { """{"w":{"dtype":"U8","shape":[2],"data_offsets":[9223372036854775805,9223372036854775807]}}""", "tensor \"w\" is damaged: its data_offsets are [9223372036854775805,9223372036854775807]" },
        { """{"w":{"dtype":"U8","shape":[2],"shape":[2],"data_offsets":[0,2]}}""", "tensor \"w\" is damaged: it has two entries \"shape\"" },
        { """{"w":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,2]}}""", "tensor \"w\" is damaged: its shape [0,4611686018427387904,4] has more bytes than 64 bits can count" },
        { """{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}""", "two tensors are named \"w\"" },
        { """{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""", "1 bytes at the end belong to nobody" },
        { """{"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}""", "1 bytes before tensor \"w\" belong to nobody" },
        { """{"__metadata__":3,"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}""", "the header's __metadata__ is not an object" },
        { """{"__metadata__":{"a":3},"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}""", "the metadata \"a\" is not text" },
        { """{"__metadata__":{"a":"1","a":"2"},"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}""", "the metadata \"a\" is there twice" },
    };

    [Theory, MemberData(nameof(DamagedHeaders))]
    public void A_damaged_header_is_refused_in_words(string header, string why)
    {
        var path = Make(header, [1, 2]);
        Assert.Equal($"{why}; in {path}; download or copy the file again", Assert.Throws<CheckpointException>(() => SafetensorsReader.Open(path)).Message);
    }

    [Theory]
    [InlineData("1")]
    [InlineData("U8 ")]
    [InlineData("u8")]
    [InlineData("F33")]
    public void An_unknown_element_type_is_named_with_the_known_ones(string type)
    {
        var path = Make($$$"""{"w":{"dtype":"{{{type}}}","shape":[2],"data_offsets":[0,2]}}""", [1, 2]);
        Assert.Equal($"tensor \"w\" has the unknown dtype {type}; in {path}; known are F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32, I16, I8, U8, BOOL",
            Assert.Throws<CheckpointException>(() => SafetensorsReader.Open(path)).Message);
    }

    [Fact]
    public void Half_a_surrogate_pair_in_a_name_is_refused()
    {
        var path = Make("""{"\ud800":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}""", [1, 2]);
        Assert.StartsWith("the header is not JSON: ", Assert.Throws<CheckpointException>(() => SafetensorsReader.Open(path)).Message);
    }

    [Fact]
    public void Tensors_and_offsets_beyond_the_limits_of_32_bits_are_read()
    {
        if (OperatingSystem.IsWindows()) Assert.Skip("the file would take 5 GB of disk where holes are not free");
        const long Large = 5_000_000_000;
        var path = Make($$$"""{"large":{"dtype":"U8","shape":[5,1000000000],"data_offsets":[0,{{{Large}}}]},"after":{"dtype":"U8","shape":[2],"data_offsets":[{{{Large}}},{{{Large + 2}}}]}}""", []);
        using (var stream = File.OpenWrite(path))
        {
            stream.Seek(Large - 1, SeekOrigin.End);
            stream.Write([7, 8, 9]);
        }
        using var reader = SafetensorsReader.Open(path);
        var large = reader.Map("large");
        Assert.Equal([5, 1_000_000_000], large.shape);
        Assert.Equal(7, large[4, 999_999_999].item<byte>());
        Assert.Equal([8, 9], reader.Read("after").data<byte>().ToArray());
        Assert.Equal($"tensor \"large\" has 5000000000 bytes, one array holds {Array.MaxLength}; in {path}; read it as a tensor",
            Assert.Throws<CheckpointException>(() => reader.ReadBytes("large")).Message);
    }

    [Fact]
    public void A_missing_file_and_a_folder_are_refused_in_words()
    {
        Assert.Equal($"no such file; {folder["none"]}; check the path", Assert.Throws<CheckpointException>(() => SafetensorsReader.Open(folder["none"])).Message);
        Assert.Equal($"this is a folder, a file is needed; in {folder.Path}; name the file inside it", Assert.Throws<CheckpointException>(() => SafetensorsReader.Open(folder.Path)).Message);
    }

    [Fact]
    public void A_write_that_fails_leaves_the_old_file_and_no_other()
    {
        var path = folder["kept.safetensors"];
        SafetensorsWriter.Write(path, new Dictionary<string, Tensor> { ["w"] = ones(5) });
        var before = File.ReadAllBytes(path);
        var gone = ones(5);
        gone.Dispose();
        Assert.ThrowsAny<Exception>(() => SafetensorsWriter.Write(path, new Dictionary<string, Tensor> { ["a"] = ones(3), ["w"] = gone }));
        Assert.ThrowsAny<Exception>(() => SafetensorsWriter.Write(path, new Dictionary<string, Tensor> { ["w"] = ones(5, device: META) }));
        Assert.Equal(before, File.ReadAllBytes(path));
        Assert.Equal([path], Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void Writing_where_there_is_no_folder_says_so()
    {
        var path = System.IO.Path.Combine(folder.Path, "none", "w.safetensors");
        var message = Assert.Throws<CheckpointException>(() => SafetensorsWriter.Write(path, new Dictionary<string, Tensor> { ["w"] = ones(5) })).Message;
        Assert.StartsWith("the file cannot be written: ", message);
        Assert.EndsWith($"; {path}; check the folder, its permissions and the free space", message);
    }

    [Fact]
    public void A_name_twice_or_reserved_is_not_written()
    {
        using var one = ones(1);
        Assert.Throws<ArgumentException>(() => SafetensorsWriter.Write(folder["x"], [new("w", one), new("w", one)]));
        Assert.Throws<ArgumentException>(() => SafetensorsWriter.Write(folder["x"], [new("__metadata__", one)]));
        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void The_header_is_the_library_s_compact_json()
    {
        SafetensorsWriter.Write(folder["x"], new Dictionary<string, Tensor> { ["w"] = ones(2, 1) }, new Dictionary<string, string> { ["format"] = "pt" });
        var bytes = File.ReadAllBytes(folder["x"]);
        Assert.Equal("""{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}} """, Encoding.UTF8.GetString(bytes.AsSpan(8, bytes.Length - 16)));
        Assert.Equal(bytes.Length - 16, BitConverter.ToInt64(bytes));
        using var json = JsonDocument.Parse(bytes.AsMemory(8, bytes.Length - 16));
    }

    private string Make(string header, byte[] data)
    {
        var path = folder["made.safetensors"];
        var json = Encoding.UTF8.GetBytes(header);
        File.WriteAllBytes(path, [.. BitConverter.GetBytes((long)json.Length), .. json, .. data]);
        return path;
    }

    private static byte[] Bytes(Tensor tensor)
    {
        using var flat = tensor.contiguous();
        return flat.numel() == 0 ? [] : flat.bytes.ToArray();
    }
}
