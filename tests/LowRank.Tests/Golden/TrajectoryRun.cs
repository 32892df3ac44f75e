using System.Text;
using System.Text.Json;
using LowRank.Adapters;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using LowRank.Testing;
using LowRank.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>
/// A trajectory case set up with our own parts: tiny denoiser, adapter or the whole denoiser to train, loss, optimizer, schedule and loop as a recipe
/// would put them together; only latents, noise, timesteps, conditioning and the adapter's start come from the case.
/// </summary>
internal sealed class TrajectoryRun : IDisposable
{
    private readonly JsonElement config;
    private readonly UNet2DConditionModel unet;
    private readonly AdapterSet? adapter;
    private readonly TrainedModules? whole;
    private readonly TrajectoryConditioning conditioning;
    private readonly IOptimizer optimizer;
    private readonly MovingAverage? average;
    private readonly NoiseSchedule noiseSchedule;
    private readonly ScalarType type;
    private readonly int items;
    private readonly long[] latentShape;
    private long microBatch;

    public TrajectoryRun(GoldenCase golden)
    {
        config = golden.Json.GetProperty("config");
        type = GoldenTraining.Text(config, "precision") == "bf16" ? ScalarType.BFloat16 : ScalarType.Float32;
        items = config.GetProperty("batch").GetInt32();
        latentShape = [items, 4, .. config.GetProperty("size").EnumerateArray().Select(size => size.GetInt64())];
        unet = BuildUnet(golden.Json);
        conditioning = new TrajectoryConditioning(golden.Json, type, unet.Config.CrossAttentionDim);
        var json = config.GetProperty("optimizer");
        if (GoldenTraining.Text(config, "full") is { } part) whole = new TrainedModules([(part, unet)], new ParameterRates(RateOf(part), GoldenTraining.DefaultDecay(json)));
        else adapter = BuildAdapter(golden.Json);
        noiseSchedule = Schedule(GoldenTraining.Flag(config, "zero_snr"));
        Loss = BuildLoss(GoldenTraining.Section(config, "loss"));
        var parameters = whole?.Parameters ?? OfAdapter(adapter!, json);
        optimizer = GoldenTraining.Optimizer(json, parameters);
        average = Average(GoldenTraining.Section(config, "ema"), parameters);
        var schedule = GoldenTraining.Section(config, "schedule") is { ValueKind: JsonValueKind.Object } named
            ? GoldenTraining.Schedule(named, GoldenTraining.Number(json, "lr", RateOf("unet")))
            : new LearningRateSchedule.Constant();
        Steps = config.GetProperty("steps").GetInt32();
        Loop = new TrainingLoop(optimizer, schedule, new TrainingLoopOptions(Steps, (int)GoldenTraining.Number(config, "accumulation", 1), GoldenTraining.Number(config, "clip", 0)), average)
        {
            LimitNorms = adapter is null ? null : WeightNorms.By(adapter, new AdapterOptions { ScaleWeightNorms = GoldenTraining.Number(config, "max_norm", 0) }),
            Absent = adapter is null ? null : adapter.TakeAbsent,
        };
    }

    public TrainingLoop Loop { get; }

    public DenoisingLoss Loss { get; }

    public int Steps { get; }

    /// <summary>Values of everything that is trained by the case's name, as views.</summary>
    public IEnumerable<(string Name, Tensor Tensor)> Named() => whole is null ? NamedOf(adapter!)
        : whole.Parameters.Segments.Select(segment => (segment.Name, whole.Values.narrow(0, segment.Start, segment.Length)));

    private IEnumerable<(string Name, Tensor Tensor)> NamedOf(AdapterSet adapter) => adapter.Layers.SelectMany(layer => layer.Factors.Select(item => ($"{layer.Component}.{layer.Path}.{NameOf(layer.Kind, item.Key)}", item.Value)));

    /// <summary>A factor as the library that made the case calls it.</summary>
    private string NameOf(AdapterKind? kind, string factor) => (kind, factor) switch
    {
        (AdapterKind.Loha, _) => "hada_" + factor,
        (AdapterKind.Lokr, _) => "lokr_" + factor,
        (AdapterKind.Dora, "magnitude") => AdapterType == "dora_lycoris" ? "dora_scale" : "magnitude",
        _ => $"lora_{factor}.weight",
    };

    private JsonElement AdapterConfig => config.GetProperty("adapter").GetProperty("unet");

    private string AdapterType => GoldenTraining.Text(AdapterConfig, "type") ?? "lora";

