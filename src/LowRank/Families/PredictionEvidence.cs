using System.Text.Json.Nodes;
using LowRank.Diffusion;
using LowRank.Foundation;

namespace LowRank.Families;

/// <summary>What tells what a checkpoint's denoiser predicts. Shapes never do: a mark in the file does, or what is usual for the family.</summary>
/// <param name="Type">Of the prediction.</param>
/// <param name="EndsInNoise">Whether its last timestep is pure noise (Lin et al. 2023), which files mark by an empty tensor <c>ztsnr</c>.</param>
/// <param name="IsAssumed">Whether nothing in the file tells it.</param>
/// <param name="Words">What was found, and where.</param>
internal sealed record PredictionEvidence(PredictionType Type, bool EndsInNoise, bool IsAssumed, string Words)
{
    /// <summary>Looks for marks, in this order: the user's word, the tensor <c>v_pred</c>, <c>modelspec.prediction_type</c> or <c>modelspec.predict_key</c> in the metadata, a <c>.yaml</c> beside the file.</summary>
    /// <param name="file">Open.</param>
    /// <param name="said">The user's word; null for none.</param>
    /// <param name="usuallyV">Whether models of the file's family usually predict v: those of Stable Diffusion 2 do, but for its 512 px base and inpainting models.</param>
    public static PredictionEvidence Of(ITensorFile file, FilePrediction? said, bool usuallyV)
    {
        var zero = file.Tensors.ContainsKey("ztsnr");
        if (said is { } type)
        {
            return Told(type == FilePrediction.VPrediction ? PredictionType.VPrediction : PredictionType.Epsilon, "as was asked for");
        }
        if (file.Tensors.ContainsKey("v_pred")) return Told(PredictionType.VPrediction, "the file is marked so (tensor v_pred)");
        foreach (var key in (string[])["modelspec.prediction_type", "modelspec.predict_key"])   // kohya's, and ComfyUI's
        {
            if (!file.Metadata.TryGetValue(key, out var word) || word.ToLowerInvariant() is not ("v" or "v_prediction" or "v-prediction" or "epsilon")) continue;
            return Told(word.StartsWith('v') || word.StartsWith('V') ? PredictionType.VPrediction : PredictionType.Epsilon, $"the metadata say so ({key} = {word})");
        }
        var beside = Path.ChangeExtension(file.Path, ".yaml");   // as web UIs look for the training's own configuration
        if (File.Exists(beside)) return Told(SaysV(beside) ? PredictionType.VPrediction : PredictionType.Epsilon, $"{Path.GetFileName(beside)} beside the file says so");
        var usual = usuallyV ? PredictionType.VPrediction : PredictionType.Epsilon;
        return new PredictionEvidence(usual, zero, true, $"predicts {Word(usual)}: assumed, nothing in the file says it; {(usuallyV ? "Stable Diffusion 2's 512 px base predicts noise: --prediction-type epsilon" : "other: --prediction-type v-prediction")}");

        PredictionEvidence Told(PredictionType told, string why) => new(told, zero, false, $"predicts {Word(told)}: {why}{(zero ? "; its last timestep is pure noise (tensor ztsnr)" : "")}");
    }

    /// <summary>A scheduler's configuration with this prediction.</summary>
    /// <param name="scheduler">Of the published model.</param>
    public byte[] Apply(byte[] scheduler)
    {
        var node = JsonNode.Parse(scheduler)!.AsObject();
        node["prediction_type"] = Type == PredictionType.VPrediction ? "v_prediction" : "epsilon";
        if (EndsInNoise)
        {
            node["rescale_betas_zero_snr"] = true;
            node["timestep_spacing"] = "trailing";   // §3.3 of the same paper: the first step of sampling must be the last timestep
        }
        return ModelFiles.Text(node);
    }

    private static bool SaysV(string yaml) => File.ReadLines(yaml).Any(line => line.Trim().Replace(" ", "", StringComparison.Ordinal).Trim() is "parameterization:\"v\"" or "parameterization:'v'" or "parameterization:v");

    private static string Word(PredictionType type) => type == PredictionType.VPrediction ? "v" : "noise (epsilon)";
}
