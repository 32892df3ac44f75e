using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Families.Original;

/// <summary>
/// One part of a checkpoint in the original layout, as the tensors that the layout of diffusers has. Tensors of the file below the part's prefix that no key
/// stands for keep their names, so that a network that does not know them refuses them. Owns the file.
/// </summary>
internal sealed class OriginalView : ITensorFile
{
    private readonly ITensorFile file;
    private readonly Dictionary<string, OriginalTensor> places = [];
    private readonly Dictionary<string, TensorInfo> tensors = [];

    /// <param name="file">Open.</param>
    /// <param name="part">Its names.</param>
    /// <param name="averages">Whether the averaged weights are wanted.</param>
    public OriginalView(ITensorFile file, OriginalPart part, bool averages)
    {
        this.file = file;
        foreach (var key in part.Keys)
        {
            if (part.Of(key) is { } place && part.Spellings(place, averages).FirstOrDefault(spelling => file.Tensors.ContainsKey(spelling.Name)) is { } found) Add(key, found);
        }
        var used = part.Keys.Select(part.Of).OfType<OriginalTensor>().SelectMany(place => part.Spellings(place, averages: false)).Select(place => place.Name).ToHashSet();
        foreach (var name in file.Tensors.Keys.Where(name => name.StartsWith(part.Prefix, StringComparison.Ordinal) && !used.Contains(name) && !part.IsSpare(name[part.Prefix.Length..])))
        {
            Add(name, new OriginalTensor(name));
        }
    }

    /// <inheritdoc/>
    public string Path => file.Path;

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, TensorInfo> Tensors => tensors;

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, string> Metadata => file.Metadata;

    /// <summary>Where a tensor of the view lies in the file.</summary>
    /// <param name="name">A key of <see cref="Tensors"/>.</param>
    public OriginalTensor PlaceOf(string name) => places[name];

    /// <inheritdoc/>
    public Tensor Read(string name)
    {
        this.Find(name);
        using var original = file.Read(places[name].Name);
        if (places[name].Turn == Turn.None) return original.alias();
        using var turned = places[name].Of(original);
        return turned.contiguous();
    }

    /// <inheritdoc/>
    void ITensorFile.Visit(string name, TensorMemory.SpanAction visit)
    {
        if (places[name].Turn is Turn.None or Turn.Convolution)
        {
            file.Visit(places[name].Name, visit);
            return;
        }
        using var tensor = Read(name);
        TensorMemory.Visit(tensor, visit);
    }

    /// <inheritdoc/>
    public Tensor Map(string name)
    {
        this.Find(name);
        using var original = file.Map(places[name].Name);
        return places[name].Of(original);
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();

    private void Add(string key, OriginalTensor place)
    {
        var info = file.Tensors[place.Name];
        var shape = place.ShapeOf(info.Shape);
        places[key] = place;
        tensors[key] = new TensorInfo(key, info.Type, shape, info.Offset, shape.Aggregate(1L, (product, size) => product * size) * info.Type.Size());
    }
}
