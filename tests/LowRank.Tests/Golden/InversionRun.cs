using System.Text;
using System.Text.Json;
using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>
/// Models, learned tokens and adapters of a case with phases, set up with our own parts. The reference lets gradients reach the whole token table, counts
/// them in the norm that clips, and copies the table back afterwards. Here the table is one more stretch of the trained parameters whose rate is 0.
/// </summary>
internal sealed class InversionRun : IDisposable
{
    private readonly JsonElement config;
    private readonly UNet2DConditionModel unet;
    private readonly ClipTextModel text;
    private readonly AdapterSet? adapter;
    private readonly Tensor values, gradients;
    private readonly long adapterLength, rowsLength;
    private readonly DenoisingLoss loss;
    private readonly long[] latentShape;

    public InversionRun(GoldenCase golden)
    {
        config = golden.Json.GetProperty("config");
        latentShape = [config.GetProperty("batch").GetInt64(), 4, .. config.GetProperty("size").EnumerateArray().Select(size => size.GetInt64())];
        var layers = new LayerFactory(CPU, ScalarType.Float32);
        unet = new UNet2DConditionModel(UNet2DConditionConfig.Parse(Bytes(golden.Json.GetProperty("unet")), "config"), layers);
        text = new ClipTextModel(ClipTextConfig.Parse(Bytes(golden.Json.GetProperty("text_encoders")[0]), "config"), projection: false, layers);
        Formula.Fill(unet, SeedOf(golden, "unet"));
        Formula.Fill(text, SeedOf(golden, "text_encoder"));
        foreach (var parameter in unet.parameters().Concat(text.parameters())) parameter.requires_grad_(false);
        using var scope = NewDisposeScope();
        var start = Start();
        (rowsLength, var tableLength) = (start.numel(), text.TokenTable.numel());
        adapter = BuildAdapter(golden.Json, rowsLength + tableLength);
        values = (adapter?.FlatParameters ?? zeros(rowsLength + tableLength)).alias().DetachFromDisposeScope();
        gradients = (adapter?.FlatGradients ?? zeros(rowsLength + tableLength)).alias().DetachFromDisposeScope();
        adapterLength = values.numel() - rowsLength - tableLength;
        Tokens = new EmbeddingSet([new TokenStart("placeholders", "text_encoder", start)], values.narrow(0, adapterLength, rowsLength), gradients.narrow(0, adapterLength, rowsLength));
        text.Place((int)text.TokenTable.size(0), [.. Tokens.NamedParameters().Select(item => item.Parameter)]);
        using (no_grad()) TableValues.copy_(text.TokenTable);
        var schedule = new NoiseSchedule(new NoiseScheduleOptions { BetaStart = 0.00085, BetaEnd = 0.012, BetaSchedule = "scaled_linear", NumTrainTimesteps = 1000, PredictionType = GoldenTraining.Text(config, "prediction")! });
        loss = new DenoisingLoss(schedule, schedule.PredictionType, LossWeighting.None, (latents, timesteps, given) => unet.call(latents, timesteps, given.Hidden, null, null));
    }

    public EmbeddingSet Tokens { get; }

    public IReadOnlyList<JsonElement> Phases => [.. config.GetProperty("phases").EnumerateArray()];

    /// <summary>The gradient of vectors and table, which a phase without them leaves as it is.</summary>
    public Tensor TokenGradients => gradients.narrow(0, adapterLength, gradients.numel() - adapterLength);

    /// <summary>The table as the model has it, and as the optimizer saw it.</summary>
    public bool TableIsUntouched(Tensor before) => text.TokenTable.eq(before).all().item<bool>() && TableValues.eq(before).all().item<bool>();

    public Tensor Table => text.TokenTable;

    /// <summary>Values of every trained tensor by the case's name, as views.</summary>
    public IEnumerable<(string Name, Tensor Tensor)> Named() =>
        (adapter?.Layers.SelectMany(layer => new[] { ($"{layer.Component}.{layer.Path}.lora_down.weight", layer.Factors["down"]), ($"{layer.Component}.{layer.Path}.lora_up.weight", layer.Factors["up"]) }) ?? [])
        .Append(("text_encoder.placeholder_rows", Tokens.NamedParameters().Single().Parameter));

