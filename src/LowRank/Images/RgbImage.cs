namespace LowRank.Images;

/// <summary>A decoded picture in managed memory: sRGB, 8 bit, without alpha.</summary>
/// <param name="Size">Width and height after the turn that EXIF asks for.</param>
/// <param name="Pixels">Height × width × 3 bytes: row by row from the top, red, green, blue.</param>
internal sealed record RgbImage(PixelSize Size, byte[] Pixels);
