using System.Globalization;
using LowRank.Foundation;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace LowRank.Preparation;

/// <summary>An input or output of a model.</summary>
/// <param name="Name">As the file calls it.</param>
/// <param name="Type">Of its elements.</param>
/// <param name="Shape">Its sides; null where the file leaves one open.</param>
internal sealed record OnnxPort(string Name, TensorElementType Type, int?[] Shape)
{
    /// <summary>As in <c>pixel_values float32 (?, 3, 352, 352)</c>.</summary>
    public override string ToString() => $"{Name} {TypeName} ({string.Join(", ", Shape.Select(side => side?.ToString(CultureInfo.InvariantCulture) ?? "?"))})";

    private string TypeName => Type switch
    {
        TensorElementType.Float => "float32",
        _ => Type.ToString().ToLowerInvariant(),
    };
}

/// <summary>An ONNX model that a user gave, opened by ONNX Runtime on the CPU.</summary>
internal sealed class OnnxModel : IDisposable
{
    private readonly InferenceSession session;

    private OnnxModel(string path, InferenceSession session)
    {
        Path = path;
        this.session = session;
        Inputs = Ports(session.InputMetadata);
        Outputs = Ports(session.OutputMetadata);
    }

    public string Path { get; }

    /// <summary>In the file's order.</summary>
    public IReadOnlyList<OnnxPort> Inputs { get; }

    /// <summary>In the file's order.</summary>
    public IReadOnlyList<OnnxPort> Outputs { get; }

    /// <summary>Opens a file; weights that lie beside it are found.</summary>
    /// <exception cref="CheckpointException">It is missing, damaged, or asks for what this ONNX Runtime has not.</exception>
    /// <exception cref="EngineException">ONNX Runtime cannot be loaded on this machine.</exception>
    public static OnnxModel Open(string path)
    {
        if (!File.Exists(path)) throw new CheckpointException($"no such ONNX model: {path}; check the path");
        try
        {
            BeQuiet();
            using var options = new SessionOptions { LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL };
            return new OnnxModel(path, new InferenceSession(path, options));
        }
        catch (OnnxRuntimeException error)
        {
            throw new CheckpointException($"the ONNX model cannot be opened: {path}\n  {Words(error)}\n  try       to download or copy it again, with the file of weights that may lie beside it (.onnx_data)", error);
        }
        catch (Exception error) when (error is TypeInitializationException or DllNotFoundException or EntryPointNotFoundException)
        {
            var reason = (error.InnerException ?? error).Message.Split('\n')[0].TrimEnd('.');
            throw new EngineException($"ONNX Runtime cannot be loaded: {reason}. Build for this system, or reference the package Microsoft.ML.OnnxRuntime in your program.", error);
        }
    }

    /// <summary>Runs the model once.</summary>
    /// <param name="inputs">A value for every input, by name.</param>
    /// <param name="output">Which output is wanted; float32.</param>
    /// <param name="advice">What to try where it fails; null for nothing.</param>
    /// <returns>Its values and sides.</returns>
    /// <exception cref="CheckpointException">The model failed; the message has its words.</exception>
    public (float[] Values, long[] Shape) Run(IReadOnlyDictionary<string, OrtValue> inputs, string output, string? advice = null)
    {
        try
        {
            using var options = new RunOptions();
            using var results = session.Run(options, inputs, [output]);
            return (results[0].GetTensorDataAsSpan<float>().ToArray(), results[0].GetTensorTypeAndShape().Shape);
        }
        catch (OnnxRuntimeException error)
        {
            throw new CheckpointException($"the ONNX model failed: {Path}\n  {Words(error)}{(advice is null ? "" : $"\n  try       {advice}")}", error);
        }
    }

    /// <summary>The error for a model with other inputs or outputs than expected.</summary>
    /// <param name="kind">What it should be, such as "a WD14 tagger".</param>
    /// <param name="expected">Its inputs and outputs, in words.</param>
    /// <param name="advice">What to try.</param>
    public CheckpointException OtherLayout(string kind, string expected, string advice) => new(
        $"""
        the ONNX model is not laid out as {kind}: {Path}
          expected  {expected}
          found     {string.Join(", ", Inputs)} -> {string.Join(", ", Outputs)}
          try       {advice}
        """.ReplaceLineEndings("\n"));

    public void Dispose() => session.Dispose();

    private static List<OnnxPort> Ports(IReadOnlyDictionary<string, NodeMetadata> metadata) =>
        [.. metadata.Select(item => item.Value.IsTensor
            ? new OnnxPort(item.Key, item.Value.ElementDataType, [.. item.Value.Dimensions.Select(side => side < 0 ? (int?)null : side)])
            : new OnnxPort(item.Key, TensorElementType.DataTypeMax, []))];

    /// <summary>
    /// The runtime's own log goes to standard error, and on Windows it reports its use to its makers; neither is the library's to do.
    /// A program that set up ONNX Runtime itself, before, keeps its settings.
    /// </summary>
    private static void BeQuiet()
    {
        if (OrtEnv.IsCreated) return;
        var settings = new EnvironmentCreationOptions { logId = "LowRank", logLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL };
        try
        {
            OrtEnv.CreateInstanceWithOptions(ref settings).DisableTelemetryEvents();
        }
        catch (OnnxRuntimeException) when (OrtEnv.IsCreated)   // another thread was first
        {
        }
    }

    /// <summary>The runtime's message without its code and source line.</summary>
    private static string Words(OnnxRuntimeException error)
    {
        var line = error.Message.Split('\n')[0].Trim();
        var text = line.IndexOf(']') is var end && line.StartsWith('[') && end > 0 ? line[(end + 1)..].TrimStart() : line;
        return text.Length > 300 ? text[..300] + "…" : text;
    }
}
