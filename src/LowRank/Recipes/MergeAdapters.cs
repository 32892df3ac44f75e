using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>Writes adapters into a model's weights: the result needs no adapter, and gives what the model with the adapters attached gives.</summary>
public static class MergeAdapters
{
    /// <summary>
    /// Writes a changed copy of the model. W' = W + Σ ΔW is computed in float32 and rounded once; what no adapter touches is copied byte for byte.
    /// One or two tensors are in memory at a time, whatever the model and however many adapters. A half-precision model does not come back by merging with the
    /// negative strength afterwards: keep the original.
    /// </summary>
    /// <param name="options">Which, and where to.</param>
    /// <param name="progress">Hears of every tensor.</param>
    /// <param name="cancellation">Stops between tensors; nothing is written then.</param>
    /// <exception cref="OptionsException">Values that cannot be, or an output that would overwrite an input.</exception>
    /// <exception cref="CheckpointException">A file is damaged, an adapter does not fit, a merged weight is not finite in the output's type, or the output cannot be written.</exception>
    public static MergeReport Run(MergeOptions options, IProgress<MergeProgress>? progress = null, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var files = new ModelFileOptions { Variant = options.Variant, Config = options.Config };
        var model = ModelFiles.At(FamilyDetector.Find(options.Model), files);
        MergeOutput.Require(options.Output, model);
        using var outline = ModelOutline.Of(options.Model, files);
        using var adapters = OpenAdapters.Open(options.Adapters.Select(use => use.File));
        OutputFile.RequireNotOver(options.Output, [model.Path, .. adapters.All.Select(file => file.Path)]);
        var changes = new WeightChanges(new ModuleNames(outline.Components));
        var warnings = new List<string>();
        foreach (var (file, use) in adapters.All.Zip(options.Adapters))
        {
            var (notes, modules) = changes.Add(file, use.Strength, use.PartStrengths, new AdapterLoadOptions { AllowUnmatched = options.AllowUnmatched, Model = options.Model });
            warnings.AddRange(notes.Select(note => $"{Path.GetFileName(file.Path)}: {note}"));
            if (modules == 0) warnings.Add($"{Path.GetFileName(file.Path)}: changes nothing, its strength is 0 everywhere");
        }
        if (model is SingleFile { HasAverages: true }) warnings.Add($"{Path.GetFileName(model.Path)}: its averaged weights (model_ema.…) stay as they are: read with --ema, the merged file is without the adapters");
        var what = string.Join(" + ", options.Adapters.Zip(adapters.All, (use, file) => $"{Path.GetFileName(file.Path)} × {use.InWords()}").Prepend(Path.GetFileName(model.Path)));
        var weights = new MergedWeights(changes, options.Precision is { } precision ? AdapterFacts.TypeOf(precision) : null, progress, cancellation);
        MergeOutput.Write(options.Output, model, weights, what);
        return new MergeReport
        {
            Output = options.Output,
            Bytes = MergeOutput.SizeOf(options.Output),
            What = what,
            Changed = [.. changes.Norms.Select(item => new MergedWeight { Weight = $"{item.Key.Component}.{item.Key.Key}", Block = BlockNorms.BlockOf(item.Key.Component, item.Key.Key), Norm = item.Value }).OrderByDescending(weight => weight.Weight.StartsWith("unet.", StringComparison.Ordinal)).ThenBy(weight => weight.Weight, StringComparer.Ordinal)],
            Copied = weights.Copied,
            Converted = weights.Converted,
            Warnings = warnings,
        };
    }
}
