using System.Text.Json.Serialization;

namespace LowRank.Training;

/// <summary>One picture in one update.</summary>
public sealed class PictureUse
{
    [JsonConstructor]
    internal PictureUse(string picture, long timestep, float error) => (Picture, Timestep, Error) = (picture, timestep, error);

    /// <summary>Its file, from the folder that holds all pictures of the run.</summary>
    public string Picture { get; }

    /// <summary>How noisy it was, 0…999.</summary>
    public long Timestep { get; }

    /// <summary>How far off the prediction was: the loss of this picture before weights of any kind, so that uses of all pictures and timesteps can be compared.</summary>
    public float Error { get; }

    /// <summary>The same under another name.</summary>
    internal PictureUse Of(string picture) => new(picture, Timestep, Error);
}
