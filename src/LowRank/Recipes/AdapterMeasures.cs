using System.Globalization;
using LowRank.Adapters;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>What only the numbers of an adapter file tell: how long each change is, and what is wrong with them.</summary>
internal sealed class AdapterMeasures
{
    private const double LargestHalf = 65504;

    /// <summary>So many equal largest numbers, and such a part of a factor, are no chance but a clamp.</summary>
    private const int LeastClamped = 16;
    private const double LeastClampedPart = 0.005;

    private readonly Dictionary<FileModule, double> norms = [];
    private readonly List<(FileModule Module, string Parameter, long Count, long Of)> clamped = [];
    private readonly List<(FileModule Module, string Parameter, double Largest)> beyondHalf = [];

    /// <summary>Reads every factor of the usable modules, once.</summary>
    public AdapterMeasures(AdapterFile file)
    {
        foreach (var module in file.Modules.Where(module => module.IsUsable))
        {
            norms[module] = module.DeltaNorm();
            foreach (var parameter in module.Parameters.Where(name => name != AdapterKey.Alpha)) Look(module, parameter);
        }
        Places = PlacesOf(file);
    }

    /// <summary>Where the modules lie; of files that only number them by the layers of a known model, where one fits.</summary>
    public IReadOnlyDictionary<FileModule, ModulePlace> Places { get; }

    /// <summary>‖ΔW‖ (Frobenius, strength 1) by block, as data flows.</summary>
    public IReadOnlyDictionary<string, double> ByBlock => Blocks().ToDictionary(block => block.Key, block => Length(block.Select(item => norms[item.Key])));

    /// <summary>The same for the parts of each block: attention, feedforward, convolution, other.</summary>
    public IReadOnlyDictionary<string, IReadOnlyDictionary<string, double>> ByPart => Blocks().ToDictionary(block => block.Key, block => (IReadOnlyDictionary<string, double>)block
        .GroupBy(item => item.Value.Part).OrderBy(part => part.Key == "other").ThenBy(part => part.Key, StringComparer.Ordinal).ToDictionary(part => part.Key, part => Length(part.Select(item => norms[item.Key]))));

    /// <summary>What is wrong with the numbers.</summary>
    public IEnumerable<string> Trouble()
    {
        foreach (var (module, norm) in norms.Where(item => !double.IsFinite(item.Value))) yield return $"{module.Name}: not finite: {module.NotFinite() ?? "the product overflows"}";
        var dead = norms.Where(item => item.Value == 0).Select(item => item.Key.Name).ToList();
        if (dead.Count > 0) yield return string.Create(CultureInfo.InvariantCulture, $"{dead.Count} of {norms.Count} modules change nothing (a factor is zero): {AdapterFile.Some(dead)}");
        if (beyondHalf.Count > 0)
        {
            var (module, parameter, largest) = beyondHalf.MaxBy(item => item.Largest);
            yield return string.Create(CultureInfo.InvariantCulture, $"{beyondHalf.Count} tensors hold numbers that half precision cannot (up to {largest:G3} in {module.Word(parameter)} of {module.Name}): programs that load it as fp16 make infinities of them; use it as bf16 or fp32");
        }
        if (clamped.Count > 0)
        {
            var (module, parameter, count, all) = clamped.MaxBy(item => item.Count);
            yield return string.Create(CultureInfo.InvariantCulture, $"{clamped.Count} tensors were clamped, as some tools do when they extract an adapter: many of their numbers are exactly the largest ({count} of {all} in {module.Word(parameter)} of {module.Name})");
        }
    }

    private void Look(FileModule module, string parameter)
    {
        using var scope = NewDisposeScope();
        var sizes = module.Read(parameter).abs();
        if (sizes.numel() == 0) return;
        var largest = sizes.max();
        var number = (double)largest.item<float>();
        if (!double.IsFinite(number)) return;   // told of by the norm
        if (number > LargestHalf) beyondHalf.Add((module, parameter, number));
        var count = number == 0 ? 0 : sizes.eq(largest).sum().item<long>();
        // all numbers alike are a start, no clamp
        if (count >= LeastClamped && count >= LeastClampedPart * sizes.numel() && count < sizes.numel()) clamped.Add((module, parameter, count, sizes.numel()));
    }

    private IEnumerable<IGrouping<string, KeyValuePair<FileModule, ModulePlace>>> Blocks() =>
        Places.Where(item => norms.ContainsKey(item.Key)).OrderBy(item => item.Value.Order, StringComparer.Ordinal).GroupBy(item => item.Value.InWords);

    private static Dictionary<FileModule, ModulePlace> PlacesOf(AdapterFile file)
    {
        if (file.Problems.Count == 0 && file.Modules.Any(module => module.Convention == AdapterConvention.Package2022))
        {
            try
            {
                using var known = AdapterBase.Find(file, model: null);
                return known.Match(file).ToDictionary(item => item.Module, item => ModulePlace.Of($"{item.Layer.Component}.{item.Layer.Path}"));
            }
            catch (CheckpointException)   // none of the known models: numbers are all that there is
            {
            }
        }
        return file.Modules.ToDictionary(module => module, ModulePlace.Of);
    }

    private static double Length(IEnumerable<double> norms) => Math.Sqrt(norms.Sum(norm => norm * norm));
}
