namespace LowRank.Images;

/// <summary>Why a file cannot be used as a picture.</summary>
internal enum ImageDefect
{
    /// <summary>The file has no bytes.</summary>
    Empty,

    /// <summary>The content is no picture format that can be read here, whatever the file's name says.</summary>
    UnknownFormat,

    /// <summary>The file ends before the picture does.</summary>
    Truncated,

    /// <summary>The file is damaged inside.</summary>
    Corrupt,

    /// <summary>The header announces more pixels than <see cref="ImageFile.MaxPixels"/>.</summary>
    TooLarge,

    /// <summary>The picture has no mask, where its data set asks for one.</summary>
    NoMask,
}

/// <summary>A file that cannot be used as a picture; who knows its path turns it into words for the user.</summary>
internal sealed class ImageDefectException(ImageDefect defect, string detail, Exception? inner = null) : Exception(detail, inner)
{
    public ImageDefect Defect { get; } = defect;
}
