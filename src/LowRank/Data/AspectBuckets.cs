using LowRank.Images;

namespace LowRank.Data;

/// <summary>Where a picture goes: its bucket, and the size it is resized to before the bucket is cut out of it.</summary>
/// <param name="Bucket">Size of the training picture.</param>
/// <param name="Resized">Size of the whole picture after resizing; at least the bucket on both sides.</param>
internal readonly record struct BucketChoice(PixelSize Bucket, PixelSize Resized)
{
    /// <summary>The cut from the middle, in resized pixels.</summary>
    public (int Left, int Top) CentreCrop => (Math.Max(Resized.Width - Bucket.Width, 0) / 2, Math.Max(Resized.Height - Bucket.Height, 0) / 2);
}

/// <summary>
/// Picture sizes of about equal area and different shapes; every batch holds pictures of one of them.
/// The rule, and all its corners, are those of sd-scripts (library/model_util.py <c>make_bucket_resolutions</c>, library/train_util.py <c>BucketManager</c>),
/// so that data prepared for it falls into the same buckets here.
/// </summary>
internal sealed class AspectBuckets
{
    private readonly PixelSize resolution;
    private readonly int step;
    private readonly bool enlarge;

    /// <summary>Buckets for a resolution.</summary>
    /// <param name="resolution">Its area is the largest a bucket may have.</param>
    /// <param name="min">Smallest side, lowered to a multiple of <paramref name="step"/>.</param>
    /// <param name="max">Largest side, raised to a multiple of <paramref name="step"/>.</param>
    /// <param name="step">Sides are multiples of this.</param>
    /// <param name="enlarge">
    /// Whether small pictures are enlarged to a bucket of the list. If not, they keep their size, cut to multiples of the step, and buckets are free:
    /// neither the list nor min and max count.
    /// </param>
    public AspectBuckets(PixelSize resolution, int min, int max, int step, bool enlarge)
    {
        (this.resolution, this.step, this.enlarge) = (resolution, step, enlarge);
        Min = min - min % step;
        Max = max % step == 0 ? max : max + step - max % step;
        Sizes = MakeSizes();
    }

    private AspectBuckets(PixelSize only)
    {
        (resolution, step, enlarge) = (only, 1, true);
        Sizes = [only];
    }

    /// <summary>The smallest side in use.</summary>
    public int Min { get; }

    /// <summary>The largest side in use.</summary>
    public int Max { get; }

    /// <summary>The buckets, by width, then height.</summary>
    public IReadOnlyList<PixelSize> Sizes { get; }

    /// <summary>One bucket for everything: no bucketing.</summary>
    public static AspectBuckets Single(PixelSize size) => new(size);

    /// <summary>The bucket of a picture, or null where it is too small for any (only without enlarging).</summary>
    public BucketChoice? Select(PixelSize picture) => enlarge ? SelectFromList(picture) : SelectFree(picture);

    /// <summary>
    /// The six numbers that SDXL is conditioned on: original height and width, crop top and left, target height and width.
    /// As sd-scripts gives them: top and left are not the crop that was made, but the padding that the picture fitted inside the bucket would leave.
    /// </summary>
    /// <param name="bucket">The picture's bucket.</param>
    /// <param name="picture">The picture's own size.</param>
    /// <param name="flip">Whether the picture is mirrored.</param>
    public static long[] SizeConditioning(PixelSize bucket, PixelSize picture, bool flip)
    {
        double width = bucket.Width, height = bucket.Height;
        if (bucket.AspectRatio > picture.AspectRatio) width = bucket.Height * picture.AspectRatio;
        else height = bucket.Width / picture.AspectRatio;
        var left = Math.Floor((bucket.Width - width) / 2);
        var top = Math.Floor((bucket.Height - height) / 2);
        if (flip) left = bucket.Width - (left + width);
        return [picture.Height, picture.Width, (long)top, (long)left, bucket.Height, bucket.Width];
    }

    private List<PixelSize> MakeSizes()
    {
        var side = (int)(Math.Sqrt(resolution.Pixels) / step) * step;
        var sizes = new HashSet<PixelSize> { new(side, side) };
        for (var width = Min; width <= Max; width += step)
        {
            if (width == 0) continue;   // a minimum below one step
            var height = (int)Math.Min(Max, resolution.Pixels / width / step * step);
            if (height < Math.Max(Min, 1)) continue;
            sizes.Add(new PixelSize(width, height));
            sizes.Add(new PixelSize(height, width));
        }
        return [.. sizes.OrderBy(size => size.Width).ThenBy(size => size.Height)];
    }

    private BucketChoice SelectFromList(PixelSize picture)
    {
        var ratio = picture.AspectRatio;
        var bucket = Sizes.Contains(picture) ? picture : Sizes.MinBy(size => Math.Abs(size.AspectRatio - ratio));   // the first of equals
        var scale = ratio > bucket.AspectRatio ? (double)bucket.Height / picture.Height : (double)bucket.Width / picture.Width;
        return new BucketChoice(bucket, new PixelSize(Round(picture.Width * scale), Round(picture.Height * scale)));
    }

    private BucketChoice? SelectFree(PixelSize picture)
    {
        var resized = picture;
        if (picture.Pixels > resolution.Pixels)
        {
            var ratio = picture.AspectRatio;
            var width = Math.Sqrt(resolution.Pixels * ratio);
            var height = resolution.Pixels / width;
            // round one side to a step and let the other follow; which one, decides the aspect ratio that is kept better
            var byWidth = RoundToStep(width);
            var byHeight = RoundToStep(height);
            var heightFollowing = RoundToStep(byWidth / ratio);
            var widthFollowing = RoundToStep(byHeight * ratio);
            if (heightFollowing == 0 || byHeight == 0) return null;
            var widthIsBetter = Math.Abs((double)byWidth / heightFollowing - ratio) < Math.Abs((double)widthFollowing / byHeight - ratio);
            resized = widthIsBetter ? new PixelSize(byWidth, Round(byWidth / ratio)) : new PixelSize(Round(byHeight * ratio), byHeight);
        }
        var bucket = new PixelSize(resized.Width - resized.Width % step, resized.Height - resized.Height % step);
        return bucket.Pixels == 0 ? null : new BucketChoice(bucket, resized);
    }

    private int RoundToStep(double value) => Round(value) / step * step;

    /// <summary>Halves go up.</summary>
    private static int Round(double value) => (int)(value + 0.5);
}
