using System.Collections.ObjectModel;
using LowRank.Adapters;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>An adapter in a <see cref="Studio"/>: in memory, on the model or off it. What is set counts from the next picture on.</summary>
public sealed class StudioAdapter
{
    private readonly AdapterSet set;
    private bool isUnloaded;
    private PartStrengths factors = new(ReadOnlyDictionary<string, double>.Empty, []);

    internal StudioAdapter(string name, string file, string hash, AdapterSet set) => (Name, File, Hash, this.set) = (name, file, hash, set);

    /// <summary>What it is called in its studio.</summary>
    public string Name { get; }

    /// <summary>Where it was read from.</summary>
    public string File { get; }

    /// <summary>What loading did that one may not expect; empty for nothing.</summary>
    public IReadOnlyList<string> Warnings => set.Warnings;

    /// <summary>Whether pictures are drawn with it. Taken off, the model is exactly what it was, and the adapter stays in memory.</summary>
    /// <exception cref="ObjectDisposedException">It is unloaded.</exception>
    public bool IsOn
    {
        get => set.Attached;
        set
        {
            ObjectDisposedException.ThrowIf(isUnloaded, this);
            if (value) set.Attach();
            else set.Detach();
        }
    }

    /// <summary>1 as trained, 0 exactly the base, any number between, beyond or below.</summary>
    /// <exception cref="OptionsException">It is no number.</exception>
    public double Strength
    {
        get => set.Strength;
        set => set.Strength = double.IsFinite(value) ? value : throw new OptionsException(FormattableString.Invariant($"strength of {Name}: {value}; must be a number"));
    }

    /// <summary>Factors of the strength in parts of the model, as <see cref="AdapterUse.Parts"/>.</summary>
    /// <exception cref="OptionsException">A part that the model lacks, or a factor that is no number; nothing is changed then.</exception>
    public IReadOnlyDictionary<string, double> Parts
    {
        get => factors.Parts;
        set => Factors = factors with { Parts = value };
    }

    /// <summary>Factors of the strength in blocks of the UNet, as <see cref="AdapterUse.Blocks"/>; see <see cref="Studio.BlockNames"/>.</summary>
    /// <exception cref="OptionsException">A number of factors that fits no list of blocks, or a factor that is no number; nothing is changed then.</exception>
    public IReadOnlyList<double> Blocks
    {
        get => factors.Blocks;
        set => Factors = factors with { Blocks = value };
    }

    /// <summary>Layers of the model that it changes.</summary>
    public int LayerCount => set.Layers.Count;

    /// <summary>First twelve digits of the hash that web UIs know it by.</summary>
    internal string Hash { get; }

    internal PartStrengths Factors
    {
        get => factors;
        set
        {
            if (value.Blocks.Concat(value.Parts.Values).Any(factor => !double.IsFinite(factor))) throw new OptionsException($"strengths of {Name}: a factor that is no number");
            value.ApplyTo(set);
            factors = value;
        }
    }

    /// <summary>Ends it.</summary>
    internal void Unload()
    {
        isUnloaded = true;
        set.Dispose();
    }

    /// <summary>File and strengths as they are now.</summary>
    internal AdapterUse Use => new(File, Strength) { Parts = Parts, Blocks = Blocks };
}
