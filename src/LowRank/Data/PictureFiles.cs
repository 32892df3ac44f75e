using LowRank.Foundation;

namespace LowRank.Data;

/// <summary>A picture in a folder that is prepared for training.</summary>
/// <param name="Path">The file.</param>
/// <param name="RelativePath">The same, from the folder on.</param>
internal sealed record PictureFile(string Path, string RelativePath)
{
    /// <summary>The path without its ending: what the names of captions and masks begin with.</summary>
    public string Stem => System.IO.Path.ChangeExtension(Path, null);

    /// <summary>Where a file for this picture goes in another folder, with another ending.</summary>
    public string In(string folder, string ending) => System.IO.Path.Combine(folder, System.IO.Path.ChangeExtension(RelativePath, null) + ending);
}

/// <summary>Finds the pictures that training would find: in a folder and one level down, without masks.</summary>
internal static class PictureFiles
{
    /// <exception cref="DatasetException">The folder is missing, has no pictures, or two that would share one caption.</exception>
    public static IReadOnlyList<PictureFile> Find(string folder)
    {
        if (string.IsNullOrWhiteSpace(folder)) throw new DatasetException("no folder of pictures: its name is empty; name a folder that exists");
        if (!Directory.Exists(folder))
        {
            var full = Path.GetFullPath(folder);
            throw new DatasetException($"no such folder of pictures: {folder}{(full == folder ? "" : $"\n  looked for  {full}")}\n  try         a folder that exists");
        }
        List<PictureFile> pictures = [.. Directory.GetDirectories(folder).Where(ImageFolder.IsVisible).Order(StringComparer.Ordinal).Prepend(folder)
            .SelectMany(place => Directory.GetFiles(place).Order(StringComparer.Ordinal))
            .Where(path => ImageFolder.IsVisible(path) && ImageFolder.Endings.Contains(Path.GetExtension(path).ToLowerInvariant()) && !PictureMask.IsMask(path))
            .Select(path => new PictureFile(path, Path.GetRelativePath(folder, path)))];
        if (pictures.Count == 0) throw new DatasetException(ImageFolder.NoPictures(new DataSetOptions { Folder = folder }));
        List<string> twins = [.. pictures.GroupBy(picture => picture.Stem).Where(group => group.Count() > 1).Select(group => string.Join(", ", group.Select(picture => picture.RelativePath)))];
        return twins.Count == 0 ? pictures : throw new DatasetException($"pictures of the same name in {folder}: they would share one caption and one mask\n  {ImageFolder.FirstTen(twins, "\n  ")}\n  try         to rename or remove one of each");
    }
}
