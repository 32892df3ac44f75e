namespace LowRank.Images;

/// <summary>A picture of one channel in managed memory: masks.</summary>
/// <param name="Size">Width and height.</param>
/// <param name="Pixels">Height × width bytes, row by row from the top: 0 (black, left out) to 255 (white, counts).</param>
internal sealed record GreyImage(PixelSize Size, byte[] Pixels);
