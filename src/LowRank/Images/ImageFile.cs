using System.Globalization;
using LowRank.Foundation;
using NetVips;

namespace LowRank.Images;

/// <summary>What a picture's header says.</summary>
/// <param name="Size">Width and height after the turn that EXIF asks for.</param>
/// <param name="Format">jpeg, png, webp, gif, bmp, tiff, avif or svg: by content, not by the file's name.</param>
/// <param name="Orientation">EXIF orientation 1 to 8; 5 to 8 swap the sides.</param>
/// <param name="ProfileIgnored">Whether an embedded colour profile cannot be read, so that the colours are taken as sRGB.</param>
internal sealed record ImageHeader(PixelSize Size, string Format, int Orientation, bool ProfileIgnored)
{
    /// <summary>Width and height as stored, before the turn.</summary>
    public PixelSize StoredSize => Orientation >= 5 ? Size.Turned : Size;
}

/// <summary>
/// Picture files by libvips: JPEG, PNG, WebP, GIF (first frame), TIFF (first page), AVIF, SVG, and BMP by a reader of ours.
/// Every picture becomes upright 8-bit sRGB over white: turned by EXIF, converted by its colour profile (relative colorimetric),
/// 16 bit by their high byte. A damaged file is an error, never a half-decoded picture.
/// </summary>
internal static class ImageFile
{
    /// <summary>
    /// Pictures above this many pixels are refused from their header, before any decoding, since a file of a few bytes can announce gigabytes.
    /// The limit is Pillow's: 178,956,970 pixels (0.5 GB as RGB).
    /// </summary>
    public const long MaxPixels = 178_956_970;

    /// <summary>The profile that everything is converted to; libvips has it built in.</summary>
    private const string SrgbProfile = "srgb";

    private static readonly Dictionary<string, string> Formats = new(StringComparer.Ordinal)
    {
        ["Jpeg"] = "jpeg",
        ["Png"] = "png",
        ["Webp"] = "webp",
        ["Nsgif"] = "gif",
        ["Tiff"] = "tiff",
        ["Heif"] = "avif",
        ["Svg"] = "svg",
    };

    /// <summary>Reads the header only.</summary>
    /// <exception cref="ImageDefectException">The content is no picture that can be read, or one above <see cref="MaxPixels"/>.</exception>
    public static ImageHeader ReadHeader(byte[] content)
    {
        var format = FormatOf(content);
        if (format == "bmp")
        {
            var bitmapSize = BitmapReader.ReadSize(content);
            RefuseHuge(bitmapSize);
            return new ImageHeader(bitmapSize, format, Orientation: 1, ProfileIgnored: false);
        }
        return Guard(content, () =>
        {
            using var image = Image.NewFromBuffer(content, failOn: Enums.FailOn.Truncated);
            var stored = new PixelSize(image.Width, image.Height);
            RefuseHuge(stored);
            var orientation = OrientationOf(image);
            return new ImageHeader(orientation >= 5 ? stored.Turned : stored, format, orientation, image.Contains("icc-profile-data") && !HasUsableProfile(image));
        });
    }

    /// <summary>Proves that a whole file can be decoded, and keeps nothing of it. JPEGs are decoded at an eighth of their size, which reads every byte but is faster.</summary>
    /// <exception cref="ImageDefectException">The content is damaged, no picture, or too large.</exception>
    public static ImageHeader Check(byte[] content)
    {
        var header = ReadHeader(content);
        return Guard(content, () =>
        {
            using var image = header.Format == "bmp" ? BitmapReader.Read(content) : Load(content, header, new LoadPlan { JpegShrink = 8, Sequential = true });
            _ = image.Avg();
            return header;
        });
    }

    /// <summary>Reads a file as upright RGB.</summary>
    /// <exception cref="DatasetException">The file is missing or no picture; the message names it and says why.</exception>
    public static RgbImage Read(string path)
    {
        if (!File.Exists(path)) throw new DatasetException($"no such picture: {path}");
        try
        {
            return Decode(File.ReadAllBytes(path));
        }
        catch (ImageDefectException defect)
        {
            throw new DatasetException($"picture cannot be read: {path}\n  {defect.Message}", defect);
        }
    }

