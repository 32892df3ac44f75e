using System.Buffers.Binary;
using NetVips;

namespace LowRank.Images;

/// <summary>
/// Tells a file that ends too early from one that is damaged inside, by its content alone: libvips keeps its messages in one place for all threads,
/// so that what one thread reads there may be about another thread's file.
/// </summary>
internal static class Diagnosis
{
    private static ReadOnlySpan<byte> PngSignature => [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A];

    public static ImageDefectException Of(byte[] content, VipsException error)
    {
        var isShort = IsShortPng(content) || IsShortJpeg(content) || IsShortRiff(content) || IsShortGif(content) || IsShortHeif(content);
        return isShort
            ? new ImageDefectException(ImageDefect.Truncated, "the file ends before the picture does: an unfinished copy or download", error)
            : new ImageDefectException(ImageDefect.Corrupt, "the file is damaged: it cannot be decoded to its end", error);
    }

    /// <summary>Pictures coded with HEVC in the HEIF container that AVIF uses too: told apart by the brands of the first box.</summary>
    public static bool IsHeic(ReadOnlySpan<byte> content)
    {
        if (content.Length < 12 || !content.Slice(4, 4).SequenceEqual("ftyp"u8)) return false;
        var box = content[..(int)Math.Min((uint)content.Length, BinaryPrimitives.ReadUInt32BigEndian(content))];
        if (box.IndexOf("avif"u8) >= 0 || box.IndexOf("avis"u8) >= 0) return false;
        return box.IndexOf("heic"u8) >= 0 || box.IndexOf("heix"u8) >= 0 || box.IndexOf("hevc"u8) >= 0 || box.IndexOf("mif1"u8) >= 0;
    }

    /// <summary>A PNG whose chunks run past the end of the file, or stop before IEND.</summary>
    private static bool IsShortPng(ReadOnlySpan<byte> content)
    {
        if (!content.StartsWith(PngSignature)) return false;
        for (var at = 8L; ;)
        {
            if (at + 12 > content.Length) return true;
            var chunk = content[(int)at..];
            at += 12L + BinaryPrimitives.ReadUInt32BigEndian(chunk);
            if (at > content.Length) return true;
            if (chunk.Slice(4, 4).SequenceEqual("IEND"u8)) return false;
        }
    }

    /// <summary>A WebP shorter than its RIFF header says.</summary>
    private static bool IsShortRiff(ReadOnlySpan<byte> content) =>
        content.Length >= 8 && content.StartsWith("RIFF"u8) && BinaryPrimitives.ReadUInt32LittleEndian(content[4..]) + 8L > content.Length;

    /// <summary>A JPEG without an end marker behind its last scan; those of thumbnails stand before.</summary>
    private static bool IsShortJpeg(ReadOnlySpan<byte> content) =>
        content.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8]) && content.LastIndexOf((ReadOnlySpan<byte>)[0xFF, 0xD9]) <= content.LastIndexOf((ReadOnlySpan<byte>)[0xFF, 0xDA]);

    /// <summary>A GIF that does not end in its trailer.</summary>
    private static bool IsShortGif(ReadOnlySpan<byte> content) => content.StartsWith("GIF8"u8) && content[^1] != 0x3B;

    /// <summary>An AVIF with a box that runs past the end of the file.</summary>
    private static bool IsShortHeif(ReadOnlySpan<byte> content)
    {
        if (content.Length < 12 || !content.Slice(4, 4).SequenceEqual("ftyp"u8)) return false;
        var at = 0L;
        while (at + 8 <= content.Length)
        {
            var size = BinaryPrimitives.ReadUInt32BigEndian(content[(int)at..]);
            if (size < 8) return false;   // to the end of the file, or 64-bit
            at += size;
        }
        return at != content.Length;
    }
}
