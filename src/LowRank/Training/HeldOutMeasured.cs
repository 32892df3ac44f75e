using System.Text.Json.Serialization;

namespace LowRank.Training;

/// <summary>The loss on held-out pictures was measured.</summary>
public sealed class HeldOutMeasured : TrainingEvent
{
    [JsonConstructor]
    internal HeldOutMeasured(long step, double loss, IReadOnlyList<double> losses, IReadOnlyList<int> timesteps, IReadOnlyList<HeldOutPictureLoss> pictures) =>
        (Step, Loss, Losses, Timesteps, Pictures) = (step, loss, losses, timesteps, pictures);

    /// <summary>Updates made so far; 0 before the first.</summary>
    public long Step { get; }

    /// <summary>Mean over pictures and timesteps.</summary>
    public double Loss { get; }

    /// <summary>Mean over pictures at each timestep.</summary>
    public IReadOnlyList<double> Losses { get; }

    /// <summary>The timesteps.</summary>
    public IReadOnlyList<int> Timesteps { get; }

    /// <summary>Each picture, mean over the timesteps.</summary>
    public IReadOnlyList<HeldOutPictureLoss> Pictures { get; }

    /// <summary>Means of a measure: first over the pictures at each timestep, then over the timesteps.</summary>
    /// <param name="step">Updates made.</param>
    /// <param name="timesteps">As asked for.</param>
    /// <param name="pictures">Names, and the error at each timestep.</param>
    internal static HeldOutMeasured Of(long step, IReadOnlyList<int> timesteps, IReadOnlyList<(string Name, IReadOnlyList<float> Errors)> pictures)
    {
        double[] losses = [.. timesteps.Select((_, index) => pictures.Average(picture => (double)picture.Errors[index]))];
        return new HeldOutMeasured(step, losses.Average(), losses, timesteps, [.. pictures.Select(picture => new HeldOutPictureLoss(picture.Name, picture.Errors.Average(error => (double)error)))]);
    }
}

/// <summary>The loss on one held-out picture.</summary>
public sealed class HeldOutPictureLoss
{
    [JsonConstructor]
    internal HeldOutPictureLoss(string picture, double loss) => (Picture, Loss) = (picture, loss);

    /// <summary>Its file, from the folder that holds all pictures of the run.</summary>
    public string Picture { get; }

    /// <summary>Mean over the timesteps.</summary>
    public double Loss { get; }
}
