using System.Buffers.Binary;
using System.Numerics;
using NetVips;

namespace LowRank.Images;

/// <summary>
/// Windows bitmaps, which the prebuilt libvips cannot read: 1, 4, 8 bit with palette (plain or run-length coded), 16, 24, 32 bit with or without masks,
/// rows from either end. Layout: Microsoft, "Bitmap Storage".
/// </summary>
internal static class BitmapReader
{
    private const int FileHeaderSize = 14;
    private const int CoreHeaderSize = 12;

    private enum Compression
    {
        None = 0,
        RunLength8 = 1,
        RunLength4 = 2,
        BitFields = 3,
        AlphaBitFields = 6,
    }

    /// <summary>What the headers say; positions are from the start of the file.</summary>
    private sealed record Header(PixelSize Size, bool TopDown, int Bits, Compression Compression, int DataStart, int PaletteStart, int PaletteEntry, int PaletteCount, uint[] Masks)
    {
        public int Stride => (int)(((long)Size.Width * Bits + 31) / 32 * 4);
    }

    public static bool Recognises(ReadOnlySpan<byte> content) =>
        content.Length >= FileHeaderSize + 4 && content.StartsWith("BM"u8) && BinaryPrimitives.ReadUInt32LittleEndian(content[14..]) is 12 or 16 or 40 or 52 or 56 or 64 or 108 or 124;

    public static PixelSize ReadSize(ReadOnlySpan<byte> content) => ReadHeader(content).Size;

    /// <summary>The picture in 8-bit sRGB, three bands, or four where the file has an alpha mask.</summary>
    /// <exception cref="ImageDefectException">The file is too short or inconsistent.</exception>
    public static Image Read(ReadOnlySpan<byte> content)
    {
        var header = ReadHeader(content);
        var bands = header.Masks.Length == 4 && header.Masks[3] != 0 ? 4 : 3;
        var pixels = new byte[header.Size.Pixels * bands];
        if (header.Bits <= 8) FillFromPalette(content, header, pixels);
        else FillFromMasks(content, header, bands, pixels);
        using var image = Image.NewFromMemory(pixels, header.Size.Width, header.Size.Height, bands, Enums.BandFormat.Uchar);
        return image.Copy(interpretation: Enums.Interpretation.Srgb);
    }

    private static Header ReadHeader(ReadOnlySpan<byte> content)
    {
        var length = I32(content, FileHeaderSize);
        Require(content.Length >= FileHeaderSize + length, ImageDefect.Truncated, "the file ends inside its header");
        var core = length == CoreHeaderSize;
        var width = core ? U16(content, 18) : I32(content, 18);
        var height = core ? U16(content, 20) : I32(content, 22);
        var bits = core ? U16(content, 24) : U16(content, 28);
        var compression = length >= 40 ? (Compression)I32(content, 30) : Compression.None;
        Require(width > 0 && height is not 0 and not int.MinValue, ImageDefect.Corrupt, $"the header says {width}×{height}");
        Require(bits is 1 or 4 or 8 or 16 or 24 or 32, ImageDefect.Corrupt, $"the header says {bits} bits a pixel");
        var fits = compression switch
        {
            Compression.None => true,
            Compression.RunLength8 => bits == 8,
            Compression.RunLength4 => bits == 4,
            Compression.BitFields or Compression.AlphaBitFields => bits is 16 or 32,
            _ => false,
        };
        Require(fits, ImageDefect.Corrupt, $"compression {(int)compression} at {bits} bits a pixel does not exist or is not for files");

        var extraMasks = length != 40 ? 0 : compression switch { Compression.BitFields => 12, Compression.AlphaBitFields => 16, _ => 0 };
        var paletteStart = FileHeaderSize + length + extraMasks;
        var declared = length >= 40 ? I32(content, 46) : 0;
        var paletteCount = bits > 8 ? 0 : declared is > 0 and <= 256 ? declared : 1 << bits;
        var masks = Masks(content, length, bits, compression);
        var dataStart = I32(content, 10);
        Require(dataStart >= FileHeaderSize, ImageDefect.Corrupt, $"the header says that pixels start at {dataStart}");
        var size = new PixelSize(width, Math.Abs(height));
        return new Header(size, height < 0, bits, compression, dataStart, paletteStart, core ? 3 : 4, paletteCount, masks);
    }

    /// <summary>Bit masks of red, green, blue and, if there is one, alpha.</summary>
    private static uint[] Masks(ReadOnlySpan<byte> content, int headerLength, int bits, Compression compression)
    {
        if (compression is Compression.BitFields or Compression.AlphaBitFields)
        {
            var count = headerLength >= 56 || compression == Compression.AlphaBitFields ? 4 : 3;
            Require(content.Length >= 54 + count * 4, ImageDefect.Truncated, "the file ends inside its header");
            var masks = new uint[count];
            for (var i = 0; i < count; i++) masks[i] = BinaryPrimitives.ReadUInt32LittleEndian(content[(54 + i * 4)..]);
            return masks;
        }
        return bits == 16 ? [0x7C00, 0x03E0, 0x001F] : [0x00FF0000, 0x0000FF00, 0x000000FF];
    }

