using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>
/// Proves that a model is whole and will load elsewhere: parts, classes and configurations, every weight by name and shape, every number,
/// what the parts must agree in, and one step of drawing.
/// </summary>
public static class VerifyModel
{
    /// <summary>Looks at everything; what is wrong is in the report. Reads all weights, and holds the model in memory in float32 for the trial.</summary>
    /// <param name="model">A folder in the diffusers layout, a checkpoint of one file, or <c>icons-64</c>, the embedded base.</param>
    /// <param name="options">How its files are read; null: as usual.</param>
    /// <exception cref="CheckpointException">There is no such model, no index in the folder, or the file is no whole model.</exception>
    /// <exception cref="OptionsException">Options that do not go with the model.</exception>
    public static ModelReport Run(string model, ModelFileOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(model);
        var files = ModelFiles.At(FamilyDetector.Find(model), options);
        var parts = ModelCheck.Parts(files);
        var trouble = parts.SelectMany(part => part.Trouble.Select(problem => $"{part.Name}: {problem}")).ToList();
        var (description, trial) = ((string?)null, (string?)null);
        try
        {
            using var family = FamilyDetector.Open(model, files: options);
            description = family.Description;
            trouble.AddRange(ModelCheck.TokenTrouble(family));
            if (trouble.Count == 0) trial = Draw(family, trouble);
        }
        // what a part said by itself already is not said twice
        catch (LowRankException problem) when (parts.Any(part => part.Trouble.Any(said => problem.Message.Contains(said, StringComparison.Ordinal))))
        {
        }
        catch (LowRankException problem)
        {
            trouble.Add(problem.Message);
        }
        return new ModelReport { Folder = files.Path, Findings = files.Findings, Description = description, Parts = parts, Trial = trial, Trouble = trouble };
    }

    /// <summary>One prediction at a small size, and the picture that it says.</summary>
    private static string? Draw(IDiffusionFamily family, List<string> trouble)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var trial = new Trial(family);
        var output = trial.Predict();
        var bar = family.Schedule.AlphasCumprod[trial.Timestep];
        var sample = Predictions.ToSample(family.PredictionType, trial.Noise.narrow(1, 0, family.LatentChannels), output, Math.Sqrt(bar), Math.Sqrt(1 - bar));
        var pixels = family.DecodeLatents(sample);
        var (predicted, drawn) = (IsFinite(output), IsFinite(pixels));
        if (!predicted) trouble.Add("the denoiser predicts numbers that are not finite from noise; the weights are too large, or belong to another configuration");
        else if (!drawn) trouble.Add("the autoencoder decodes the prediction to numbers that are not finite; the weights are too large, or belong to another configuration");
        return predicted && drawn ? Invariant($"one step at {trial.Side * family.LatentFactor} px and its picture are finite: pixels from {pixels.min().item<float>():F2} to {pixels.max().item<float>():F2}") : null;
    }

    private static bool IsFinite(Tensor values) => values.isfinite().all().item<bool>();
}
