using System.Globalization;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Adapters.Kinds;

/// <summary>A LoRA that changes the bias too: b' = b + s · bias. PEFT's <c>lora_bias</c> scales it as the product, ComfyUI's extracted files keep the difference itself.</summary>
internal sealed class BiasedLoraLayer(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) : LoraLayer(target, factors)
{
    private protected override Tensor? Bias => Factors[BiasedLoraKind.Bias];

    private protected override Tensor AddTo(Tensor y, Tensor x, ScalarType wide, double strength, LayerDropout? dropout)
    {
        y = y.to(wide);
        return y.Plus(Branch(x.to(wide), y, strength, dropout)).Plus(Factors[BiasedLoraKind.Bias].to(wide).Times(strength).view(Shape.Channels(y.dim())));
    }
}

/// <summary>LoRA with a bias, of PEFT (<c>lora_B.bias</c>) or ComfyUI (<c>diff_b</c>).</summary>
internal sealed class BiasedLoraKind : ReadKind
{
    /// <summary>The factor: (out), with its scale.</summary>
    public const string Bias = "bias";

    private const string PeftBias = "lora_B.bias";

    public override string Name => "LoRA with biases";

    public override string Word => "lora";

    public override (string, IReadOnlyDictionary<string, string>) Trainer => ("networks.lora", new Dictionary<string, string>());

    public override bool HasRank(FileModule module) => true;

    public override bool IsInPeft => true;

    public override bool ChangesBias(FileModule module) => true;

    public override AdapterLayer Make(AdapterTarget target, IReadOnlyDictionary<string, Tensor> factors) => new BiasedLoraLayer(target, factors);

    public override bool Owns(FileModule module) =>
        (module[AdapterKey.Down] is not null || module[AdapterKey.Up] is not null || module[LoraKind.Mid] is not null) && (module[PeftBias] is not null || module[FullKind.Bias] is not null);

    public override bool Knows(string parameter) => parameter is AdapterKey.Down or AdapterKey.Up or AdapterKey.Alpha or LoraKind.Mid or PeftBias or FullKind.Bias;

    public override string? Fault(FileModule module)
    {
        if (LoraKind.FaultOfFactors(module) is { } fault) return fault;
        if (module[PeftBias] is not null && module[FullKind.Bias] is not null) return $"{PeftBias} and {FullKind.Bias}: two biases";
        var (name, outputs) = (module[PeftBias] is null ? FullKind.Bias : PeftBias, module[AdapterKey.Up]!.Shape[0]);
        return module[name]!.Shape is [var count] && count == outputs ? null
            : string.Create(CultureInfo.InvariantCulture, $"{name} has the shape {Shapes.Show(module[name]!.Shape)}; one number for each of the {outputs} outputs is read");
    }

    public override int RankOf(FileModule module) => LoraKind.RankOfFactors(module);

    public override long InputsOf(FileModule module) => module[AdapterKey.Down]!.Shape[1];

    public override string? Misfit(FileModule module, LayerShape layer) => LoraKind.MisfitOfFactors(module, layer);

    public override IReadOnlyList<Factor> Factors(FileModule module, LayerShape shape) => [.. LoraKind.Factors(shape, module.Rank), new(Bias, shape.Outputs)];

    public override IReadOnlyDictionary<string, Tensor> Read(FileModule module)
    {
        var factors = LoraKind.ReadFactors(module);
        factors[Bias] = module[PeftBias] is null ? module.Read(FullKind.Bias) : module.Read(PeftBias).Times(ScaleOf(module));
        return factors;
    }

    public override Tensor Norm(IReadOnlyDictionary<string, Tensor> factors, double scale) =>
        NormOfProduct(factors["down"].flatten(1), factors["up"].flatten(1)).MultiplyInPlace(Math.Abs(scale));

    /// <summary>The bias as ComfyUI keeps it.</summary>
    public override IEnumerable<(string Parameter, Tensor Tensor)> Kohya(AdapterLayer layer) =>
        [("lora_down.weight", layer.Factors["down"]), ("lora_up.weight", layer.Factors["up"]), (FullKind.Bias, layer.Factors[Bias]), Alpha(layer.Alpha)];

    public override IEnumerable<(string Parameter, Tensor Tensor)> Peft(AdapterLayer layer) =>
        [("lora_A.weight", layer.Factors["down"]), ("lora_B.weight", layer.Factors["up"].Times(layer.Scale)), (PeftBias, layer.Factors[Bias])];
}
