using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>What modules give out while a model runs, seen through hooks: the first call of each. Owns the tensors.</summary>
internal sealed class Taps : IDisposable
{
    private readonly Dictionary<string, Tensor> tensors = [];
    private readonly List<Action> removals = [];

    /// <param name="model">Its hooks are taken off again when this is disposed.</param>
    /// <param name="wanted">Module names; <c>x &gt; name</c> calls what goes into module <c>x</c> by that name.</param>
    public Taps(nn.Module model, params IEnumerable<string> wanted)
    {
        var modules = model.named_modules().ToDictionary(item => item.name, item => item.module);
        foreach (var name in wanted.Where(name => !name.Contains(" > ", StringComparison.Ordinal)))
        {
            Assert.True(modules.TryGetValue(name, out var module), $"the model has no {name}");
            removals.Add(module switch
            {
                nn.Module<Tensor, Tensor> one => one.register_forward_hook((_, _, output) => Keep(name, output)).remove,
                nn.Module<Tensor, Tensor, Tensor, Tensor> three => three.register_forward_hook((_, _, _, _, output) => Keep(name, output)).remove,
                nn.Module<Tensor, Tensor, Tensor, Stack<Tensor>, Tensor> four => four.register_forward_hook((_, _, _, _, _, output) => Keep(name, output)).remove,
                var other => throw new InvalidOperationException($"{name} is a {other!.GetType().Name}, which nothing taps"),
            });
        }
        foreach (var parts in wanted.Select(name => name.Split(" > ")).Where(parts => parts.Length == 2))
        {
            removals.Add(((nn.Module<Tensor, Tensor>)modules[parts[0]]).register_forward_pre_hook((_, input) => Keep(parts[1], input)).remove);
        }
    }

    public IReadOnlyDictionary<string, Tensor> Tensors => tensors;

    public void Dispose()
    {
        foreach (var remove in removals) remove();
        foreach (var tensor in tensors.Values) tensor.Dispose();
    }

    private Tensor Keep(string name, Tensor tensor)
    {
        if (!tensors.ContainsKey(name)) tensors[name] = tensor.alias().DetachFromDisposeScope();
        return tensor;
    }
}
