using LowRank.Adapters;
using LowRank.Adapters.Formats;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Foundation;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>
/// Proves that an adapter file works on a model: every key lands, every ΔW is finite and not zero, the model's outputs change, merging it into the
/// weights gives what attaching it gives, and strength 0 and taking it off give exactly the base.
/// </summary>
public static class VerifyAdapter
{
    /// <summary>Attached and merged may differ by this part of what the adapter changes, and by this part of the output: rounding of float32 through a whole network.</summary>
    private const double OfChange = 1e-4, OfOutput = 1e-5;

    /// <summary>
    /// Looks at the file, then at the layers of the model without its weights, and only where all fits opens the model in float32 and runs it, small, on noise of a
    /// fixed seed: five predictions with the denoiser, and five encodings of a prompt where the file has parts for text encoders. Nothing is written.
    /// </summary>
    /// <param name="path">An adapter file of any convention, a folder that PEFT or diffusers wrote, or the name of an adapter that comes with the program.</param>
    /// <param name="model">A model as for <see cref="FamilyDetector.Open"/>.</param>
    /// <param name="files">How the model's files are read, where they do not say it themselves; null: as usual.</param>
    /// <returns>What was found; what is wrong with the adapter is in it.</returns>
    /// <exception cref="CheckpointException">There is no such file or model, or the model itself cannot be read.</exception>
    public static AdapterVerification Run(string path, string model, ModelFileOptions? files = null)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        ArgumentException.ThrowIfNullOrWhiteSpace(model);
        using var family = FamilyDetector.Open(model, files: files);
        var report = new AdapterVerification { File = path, Model = $"{model} ({family.Name})" };
        using var file = Open(path, report);
        if (file is not null && Fits(file, model, files, family, report)) Prove(file, family, report);
        return report;
    }

    /// <summary>The file; null where it is there and damaged.</summary>
    private static AdapterFile? Open(string path, AdapterVerification report)
    {
        try
        {
            var file = AdapterFile.Open(path);
            (report.File, report.Keys) = (file.Path, file.Modules.Sum(module => module.Keys.Count()));
            return file;
        }
        catch (CheckpointException problem) when (File.Exists(path) || Directory.Exists(path))
        {
            report.Refuse(AdapterVerdict.Unusable, problem.Message);
            return null;
        }
    }

    /// <summary>Whether every key has its layer; needs no weights.</summary>
    private static bool Fits(AdapterFile file, string model, ModelFileOptions? files, IDiffusionFamily family, AdapterVerification report)
    {
        using var outline = ModelOutline.Of(model, files);
        var fit = new AdapterFit(file, new ModuleNames(outline.Components));
        try
        {
            report.Warnings = [.. fit.Require(Options(report, family)), .. FileForms.Mixture(file) is { } mixed ? [mixed] : Array.Empty<string>()];
        }
        catch (CheckpointException problem)
        {
            report.Refuse(fit.IsDamaged ? AdapterVerdict.Unusable : AdapterVerdict.Mismatched, problem.Message);
            if (!fit.IsDamaged) report.FitsInstead = AdapterBase.TitlesOfFitting(file);
            return false;
        }
        report.Modules = fit.Matched.GroupBy(item => item.Layer.Component).OrderByDescending(group => group.Key, StringComparer.Ordinal).ToDictionary(group => group.Key, group => group.Count());
        return true;
    }

    private static void Prove(AdapterFile file, IDiffusionFamily family, AdapterVerification report)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var trial = new Trial(family);
        report.TriedOn = FormattableString.Invariant($"noise at {trial.Side}×{trial.Side} latents, timestep {trial.Timestep}, \"{Trial.Prompt}\"");
        var components = report.Modules.Keys.ToDictionary(name => name, family.Component);   // whose own faults are not the adapter's
        using var adapter = Attach(file, components, family, report);
        if (adapter is null) return;
        var norms = new Dictionary<AdapterLayer, double>();
        var trials = new List<AdapterTrial>();
        foreach (var group in adapter.Layers.GroupBy(layer => layer.Component == "unet"))
        {
            trials.Add(Try(group.Key ? "denoiser" : "text", adapter, [.. group], group.Key ? trial.Predict : trial.Encode, norms));
        }
        (report.Trials, report.LeastNorm, report.LargestNorm) = (trials, norms.Values.Min(), norms.Values.Max());
        report.Dead = [.. norms.Where(item => item.Value == 0).Select(item => $"{item.Key.Component}.{item.Key.Path}")];
        foreach (var (layer, _) in norms.Where(item => !double.IsFinite(item.Value))) report.Refuse(AdapterVerdict.Unusable, $"{layer.Component}.{layer.Path}: ΔW is not finite: the product of its factors overflows");
        if (report.Dead.Count == norms.Count) report.Refuse(AdapterVerdict.Unusable, "it changes nothing: every ΔW is zero; take a later save of the adapter, or train it longer");
        else foreach (var trouble in trials.SelectMany(item => item.Trouble)) report.Refuse(AdapterVerdict.Unusable, trouble);
    }

    /// <summary>The adapter; null where its numbers are not finite.</summary>
    private static AdapterSet? Attach(AdapterFile file, Dictionary<string, nn.Module> components, IDiffusionFamily family, AdapterVerification report)
    {
        try
        {
            return AdapterSet.Load(components, file, Options(report, family));
        }
        catch (CheckpointException problem)
        {
            report.Refuse(AdapterVerdict.Unusable, problem.Message);
            return null;
        }
    }

    /// <summary>The outputs of one part of the model without the adapter, with it, with it at strength 0, without it again, and with its changes in the weights, where they stay.</summary>
    private static AdapterTrial Try(string part, AdapterSet adapter, IReadOnlyList<AdapterLayer> layers, Func<Tensor> run, Dictionary<AdapterLayer, double> norms)
    {
        using var scope = NewDisposeScope();
        adapter.Detach();
        var plain = run();
        adapter.Attach();
        var attached = run();
        adapter.Strength = 0;
        var off = run();
        adapter.Strength = 1;
        adapter.Detach();
        var detached = run();
        foreach (var layer in layers) norms[layer] = Merge(layer);
        var merged = run();
        var (size, change) = (Length(plain), Length(attached.sub(plain)));
        return new AdapterTrial
        {
            Part = part,
            Change = change / size,
            MergeDifference = Length(attached.sub(merged)) / size,
            AllowedDifference = (OfChange * change / size) + OfOutput,
            StrengthZeroIsBase = off.equal(plain).all().item<bool>(),
            DetachedIsBase = detached.equal(plain).all().item<bool>(),
        };
    }

    /// <summary>Adds ΔW to the layer's weight, and what the layer adds to the bias to that; a layer without a bias gets one.</summary>
    /// <returns>√(‖ΔW‖² + ‖Δb‖²) (Frobenius).</returns>
    private static double Merge(AdapterLayer layer)
    {
        using var scope = NewDisposeScope();
        var delta = layer.Delta();
        LayerShape.WeightOf(layer.Module).AddInPlace(delta);
        if (layer.BiasDelta(1) is not { } bias) return delta.norm().item<float>();
        if (LayerShape.BiasOf(layer.Module) is { } own) own.AddInPlace(bias);
        else if (layer.Module is Linear linear) linear.bias = new Parameter(bias.clone());
        else ((Conv2d)layer.Module).bias = new Parameter(bias.clone());
        return double.Hypot(delta.norm().item<float>(), bias.norm().item<float>());
    }

    private static double Length(Tensor values) => values.to(ScalarType.Float64).norm().item<double>();

    private static AdapterLoadOptions Options(AdapterVerification report, IDiffusionFamily family) => new() { Model = report.Model, BaseVersion = family.BaseVersion };
}