    /// <summary>What a phase moves: rates in the case's order of groups, then those that stand still.</summary>
    public TrainedParameters Parameters(JsonElement phase)
    {
        var (decay, rate) = (GoldenTraining.DefaultDecay(phase.GetProperty("optimizer")), GoldenTraining.Section(phase, "embeddings"));
        var learns = rate.ValueKind == JsonValueKind.Object;
        foreach (var (_, rows) in Tokens.NamedParameters()) rows.requires_grad_(learns);
        text.TokenTable.requires_grad_(learns);
        if (learns) text.TokenTable.grad = gradients.narrow(0, adapterLength + rowsLength, text.TokenTable.numel()).view(text.TokenTable.shape);
        var still = new ParameterGroup(0);
        var rows_ = learns ? new ParameterGroup(rate.GetProperty("lr").GetDouble(), decay) : still;
        var table = (Name: "table", Length: text.TokenTable.numel());
        if (phase.GetProperty("lr").ValueKind == JsonValueKind.Null)
        {
            adapter?.Detach();
            return new TrainedParameters(values.narrow(0, adapterLength, values.numel() - adapterLength), TokenGradients,
                [new("rows", 0, rowsLength, 0), new(table.Name, rowsLength, table.Length, 1)], [rows_, still]);
        }
        adapter!.Attach();
        ParameterGroup Of(string part) => new(phase.GetProperty("lr").GetProperty(part).GetDouble(), decay);
        ParameterGroup[] groups = learns ? [Of("unet"), rows_, Of("text_encoder"), still] : [Of("unet"), Of("text_encoder"), still, still];
        var segments = new List<ParameterSegment>();
        foreach (var (name, parameter) in adapter.NamedParameters())
        {
            segments.Add(new(name, segments.Sum(item => item.Length), parameter.numel(), name.StartsWith("unet.", StringComparison.Ordinal) ? 0 : learns ? 2 : 1));
        }
        segments.Add(new("rows", adapterLength, rowsLength, learns ? 1 : 2));
        segments.Add(new(table.Name, adapterLength + rowsLength, table.Length, 3));
        return new TrainedParameters(values, gradients, segments, groups);
    }

    /// <summary>The loss of micro-batch number m, captions encoded in the step.</summary>
    public MicroBatchLoss Score(long m)
    {
        var timesteps = config.GetProperty("timesteps")[(int)m].EnumerateArray().Select(t => t.GetInt64()).ToArray();
        var rows = config.GetProperty("ids")[(int)m];
        var ids = tensor(rows.EnumerateArray().SelectMany(row => row.EnumerateArray()).Select(value => value.GetInt64()).ToArray(), [rows.GetArrayLength(), rows[0].GetArrayLength()]);
        var seed = config.GetProperty("data_seed").GetInt64();
        return loss.Of(Formula.Noise($"latents.{m}", latentShape, seed), new Conditioning { Hidden = text.call(ids).Last }, Formula.Noise($"noise.{m}", latentShape, seed), timesteps, [.. timesteps.Select(_ => "item")]);
    }

    public void Dispose()
    {
        Tokens.Dispose();
        adapter?.Dispose();
        values.Dispose();
        gradients.Dispose();
        text.Dispose();
        unet.Dispose();
    }

    private Tensor TableValues => values.narrow(0, adapterLength + rowsLength, text.TokenTable.numel()).view(text.TokenTable.shape);

    private static byte[] Bytes(JsonElement json) => Encoding.UTF8.GetBytes(json.GetRawText());

    private static long SeedOf(GoldenCase golden, string part) => golden.Json.GetProperty("weights").GetProperty(part).GetProperty("seed").GetInt64();

    /// <summary>(n, C): each row by the case's rule.</summary>
    private Tensor Start()
    {
        var width = text.TokenTable.size(1);
        var rows = config.GetProperty("ti").GetProperty("init").EnumerateArray().Select((rule, index) => rule[0].GetString() switch
        {
            "copy" => text.TokenTable[rule[1].GetInt64()],
            "mean" => text.TokenTable.index_select(0, tensor(rule[1].EnumerateArray().Select(id => id.GetInt64()).ToArray())).mean([0]),
            "zero" => zeros(width),
            "random" => Formula.Noise($"text_encoder.placeholder.{index}", [width], config.GetProperty("data_seed").GetInt64(), rule[1].GetDouble()),
            var other => throw new NotSupportedException($"the case has a start that the test does not know: {other}"),
        });
        return stack([.. rows]).detach();
    }

    private AdapterSet? BuildAdapter(JsonElement json, long reserved)
    {
        var modules = json.GetProperty("adapter_modules").EnumerateArray().ToList();
        if (modules.Count == 0) return null;
        string Target(JsonElement module) => $"{module[0].GetString()}:{module[1].GetString()}";
        var options = new AdapterOptions
        {
            Targets = [.. modules.Select(Target)],
            Overrides = [.. modules.Select(module => new AdapterOverride { Pattern = Target(module), Rank = module[3].GetInt32(), Alpha = module[4].GetDouble() })],
        };
        using var unused = new Generator(0UL);
        var components = new Dictionary<string, nn.Module> { ["unet"] = unet, ["text_encoder"] = text };
        var set = AdapterSet.Create(components, TargetSelector.Select(components, options), options, unused, CPU, reserved);
        Assert.Equal(modules.Select(Target).Order(StringComparer.Ordinal), set.Layers.Select(layer => $"{layer.Component}:{layer.Path}").Order(StringComparer.Ordinal));
        using var quiet = no_grad();
        var seed = config.GetProperty("adapter_seed").GetInt64();
        foreach (var layer in set.Layers)
        {
            var name = $"{layer.Component}.{layer.Path}";
            layer.Factors["down"].copy_(Formula.Weight($"{name}.lora_down.weight", layer.Factors["down"].shape, seed));
            layer.Factors["up"].copy_(Formula.Noise($"{name}.lora_up.weight", layer.Factors["up"].shape, seed, 0.05));
        }
        return set;
    }
}
