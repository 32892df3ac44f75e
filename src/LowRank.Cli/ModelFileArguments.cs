using System.CommandLine;
using LowRank.Families;

namespace LowRank.Cli;

/// <summary>The options of every command that opens a model: how its files are read where they do not say it themselves.</summary>
internal sealed class ModelFileArguments
{
    private readonly Option<string?> tokenizer = new("--tokenizer") { HelpName = "FOLDER", Description = "Tokenizer of a model that is one file; unset: looked for beside the file." };
    private readonly Option<string?> config = new("--config") { HelpName = "FOLDER", Description = "Configurations (diffusers layout) of a model that is one file; unset: told by its shapes." };
    private readonly Option<string?> prediction = new("--prediction-type") { HelpName = "epsilon|v-prediction", Description = "What the denoiser of a model that is one file predicts; unset: what the file says, else what is usual, which is told." };
    private readonly Option<bool> ema = new("--ema") { Description = "Take the averaged weights of a model that is one file and has both." };
    private readonly Option<string?> variant = new("--variant") { HelpName = "NAME", Description = "Weights of a model folder: fp16 for model.fp16.safetensors; unset: full precision, else fp16." };

    public ModelFileArguments() => prediction.AcceptOnlyFromAmong(Words.Keys.ToArray());

    private static Dictionary<string, FilePrediction> Words { get; } = new() { ["epsilon"] = FilePrediction.Epsilon, ["v-prediction"] = FilePrediction.VPrediction };

    /// <summary>Adds them to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (var option in (Option[])[tokenizer, config, prediction, ema, variant]) command.Options.Add(option);
    }

    /// <summary>What was given; null where nothing was.</summary>
    public ModelFileOptions? Of(ParseResult arguments)
    {
        var given = new ModelFileOptions
        {
            Tokenizer = arguments.GetValue(tokenizer),
            Config = arguments.GetValue(config),
            PredictionType = arguments.GetValue(prediction) is { } word ? Words[word] : null,
            Ema = arguments.GetValue(ema),
            Variant = arguments.GetValue(variant),
        };
        return given == new ModelFileOptions() ? null : given;
    }
}
