using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// Whole modules to be trained, as the yardstick for adapters: every parameter is moved into one flat tensor, of which the modules hold views,
/// so that the optimizer, clipping and saving see one array, as they do of an adapter. Memory: 4 bytes a number for values, 4 for gradients.
/// Owns the flat tensors; the modules stay their owner's and can be used as long as this is not disposed.
/// </summary>
internal sealed class TrainedModules : IDisposable
{
    /// <summary>Moves the parameters of modules.</summary>
    /// <param name="modules">By name (unet, text_encoder, …), float32, on one device. The order is that of the flat tensor.</param>
    /// <param name="groups">Rates and decays, one for each module in its order.</param>
    /// <exception cref="OptionsException">A parameter is not float32: in 16 bits most updates would be rounded away.</exception>
    public TrainedModules(IReadOnlyList<(string Name, nn.Module Module)> modules, IReadOnlyList<ParameterGroup> groups)
    {
        var all = modules.SelectMany(item => item.Module.named_parameters().Select(entry => entry.parameter)).ToList();
        if (all.Find(parameter => parameter.dtype != ScalarType.Float32) is { } other)
        {
            throw new OptionsException($"training.precision: a model of {other.dtype} cannot be trained as a whole, since most updates would be rounded away; use fp32");
        }
        using var scope = NewDisposeScope();
        var count = all.Sum(parameter => parameter.numel());
        Values = zeros(count, ScalarType.Float32, all[0].device).DetachFromDisposeScope();
        Gradients = zeros_like(Values).DetachFromDisposeScope();
        var segments = new List<ParameterSegment>();
        var at = 0L;
        for (var group = 0; group < modules.Count; group++)
        {
            var (name, module) = modules[group];
            ModuleWeights.Move(module, (key, present) =>
            {
                var length = present.numel();
                var (value, gradient) = (Values.narrow(0, at, length).view(present.shape), Gradients.narrow(0, at, length).view(present.shape));
                segments.Add(new ParameterSegment($"{name}.{key}", at, length, group));
                at += length;
                return (value.DetachFromDisposeScope(), gradient);   // the parameter keeps its gradient's memory
            });
        }
        Parameters = new TrainedParameters(Values, Gradients, segments, groups);
    }

    /// <summary>All numbers (N) float32: module by module, parameter by parameter.</summary>
    public Tensor Values { get; }

    /// <summary>Their gradients (N) float32.</summary>
    public Tensor Gradients { get; }

    /// <summary>What an optimizer steps over: one group a module.</summary>
    public TrainedParameters Parameters { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Values.Dispose();
        Gradients.Dispose();
    }
}
