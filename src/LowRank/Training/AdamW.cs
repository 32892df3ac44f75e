using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>
/// AdamW (Loshchilov and Hutter 2019, algorithm 2; the order of torch.optim.AdamW: decay first, epsilon outside the root and after
/// the bias correction), by libtorch's fused kernel over the flat parameters. Or Adam itself (Kingma and Ba 2015, algorithm 1), which differs
/// in its decay alone: that is added to the gradient. Owns its moments.
/// </summary>
internal sealed class AdamW : IOptimizer
{
    // TorchSharp has no binding of the fused kernel; a script reaches it. Compiled once an instance.
    private const string Script = """
        def step(values: List[Tensor], gradients: List[Tensor], first: List[Tensor], second: List[Tensor], steps: List[Tensor],
                 rate: float, beta1: float, beta2: float, decay: float, epsilon: float):
            largest: List[Tensor] = []
            torch.KERNEL(values, gradients, first, second, largest, steps, lr=rate, beta1=beta1, beta2=beta2,
                         weight_decay=decay, eps=epsilon, amsgrad=False, maximize=False)
            return len(values)

        """;

    private readonly double beta1, beta2, epsilon;
    private readonly Tensor first, second;
    private readonly long[] steps;
    private readonly jit.CompilationUnit script;

    /// <summary>Begins with moments of zero.</summary>
    /// <param name="parameters">What it moves.</param>
    /// <param name="beta1">Of the mean of gradients.</param>
    /// <param name="beta2">Of the mean of their squares.</param>
    /// <param name="epsilon">Added to the root.</param>
    /// <param name="decoupled">AdamW: decay times the rate, on the values. Otherwise Adam: decay in the gradient.</param>
    public AdamW(TrainedParameters parameters, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8, bool decoupled = true)
    {
        (Parameters, this.beta1, this.beta2, this.epsilon) = (parameters, beta1, beta2, epsilon);
        first = zeros_like(parameters.Values, requires_grad: false).DetachFromDisposeScope();
        second = zeros_like(parameters.Values, requires_grad: false).DetachFromDisposeScope();
        steps = new long[parameters.Segments.Count];
        script = jit.compile(Script.Replace("KERNEL", decoupled ? "_fused_adamw_" : "_fused_adam_", StringComparison.Ordinal));
    }

    /// <inheritdoc/>
    public TrainedParameters Parameters { get; }

    /// <inheritdoc/>
    public void Step(double rateMultiplier, IReadOnlySet<int>? absent = null)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        for (var index = 0; index < steps.Length; index++)
        {
            if (absent?.Contains(index) != true) steps[index]++;
        }
        foreach (var group in Parameters.Stretches(absent, steps).GroupBy(stretch => stretch.Group))
        {
            Tensor[] Pieces(Tensor whole) => [.. group.Select(stretch => whole.narrow(0, stretch.Start, stretch.Length))];
            var (rate, decay) = (Parameters.Groups[group.Key].LearningRate * rateMultiplier, Parameters.Groups[group.Key].WeightDecay);
            var counts = group.Select(stretch => tensor((float)stretch.Steps, device: Parameters.Values.device)).ToArray();
            script.Run("step", [Pieces(Parameters.Values), Pieces(Parameters.Gradients), Pieces(first), Pieces(second), counts],
                rate, beta1, beta2, decay, epsilon);
        }
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, Tensor> Save() => new Dictionary<string, Tensor>
    {
        ["first_moment"] = first.cpu().clone(),
        ["second_moment"] = second.cpu().clone(),
        ["steps"] = tensor(steps),
    };

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, Tensor> state)
    {
        OptimizerState.Require(state, ("first_moment", first.numel()), ("second_moment", second.numel()), ("steps", steps.Length));
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        first.copy_(state["first_moment"]);
        second.copy_(state["second_moment"]);
        state["steps"].data<long>().ToArray().CopyTo(steps, 0);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        script.Dispose();
        first.Dispose();
        second.Dispose();
    }
}
