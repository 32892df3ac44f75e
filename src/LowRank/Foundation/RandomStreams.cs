using TorchSharp;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>
/// Independent random generators by name, all from one seed, so that drawing more of one kind never shifts another (P14).
/// CPU generators: the same numbers on every device. Owns them.
/// </summary>
internal sealed class RandomStreams(long seed) : IDisposable
{
    private const int StateLength = 5056;
    private readonly Dictionary<string, Generator> streams = [];

    /// <summary>The stream's generator; the same object every time. Names in use: init, shuffle, crop, caption, timestep, noise, perturbation, inpainting, pixels, dropout, rounding, preview; of recipes that compute adapters: dare, range.</summary>
    public Generator this[string name]
    {
        get
        {
            if (streams.TryGetValue(name, out var generator)) return generator;
            return streams[name] = new Generator(unchecked((ulong)Mix(seed, name)));
        }
    }

    /// <summary>Names and states (5056 bytes each) of the streams used so far.</summary>
    public IReadOnlyDictionary<string, byte[]> Save()
    {
        using var scope = NewDisposeScope();
        return streams.ToDictionary(item => item.Key, item => item.Value.get_state().bytes.ToArray());
    }

    /// <summary>Puts streams into saved states.</summary>
    /// <exception cref="CheckpointException">A state is not one that <see cref="Save"/> gave.</exception>
    public void Restore(IReadOnlyDictionary<string, byte[]> states)
    {
        foreach (var (name, state) in states)
        {
            if (state.Length != StateLength) throw new CheckpointException(Invariant($"the saved state of the random stream \"{name}\" has {state.Length} bytes, {StateLength} are needed; the training state is damaged: start from an earlier one"));
            using var tensor = torch.tensor(state);
            this[name].set_state(tensor);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var generator in streams.Values) generator.Dispose();
        streams.Clear();
    }

    /// <summary>A seed for this name: FNV-1a of the name, mixed with the seed by SplitMix64's finaliser.</summary>
    private static long Mix(long seed, string name)
    {
        var hash = 0xCBF29CE484222325UL;
        foreach (var letter in name) hash = (hash ^ letter) * 0x100000001B3UL;
        var z = hash + unchecked((ulong)seed) * 0x9E3779B97F4A7C15UL;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return unchecked((long)(z ^ (z >> 31)));
    }
}
