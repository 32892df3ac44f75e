using System.Text;
using System.Text.Json;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public class UNetTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("unet");

    [Theory, MemberData(nameof(Cases))]
    public void Prediction_every_block_and_the_gradients_are_the_published_models(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var json = golden.Json;
        var type = json.GetProperty("dtype").GetString() switch
        {
            "float32" => ScalarType.Float32,
            "bfloat16" => ScalarType.BFloat16,
            var other => throw new InvalidOperationException($"{id}: dtype {other} is not built"),
        };
        var unet = Build(json, type);
        var inputs = new UNetInputs(json, type);
        using var taps = Tap(unet, golden.TensorInfos.Keys.Where(name => name.StartsWith("tap/", StringComparison.Ordinal)).Select(name => name[4..]));

        var tensors = new Dictionary<string, Tensor> { ["sample_out"] = inputs.Run(unet) };
        foreach (var (name, value) in taps.Tensors) tensors["tap/" + name] = value;
        if (golden.TensorInfos.Keys.Any(name => name.StartsWith("grad/", StringComparison.Ordinal)))
        {
            Assert.Equal("mean over all elements of (sample_out - target)^2", json.GetProperty("loss").GetString());
            AddGradients(golden, unet, inputs, tensors);
        }

        golden.AssertAllClose(tensors);
    }

    internal static UNet2DConditionModel Build(JsonElement json, ScalarType type)
    {
        var config = UNet2DConditionConfig.Parse(Encoding.UTF8.GetBytes(json.GetProperty("config").GetRawText()), "config");
        var unet = new UNet2DConditionModel(config, new LayerFactory(CPU, ScalarType.Float32));
        Formula.Fill(unet, json.GetProperty("seed").GetInt64(), multiply: json.TryGetProperty("multiply", out var rules) ? rules : default);
        return (UNet2DConditionModel)unet.to(type);
    }

    /// <summary>The modules behind a case's names; the sinusoid has no module of its own and is what enters the timestep's layers.</summary>
    internal static Taps Tap(UNet2DConditionModel unet, IEnumerable<string> names) =>
        new(unet, names.Select(name => name == "time_proj" ? "time_embedding > time_proj" : name));

    private static void AddGradients(GoldenCase golden, UNet2DConditionModel unet, UNetInputs inputs, Dictionary<string, Tensor> tensors)
    {
        var loss = nn.functional.mse_loss(tensors["sample_out"].to_type(ScalarType.Float32), inputs.Target);
        loss.backward();
        Assert.Equal(golden.Json.GetProperty("loss_value").GetDouble(), loss.item<float>(), 1e-5);
        tensors["grad/sample"] = inputs.Sample.grad!;
        tensors["grad/encoder_hidden_states"] = inputs.Context.grad!;
        foreach (var (name, parameter) in unet.named_parameters()) tensors["grad/" + name] = parameter.grad!;
    }
}

/// <summary>A UNet case's inputs, by formula under their names.</summary>
internal sealed class UNetInputs
{
    private readonly Tensor timesteps;
    private readonly Tensor? pooled;
    private readonly Tensor? timeIds;

    public UNetInputs(JsonElement json, ScalarType type)
    {
        var seed = json.GetProperty("seed").GetInt64();
        Tensor? Input(string key)
        {
            if (!json.GetProperty("inputs").TryGetProperty(key, out var stated)) return null;
            var (name, shape) = stated.ValueKind == JsonValueKind.Array ? (key, stated) : (stated.GetProperty("noise").GetString()!, stated.GetProperty("shape"));
            return Formula.Noise(name, shape.EnumerateArray().Select(size => size.GetInt64()).ToArray(), seed);
        }
        Sample = Input("sample")!.to_type(type).requires_grad_();
        Context = Input("encoder_hidden_states")!.to_type(type).requires_grad_();
        Target = Input("target") ?? empty(0);
        pooled = Input("text_embeds")?.to_type(type);
        var stated = json.GetProperty("timesteps").EnumerateArray().ToArray();
        timesteps = stated.All(value => value.TryGetInt64(out _)) ? tensor(stated.Select(value => value.GetInt64()).ToArray()) : tensor(stated.Select(value => (float)value.GetDouble()).ToArray());
        if (json.TryGetProperty("time_ids", out var ids) && ids.ValueKind == JsonValueKind.Array)
        {
            timeIds = tensor(ids.EnumerateArray().SelectMany(row => row.EnumerateArray()).Select(value => (float)value.GetDouble()).ToArray()).reshape(-1, 6);
        }
    }

    public Tensor Sample { get; }
    public Tensor Context { get; }
    public Tensor Target { get; }

    public Tensor Run(UNet2DConditionModel unet) => unet.call(Sample, timesteps, Context, pooled, timeIds);
}
