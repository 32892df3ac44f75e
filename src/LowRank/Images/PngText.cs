using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace LowRank.Images;

/// <summary>
/// Texts inside PNG files, where generation tools keep their settings (the key <c>parameters</c>). Written here rather than by libvips, which
/// compresses them and puts UTF-8 into chunks that are defined as Latin-1. Layout: PNG specification (third edition), 11.3.3.
/// </summary>
internal static class PngText
{
    private const int SignatureLength = 8;

    /// <summary>Puts texts behind the header of a PNG: <c>tEXt</c> where Latin-1 can hold it, else <c>iTXt</c>.</summary>
    public static byte[] Insert(ReadOnlySpan<byte> png, IReadOnlyDictionary<string, string> texts)
    {
        var headerEnd = SignatureLength + 12 + (int)BinaryPrimitives.ReadUInt32BigEndian(png[SignatureLength..]);
        using var result = new MemoryStream();
        result.Write(png[..headerEnd]);
        foreach (var (key, text) in texts) WriteChunk(result, key, text);
        result.Write(png[headerEnd..]);
        return result.ToArray();
    }

    /// <summary>All texts of a PNG by key.</summary>
    /// <exception cref="ImageDefectException">The content is no whole PNG.</exception>
    public static IReadOnlyDictionary<string, string> Read(ReadOnlySpan<byte> png)
    {
        if (!png.StartsWith((ReadOnlySpan<byte>)[0x89, (byte)'P', (byte)'N', (byte)'G'])) throw new ImageDefectException(ImageDefect.UnknownFormat, "not a PNG");
        var texts = new Dictionary<string, string>(StringComparer.Ordinal);
        for (var at = (long)SignatureLength; at < png.Length;)
        {
            var length = at + 12 <= png.Length ? BinaryPrimitives.ReadUInt32BigEndian(png[(int)at..]) : uint.MaxValue;
            if (at + 12 + length > png.Length) throw new ImageDefectException(ImageDefect.Truncated, "the file ends before the picture does");
            var data = png.Slice((int)at + 8, (int)length);
            var key = Encoding.Latin1.GetString(data[..Math.Max(data.IndexOf((byte)0), 0)]);
            switch (Encoding.ASCII.GetString(png.Slice((int)at + 4, 4)))
            {
                case "tEXt": texts[key] = Encoding.Latin1.GetString(data[(key.Length + 1)..]); break;
                case "zTXt": texts[key] = Encoding.Latin1.GetString(Inflate(data[(key.Length + 2)..])); break;
                case "iTXt": texts[key] = International(data[(key.Length + 1)..]); break;
                case "IEND": return texts;
            }
            at += 12 + length;
        }
        throw new ImageDefectException(ImageDefect.Truncated, "the file ends before the picture does");
    }

    private static void WriteChunk(MemoryStream target, string key, string text)
    {
        if (key.Length is 0 or > 79 || key.Any(letter => letter is < ' ' or > '~')) throw new ArgumentException($"{key} cannot be a PNG text key (1 to 79 ASCII letters)", nameof(key));
        var latin = text.All(letter => letter is '\n' or (>= ' ' and <= '~') or (>= '\u00A1' and <= '\u00FF'));
        byte[] body = latin
            ? [.. "tEXt"u8, .. Encoding.Latin1.GetBytes(key), 0, .. Encoding.Latin1.GetBytes(text)]
            : [.. "iTXt"u8, .. Encoding.Latin1.GetBytes(key), 0, 0, 0, 0, 0, .. Encoding.UTF8.GetBytes(text)];   // not compressed, no language, no translated key
        Span<byte> number = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(number, body.Length - 4);
        target.Write(number);
        target.Write(body);
        BinaryPrimitives.WriteUInt32BigEndian(number, Checksum(body));
        target.Write(number);
    }

    /// <summary>After the key of <c>iTXt</c>: compressed?, method, language, 0, translated key, 0, text.</summary>
    private static string International(ReadOnlySpan<byte> data)
    {
        var compressed = data[0] == 1;
        data = data[2..];
        data = data[(data.IndexOf((byte)0) + 1)..];
        data = data[(data.IndexOf((byte)0) + 1)..];
        return Encoding.UTF8.GetString(compressed ? Inflate(data) : data);
    }

    private static byte[] Inflate(ReadOnlySpan<byte> data)
    {
        using var packed = new ZLibStream(new MemoryStream(data.ToArray()), CompressionMode.Decompress);
        using var plain = new MemoryStream();
        packed.CopyTo(plain);
        return plain.ToArray();
    }

    /// <summary>CRC-32 of ISO 3309, as PNG uses it.</summary>
    private static uint Checksum(ReadOnlySpan<byte> data)
    {
        var crc = uint.MaxValue;
        foreach (var value in data)
        {
            crc ^= value;
            for (var bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xEDB88320 : crc >> 1;
        }
        return ~crc;
    }
}
