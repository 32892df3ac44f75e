using System.Text;
using System.Text.Json.Nodes;
using LowRank.Families.Original;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Text;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>
/// Writes a model as one file in the original layout, tensor by tensor. The metadata brings the model's configurations (<see cref="SingleFileMetadata"/>), and its
/// tokenizer where that is not CLIP's, so that the file opens by itself; programs that do not know them read the file as any other.
/// </summary>
internal static class SingleFileWriter
{
    /// <summary>Ids of CLIP's own vocabulary, which readers of such files bring along.</summary>
    private const int ClipIds = 49408;

    /// <summary>Parts of a model that the file brings.</summary>
    public static IReadOnlyList<string> Parts(ModelFiles from) => [.. LayoutOf(from).Parts, "scheduler", "tokenizer", "tokenizer_2"];

    /// <summary>Writes the file.</summary>
    /// <param name="from">The model; its weights fit its configurations (<see cref="PartWeights"/>).</param>
    /// <param name="path">Whole or absent.</param>
    /// <param name="type">Element type of all weights; null: every tensor keeps its own.</param>
    /// <param name="progress">Hears how many tensors of how many are written.</param>
    /// <param name="cancellation">Stops between tensors.</param>
    /// <returns>How many tensors were written.</returns>
    /// <exception cref="CheckpointException">Weights that do not fit, numbers that the type does not hold, or a file that cannot be written.</exception>
    public static int Write(ModelFiles from, string path, StoredType? type, Action<int, int> progress, CancellationToken cancellation)
    {
        var layout = LayoutOf(from);
        var opened = new List<PartWeights>();
        try
        {
            var tensors = new List<StreamedTensor>();
            foreach (var part in layout.Parts)
            {
                opened.Add(PartWeights.Open(from, part));
                tensors.AddRange(Tensors(opened[^1], layout.NamesOf(part, opened[^1].Keys), type));
            }
            tensors.AddRange(Marks(from));
            var (done, all) = (0, tensors.Count);
            SafetensorsWriter.Write(path, [.. tensors.Select(tensor => tensor with { Visit = Told(tensor.Visit) })], Metadata(from, layout, Path.GetFileNameWithoutExtension(path)), workers: 1, cancellation);
            return all;

            Action<TensorMemory.SpanAction> Told(Action<TensorMemory.SpanAction> write) => visit =>
            {
                write(visit);
                progress(++done, all);
            };
        }
        finally
        {
            foreach (var weights in opened) weights.Dispose();
        }
    }

    private static OriginalLayout LayoutOf(ModelFiles from) => from is SingleFile single ? single.Layout
        : OriginalLayout.For(from.PartNames, UNet2DConditionConfig.Parse(from.Configuration("unet").Json, from.PlaceOf("unet/config.json")).UseLinearProjection);

    /// <summary>A part's tensors as the file has them: thirds become one.</summary>
    private static IEnumerable<StreamedTensor> Tensors(PartWeights weights, OriginalPart part, StoredType? type)
    {
        var places = weights.Keys.Select(key => (Key: key, Place: part.Of(key) ?? throw new InvalidOperationException($"{key} has no name in the original layout")));
        foreach (var group in places.GroupBy(item => item.Place.Name))
        {
            var parts = group.OrderBy(item => item.Place.Index).ToList();
            var (turn, shape) = (parts[0].Place.Turn, weights.ShapeOf(parts[0].Key));
            var stored = type ?? weights.TypeOf(parts[0].Key);
            if (turn == Turn.None && weights.TypeOf(parts[0].Key) == stored)
            {
                yield return weights.Copy(parts[0].Key, group.Key);
                continue;
            }
            IReadOnlyList<long> original = turn switch { Turn.Convolution => [.. shape, 1, 1], Turn.Third => [3 * shape[0], .. shape.Skip(1)], Turn.Transposed => [.. shape.Reverse()], _ => shape };
            yield return StreamedTensor.Made(group.Key, stored, original, () => turn switch
            {
                Turn.Convolution => weights.Read(parts[0].Key, stored).reshape([.. original]),
                Turn.Third => cat([.. parts.Select(item => weights.Read(item.Key, stored))]),
                Turn.Transposed => weights.Read(parts[0].Key, stored).t(),
                _ => weights.Read(parts[0].Key, stored),
            });
        }
    }

    /// <summary>What readers look for to tell what the denoiser predicts (ComfyUI, comfy/supported_models.py).</summary>
    private static IEnumerable<StreamedTensor> Marks(ModelFiles from)
    {
        var schedule = from.ReadSchedule();
        if (schedule.PredictionType == Diffusion.PredictionType.VPrediction) yield return Mark("v_pred");
        if (schedule.Options.RescaleBetasZeroSnr) yield return Mark("ztsnr");

        static StreamedTensor Mark(string name) => StreamedTensor.Made(name, StoredType.F32, [0], () => zeros([0], ScalarType.Float32));
    }

    private static Dictionary<string, string> Metadata(ModelFiles from, OriginalLayout layout, string title)
    {
        var metadata = new Dictionary<string, string> { ["format"] = "pt" };
        foreach (var (key, value) in (from as SingleFile)?.Metadata ?? new Dictionary<string, string>()) metadata[key] = value;
        var schedule = from.ReadSchedule();
        var isV = schedule.PredictionType == Diffusion.PredictionType.VPrediction;
        metadata["modelspec.sai_model_spec"] = "1.0.1";
        metadata["modelspec.architecture"] = layout == OriginalLayout.Xl ? "stable-diffusion-xl-v1-base" : layout == OriginalLayout.First ? "stable-diffusion-v1" : isV ? "stable-diffusion-v2-768-v" : "stable-diffusion-v2-512";
        metadata["modelspec.implementation"] = "https://github.com/Stability-AI/generative-models";
        metadata["modelspec.prediction_type"] = isV ? "v" : "epsilon";
        metadata.TryAdd("modelspec.title", title);
        foreach (var file in (string[])["scheduler/scheduler_config.json", .. layout.Parts.Select(part => part + "/config.json")]) Bring(file, from.Read(file));
        Bring(ModelFiles.IndexName, Index(from));
        foreach (var name in layout.Encoders.Select(encoder => encoder.Part.Replace("text_encoder", "tokenizer", StringComparison.Ordinal)))
        {
            if (!from.HasTokenizer(name) || from.OpenTokenizer(name).IdCount == ClipIds) continue;
            foreach (var file in TokenizerFolder.Files) Bring($"{name}/{file}", from.Read($"{name}/{file}"));
        }
        return metadata;

        void Bring(string file, byte[]? content)
        {
            if (content is not null) metadata[SingleFileMetadata.KeyOf(file)] = Encoding.UTF8.GetString(content);
        }
    }

    /// <summary>The index without the parts that the file does not bring.</summary>
    private static byte[] Index(ModelFiles from)
    {
        var lost = from.Named.Select(part => part.Name).Except(Parts(from)).ToList();
        if (lost.Count == 0) return from.Read(ModelFiles.IndexName)!;
        var index = JsonNode.Parse(from.Read(ModelFiles.IndexName)!)!.AsObject();
        foreach (var part in lost) index[part] = new JsonArray(null, null);
        if (lost.Contains("safety_checker")) index["requires_safety_checker"] = false;
        return ModelFiles.Text(index);
    }
}
