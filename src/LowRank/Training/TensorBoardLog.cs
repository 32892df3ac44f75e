using System.Globalization;
using TorchSharp;

namespace LowRank.Training;

/// <summary>
/// What can be watched of a run, for TensorBoard: loss, loss/smoothed, loss/teacher where there is one, learning_rate, gradient_norm; the error by range of timesteps; the loss
/// on held-out pictures; norms; the hardest pictures as a text. A resumed run adds a second event file, which TensorBoard joins.
/// </summary>
internal sealed class TensorBoardLog(string folder) : IDisposable
{
    private const int PicturesListed = 20;
    private readonly TorchSharp.Modules.SummaryWriter writer = torch.utils.tensorboard.SummaryWriter(folder);
    private readonly SmoothedBins bins = new();

    /// <summary>Adds a step's scalars.</summary>
    public void Add(StepFinished step)
    {
        var at = checked((int)step.Step);
        writer.add_scalar("loss", (float)step.Loss, at);
        writer.add_scalar("loss/smoothed", (float)step.SmoothedLoss, at);
        if (step.TeacherLoss is { } taught) writer.add_scalar("loss/teacher", (float)taught, at);
        writer.add_scalar("learning_rate", (float)step.LearningRate, at);
        writer.add_scalar("gradient_norm", (float)step.GradientNorm, at);
        foreach (var (bin, error) in bins.Add(step.Uses)) writer.add_scalar("error_by_timestep/" + TimestepBins.Name(bin), (float)error, at);
    }

    /// <summary>Takes in a step that an earlier part of the run wrote already, so that averages go on.</summary>
    public void GoOnFrom(StepFinished step) => bins.Add(step.Uses);

    /// <summary>Adds a measure of held-out pictures: held_out/loss, and held_out/timestep_500 for each timestep.</summary>
    public void Add(HeldOutMeasured measured)
    {
        var at = checked((int)measured.Step);
        writer.add_scalar("held_out/loss", (float)measured.Loss, at);
        foreach (var (timestep, loss) in measured.Timesteps.Zip(measured.Losses)) writer.add_scalar(string.Create(CultureInfo.InvariantCulture, $"held_out/timestep_{timestep:D3}"), (float)loss, at);
    }

    /// <summary>Adds norms: norm/unet.down_blocks.0 and so on.</summary>
    public void Add(NormsMeasured measured)
    {
        foreach (var (name, norm) in measured.Norms) writer.add_scalar("norm/" + name, (float)norm, checked((int)measured.Step));
    }

    /// <summary>Writes which pictures are the hardest so far.</summary>
    public void AddPictures(IReadOnlyList<PictureDifficulty> pictures, long step)
    {
        if (pictures.Count == 0) return;
        var rows = pictures.Take(PicturesListed).Select(picture => string.Create(CultureInfo.InvariantCulture, $"| {picture.Picture} | {picture.Relative:0.00} | {picture.Error:0.0000} | {picture.Uses} |\n"));
        writer.add_text("pictures with the highest loss", "| picture | against others at its timesteps | mean error | uses |\n| --- | --- | --- | --- |\n" + string.Concat(rows), checked((int)step));
    }

    /// <inheritdoc/>
    public void Dispose() => (writer as IDisposable)?.Dispose();
}
