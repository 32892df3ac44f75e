using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace LowRank.Models.Layers;

/// <summary>
/// Makes every layer that holds weights, so that device, dtype and storage are decided in one place.
/// Model fields are typed <c>Module&lt;Tensor, Tensor&gt;</c>: another layer can stand in without any model knowing.
/// On the meta device layers have shapes and names but no memory; <c>Checkpoint.LoadInto</c> gives them weights.
/// </summary>
internal sealed record LayerFactory(Device Device, ScalarType Type)
{
    /// <summary>Shapes and names only, float32.</summary>
    public static LayerFactory Meta { get; } = new(META, ScalarType.Float32);

    /// <summary>(…, in) to (…, out).</summary>
    public Module<Tensor, Tensor> Linear(long inputs, long outputs, bool bias = true) => nn.Linear(inputs, outputs, bias, Device, Type);

    /// <summary>(B, in, H, W) to (B, out, H', W').</summary>
    public Module<Tensor, Tensor> Conv2d(long inputs, long outputs, long kernel, long stride = 1, long padding = 0, bool bias = true) =>
        Conv2d(inputs, outputs, (kernel, kernel), (stride, stride), (padding, padding), bias);

    /// <summary>The same with sides (height, width) of their own.</summary>
    public Module<Tensor, Tensor> Conv2d(long inputs, long outputs, (long High, long Wide) kernel, (long High, long Wide) stride, (long High, long Wide) padding, bool bias)
    {
        using var scope = NewDisposeScope();   // TorchSharp 0.107 leaves a tensor of its initialisation behind
        var layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias: bias, device: Device, dtype: Type);
        foreach (var parameter in layer.parameters()) parameter.DetachFromDisposeScope();
        return layer;
    }

    /// <summary>Normalises groups of channels of (B, C, …). Starts as the identity: TorchSharp 0.107 leaves its weights uninitialised.</summary>
    public Module<Tensor, Tensor> GroupNorm(long groups, long channels, double eps)
    {
        var layer = nn.GroupNorm(groups, channels, eps, device: Device, dtype: Type);
        init.ones_(layer.weight!);
        init.zeros_(layer.bias!);
        return layer;
    }

    /// <summary>Normalises the last axis.</summary>
    public Module<Tensor, Tensor> LayerNorm(long size, double eps) => nn.LayerNorm(size, eps, device: Device, dtype: Type);

    /// <summary>(…) int64 to (…, size).</summary>
    public Module<Tensor, Tensor> Embedding(long count, long size)
    {
        using var scope = NewDisposeScope();   // as for Conv2d
        var layer = nn.Embedding(count, size, device: Device, dtype: Type);
        foreach (var parameter in layer.parameters()) parameter.DetachFromDisposeScope();
        return layer;
    }
}
