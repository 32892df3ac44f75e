using System.Buffers.Binary;
using System.Text;
using System.Text.Json;

namespace LowRank.Tests.Families;

/// <summary>A safetensors file of full size whose numbers are all 0 and take no room on the disk: names and shapes of a published checkpoint.</summary>
internal static class SparseCheckpoint
{
    public static void Write(string path, IEnumerable<(string Name, IReadOnlyList<long> Shape)> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        var (header, at) = (new Dictionary<string, object>(), 0L);
        if (metadata is not null) header["__metadata__"] = metadata;
        foreach (var (name, shape) in tensors)
        {
            var end = at + 2 * shape.Aggregate(1L, (product, size) => product * size);
            header[name] = new { dtype = "F16", shape, data_offsets = new[] { at, end } };
            at = end;
        }
        var json = Encoding.UTF8.GetBytes(JsonSerializer.Serialize(header));
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, json.Length);
        using var file = File.Create(path);
        file.Write(length);
        file.Write(json);
        file.SetLength(8 + json.Length + at);
    }
}
