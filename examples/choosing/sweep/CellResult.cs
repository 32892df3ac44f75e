using System.Globalization;
using System.Text.Json.Serialization;

namespace LowRank.Examples.Choosing;

/// <summary>What was measured after so many updates: the mean squared error of the prediction.</summary>
/// <param name="Step">Updates made; 0 is the base.</param>
/// <param name="HeldOut">On icons of the set that are not learned.</param>
/// <param name="Emoji">On emoji that the base knows.</param>
internal sealed record Moment(int Step, double HeldOut, double Emoji);

/// <summary>What came of a training.</summary>
internal sealed record CellResult
{
    /// <summary>The training's name.</summary>
    public required string Cell { get; init; }

    /// <summary>What it changes in the recipe, as for <c>lora train --set</c>.</summary>
    public required IReadOnlyList<string> Settings { get; init; }

    /// <summary>Pictures learned.</summary>
    public required int Pictures { get; init; }

    /// <summary>Icons that were only measured.</summary>
    public required int HeldOutPictures { get; init; }

    /// <summary>Emoji that were only measured.</summary>
    public required int EmojiPictures { get; init; }

    /// <summary>Numbers that were trained.</summary>
    public required long Parameters { get; init; }

    /// <summary>Size of the adapter file without its header.</summary>
    public required long FileBytes { get; init; }

    /// <summary>Median time of a step, in milliseconds, with the other trainings beside it.</summary>
    public required double StepMilliseconds { get; init; }

    /// <summary>A loss was no number: the rate is too high.</summary>
    public required bool Diverged { get; init; }

    /// <summary>Wall time of the whole training.</summary>
    public required double Seconds { get; init; }

    /// <summary>The curve, the base first.</summary>
    public required IReadOnlyList<Moment> Moments { get; init; }

    /// <summary>Where the loss on held-out icons is lowest.</summary>
    [JsonIgnore]
    public Moment Lowest => Moments.MinBy(moment => moment.HeldOut)!;

    /// <summary>The last measure.</summary>
    [JsonIgnore]
    public Moment Last => Moments[^1];

    /// <summary>For people who watch.</summary>
    public string Line() => string.Create(CultureInfo.InvariantCulture,
        $"{Cell,-38} {Moments[0].HeldOut:F4} -> {Lowest.HeldOut:F4} after {Lowest.Step}, {Last.HeldOut:F4} after {Last.Step}{(Diverged ? ", then diverged" : "")}   {StepMilliseconds:F0} ms a step, {Seconds:F0} s");
}

/// <summary>How results are written.</summary>
[JsonSerializable(typeof(CellResult))]
[JsonSerializable(typeof(IReadOnlyList<CellResult>))]
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
internal sealed partial class ResultJson : JsonSerializerContext;