    /// <summary>Decodes a whole file as upright RGB.</summary>
    /// <param name="content">The file's bytes.</param>
    /// <param name="drawingScale">How much larger than its own size an SVG is drawn; other formats have only their pixels and accept only 1.</param>
    /// <exception cref="ImageDefectException">The content is damaged, no picture, or too large.</exception>
    public static RgbImage Decode(byte[] content, double drawingScale = 1)
    {
        var header = ReadHeader(content);
        if (drawingScale != 1 && header.Format != "svg") throw new ArgumentException($"only SVG can be drawn at another scale, not {header.Format}", nameof(drawingScale));
        return Guard(content, () =>
        {
            using var image = Open(content, header, new LoadPlan { DrawingScale = drawingScale });
            using var upright = image.Autorot();
            return new RgbImage(new PixelSize(upright.Width, upright.Height), upright.WriteToMemory<byte>());
        });
    }

    /// <summary>Writes a PNG that is there whole or not at all; an existing one is replaced.</summary>
    /// <param name="path">Where; the folder exists.</param>
    /// <param name="picture">What.</param>
    /// <param name="texts">Texts by key to keep inside the file, such as <c>parameters</c>.</param>
    /// <exception cref="CheckpointException">The folder is missing or read-only, the disk is full.</exception>
    public static void WritePng(string path, RgbImage picture, IReadOnlyDictionary<string, string>? texts = null) =>
        WholeFile.Write(path, PngText.Insert(EncodePng(picture), texts ?? new Dictionary<string, string>()));

    /// <summary>The bytes of a PNG without any text.</summary>
    public static byte[] EncodePng(RgbImage picture)
    {
        using var raw = Image.NewFromMemory(picture.Pixels, picture.Size.Width, picture.Size.Height, 3, Enums.BandFormat.Uchar);
        using var image = raw.Copy(interpretation: Enums.Interpretation.Srgb);
        return image.PngsaveBuffer(keep: Enums.ForeignKeep.None);
    }

    /// <summary>The bytes of a grey PNG.</summary>
    public static byte[] EncodePng(GreyImage mask)
    {
        using var raw = Image.NewFromMemory(mask.Pixels, mask.Size.Width, mask.Size.Height, 1, Enums.BandFormat.Uchar);
        using var image = raw.Copy(interpretation: Enums.Interpretation.Bw);
        return image.PngsaveBuffer(keep: Enums.ForeignKeep.None);
    }

    /// <summary>How a file is opened for what follows.</summary>
    internal readonly record struct LoadPlan()
    {
        /// <summary>JPEG only: 1, 2, 4 or 8 times smaller while decoding.</summary>
        public int JpegShrink { get; init; } = 1;

        /// <summary>SVG only: drawn this many times its own size.</summary>
        public double DrawingScale { get; init; } = 1;

        /// <summary>Rows will be asked for from top to bottom, once: nothing needs to hold the whole picture.</summary>
        public bool Sequential { get; init; }
    }

    /// <summary>
    /// A lazy pipeline: (stored width, height), three bands of 8-bit sRGB over white, still in stored orientation.
    /// Errors of damaged files come when pixels are asked for, so that must happen inside <see cref="Guard{T}"/>.
    /// </summary>
    internal static Image Open(byte[] content, ImageHeader header, LoadPlan plan)
    {
        if (header.Format == "bmp") return ToSrgb(BitmapReader.Read(content), profile: false);
        var loaded = Load(content, header, plan);
        return ToSrgb(loaded, loaded.Contains("icc-profile-data") && !header.ProfileIgnored);
    }

    /// <summary>The alpha channel as one band of 8 bits, in stored orientation. Errors of damaged files come as in <see cref="Open"/>.</summary>
    /// <exception cref="InvalidOperationException">There is none (<see cref="HasAlpha"/>).</exception>
    internal static Image OpenAlpha(byte[] content, ImageHeader header, LoadPlan plan)
    {
        using var loaded = Load(content, header, plan);
        if (!loaded.HasAlpha()) throw new InvalidOperationException("the picture has no alpha channel");
        using var alpha = loaded.ExtractBand(loaded.Bands - 1);
        return alpha.Format == Enums.BandFormat.Ushort ? alpha.Cast(Enums.BandFormat.Uchar, shift: true) : alpha.Cast(Enums.BandFormat.Uchar);
    }

    /// <summary>Whether a picture has an alpha channel, from its header.</summary>
    /// <exception cref="ImageDefectException">The content is no picture that can be read.</exception>
    public static bool HasAlpha(byte[] content) => FormatOf(content) != "bmp" && Guard(content, () =>
    {
        using var image = Image.NewFromBuffer(content, failOn: Enums.FailOn.Truncated);
        return image.HasAlpha();
    });