    /// <summary>The loss of micro-batch number m.</summary>
    public MicroBatchLoss Score(long micro)
    {
        microBatch = micro;
        var period = GoldenTraining.Number(config, "data_period", 0);
        var m = period > 0 ? micro % (long)period : micro;
        var timesteps = config.GetProperty("timesteps")[(int)m].EnumerateArray().Select(t => t.GetInt64()).ToArray();
        var noise = Formula.Noise($"noise.{m}", latentShape, DataSeed);
        var latents = Formula.Noise($"latents.{m}", latentShape, DataSeed);
        var loss = GoldenTraining.Section(config, "loss");
        if (GoldenTraining.Number(loss, "noise_offset", 0) is var offset and not 0)
        {
            var strength = tensor((float)offset);
            if (GoldenTraining.Number(loss, "adaptive_noise_scale", 0) is var adaptive and not 0) strength = TrainingNoise.AdaptiveOffset(latents, strength, adaptive);
            noise = TrainingNoise.WithOffset(noise, Formula.Noise($"offset.{m}", [items, 4, 1, 1], DataSeed), strength);
        }
        var gamma = GoldenTraining.Number(loss, "ip_noise_gamma", 0);
        return Loss.Of(latents, conditioning.For(m, DataSeed), noise, timesteps, [.. timesteps.Select((_, item) => $"item {item}")], new BatchExtras
        {
            Weights = Weights(timesteps.Length),
            Masks = GoldenTraining.Section(loss, "mask").ValueKind == JsonValueKind.Object ? Masks(m) : null,
            Beside = GoldenTraining.Flag(config, "inpaint") ? Beside(m) : null,
            Perturbation = gamma == 0 ? null : Formula.Noise($"perturbation.{m}", latentShape, DataSeed).Times(gamma),
        });
    }

    /// <summary>The measure of held-out pictures as a recipe makes it: every item of the case's batches is a picture.</summary>
    public HeldOutMeasured HeldOut(IReadOnlyList<int> timesteps, int batches, long seed)
    {
        using var scope = NewDisposeScope();
        var loss = new HeldOutLoss(noiseSchedule, noiseSchedule.PredictionType, Predict, [.. timesteps.Select(timestep => (long)timestep)]);
        var pictures = new List<(string, IReadOnlyList<float>)>();
        for (var b = 0; b < batches; b++)
        {
            var (latents, noise, states) = (Formula.Noise($"latents.{b}", latentShape, seed), Formula.Noise($"noise.{b}", latentShape, seed), conditioning.For(b, seed));
            for (var item = 0; item < items; item++)
            {
                var one = new Conditioning { Hidden = states.Hidden.narrow(0, item, 1) };
                pictures.Add(($"{b}.{item}", loss.Of(new HeldOutPicture(latents.narrow(0, item, 1), one, noise.narrow(0, item, 1)))));
            }
        }
        return HeldOutMeasured.Of(Loop.Position.Step, timesteps, pictures);
    }

