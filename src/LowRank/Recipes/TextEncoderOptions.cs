using System.Globalization;
using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>
/// An adapter on the text encoders: the recipe's <c>[text_encoder]</c>. Without the table they are not trained. Captions are then encoded in every step.
/// </summary>
public sealed record TextEncoderOptions
{
    /// <summary>Inner size of up·down; 1 or more.</summary>
    public int Rank { get; init; } = 8;

    /// <summary>Numerator of the scale alpha / rank; above 0. Unset: the rank.</summary>
    public double? Alpha { get; init; }

    /// <summary>As <see cref="AdapterOptions.Targets"/>, of text encoders: a preset or pattern that names <c>text_encoder:</c> or <c>text_encoder_2:</c> takes one of SDXL's two.</summary>
    public IReadOnlyList<string> Targets { get; init; } = ["attention"];

    /// <summary>Step size at the top of the schedule; above 0. Half of the denoiser's is usual.</summary>
    public double LearningRate { get; init; } = 5e-5;

    /// <summary>The same for the second text encoder of SDXL. Unset: <see cref="LearningRate"/>.</summary>
    public double? SecondLearningRate { get; init; }

    /// <summary>Updates after which the text encoders stand still; 1 up to the steps of the run. Unset: never.</summary>
    public int? StopStep { get; init; }

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    /// <param name="steps">Of the run.</param>
    public IReadOnlyList<string> Validate(int steps)
    {
        var problems = AsAdapter(new AdapterOptions()).Validate().ToList();
        if (LearningRate is not (> 0 and < double.PositiveInfinity)) problems.Add(string.Create(CultureInfo.InvariantCulture, $"learning_rate: {LearningRate}; must be a number above 0"));
        if (SecondLearningRate is not (null or (> 0 and < double.PositiveInfinity))) problems.Add(string.Create(CultureInfo.InvariantCulture, $"second_learning_rate: {SecondLearningRate}; must be a number above 0"));
        if (StopStep is { } stop && (stop < 1 || stop > steps)) problems.Add(string.Create(CultureInfo.InvariantCulture, $"stop_step: {stop}; must be 1 up to the {steps} steps of the run"));
        return problems;
    }

    /// <summary>The options of the layers: what is not said here is as for the denoiser.</summary>
    internal AdapterOptions AsAdapter(AdapterOptions denoiser) =>
        denoiser with { Rank = Rank, Alpha = Alpha, ConvRank = null, ConvAlpha = null, Targets = Targets, Overrides = [] };
}

/// <summary>How a run uses its text encoders.</summary>
/// <param name="Prompts">How captions are encoded.</param>
/// <param name="AreTrained">Whether their results change from step to step.</param>
/// <param name="Teacher">A text that is needed beside the captions, for the teacher; null for none.</param>
internal sealed record TextUse(PromptOptions Prompts, bool AreTrained, string? Teacher)
{
    /// <summary>As the recipe says.</summary>
    public static TextUse Of(IRunOptions options) => new(PromptsOf(options.Training.ClipSkip), options.TextEncodersLearn, options.Loss.TeacherWeight > 0 && options.Loss.TeacherCaption != LossOptions.SameCaption ? options.Loss.TeacherCaption : null);

    /// <summary>Clip skip as trainers and web UIs count it, 1 for the last layer.</summary>
    public static PromptOptions PromptsOf(int clipSkip) => new() { SkippedLayers = clipSkip - 1 };
}
