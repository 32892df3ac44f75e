using System.Globalization;
using LowRank.Foundation;

namespace LowRank.Adapters;

/// <summary>
/// The blocks that strengths may be given for, as block weights in prompts and merges name them (sd-scripts, networks/svd_merge_lora.py): BASE is everything outside
/// the UNet's blocks, text encoders included; IN00, … , MID, OUT00, … are the original model's input, middle and output blocks. A list of strengths has one for
/// each block (26 for SD 1 and 2, 20 for SDXL), or one for each block with attention (17, 12), and then leaves the others at 1.
/// </summary>
internal sealed class UnetBlocks
{
    /// <summary>Everything outside the UNet's blocks.</summary>
    public const string Base = "BASE";

    private const string Middle = "MID";
    private readonly OriginalUnetNames original;
    private readonly Dictionary<string, int> places;

    /// <param name="paths">Module paths of the whole UNet in diffusers names.</param>
    public UnetBlocks(IReadOnlyCollection<string> paths)
    {
        original = new OriginalUnetNames(paths);
        var found = paths.Select(path => (Path: path, Block: BlockOf(path))).ToList();
        Names = [Base, .. Of("IN"), .. found.Any(item => item.Block == Middle) ? [Middle] : Array.Empty<string>(), .. Of("OUT")];
        places = Names.Select((name, place) => (name, place)).ToDictionary(item => item.name, item => item.place);
        var attentive = found.Where(item => item.Path.Contains(".attentions.", StringComparison.Ordinal)).Select(item => item.Block).Append(Base).Append(Middle).ToHashSet();
        WithAttention = [.. Names.Where(attentive.Contains)];

        IEnumerable<string> Of(string side) => found.Select(item => item.Block).Where(block => block.StartsWith(side, StringComparison.Ordinal)).Distinct().Order(StringComparer.Ordinal);
    }

    /// <summary>All blocks, in the order of a list of strengths.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>Those of the short list.</summary>
    public IReadOnlyList<string> WithAttention { get; }

    /// <summary>The place of a layer's block in <see cref="Names"/>.</summary>
    public int PlaceOf(string component, string path) => component == "unet" && places.TryGetValue(BlockOf(path), out var place) ? place : 0;

    /// <summary>A strength for each of <see cref="Names"/>.</summary>
    /// <param name="strengths">As many as blocks, or as blocks with attention; none is 1 everywhere.</param>
    /// <exception cref="OptionsException">Another number.</exception>
    public IReadOnlyList<double> Expand(IReadOnlyList<double> strengths)
    {
        if (strengths.Count == Names.Count) return strengths;
        var all = Enumerable.Repeat(1.0, Names.Count).ToArray();
        if (strengths.Count == 0) return all;
        if (strengths.Count != WithAttention.Count)
        {
            throw new OptionsException(string.Create(CultureInfo.InvariantCulture,
                $"{strengths.Count} block strengths; this model takes {WithAttention.Count} ({string.Join(", ", WithAttention)}) or {Names.Count} ({string.Join(", ", Names)})"));
        }
        for (var i = 0; i < strengths.Count; i++) all[places[WithAttention[i]]] = strengths[i];
        return all;
    }

    private string BlockOf(string path)
    {
        var parts = original.Of(path)?.Split('.') ?? [];
        return parts switch
        {
            ["input_blocks", var number, ..] => "IN" + number.PadLeft(2, '0'),
            ["middle_block", ..] => Middle,
            ["output_blocks", var number, ..] => "OUT" + number.PadLeft(2, '0'),
            _ => Base,
        };
    }
}
