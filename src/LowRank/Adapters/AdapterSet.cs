using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>
/// Adapter layers on the modules of a model, attached by forward hooks: the model's own tensors are never touched,
/// and any TorchSharp module tree will do. Owns its tensors; take it off by <see cref="Detach"/> or dispose.
/// Several sets may sit on one model; their deltas add up.
/// </summary>
public sealed class AdapterSet : IDisposable
{
    private readonly List<Action> hooks = [];
    private readonly List<Tensor> owned = [];

    private readonly DropoutShares dropout;

    private AdapterSet(IReadOnlyList<AdapterTarget> targets, ModuleNames names, DropoutShares dropout, Device device, long reserved = 0)
    {
        Names = names;
        this.dropout = dropout;
        using var scope = NewDisposeScope();
        FlatParameters = zeros(targets.Sum(target => target.ParameterCount) + reserved, ScalarType.Float32, device);
        FlatGradients = zeros_like(FlatParameters);
        long offset = 0;
        Layers = targets.Select(target => target.Kind.Make(target, target.Factors.ToDictionary(factor => factor.Name, factor => Part(factor.Shape, target.Kind.Kind is not null)))).ToList();
        owned.AddRange([FlatParameters, FlatGradients]);
        foreach (var tensor in owned) tensor.DetachFromDisposeScope();

        Tensor Part(long[] sizes, bool trained)
        {
            var count = sizes.Aggregate((a, b) => a * b);
            var part = FlatParameters.narrow(0, offset, count).view(sizes).requires_grad_(trained);
            if (trained) part.grad = FlatGradients.narrow(0, offset, count).view(sizes);   // backward adds to it in place
            owned.Add(part);
            offset += count;
            return part;
        }
    }

    /// <summary>One for each adapted module, in module order.</summary>
    public IReadOnlyList<AdapterLayer> Layers { get; }

    /// <summary>All trainable numbers in one tensor (n), float32: of each layer in order, its factors in order. The layers' tensors are views of it.</summary>
    public Tensor FlatParameters { get; }

    /// <summary>The gradients of <see cref="FlatParameters"/> (n), float32. Backward adds to it; set it to zero before a step.</summary>
    public Tensor FlatGradients { get; }

    /// <summary>Factor of every delta: 1 as trained, 0 exactly the base, any number between, beyond or below. Counts from the next forward on.</summary>
    public double Strength { get; set; } = 1;

    /// <summary>What loading did that one may not expect: modules left out, embeddings not applied, another base. Empty for a fresh adapter.</summary>
    public IReadOnlyList<string> Warnings { get; private init; } = [];

    /// <summary>How files name the layers of this model.</summary>
    internal ModuleNames Names { get; }

    /// <summary>Where dropout draws its masks from. Dropout acts only while this is set: set it to train, clear it to use the adapter.</summary>
    public Generator? DropoutStream
    {
        get;
        set
        {
            field = value;
            DropoutNumbers = value is null ? null : (_, _, shape) => rand(shape, ScalarType.Float32, generator: value);
        }
    }

    /// <summary>
    /// The numbers in [0, 1) behind dropout: a place, a layer and a shape to a float32 tensor of that shape on the CPU. What has a number
    /// below the share is dropped. Drawn from <see cref="DropoutStream"/>, unless a caller that has its own numbers sets it.
    /// </summary>
    internal Func<DropoutPlace, AdapterLayer, long[], Tensor>? DropoutNumbers { get; set; }

    /// <summary>Dropout of one layer in one call; null for none.</summary>
    internal LayerDropout? DropoutOf(AdapterLayer layer) => dropout.Any && DropoutNumbers is { } numbers ? new LayerDropout(layer, dropout, numbers) : null;

    /// <summary>True while the model's outputs include this adapter's.</summary>
    public bool Attached => hooks.Count > 0;

    /// <summary>A fresh adapter, attached. One factor of every product is zero (or the start is taken off again), so that it changes nothing yet.</summary>
    /// <param name="components">The model's parts by name: unet, text_encoder, …</param>
    /// <param name="options">Kind, targets, sizes, start.</param>
    /// <param name="init">Draws the factors that are not zero, on the CPU.</param>
    /// <param name="device">Where the model lies.</param>
    /// <exception cref="OptionsException">Impossible options, or targets that find no module.</exception>
    public static AdapterSet Create(IReadOnlyDictionary<string, nn.Module> components, AdapterOptions options, Generator init, Device device) =>
        Create(components, TargetSelector.Select(components, options), options, init, device);

