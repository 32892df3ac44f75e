using LowRank.Adapters.Kinds;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters;

/// <summary>A trainable tensor of a layer: its name within the layer, and its shape.</summary>
internal readonly record struct Factor(string Name, params long[] Shape)
{
    public long Count => Shape.Aggregate(1L, (a, b) => a * b);
}

/// <summary>All that there is to know of one kind of adapter: its factors, how they start, and how files name them. One file for each kind.</summary>
internal abstract class LayerKind
{
    private static readonly LayerKind[] All =
    [
        new LokrKind(), new LohaKind(), new DoraKind(DoraRule.Lycoris), new DoraKind(DoraRule.Peft), new BiasedLoraKind(), new LoraKind(),
        new BoftKind(), new OftKind(RotationRule.Lycoris), new OftKind(RotationRule.SdScripts), new GloraKind(), new Ia3Kind(), new TrainedNormKind(), new FullKind(),
    ];

    /// <summary>The kind that options ask for.</summary>
    public static LayerKind Of(AdapterOptions options) =>
        options.Kind == AdapterKind.Dora ? new DoraKind(options.DoraRule) : Array.Find(All, item => item.Kind == options.Kind)!;

    /// <summary>The kind that a file's module is of, by its parameters; null for none of them.</summary>
    public static LayerKind? Of(FileModule module) => Array.Find(All, item => item.Owns(module));

    /// <summary>As options name it; null for a <see cref="ReadKind"/>.</summary>
    public abstract AdapterKind? Kind { get; }

    /// <summary>As people write it: LoRA, LoHa, ….</summary>
    public abstract string Name { get; }

    /// <summary>In metadata: lora, loha, ….</summary>
    public virtual string Word => Kind.ToString()!.ToLowerInvariant();

    /// <summary>sd-scripts' network module and the arguments that tell it the kind, for metadata.</summary>
    public abstract (string Module, IReadOnlyDictionary<string, string> Arguments) Trainer { get; }

    /// <summary>The factors of a fresh layer, in their order.</summary>
    public abstract IReadOnlyList<Factor> Factors(LayerShape shape, int rank, AdapterOptions options);

    /// <summary>A layer over its tensors.</summary>
    public abstract AdapterLayer Make(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors);

    /// <summary>Gives a fresh layer the values it starts with, so that it changes nothing yet. Called without gradients.</summary>
    public abstract void Start(AdapterLayer layer, AdapterOptions options, Generator init);

    /// <summary>‖scale · product‖ (Frobenius) as a float64 scalar; that of a DoRA without its lengths, of other kinds that depend on the base the length of what does not.</summary>
    public abstract Tensor Norm(IReadOnlyDictionary<string, Tensor> factors, double scale);

    /// <summary>Whether a file's module is of this kind, by its parameters (and its name).</summary>
    public abstract bool Owns(FileModule module);

    /// <summary>Whether a module of this kind may have the parameter.</summary>
    public abstract bool Knows(string parameter);

    /// <summary>What is wrong with a module of a file by itself; null when nothing is.</summary>
    public abstract string? Fault(FileModule module);

    /// <summary>Inner size; only of a module without fault, as all below.</summary>
    public abstract int RankOf(FileModule module);

    /// <summary>Whether the scale depends on the rank: not of factors that are whole matrices.</summary>
    public virtual bool HasRank(FileModule module) => true;

    /// <summary>Whether a module changes its layer's weight: one of some kinds may change the bias alone.</summary>
    public virtual bool ChangesWeight(FileModule module) => true;

    /// <summary>Whether a module changes its layer's bias.</summary>
    public virtual bool ChangesBias(FileModule module) => false;

    /// <summary>Whether the change depends on the base's weight, not on the factors alone.</summary>
    public virtual bool DependsOnBase => false;

    /// <summary>Whether it can sit on a norm.</summary>
    public virtual bool FitsNorms => false;

    /// <summary>Whether its alpha is no numerator of a scale but a limit, of which 0 is a value.</summary>
    public virtual bool AlphaIsLimit => false;

    /// <summary>Whether a PEFT configuration's alpha is about it.</summary>
    public virtual bool IsInPeft => true;

    /// <summary>The name of a module in the convention of kohya files, from that of a LoRA.</summary>
    public virtual string KohyaName(string name) => name;

    /// <summary>Inputs that its layer has; 0 where the factors do not tell.</summary>
    public abstract long InputsOf(FileModule module);

    /// <summary>What does not fit the layer; null when it fits.</summary>
    public abstract string? Misfit(FileModule module, LayerShape layer);

    /// <summary>The factors of the layer that a module fits, in their order.</summary>
    public abstract IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape);

    /// <summary>The values of the factors in float32, of as many elements as they have. The caller owns them.</summary>
    public abstract IReadOnlyDictionary<string, Tensor> Read(FileModule module);

    /// <summary>alpha / rank, or what the kind has in its place.</summary>
    public virtual double ScaleOf(FileModule module) => module.EffectiveAlpha / module.Rank;

    /// <summary>Parameters of a written layer without its name, in the order of kohya files.</summary>
    public abstract IEnumerable<(string Parameter, Tensor Tensor)> Kohya(AdapterLayer layer);

    /// <summary>The same for PEFT: the scale is folded in.</summary>
    public abstract IEnumerable<(string Parameter, Tensor Tensor)> Peft(AdapterLayer layer);

    /// <summary>The alpha that is written.</summary>
    private protected static (string, Tensor) Alpha(double alpha) => ("alpha", tensor(alpha, ScalarType.Float32));

    /// <summary>‖b · a‖ without forming the product: ‖BA‖² is the sum of BᵀB times AAᵀ, element by element.</summary>
    /// <param name="a">(r, n), any float type.</param>
    /// <param name="b">(m, r)</param>
    internal static Tensor NormOfProduct(Tensor a, Tensor b)
    {
        (a, b) = (a.to(ScalarType.Float64), b.to(ScalarType.Float64));
        return b.t().mm(b).mul_(a.mm(a.t())).sum().AtLeastInPlace(0).sqrt_();
    }

    /// <summary>Uniform in ±1/√fan-in: Kaiming with a = √5.</summary>
    private protected static void Kaiming(Tensor values, Generator init)
    {
        var bound = 1 / Math.Sqrt(values.shape.Skip(1).Aggregate(1L, (a, b) => a * b));
        values.copy_(empty(values.shape, ScalarType.Float32).uniform_(-bound, bound, init));
    }

    /// <summary>Normal with a deviation.</summary>
    private protected static void Normal(Tensor values, double deviation, Generator init) =>
        values.copy_(randn(values.shape, ScalarType.Float32, generator: init).MultiplyInPlace(deviation));

    /// <summary>A Tucker core folded into the factor before it: (r, s, kh, kw) and (s, in) to (r, in·kh·kw).</summary>
    private protected static Tensor Fold(Tensor core, Tensor inner) => einsum("rskl,si->rikl", core, inner.flatten(1)).flatten(1);
}