    private static Image Load(byte[] content, ImageHeader header, LoadPlan plan)
    {
        var options = new VOption();
        if (plan.JpegShrink != 1 && header.Format == "jpeg") options.Add("shrink", plan.JpegShrink);
        if (plan.DrawingScale != 1 && header.Format == "svg")
        {
            RefuseHuge(new PixelSize((int)Math.Min(header.Size.Width * plan.DrawingScale, int.MaxValue), (int)Math.Min(header.Size.Height * plan.DrawingScale, int.MaxValue)));
            options.Add("scale", plan.DrawingScale);
        }
        // the default would return a half-decoded picture without an error
        return Image.NewFromBuffer(content, access: plan.Sequential ? Enums.Access.Sequential : Enums.Access.Random, failOn: Enums.FailOn.Truncated, kwargs: options);
    }

    /// <summary>Runs libvips on a file's content and turns what it throws into the defect of the file.</summary>
    internal static T Guard<T>(byte[] content, Func<T> action)
    {
        try
        {
            VipsWarnings.Silence();
            return action();
        }
        catch (VipsException error)
        {
            throw Diagnosis.Of(content, error);
        }
    }

    private static string FormatOf(byte[] content)
    {
        if (content.Length == 0) throw new ImageDefectException(ImageDefect.Empty, "the file is empty (0 bytes)");
        if (BitmapReader.Recognises(content)) return "bmp";
        VipsWarnings.Silence();
        var loader = Image.FindLoadBuffer(content);
        foreach (var (name, format) in Formats)
        {
            if (loader is null || !loader.StartsWith("VipsForeignLoad" + name, StringComparison.Ordinal)) continue;
            if (format == "avif" && Diagnosis.IsHeic(content)) break;
            return format;
        }
        throw new ImageDefectException(ImageDefect.UnknownFormat, Diagnosis.IsHeic(content)
            ? "HEIC, which this build of libvips cannot read; convert it to JPEG or PNG"
            : "not a picture that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, SVG), whatever its name says");
    }

    private static void RefuseHuge(PixelSize size)
    {
        if (size.Pixels <= MaxPixels) return;
        throw new ImageDefectException(ImageDefect.TooLarge, string.Create(CultureInfo.InvariantCulture,
            $"its header says {size}, above the limit of {MaxPixels:N0} pixels; make it smaller if it is real"));
    }

    private static int OrientationOf(Image image) => image.Contains("orientation") && image.Get("orientation") is int value and >= 1 and <= 8 ? value : 1;

    /// <summary>Whether an embedded profile looks whole and describes the kind of colours that the picture has. Layout: ICC.1:2022, 7.2.</summary>
    private static bool HasUsableProfile(Image image)
    {
        if (image.Get("icc-profile-data") is not byte[] { Length: >= 132 } profile) return false;
        var size = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(profile);
        if (size > profile.Length || !profile.AsSpan(36, 4).SequenceEqual("acsp"u8)) return false;
        var colours = System.Text.Encoding.ASCII.GetString(profile, 16, 4);
        if (image.Interpretation == Enums.Interpretation.Cmyk) return colours == "CMYK";
        return colours == (image.Bands >= 3 ? "RGB " : "GRAY");
    }

    /// <summary>Three bands of 8-bit sRGB over white. Takes over <paramref name="loaded"/>.</summary>
    private static Image ToSrgb(Image loaded, bool profile)
    {
        var image = loaded;
        void Become(Image next)
        {
            image.Dispose();
            image = next;
        }
        if (profile) Become(image.IccTransform(SrgbProfile, embedded: true, intent: Enums.Intent.Relative, depth: 8));
        else if (image.Interpretation != Enums.Interpretation.Srgb) Become(image.Colourspace(Enums.Interpretation.Srgb));
        if (image.HasAlpha()) Become(OverWhite(image));
        if (image.Format != Enums.BandFormat.Uchar) Become(image.Cast(Enums.BandFormat.Uchar));
        if (image.Bands > 3) Become(image.ExtractBand(0, n: 3));
        return image;
    }

    /// <summary>round((c · a + 255 · (255 - a)) / 255): flattening 8-bit values directly would cut instead of round.</summary>
    private static Image OverWhite(Image image)
    {
        using var exact = image.Cast(Enums.BandFormat.Float);
        using var flat = exact.Flatten(background: [255.0], maxAlpha: 255);
        return flat.Rint();
    }
}