    /// <summary>Puts the adapter and the optimizer where the reference stood after some of its steps.</summary>
    public void StartFrom(GoldenCase golden, JsonElement resume)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        Tensor Flat(string prefix) => cat([.. Named().Select(item => golden.Tensor(prefix + item.Name).flatten())]);
        foreach (var (name, tensor) in Named()) tensor.copy_(golden.Tensor("checkpoint." + name));
        var steps = resume.GetProperty("state_scalars").GetProperty("step").GetDouble();
        var state = new Dictionary<string, Tensor> { ["first_moment"] = Flat("state.exp_avg."), ["second_moment"] = Flat("state.exp_avg_sq.") };
        if (optimizer is Prodigy)
        {
            var scalars = resume.GetProperty("group_scalars");
            (state["start"], state["distances"]) = (Flat("state.p0."), Flat("state.s."));
            state["counts"] = tensor(new[] { "d", "d_max", "d_numerator", "k" }.Select(name => scalars.GetProperty(name).GetDouble()).ToArray());
        }
        else state["steps"] = TensorArithmetic.Filled([Loop.Parameters.Segments.Count], steps, ScalarType.Int64);
        optimizer.Restore(state);
        Assert.Equal(resume.GetProperty("step").GetInt64(), resume.GetProperty("schedule_steps").GetInt64());
        Loop.Position = new LoopPosition(resume.GetProperty("step").GetInt64(), resume.GetProperty("micro_batches_consumed").GetInt64());
    }

    public void Dispose()
    {
        optimizer.Dispose();
        average?.Dispose();
        adapter?.Dispose();
        whole?.Dispose();
        conditioning.Dispose();
        unet.Dispose();
    }

    /// <summary>From its start values, in the case's groups.</summary>
    private TrainedParameters OfAdapter(AdapterSet adapter, JsonElement optimizer)
    {
        PutStartValues(adapter);
        return TrainedParameters.Of(adapter, new ParameterRates(RateOf("unet"), GoldenTraining.DefaultDecay(optimizer), GoldenTraining.Number(config, "loraplus", 1))
        {
            Parts = conditioning.Encoders.Where(encoder => config.GetProperty("adapter").TryGetProperty(encoder.Name, out _)).ToDictionary(encoder => encoder.Name, encoder => new ParameterGroup(RateOf(encoder.Name))),
        }, Unreached(adapter));
    }

    private HashSet<string> Unreached(AdapterSet adapter)
    {
        using var scope = NewDisposeScope();
        IEnumerable<Tensor> Encoded()
        {
            var states = conditioning.For(0, DataSeed);
            return states.Pooled is { } pooled ? [states.Hidden, pooled] : [states.Hidden];
        }
        return [.. adapter.Layers.Select(layer => layer.Component).Distinct().Where(part => part != "unet").SelectMany(part => UnreachedLayers.Find(adapter, part, Encoded))];
    }

    /// <summary>Of a part's adapter: one for all, or one for each part.</summary>
    private double RateOf(string component) => config.GetProperty("lr") is { ValueKind: JsonValueKind.Object } rates ? rates.GetProperty(component).GetDouble() : config.GetProperty("lr").GetDouble();

    private long DataSeed => config.GetProperty("data_seed").GetInt64();

    private UNet2DConditionModel BuildUnet(JsonElement json)
    {
        var published = UNet2DConditionConfig.Parse(Encoding.UTF8.GetBytes(json.GetProperty("unet").GetRawText()), "config");
        var model = new UNet2DConditionModel(published, new LayerFactory(CPU, ScalarType.Float32));
        Formula.Fill(model, json.GetProperty("weights").GetProperty("unet").GetProperty("seed").GetInt64());
        foreach (var parameter in model.parameters()) parameter.requires_grad_(false);
        return (UNet2DConditionModel)model.to(type);
    }

    private AdapterSet BuildAdapter(JsonElement json)
    {
        var modules = json.GetProperty("adapter_modules").EnumerateArray().ToList();
        string Target(JsonElement module) => $"{module[0].GetString()}:{module[1].GetString()}";
        var options = new AdapterOptions
        {
            Targets = [.. modules.Select(Target)],
            Kind = AdapterType switch { "loha" => AdapterKind.Loha, "lokr" => AdapterKind.Lokr, "dora" or "dora_lycoris" => AdapterKind.Dora, _ => AdapterKind.Lora },
            DoraRule = AdapterType == "dora_lycoris" ? DoraRule.Lycoris : DoraRule.Peft,
            UseRslora = AdapterType == "rslora",
            Factor = GoldenTraining.Number(GoldenTraining.Section(AdapterConfig, "options"), "factor", 0) is var factor and > 0 ? (int)factor : null,
            Dropout = Share("input"),
            NeuronDropout = Share("neuron"),
            RankDropout = Share("rank"),
            ModuleDropout = Share("module"),
            OutputDropout = Share("output"),
            Overrides = [.. modules.Select(module => new AdapterOverride { Pattern = Target(module), Rank = module[3].GetInt32(), Alpha = module[4].GetDouble() })],
        };
        double Share(string place) => GoldenTraining.Number(GoldenTraining.Section(AdapterConfig, "dropout"), place, 0);
        var components = new Dictionary<string, nn.Module> { ["unet"] = unet };
        foreach (var (name, encoder) in conditioning.Encoders.Where(encoder => modules.Exists(module => module[0].GetString() == encoder.Name))) components[name] = encoder;
        using var unused = new Generator(0UL);
        var set = AdapterSet.Create(components, options, unused, CPU);
        Assert.Equal(modules.Select(Target).Order(StringComparer.Ordinal), set.Layers.Select(layer => $"{layer.Component}:{layer.Path}").Order(StringComparer.Ordinal));
        foreach (var module in modules)
        {
            var layer = set.Layers.Single(layer => layer.Component == module[0].GetString() && layer.Path == module[1].GetString());
            Assert.Equal(module[2].GetString(), layer.Module is TorchSharp.Modules.Conv2d ? "conv" : "linear");
        }
        set.DropoutNumbers = DropoutNumbers;
        return set;
    }

    /// <summary>Numbers in [0, 1) by formula for the input of one layer in the running micro-batch.</summary>
    private Tensor DropoutNumbers(DropoutPlace place, AdapterLayer layer, long[] shape) =>
        Formula.Noise($"{place.ToString().ToLowerInvariant()}_dropout.{microBatch}.{layer.Component}.{layer.Path}", shape, config.GetProperty("adapter_seed").GetInt64(), amplitude: 1).Plus(1).Times(0.5);

    private void PutStartValues(AdapterSet adapter)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var seed = config.GetProperty("adapter_seed").GetInt64();
        foreach (var (name, tensor) in Named())
        {
            var small = Array.Exists(Small, end => name.EndsWith(end, StringComparison.Ordinal));
            tensor.copy_(small ? Formula.Noise(name, tensor.shape, seed, GoldenTraining.Number(config.GetProperty("adapter").GetProperty(name[..name.IndexOf('.', StringComparison.Ordinal)]), "up_amplitude", 0.05)) : Formula.Weight(name, tensor.shape, seed));
        }
        foreach (var layer in adapter.Layers.Where(layer => layer.Kind == AdapterKind.Dora))
        {
            // the lengths start as those of the weight, by PEFT's rule of the weight with its low-rank part
            var weight = LayerShape.WeightOf(layer.Module).detach();
            if (AdapterType == "dora") weight = weight.Plus(layer.Factors["up"].flatten(1).mm(layer.Factors["down"].flatten(1)).view(weight.shape).Times(layer.Alpha / layer.Rank));
            layer.Factors["magnitude"].copy_(weight.flatten(1).norm(1).view(layer.Factors["magnitude"].shape));
        }
    }

    /// <summary>Factors that start small, not as weights do.</summary>
    private static readonly string[] Small = [".lora_up.weight", ".hada_w1_a", ".hada_w2_a", ".lokr_w2_a", ".lokr_w2"];

    private NoiseSchedule Schedule(bool zeroSnr) => new(new NoiseScheduleOptions
    {
        BetaStart = 0.00085,
        BetaEnd = 0.012,
        BetaSchedule = "scaled_linear",
        NumTrainTimesteps = 1000,
        PredictionType = GoldenTraining.Text(config, "prediction") ?? "epsilon",
        RescaleBetasZeroSnr = zeroSnr,
    });

    private static MovingAverage? Average(JsonElement json, TrainedParameters parameters)
    {
        if (json.ValueKind != JsonValueKind.Object) return null;
        var rule = MovingAverageGoldenTests.Rule(json);
        return new MovingAverage(parameters, GoldenTraining.Flag(json, "fixed") ? rule with { Warmup = AverageWarmup.None } : rule);
    }

    private DenoisingLoss BuildLoss(JsonElement json)
    {
        var weightSchedule = GoldenTraining.Text(json, "snr_table") == "original" ? Schedule(zeroSnr: false) : null;
        return GoldenTraining.Loss(json, "type").Make(noiseSchedule, noiseSchedule.PredictionType, Predict, weightSchedule: weightSchedule);
    }

    /// <summary>The rectangles of the case as they are cached: by area, and by top left pixel.</summary>
    private Tensor Masks(long m)
    {
        var (height, width) = (latentShape[2], latentShape[3]);
        var masks = Rectangles(m);
        return cat([LossMask.Area(masks, height, width), LossMask.Corner(masks, height, width)], 1);
    }

    /// <summary>What an inpainting denoiser sees behind the noisy latents: the hole, and the latents of the picture without it.</summary>
    private Tensor Beside(long m) => cat([InpaintingInput.Shrink(InpaintingInput.Hole(Rectangles(m)), 8), Formula.Noise($"masked_latents.{m}", latentShape, DataSeed)], 1);

    /// <summary>Pixels of the pictures: the grey of each one's rectangle inside it, 0 outside.</summary>
    private Tensor Rectangles(long m)
    {
        var masks = zeros(items, 1, 8 * latentShape[2], 8 * latentShape[3]);
        for (var item = 0; item < items; item++)
        {
            var given = config.GetProperty("masks")[(int)m][item].EnumerateArray().Select(value => value.GetDouble()).ToArray();
            masks[item, 0, (int)given[0]..(int)given[2], (int)given[1]..(int)given[3]] = (float)given[4];
        }
        return masks;
    }

    private float[] Weights(int count)
    {
        var prior = GoldenTraining.Section(GoldenTraining.Section(config, "loss"), "prior");
        if (prior.ValueKind == JsonValueKind.Object) GoldenTraining.RequireKnown(prior, "rule", "weight", "instance");
        var instances = prior.ValueKind != JsonValueKind.Object ? count : (int)GoldenTraining.Number(prior, "instance", count / 2);
        return GoldenTraining.Loss(GoldenTraining.Section(config, "loss"), "type").ItemWeights([.. Enumerable.Repeat(1.0, count)], [.. Enumerable.Range(0, count).Select(item => item >= instances)]);
    }

    private Tensor Predict(Tensor latents, Tensor timesteps, Conditioning given) =>
        unet.call(latents.to(type), timesteps, given.Hidden, given.Pooled, given.TimeIds);
}
