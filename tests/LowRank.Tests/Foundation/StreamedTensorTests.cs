using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Foundation;

/// <summary>Files whose tensors are made one after the other, or several at a time, while they are written.</summary>
public sealed class StreamedTensorTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static List<KeyValuePair<string, Tensor>> Tensors() =>
        [.. Enumerable.Range(0, 20).Select(i => KeyValuePair.Create($"t{i}", Formula.Noise($"t{i}", [i + 1, 300_001 / (i + 1)], 1).to(i % 3 == 0 ? ScalarType.Float16 : i % 3 == 1 ? ScalarType.BFloat16 : ScalarType.Float32)))];

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public void Made_or_copied_by_any_number_of_workers_the_file_is_the_same(int workers)
    {
        using var scope = NewDisposeScope();
        var tensors = Tensors();
        var metadata = new Dictionary<string, string> { ["a"] = "b" };
        SafetensorsWriter.Write(folder["whole.safetensors"], tensors, metadata);
        using var whole = SafetensorsReader.Open(folder["whole.safetensors"]);
        SafetensorsWriter.Write(folder["streamed.safetensors"], [.. tensors.Select((item, i) => i % 2 == 0 ? StreamedTensor.Copy(item.Key, whole, whole.Tensors[item.Key]) : StreamedTensor.Made(item.Key, item.Value.dtype.ToStoredType(), item.Value.shape, () => item.Value.clone()))], metadata, workers, TestContext.Current.CancellationToken);
        Assert.Equal(File.ReadAllBytes(folder["whole.safetensors"]), File.ReadAllBytes(folder["streamed.safetensors"]));
    }

    /// <summary>An 8-bit float cannot be computed with, but copied.</summary>
    [Fact]
    public void Types_that_the_engine_lacks_are_copied_as_bytes()
    {
        byte[] header = [.. "{\"x\":{\"dtype\":\"F8_E4M3\",\"shape\":[3],\"data_offsets\":[0,3]}}  "u8];
        File.WriteAllBytes(folder["eight.safetensors"], [.. BitConverter.GetBytes((long)header.Length), .. header, 1, 2, 255]);
        using var eight = SafetensorsReader.Open(folder["eight.safetensors"]);
        SafetensorsWriter.Write(folder["copy.safetensors"], [StreamedTensor.Copy("y", eight, eight.Tensors["x"])], null, 1, TestContext.Current.CancellationToken);
        using var copy = SafetensorsReader.Open(folder["copy.safetensors"]);
        Assert.Equal(StoredType.F8_E4M3, copy.Tensors["y"].Type);
        Assert.Equal([1, 2, 255], copy.ReadBytes("y"));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Where_making_a_tensor_fails_the_old_file_stays_and_the_first_error_is_the_one_that_is_thrown(int workers)
    {
        File.WriteAllText(folder["file"], "old");
        StreamedTensor[] tensors = [StreamedTensor.Made("good", StoredType.F32, [2], () => ones(2)), StreamedTensor.Made("worse", StoredType.F32, [2], () => throw new CheckpointException("no such thing"))];
        Assert.Equal("no such thing", Assert.Throws<CheckpointException>(() => SafetensorsWriter.Write(folder["file"], tensors, null, workers, TestContext.Current.CancellationToken)).Message);
        Assert.Equal("old", File.ReadAllText(folder["file"]));
        Assert.Throws<OperationCanceledException>(() => SafetensorsWriter.Write(folder["file"], tensors, null, workers, new CancellationToken(canceled: true)));
        Assert.Equal([folder["file"]], Directory.GetFiles(Path.GetDirectoryName(folder["file"])!));
    }

    [Fact]
    public void A_tensor_of_another_shape_or_type_than_was_said_is_refused()
    {
        Assert.Equal(
            "\"x\" was made as Float32 [3], not as F32 [2]",
            Assert.Throws<InvalidOperationException>(() => SafetensorsWriter.Write(folder["file"], [StreamedTensor.Made("x", StoredType.F32, [2], () => ones(3))], null, 1, TestContext.Current.CancellationToken)).Message);
        Assert.False(File.Exists(folder["file"]));
    }

    [Fact]
    public void Nothing_is_left_in_memory()
    {
        LeakGuard.AssertNothingLeft(() => SafetensorsWriter.Write(folder["file"], [StreamedTensor.Made("x", StoredType.F32, [2], () => ones(2).Times(2))], null, 1, CancellationToken.None));
    }
}
