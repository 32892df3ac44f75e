using System.Buffers.Binary;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>Element types that tensor files use, by their names in the safetensors format.</summary>
public enum StoredType
{
    /// <summary>64-bit float.</summary>
    F64,
    /// <summary>32-bit float.</summary>
    F32,
    /// <summary>16-bit float, 5 exponent bits.</summary>
    F16,
    /// <summary>16-bit float, 8 exponent bits.</summary>
    BF16,
    /// <summary>8-bit float, 4 exponent bits; can be read as bytes, not computed with.</summary>
    F8_E4M3,
    /// <summary>8-bit float, 5 exponent bits; can be read as bytes, not computed with.</summary>
    F8_E5M2,
    /// <summary>64-bit integer.</summary>
    I64,
    /// <summary>32-bit integer.</summary>
    I32,
    /// <summary>16-bit integer.</summary>
    I16,
    /// <summary>8-bit integer.</summary>
    I8,
    /// <summary>8-bit unsigned integer.</summary>
    U8,
    /// <summary>Truth value, one byte.</summary>
    BOOL,
}

internal static class StoredTypes
{
    public static int Size(this StoredType type) => type switch
    {
        StoredType.F64 or StoredType.I64 => 8,
        StoredType.F32 or StoredType.I32 => 4,
        StoredType.F16 or StoredType.BF16 or StoredType.I16 => 2,
        _ => 1,
    };

    /// <summary>By the name in the format, exactly; numbers are no names.</summary>
    public static bool TryParse(string name, out StoredType type) => Enum.TryParse(name, out type) && type.ToString() == name;

    /// <summary>The engine's type; F8 has none and is read as bytes.</summary>
    public static ScalarType ToScalarType(this StoredType type) => type switch
    {
        StoredType.F64 => ScalarType.Float64,
        StoredType.F32 => ScalarType.Float32,
        StoredType.F16 => ScalarType.Float16,
        StoredType.BF16 => ScalarType.BFloat16,
        StoredType.I64 => ScalarType.Int64,
        StoredType.I32 => ScalarType.Int32,
        StoredType.I16 => ScalarType.Int16,
        StoredType.I8 => ScalarType.Int8,
        StoredType.BOOL => ScalarType.Bool,
        _ => ScalarType.Byte,
    };

    /// <summary>One element as the file has it, little-endian; null for types that are read by the engine only.</summary>
    public static double? Number(this StoredType type, ReadOnlySpan<byte> bytes) => type switch
    {
        StoredType.F64 => BinaryPrimitives.ReadDoubleLittleEndian(bytes),
        StoredType.F32 => BinaryPrimitives.ReadSingleLittleEndian(bytes),
        StoredType.F16 => (double)BinaryPrimitives.ReadHalfLittleEndian(bytes),
        StoredType.BF16 => BitConverter.UInt32BitsToSingle((uint)BinaryPrimitives.ReadUInt16LittleEndian(bytes) << 16),
        StoredType.I64 => BinaryPrimitives.ReadInt64LittleEndian(bytes),
        StoredType.I32 => BinaryPrimitives.ReadInt32LittleEndian(bytes),
        _ => null,
    };

    public static StoredType ToStoredType(this ScalarType type) => type switch
    {
        ScalarType.Float64 => StoredType.F64,
        ScalarType.Float32 => StoredType.F32,
        ScalarType.Float16 => StoredType.F16,
        ScalarType.BFloat16 => StoredType.BF16,
        ScalarType.Int64 => StoredType.I64,
        ScalarType.Int32 => StoredType.I32,
        ScalarType.Int16 => StoredType.I16,
        ScalarType.Int8 => StoredType.I8,
        ScalarType.Byte => StoredType.U8,
        ScalarType.Bool => StoredType.BOOL,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "this element type has no place in a tensor file"),
    };
}
