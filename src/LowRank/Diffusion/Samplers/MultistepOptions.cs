namespace LowRank.Diffusion.Samplers;

/// <summary>What multistep solvers have in common; names and values are those of <c>scheduler_config.json</c>.</summary>
internal record MultistepOptions : SigmaOptions
{
    /// <summary>Predictions that a step looks at, 1 to 3.</summary>
    public int SolverOrder { get; init; } = 2;

    /// <summary>Lowers the order in the last steps, which the end at no noise would make unstable.</summary>
    public bool LowerOrderFinal { get; init; } = true;

    /// <summary>Levels of a straight path from noise to picture (rectified flow); for models that predict flow.</summary>
    public bool UseFlowSigmas { get; init; }

    /// <summary>Moves flow levels towards noise; 1 leaves them.</summary>
    public double FlowShift { get; init; } = 1;
}
