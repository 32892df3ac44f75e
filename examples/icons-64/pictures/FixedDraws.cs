using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace LowRank.Examples.Icons;

/// <summary>Numbers that follow from a name alone, by SHA-256: the same for everybody, whatever else is made and in whatever order.</summary>
internal static class FixedDraws
{
    /// <summary>0 to below <paramref name="count"/>.</summary>
    public static int Below(string name, int count) => (int)(Number(name) % (ulong)count);

    /// <summary>Evenly spread over a range.</summary>
    public static double Between(string name, double low, double high) => low + (high - low) * (Number(name) >> 11) / (1UL << 53);

    private static ulong Number(string name) => BinaryPrimitives.ReadUInt64BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes(name)));
}
