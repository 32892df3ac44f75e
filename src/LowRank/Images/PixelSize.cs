using System.Globalization;

namespace LowRank.Images;

/// <summary>Width and height of a picture, in pixels.</summary>
/// <param name="Width">Columns.</param>
/// <param name="Height">Rows.</param>
internal readonly record struct PixelSize(int Width, int Height)
{
    /// <summary>Width times height.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public long Pixels => (long)Width * Height;

    /// <summary>Width over height.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public double AspectRatio => (double)Width / Height;

    /// <summary>The size after a quarter turn.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public PixelSize Turned => new(Height, Width);

    /// <summary>As people write it: <c>640×480</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Width}×{Height}");
}
