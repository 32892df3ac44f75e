using CsCheck;
using LowRank.Foundation;
using static LowRank.Tests.Foundation.TorchZip;
using static TorchSharp.torch;

namespace LowRank.Tests.Foundation;

/// <summary>Whatever happens to a file, reading it gives tensors or a <see cref="CheckpointException"/>: never another error, a hang or a crash.</summary>
public sealed class DamagedFileTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    /// <summary>One change to a file's bytes, at a place that stretches with its length.</summary>
    private enum Change { Replace, Flip, Cut, Insert, Remove, Copy }

    private static readonly Gen<(Change Kind, double Place, byte Value, int Length)[]> Changes =
        Gen.Select(Gen.Enum<Change>(), Gen.Double[0, 1], Gen.Byte, Gen.Int[1, 40]).Array[1, 4];

    [Fact]
    public void A_safetensors_file()
    {
        using var scope = NewDisposeScope();
        var path = folder["good.safetensors"];
        SafetensorsWriter.Write(path, new Dictionary<string, Tensor>
        {
            ["a.weight"] = ones(3, 4),
            ["b"] = ones(5, dtype: ScalarType.Bool),
            ["number"] = tensor(1.0),
            ["none"] = zeros(0, 3),
            ["half"] = ones(2, 2, dtype: ScalarType.BFloat16),
        }, new Dictionary<string, string> { ["format"] = "pt" });
        CheckAll(File.ReadAllBytes(path));
    }

    [Fact]
    public void A_torch_file()
    {
        var path = folder["good.pt"];
        var storage = Storage("FloatStorage", "0", 6);
        Write(path, Dict(
            (Word("epoch"), Number(3)),
            (Word("state_dict"), OrderedDict(
                (Word("whole"), View(storage, 0, [2, 3], [3, 1])),
                (Word("turned"), View(storage, 0, [3, 2], [1, 3])),
                (Word("flags"), View(Storage("BoolStorage", "1", 4), 1, [3], [1])),
                (Word("list"), List(View(storage, 2, [2], [1]), Call(Global("torch._utils", "_rebuild_parameter"), View(storage, 0, [6], [1]), [0x88], None)))))),
            ("0", Floats(0, 1, 2, 3, 4, 5)), ("1", [0, 1, 0, 1]));
        CheckAll(File.ReadAllBytes(path));
    }

    [Fact]
    public void A_pickle_of_random_operations()
    {
        byte[] operations = [.. "NKMJGXUVTSBC(t)]lae}dsu0129qrphjgcRQbIFLi."u8, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8f, 0x90, 0x91, 0x93, 0x94, 0x81];
        byte[][] phrases = [Word("storage"), Global("torch", "FloatStorage"), Global("torch._utils", "_rebuild_tensor_v2"), Global("collections", "OrderedDict"), Number(1), Storage("FloatStorage", "0", 6), View(Storage("FloatStorage", "0", 6), 0, [2], [1])];
        var piece = Gen.OneOf(Gen.Byte.Select(value => new[] { value }), Gen.Int[0, operations.Length - 1].Select(i => operations[i]).Select(value => new[] { value }), Gen.Int[0, phrases.Length - 1].Select(i => phrases[i]));
        piece.Array[0, 60].Sample(pieces =>
        {
            var path = folder[$"{Guid.NewGuid():N}.pt"];
            Write(path, [.. pieces.SelectMany(item => item)], ("0", Floats(0, 1, 2, 3, 4, 5)));
            Check(path);
        }, iter: 3000);
    }

    private void CheckAll(byte[] good)
    {
        // every length, and every byte turned round
        for (var length = 0; length < good.Length; length++) Check(good[..length]);
        for (var at = 0; at < good.Length; at++)
        {
            byte[] bytes = [.. good];
            bytes[at] ^= 0xff;
            Check(bytes);
        }
        Changes.Sample(changes => Check(changes.Aggregate(good, Apply)), iter: 5000);
    }

    private static byte[] Apply(byte[] bytes, (Change Kind, double Place, byte Value, int Length) change)
    {
        if (bytes.Length == 0) return bytes;
        var at = (int)(change.Place * (bytes.Length - 1));
        var end = Math.Min(bytes.Length, at + change.Length);
        byte[] copy = [.. bytes];
        switch (change.Kind)
        {
            case Change.Replace: copy[at] = change.Value; return copy;
            case Change.Flip: copy[at] ^= (byte)(1 << (change.Value % 8)); return copy;
            case Change.Cut: return bytes[..at];
            case Change.Insert: return [.. bytes[..at], .. Enumerable.Repeat(change.Value, change.Length), .. bytes[at..]];
            case Change.Remove: return [.. bytes[..at], .. bytes[end..]];
            default: return [.. bytes[..end], .. bytes[at..]];
        }
    }

    private void Check(byte[] bytes)
    {
        var path = folder[$"{Guid.NewGuid():N}"];
        File.WriteAllBytes(path, bytes);
        Check(path);
    }

    private static void Check(string path)
    {
        using var scope = NewDisposeScope();
        try
        {
            using var checkpoint = Checkpoint.Open(path);
            foreach (var name in checkpoint.Names)
            {
                Assert.Equal(checkpoint.Info(name).Shape, checkpoint.Read(name).shape);
                Assert.Equal(checkpoint.Info(name).Shape, checkpoint.Map(name).shape);
            }
        }
        catch (CheckpointException error)
        {
            Assert.Contains(path, error.Message);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
