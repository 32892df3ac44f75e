using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Whole modules to be trained, as the yardstick for adapters: every parameter is moved into one flat tensor, of which the modules hold views,
/// so that the optimizer, clipping and saving see one array, as they do of an adapter. Memory: 4 bytes a number for values, 4 for gradients; half of it in bfloat16,
/// which needs <see cref="RoundedOptimizer"/>.
/// Owns the flat tensors; the modules stay their owner's and can be used as long as this is not disposed.
/// </summary>
internal sealed class TrainedModules : IDisposable
{
    private readonly IReadOnlyList<(string Name, Tensor Parameter)> named;

    /// <summary>Moves the parameters of modules.</summary>
    /// <param name="modules">By name (unet, text_encoder, …), all float32 or all bfloat16, on one device. The order is that of the flat tensor.</param>
    /// <param name="rates">Sorts the parameters into groups; the names of modules are those of components.</param>
    /// <exception cref="OptionsException">Parameters of other or several types; or a pattern of the rates matches nothing.</exception>
    public TrainedModules(IReadOnlyList<(string Name, nn.Module Module)> modules, ParameterRates rates)
    {
        var all = modules.SelectMany(item => item.Module.named_parameters().Select(entry => entry.parameter)).ToList();
        var type = all[0].dtype;
        if (type is not (ScalarType.Float32 or ScalarType.BFloat16) || all.Find(parameter => parameter.dtype != type) is not null)
        {
            throw new OptionsException($"training.precision: parts of {string.Join(" and ", all.Select(parameter => parameter.dtype).Distinct())} cannot be trained together; take fp32");
        }
        using var scope = NewDisposeScope();
        var count = all.Sum(parameter => parameter.numel());
        Values = zeros(count, type, all[0].device).DetachFromDisposeScope();
        Gradients = zeros_like(Values).DetachFromDisposeScope();
        var (at, placed) = (0L, new List<(string, Tensor)>());
        foreach (var (name, module) in modules)
        {
            var keys = new List<string>();
            ModuleWeights.Move(module, (key, present) =>
            {
                keys.Add(key);
                var length = present.numel();
                var (value, gradient) = (Values.narrow(0, at, length).view(present.shape), Gradients.narrow(0, at, length).view(present.shape));
                at += length;
                return (value.DetachFromDisposeScope(), gradient);   // the parameter keeps its gradient's memory
            });
            var moved = module.named_parameters().ToDictionary(entry => entry.name, entry => entry.parameter);
            placed.AddRange(keys.Select(key => ($"{name}.{key}", (Tensor)moved[key])));
        }
        named = placed;
        Parameters = rates.Sort(named, Values, Gradients);
    }

    /// <summary>All numbers (N) float32 or bfloat16: module by module, parameter by parameter.</summary>
    public Tensor Values { get; }

    /// <summary>Their gradients (N), of the same type.</summary>
    public Tensor Gradients { get; }

    /// <summary>What an optimizer steps over.</summary>
    public TrainedParameters Parameters { get; }

    /// <summary>Looks for parameters of a module that nothing in use depends on (<see cref="UnreachedLayers"/>): updates leave them as they are.</summary>
    /// <param name="module">Its name.</param>
    /// <param name="outputs">Runs it and gives what is in use of it.</param>
    public void LeaveUnreached(string module, Func<IEnumerable<Tensor>> outputs) => Parameters.LeaveOut(UnreachedLayers.Find(named, Gradients, module, outputs));

    /// <inheritdoc/>
    public void Dispose()
    {
        Values.Dispose();
        Gradients.Dispose();
    }
}