    private static void FillFromMasks(ReadOnlySpan<byte> content, Header header, int bands, byte[] pixels)
    {
        var rowBytes = (long)header.Size.Width * header.Bits / 8;
        Require(header.DataStart + (long)header.Stride * (header.Size.Height - 1) + rowBytes <= content.Length, ImageDefect.Truncated, "the file ends before the picture does");
        var bytes = header.Bits / 8;
        for (var y = 0; y < header.Size.Height; y++)
        {
            var row = content[(header.DataStart + header.Stride * y)..];
            var at = TargetRow(header, y) * header.Size.Width * bands;
            for (var x = 0; x < header.Size.Width; x++, row = row[bytes..])
            {
                var value = bytes switch
                {
                    2 => BinaryPrimitives.ReadUInt16LittleEndian(row),
                    3 => (uint)(row[0] | row[1] << 8 | row[2] << 16),
                    _ => BinaryPrimitives.ReadUInt32LittleEndian(row),
                };
                for (var band = 0; band < bands; band++) pixels[at++] = Channel(value, header.Masks[band]);
            }
        }
    }

    /// <summary>The bits under a mask, stretched to 0 … 255.</summary>
    private static byte Channel(uint value, uint mask)
    {
        if (mask == 0) return 0;
        var shift = BitOperations.TrailingZeroCount(mask);
        ulong highest = mask >> shift, part = (value & mask) >> shift;
        return (byte)((part * 255 + highest / 2) / highest);
    }

    private static void FillFromPalette(ReadOnlySpan<byte> content, Header header, byte[] pixels)
    {
        Require(header.PaletteStart + header.PaletteCount * header.PaletteEntry <= content.Length, ImageDefect.Truncated, "the file ends inside its palette");
        Require(header.DataStart <= content.Length, ImageDefect.Truncated, "the file ends before the picture does");
        var indices = header.Compression == Compression.None ? PlainIndices(content, header) : RunLengthIndices(content[header.DataStart..], header);
        for (var y = 0; y < header.Size.Height; y++)
        {
            var at = TargetRow(header, y) * header.Size.Width * 3;
            foreach (var index in indices.AsSpan(y * header.Size.Width, header.Size.Width))
            {
                Require(index < header.PaletteCount, ImageDefect.Corrupt, $"a pixel has colour {index} of a palette of {header.PaletteCount}");
                var entry = content[(header.PaletteStart + index * header.PaletteEntry)..];
                pixels[at++] = entry[2];
                pixels[at++] = entry[1];
                pixels[at++] = entry[0];
            }
        }
    }

    /// <summary>One byte a pixel, rows in the order of the file.</summary>
    private static byte[] PlainIndices(ReadOnlySpan<byte> content, Header header)
    {
        var rowBytes = ((long)header.Size.Width * header.Bits + 7) / 8;
        Require(header.DataStart + (long)header.Stride * (header.Size.Height - 1) + rowBytes <= content.Length, ImageDefect.Truncated, "the file ends before the picture does");
        var indices = new byte[header.Size.Pixels];
        var perByte = 8 / header.Bits;
        for (var y = 0; y < header.Size.Height; y++)
        {
            var row = content[(header.DataStart + header.Stride * y)..];
            for (var x = 0; x < header.Size.Width; x++)
            {
                var shift = 8 - header.Bits * (x % perByte + 1);
                indices[y * header.Size.Width + x] = (byte)(row[x / perByte] >> shift & ((1 << header.Bits) - 1));
            }
        }
        return indices;
    }

    /// <summary>Run-length code: (count, value) pairs; count 0 escapes to end of row (0), end of picture (1), a jump (2), or that many literal pixels.</summary>
    private static byte[] RunLengthIndices(ReadOnlySpan<byte> data, Header header)
    {
        var indices = new byte[header.Size.Pixels];
        int x = 0, y = 0, at = 0;
        var nibbles = header.Bits == 4;
        while (y < header.Size.Height)
        {
            Require(at + 2 <= data.Length, ImageDefect.Truncated, "the file ends before the picture does");
            int count = data[at], value = data[at + 1];
            at += 2;
            if (count > 0)
            {
                for (var i = 0; i < count; i++) Put(nibbles ? (byte)(i % 2 == 0 ? value >> 4 : value & 15) : (byte)value);
            }
            else if (value == 0) (x, y) = (0, y + 1);
            else if (value == 1) break;
            else if (value == 2)
            {
                Require(at + 2 <= data.Length, ImageDefect.Truncated, "the file ends before the picture does");
                (x, y) = (x + data[at], y + data[at + 1]);
                at += 2;
            }
            else
            {
                var bytes = nibbles ? (value + 1) / 2 : value;
                Require(at + bytes <= data.Length, ImageDefect.Truncated, "the file ends before the picture does");
                for (var i = 0; i < value; i++) Put(nibbles ? (byte)(i % 2 == 0 ? data[at + i / 2] >> 4 : data[at + i / 2] & 15) : data[at + i]);
                at += bytes + bytes % 2;   // literals are padded to 16 bits
            }
        }
        return indices;

        void Put(byte index)
        {
            Require(x < header.Size.Width && y < header.Size.Height, ImageDefect.Corrupt, "a run of pixels leaves the picture");
            indices[y * header.Size.Width + x++] = index;
        }
    }

    private static int TargetRow(Header header, int row) => header.TopDown ? row : header.Size.Height - 1 - row;

    private static int I32(ReadOnlySpan<byte> content, int at) => BinaryPrimitives.ReadInt32LittleEndian(content[at..]);

    private static int U16(ReadOnlySpan<byte> content, int at) => BinaryPrimitives.ReadUInt16LittleEndian(content[at..]);

    private static void Require(bool good, ImageDefect defect, FormattableString what)
    {
        if (!good) throw new ImageDefectException(defect, FormattableString.Invariant(what));
    }

    private static void Require(bool good, ImageDefect defect, string what)
    {
        if (!good) throw new ImageDefectException(defect, what);
    }
}
