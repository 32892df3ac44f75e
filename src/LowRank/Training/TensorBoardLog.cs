using TorchSharp;

namespace LowRank.Training;

/// <summary>Scalars of a run for TensorBoard: loss, loss/smoothed, learning_rate, gradient_norm. A resumed run adds a second event file, which TensorBoard joins.</summary>
internal sealed class TensorBoardLog(string folder) : IDisposable
{
    private readonly TorchSharp.Modules.SummaryWriter writer = torch.utils.tensorboard.SummaryWriter(folder);

    /// <summary>Adds a step's scalars.</summary>
    public void Add(StepFinished step)
    {
        var at = checked((int)step.Step);
        writer.add_scalar("loss", (float)step.Loss, at);
        writer.add_scalar("loss/smoothed", (float)step.SmoothedLoss, at);
        writer.add_scalar("learning_rate", (float)step.LearningRate, at);
        writer.add_scalar("gradient_norm", (float)step.GradientNorm, at);
    }

    /// <inheritdoc/>
    public void Dispose() => (writer as IDisposable)?.Dispose();
}
