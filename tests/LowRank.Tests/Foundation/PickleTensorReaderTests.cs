using System.IO.Compression;
using LowRank.Foundation;
using LowRank.Testing;
using TorchSharp;
using static LowRank.Tests.Foundation.TorchZip;
using static TorchSharp.torch;

namespace LowRank.Tests.Foundation;

public sealed class PickleTensorReaderTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = NewDisposeScope();

    private string Path => folder["file.pt"];

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    private static (string, byte[]) Six => ("0", Floats(0, 1, 2, 3, 4, 5));

    private static byte[] Whole => View(Storage("FloatStorage", "0", 6), 0, [2, 3], [3, 1]);

    [Fact]
    public void Views_into_one_storage_are_read_by_offset_and_strides()
    {
        var storage = Storage("FloatStorage", "0", 6, "cuda:0");
        Write(Path, OrderedDict(
            (Word("whole"), Whole),
            (Word("turned"), View(storage, 0, [3, 2], [1, 3])),
            (Word("part"), View(storage, 2, [2], [1])),
            (Word("column"), View(storage, 1, [2, 1], [3, 1])),
            (Word("number"), View(storage, 5, [], [])),
            (Word("nothing"), View(storage, 6, [0, 2], [2, 1])),
            (Word("parameter"), Call(Global("torch._utils", "_rebuild_parameter"), Whole, [0x88], Call(Global("collections", "OrderedDict"))))), Six);
        var expected = new Dictionary<string, Tensor>
        {
            ["whole"] = tensor(new float[,] { { 0, 1, 2 }, { 3, 4, 5 } }),
            ["turned"] = tensor(new float[,] { { 0, 3 }, { 1, 4 }, { 2, 5 } }),
            ["part"] = tensor(new float[] { 2, 3 }),
            ["column"] = tensor(new float[,] { { 1 }, { 4 } }),
            ["number"] = tensor(5f),
            ["nothing"] = zeros(0, 2),
            ["parameter"] = tensor(new float[,] { { 0, 1, 2 }, { 3, 4, 5 } }),
        };
        using var reader = PickleTensorReader.Open(Path);
        Assert.Equal(expected.Keys, reader.Tensors.Keys);
        foreach (var (name, value) in expected)
        {
            TensorAssert.Equal(value, reader.Read(name), name);
            TensorAssert.Equal(value, reader.Map(name), name);
            Assert.True(reader.Read(name).is_contiguous());
        }
    }

    [Theory]
    [InlineData("DoubleStorage", ScalarType.Float64)]
    [InlineData("FloatStorage", ScalarType.Float32)]
    [InlineData("HalfStorage", ScalarType.Float16)]
    [InlineData("BFloat16Storage", ScalarType.BFloat16)]
    [InlineData("LongStorage", ScalarType.Int64)]
    [InlineData("IntStorage", ScalarType.Int32)]
    [InlineData("ShortStorage", ScalarType.Int16)]
    [InlineData("CharStorage", ScalarType.Int8)]
    [InlineData("ByteStorage", ScalarType.Byte)]
    [InlineData("BoolStorage", ScalarType.Bool)]
    public void Every_element_type_is_read(string storage, ScalarType type)
    {
        var values = tensor(new float[] { 0, 1, 2, 0, 3, 1 }).to(type);
        Write(Path, Dict((Word("w"), View(Storage(storage, "0", 6), 0, [3, 2], [2, 1])), (Word("t"), View(Storage(storage, "0", 6), 0, [2, 3], [1, 2]))), ("0", values.bytes.ToArray()));
        using var reader = PickleTensorReader.Open(Path);
        TensorAssert.Equal(values.reshape(3, 2), reader.Read("w"));
        TensorAssert.Equal(values.reshape(3, 2).t(), reader.Map("t"));
        Assert.Equal(type, reader.Read("t").dtype);
    }

    [Fact]
    public void Untyped_storages_take_the_type_of_the_tensor()
    {
        var storage = Storage("storage.UntypedStorage", "0", 24);
        byte[] Rebuilt(string type) => Call(Global("torch._utils", "_rebuild_tensor_v3"), storage, Number(1), Tuple(Number(2)), Tuple(Number(1)), [0x89], None, Global("torch", type));
        Write(Path, Dict((Word("w"), Rebuilt("float32")), (Word("f8"), Rebuilt("float8_e4m3fn"))), Six);
        using var reader = PickleTensorReader.Open(Path);
        TensorAssert.Equal(tensor(new float[] { 1, 2 }), reader.Read("w"));
        Assert.Equal(StoredType.F8_E4M3, reader.Tensors["f8"].Type);
        Assert.Equal($"tensor \"f8\" is F8_E4M3: 8-bit floats can be read as bytes, not computed with; in {Path}; use the 16-bit version of the file",
            Assert.Throws<CheckpointException>(() => reader.Read("f8")).Message);
    }

    [Fact]
    public void Lists_and_nested_dictionaries_are_named_by_their_path()
    {
        Write(Path, List(Whole, Dict((Word("deep"), Tuple(Whole, Dict((Number(7), Whole)))), (Word("step"), Number(12)), (Word("name"), Word("ü")), (Word("none"), None)), Whole), Six);
        using var reader = PickleTensorReader.Open(Path);
        Assert.Equal(["0", "1.deep.0", "1.deep.1.7", "2"], reader.Tensors.Keys);
        Assert.Equal(new Dictionary<string, object> { ["1.step"] = 12L, ["1.name"] = "ü" }, reader.Values);
    }

    [Fact]
    public void A_state_dict_inside_a_training_s_checkpoint_is_what_counts()
    {
        Write(Path, Dict(
            (Word("epoch"), Number(5)),
            (Word("state_dict"), OrderedDict((Word("w"), Whole))),
            (Word("callbacks"), Dict((Global("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"), Dict((Word("best"), Whole))))),
            (Word("optimizer_states"), List(Dict((Word("state"), Dict((Number(0), Whole))))))), Six);
        using var reader = PickleTensorReader.Open(Path);
        Assert.Equal(["w"], reader.Tensors.Keys);
        Assert.Equal(5L, reader.Values["epoch"]);
    }

    [Fact]
    public void A_dictionary_of_parameters_is_a_dictionary()
    {
        byte[] parameters = [.. Global("torch.nn.modules.container", "ParameterDict"), (byte)')', 0x81,
            .. Dict((Word("training"), [0x88]), (Word("_parameters"), Dict((Word("*"), Whole))), (Word("_hooks"), Call(Global("__builtin__", "set"), List()))), (byte)'b'];
        Write(Path, Dict((Word("string_to_param"), parameters)), Six);
        using var reader = PickleTensorReader.Open(Path);
        Assert.Equal(["string_to_param.*"], reader.Tensors.Keys);
    }

    [Fact]
    public void Reading_leaves_nothing_behind()
    {
        Write(Path, List(Whole, View(Storage("FloatStorage", "0", 6), 0, [3, 2], [1, 3]), View(Storage("BoolStorage", "0", 6), 0, [6], [1])), Six);
        LeakGuard.AssertNothingLeft(() =>
        {
            using var reader = PickleTensorReader.Open(Path);
            foreach (var name in reader.Tensors.Keys)
            {
                reader.Read(name).Dispose();
                reader.Map(name).Dispose();
            }
        });
    }

    [Fact]
    public void Checkpoint_tells_kinds_apart_by_content()
    {
        Write(folder["weights.safetensors"], Dict((Word("w"), Whole)), Six);
        using (var checkpoint = Checkpoint.Open(folder["weights.safetensors"])) TensorAssert.Equal(TensorArithmetic.Counting(6, ScalarType.Float32).reshape(2, 3), checkpoint.Read("w"));

        // a header of 0x280 bytes looks like the start of a pickle
        var w = ones(1);
        for (var length = 500; ; length++)
        {
            SafetensorsWriter.Write(folder["other.pt"], [new("w", w)], [new("note", new string('x', length))]);
            if (File.ReadAllBytes(folder["other.pt"]) is [0x80, 0x02, ..]) break;
        }
        using (var checkpoint = Checkpoint.Open(folder["other.pt"])) Assert.Equal(["w"], checkpoint.Names);
    }

    [Theory]
    [InlineData("os", "system")]
    [InlineData("posix", "system")]
    [InlineData("builtins", "eval")]
    [InlineData("__builtin__", "exec")]
    [InlineData("torch", "load")]
    [InlineData("torch.hub", "load")]
    public void A_name_that_tensors_do_not_need_is_refused_even_if_it_is_not_called(string module, string name)
    {
        var expected = $"the pickle wants {module}.{name}, which no tensor needs; nothing of it was run; in {Path}; the file may be hostile: get it as .safetensors, or from somebody you trust";
        byte[][] pickles =
        [
            Dict((Word("x"), Global(module, name))),
            Dict((Word("x"), Call(Global(module, name), Word("echo")))),
            [.. Word(module), .. Word(name), 0x93],
            Call(Global("torch._tensor", "_rebuild_from_type_v2"), Global(module, name), Global("torch", "Tensor"), Tuple()),
        ];
        foreach (var pickle in pickles)
        {
            Write(Path, pickle);
            Assert.Equal(expected, Assert.Throws<CheckpointException>(() => PickleTensorReader.Open(Path)).Message);
        }
    }

    [Fact]
    public void Classes_that_may_be_named_may_not_be_called()
    {
        Write(Path, Call(Global("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"), Word("x")));
        Assert.StartsWith("the pickle wants pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint, ", Assert.Throws<CheckpointException>(() => PickleTensorReader.Open(Path)).Message);
    }

    public static TheoryData<string, byte[]> DamagedPickles => new()
    {
        { "it is cut short", [(byte)'X', 255, 255, 255, 255] },
        { "it is cut short", [(byte)'X', 200, 0, 0, 0, (byte)'a'] },
        { "its stack is empty where a value is needed", [] },
        { "its stack is empty where a value is needed", [(byte)'R'] },
        { "its stack is empty where a value is needed", [(byte)'q', 1] },
        { "a mark is missing", [(byte)'t'] },
        { "nothing was memorised under 9", [(byte)'h', 9] },
        { "operation 0x7f at byte 2, which tensor files do not have", [0x7f] },
        { "operation 0x69 at byte 2, which tensor files do not have", [.. "i"u8, .. "os\nsystem\n"u8] },
        { "operation 0x82 at byte 2, which tensor files do not have", [0x82, 1] },
        { "a version above 5", [0x80, 6] },
        { "items for something that is no list", [.. "N"u8, .. "N"u8, (byte)'a'] },
        { "items for something that is no dictionary", [.. "]"u8, .. "N"u8, .. "N"u8, (byte)'s'] },
        { "a key without a value", [.. "}("u8, .. "N"u8, (byte)'u'] },
        { "a call of something that is no global", [.. "N"u8, (byte)')', (byte)'R'] },
        { "a storage that is none", [.. "N"u8, (byte)'Q'] },
        { "a storage that is none", Storage("FloatStorage", "0", -1) },
        { "a storage of the class torch.Size", Storage("Size", "0", 1) },
        { "a tensor without storage, offset, size or strides", Call(Global("torch._utils", "_rebuild_tensor_v2"), None, Number(0)) },
        { "a size or stride that is no number from 0 up", View(Storage("FloatStorage", "0", 6), 0, [2], [-1]) },
        { "a tensor whose size and strides differ in length, or with an offset below 0", View(Storage("FloatStorage", "0", 6), -1, [2], [1]) },
        { "a tensor whose size and strides differ in length, or with an offset below 0", View(Storage("FloatStorage", "0", 6), 0, [2, 2], [1]) },
        { "a tensor of shape [2,3], strides [3,1], offset 1 does not fit its storage of 6 elements", View(Storage("FloatStorage", "0", 6), 1, [2, 3], [3, 1]) },
        { "a tensor of shape [4611686018427387904,4611686018427387904], strides [4611686018427387904,1], offset 0 does not fit its storage of 6 elements", View(Storage("FloatStorage", "0", 6), 0, [1L << 62, 1L << 62], [1L << 62, 1]) },
        { "a tensor of shape [1000000000000], strides [0], offset 0 does not fit its storage of 6 elements", View(Storage("FloatStorage", "0", 6), 0, [1_000_000_000_000], [0]) },
        { "a tensor without a type", View(Storage("storage.UntypedStorage", "0", 24), 0, [2], [1]) },
        { "a parameter without its tensor", Call(Global("torch._utils", "_rebuild_parameter"), None) },
        { "a dictionary from something that is no list of pairs", Call(Global("collections", "OrderedDict"), List(None)) },
    };

    [Theory, MemberData(nameof(DamagedPickles))]
    public void A_damaged_pickle_is_refused_in_words(string why, byte[] pickle)
    {
        Write(Path, pickle, Six);
        Assert.Equal($"the pickle is damaged: {why}; in {Path}; download or copy the file again", Assert.Throws<CheckpointException>(() => PickleTensorReader.Open(Path)).Message);
    }

    [Fact]
    public void Records_are_checked_against_what_tensors_need()
    {
        Write(Path, Dict((Word("w"), Whole)));
        Refused("the record archive/data/0, which holds \"w\", is missing");
        Write(Path, Dict((Word("w"), Whole)), ("0", Floats(1, 2, 3)));
        Refused("the record archive/data/0, which holds \"w\", has 12 bytes, 24 are needed");
        Write(Path, Dict((Word("a.b"), Whole), (Word("a"), Dict((Word("b"), Whole)))), Six);
        Refused("two tensors are named \"a.b\"");
        WriteZip(Path, CompressionLevel.NoCompression, ("archive/readme", [1]));
        Refused("a zip archive without data.pkl: no torch file, or a damaged one");
        WriteZip(Path, CompressionLevel.Optimal, ("archive/data.pkl", new byte[1000]));
        Refused("the record archive/data.pkl is compressed, which torch never does", "save the file again with torch.save");
        WriteZip(Path, CompressionLevel.NoCompression, ("archive/data.pkl", [.. "N."u8]), ("archive/byteorder", [.. "big"u8]));
        Refused("the numbers are big-endian", "save it again on an ordinary machine");
        File.WriteAllBytes(Path, [.. "PK"u8, 3, 4, .. new byte[50]]);
        Refused("a damaged zip archive: the directory at its end is missing");

        void Refused(string why, string advice = "download or copy the file again") =>
            Assert.Equal($"{why}; in {Path}; {advice}", Assert.Throws<CheckpointException>(() => PickleTensorReader.Open(Path)).Message);
    }

    [Fact]
    public void Pickles_that_contain_themselves_or_explode_are_refused()
    {
        const string Expected = "the pickle is nested too deeply, or has too many entries; in {0}; the file may be hostile: get it as .safetensors";
        var expected = Expected.Replace("{0}", Path, StringComparison.Ordinal);
        Write(Path, [.. "]q\0h\0a"u8]);
        Assert.Equal(expected, Assert.Throws<CheckpointException>(() => PickleTensorReader.Open(Path)).Message);

        var bomb = new List<byte>("]q\0"u8.ToArray());       // each list holds the one before ten times
        for (byte i = 0; i < 20; i++) bomb.AddRange([.. "]("u8, .. Enumerable.Repeat<byte[]>([(byte)'h', i], 10).SelectMany(x => x), (byte)'e', (byte)'q', (byte)(i + 1)]);
        Write(Path, [.. bomb]);
        Assert.Equal(expected, Assert.Throws<CheckpointException>(() => PickleTensorReader.Open(Path)).Message);

        var name = Word(new string('k', 3000));
        Write(Path, Dict((name, Dict((name, Whole)))), Six);
        Assert.Equal(expected, Assert.Throws<CheckpointException>(() => PickleTensorReader.Open(Path)).Message);
    }
}
