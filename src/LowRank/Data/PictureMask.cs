using System.Security.Cryptography;
using LowRank.Foundation;
using LowRank.Images;

namespace LowRank.Data;

/// <summary>Where masks come from.</summary>
public enum MaskSource
{
    /// <summary>There are none.</summary>
    None,

    /// <summary>The alpha channels of the pictures.</summary>
    Alpha,

    /// <summary>Files beside the pictures: name.mask.png.</summary>
    Sidecar,

    /// <summary>Files of the same name in another folder (<see cref="DataSetOptions.MaskFolder"/>).</summary>
    Folder,
}

/// <summary>The mask of one picture, checked. Its pixels are still in the file.</summary>
/// <param name="Path">The file: the picture's own where <paramref name="Alpha"/> is set.</param>
/// <param name="ContentHash">SHA-256 of the file's bytes, in hexadecimal.</param>
/// <param name="Alpha">Whether it is the file's alpha channel.</param>
internal sealed record PictureMask(string Path, string ContentHash, bool Alpha)
{
    /// <summary>How the name of a mask beside its picture ends.</summary>
    public const string Ending = ".mask.png";

    /// <summary>Whether a file is the mask of a picture beside it, and no picture itself.</summary>
    public static bool IsMask(string path) => path.EndsWith(Ending, StringComparison.OrdinalIgnoreCase);

    /// <summary>Finds and checks the mask of a picture.</summary>
    /// <param name="picture">Path of the picture.</param>
    /// <param name="content">Its bytes.</param>
    /// <param name="size">Its size, upright.</param>
    /// <param name="options">Its data set; its source of masks is not none.</param>
    /// <exception cref="ImageDefectException">There is no mask, or it is damaged: the picture cannot be used.</exception>
    /// <exception cref="DatasetException">The mask has another size than its picture; the message is one line of a list.</exception>
    public static PictureMask Find(string picture, byte[] content, PixelSize size, DataSetOptions options)
    {
        if (options.Mask == MaskSource.Alpha)
        {
            if (!ImageFile.HasAlpha(content)) throw new ImageDefectException(ImageDefect.NoMask, "no mask: it has no alpha channel");
            return new PictureMask(picture, Convert.ToHexStringLower(SHA256.HashData(content)), Alpha: true);
        }
        var path = PathFor(picture, options);
        var name = System.IO.Path.GetFileName(path);
        if (!File.Exists(path)) throw new ImageDefectException(ImageDefect.NoMask, $"no mask: {(options.Mask == MaskSource.Folder ? path : name)} is not there");
        var mask = File.ReadAllBytes(path);
        var header = Check(mask, name);
        if (header.Size != size) throw new DatasetException($"{name} is {header.Size}, {System.IO.Path.GetFileName(picture)} is {size}");
        return new PictureMask(path, Convert.ToHexStringLower(SHA256.HashData(mask)), Alpha: false);
    }

    private static ImageHeader Check(byte[] mask, string name)
    {
        try
        {
            return ImageFile.Check(mask);
        }
        catch (ImageDefectException defect)
        {
            throw new ImageDefectException(defect.Defect, $"its mask {name} cannot be read: {defect.Message}", defect);
        }
    }

    private static string PathFor(string picture, DataSetOptions options)
    {
        if (options.Mask == MaskSource.Sidecar) return System.IO.Path.ChangeExtension(picture, null) + Ending;
        var inFolder = System.IO.Path.Combine(options.MaskFolder!, System.IO.Path.GetRelativePath(options.Folder, picture));
        return File.Exists(inFolder) ? inFolder : System.IO.Path.ChangeExtension(inFolder, ".png");
    }
}