    /// <summary>The same for modules that are chosen already, by the options of each part; of these options everything but targets and sizes counts.</summary>
    /// <param name="components">The model's parts by name.</param>
    /// <param name="targets">The modules.</param>
    /// <param name="options">Kind and start.</param>
    /// <param name="init">Draws the factors that are not zero, on the CPU.</param>
    /// <param name="device">Where the model lies.</param>
    /// <param name="reserved">Room for so many other numbers behind those of the layers in the flat tensors: vectors of learned tokens that are trained in the same steps.</param>
    internal static AdapterSet Create(IReadOnlyDictionary<string, nn.Module> components, IReadOnlyList<AdapterTarget> targets, AdapterOptions options, Generator init, Device device, long reserved = 0)
    {
        var set = new AdapterSet(targets, new ModuleNames(components), options.DropoutShares, device, reserved);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        foreach (var layer in set.Layers)
        {
            using var inner = NewDisposeScope();
            layer.Target.Kind.Start(layer, options, init);
        }
        set.Attach();
        return set;
    }

    /// <summary>An adapter from a file, attached. Its tensors are float32, whatever the file's type.</summary>
    /// <param name="components">The model's parts by name: unet, text_encoder, …</param>
    /// <param name="file">Of any convention; stays the caller's, and may be closed afterwards.</param>
    /// <param name="options">Strength, and what is forgiven; null for the defaults.</param>
    /// <exception cref="CheckpointException">The file holds anything that finds no module, does not fit, is not finite, or is of no kind that is read. The message lists it.</exception>
    public static AdapterSet Load(IReadOnlyDictionary<string, nn.Module> components, AdapterFile file, AdapterLoadOptions? options = null)
        => Load(new ModuleNames(components), file, options);

    /// <summary>The same for a model whose layers are named already: what takes long is done once for many files.</summary>
    internal static AdapterSet Load(ModuleNames names, AdapterFile file, AdapterLoadOptions? options = null)
    {
        options ??= new();
        var fit = new AdapterFit(file, names);
        var warnings = fit.Require(options);
        var targets = fit.Matched.Select(item => item.Module.TargetOn(item.Layer)).ToList();
        var set = new AdapterSet(targets, names, new DropoutShares(), options.Device ?? CPU) { Warnings = warnings, Strength = options.Strength };
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        foreach (var (layer, (module, _)) in set.Layers.Zip(fit.Matched))
        {
            using var inner = NewDisposeScope();
            foreach (var (name, values) in module.ReadFactors()) layer.Factors[name].copy_(values.view(layer.Factors[name].shape));
        }
        if (!set.FlatParameters.isfinite().all().item<bool>())
        {
            set.Dispose();
            throw fit.RefuseNotFinite(options);
        }
        set.Attach();
        return set;
    }

    /// <summary>Every trainable tensor with its name (<c>component.path.down</c>, <c>….up</c>; see <see cref="AdapterLayer.Factors"/>) in the order of <see cref="FlatParameters"/>; still owned by the set.</summary>
    public IEnumerable<(string Name, Tensor Parameter)> NamedParameters() =>
        Layers.SelectMany(layer => layer.Named());

    /// <summary>
    /// Indices (in the order of <see cref="NamedParameters"/>) of the parameters of layers that module dropout left out of every pass since the last
    /// call: they have no gradient, which is not the same as a gradient of zeros. Null without module dropout.
    /// </summary>
    internal IReadOnlySet<int>? TakeAbsent()
    {
        if (dropout.Module == 0) return null;
        var absent = Layers.SelectMany(layer => layer.Target.Factors.Select(_ => !layer.TookPart)).Select((missing, index) => (missing, index)).Where(item => item.missing).Select(item => item.index).ToHashSet();
        foreach (var layer in Layers) layer.TookPart = false;
        return absent;
    }

    /// <summary>Puts every layer on its module; does nothing when they are on.</summary>
    public void Attach()
    {
        if (Attached) return;
        hooks.AddRange(Layers.Select(layer => layer.Attach(this)));
    }

    /// <summary>Takes every layer off: the model gives exactly what it gave before. Does nothing when they are off.</summary>
    public void Detach()
    {
        foreach (var remove in hooks) remove();
        hooks.Clear();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Detach();
        foreach (var tensor in Layers.SelectMany(layer => layer.Fixed)) tensor.Dispose();
        foreach (var tensor in owned) tensor.Dispose();
        owned.Clear();
    }
}
