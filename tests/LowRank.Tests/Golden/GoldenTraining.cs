using System.Text.Json;
using LowRank.Training;

namespace LowRank.Tests.Golden;

/// <summary>What the training cases say in JSON, as our types. Everything a case says is used or refused by name.</summary>
internal static class GoldenTraining
{
    private static readonly string[] LearningRateKeys = ["name", "lr"];

    /// <summary>A schedule of the cases; the base rate only matters to the polynomial one, whose end is an absolute rate.</summary>
    public static LearningRateSchedule Schedule(JsonElement json, double baseRate)
    {
        var name = json.GetProperty("name").GetString()!;
        var warmup = (long)Number(json, "warmup", 0);
        long Total() => json.GetProperty("total").GetInt64();
        (LearningRateSchedule Schedule, string[] Keys) read = name switch
        {
            "constant" => (new LearningRateSchedule.Constant(), []),
            "constant_with_warmup" => (new LearningRateSchedule.Constant { WarmupSteps = warmup }, []),
            "linear" => (new LearningRateSchedule.Linear(Total()) { WarmupSteps = warmup }, []),
            "cosine" => (new LearningRateSchedule.Cosine(Total(), Number(json, "cycles", 0.5)) { WarmupSteps = warmup }, ["cycles"]),
            "cosine_with_restarts" => (new LearningRateSchedule.CosineWithRestarts(Total(), Number(json, "cycles", 1)) { WarmupSteps = warmup }, ["cycles"]),
            "polynomial" => (new LearningRateSchedule.Polynomial(Total(), Number(json, "power", 1), Number(json, "lr_end", 1e-7) / baseRate) { WarmupSteps = warmup },
                ["power", "lr_end", "base_lr"]),
            "inverse_sqrt" => (new LearningRateSchedule.InverseSqrt(json.TryGetProperty("timescale", out var scale) ? scale.GetInt64() : null) { WarmupSteps = warmup }, ["timescale"]),
            "cosine_with_min_lr" => (new LearningRateSchedule.Cosine(Total(), Number(json, "cycles", 0.5), Number(json, "min_lr_rate", 0)) { WarmupSteps = warmup }, ["cycles", "min_lr_rate"]),
            "warmup_stable_decay" => (new LearningRateSchedule.WarmupStableDecay(json.GetProperty("stable").GetInt64(), json.GetProperty("decay").GetInt64(),
                Number(json, "min_lr_ratio", 0))
            { WarmupSteps = warmup }, ["stable", "decay", "min_lr_ratio"]),
            "piecewise_constant" => (new LearningRateSchedule.Piecewise([.. json.GetProperty("rules").EnumerateArray().Select(Piece)]), ["rules"]),
            "rex" => (new LearningRateSchedule.Rex(Total()), []),
            "one_cycle" => (new LearningRateSchedule.OneCycle(Total(), Number(json, "pct_start", 0.3), Number(json, "div", 25), Number(json, "final_div", 1e4)), ["pct_start", "div", "final_div"]),
            _ => throw new NotSupportedException($"the case names a learning-rate schedule that the test does not know: {name}"),
        };
        RequireKnown(json, [.. read.Keys, "name", "warmup", "total", "count"]);
        return read.Schedule;
    }

    /// <summary>The optimizer of a case.</summary>
    public static IOptimizer Optimizer(JsonElement json, TrainedParameters parameters)
    {
        var betas = Section(json, "betas") is { ValueKind: JsonValueKind.Array } pair ? pair.EnumerateArray().Select(item => item.GetDouble()).ToArray() : [0.9, 0.999];
        var epsilon = Number(json, "eps", 1e-8);
        var name = json.GetProperty("name").GetString()!;
        (Func<IOptimizer> Make, string[] Keys) read = name switch
        {
            "AdamW" => (() => new AdamW(parameters, betas[0], betas[1], epsilon), ["betas", "eps"]),
            "Adam" => (() => new AdamW(parameters, betas[0], betas[1], epsilon, decoupled: false), ["betas", "eps"]),
            "AdamW8bit" => (() => new AdamW8bit(parameters, betas[0], betas[1], epsilon), ["betas", "eps"]),
            "SGD" => (() => new Sgd(parameters, Number(json, "momentum", 0), Flag(json, "nesterov")), ["momentum", "nesterov"]),
            "Lion" => (() => new Lion(parameters, betas[0], betas[1]), ["betas"]),
            "CAME" => (() => new Came(parameters, betas[0], betas[1]), ["betas", "eps"]),
            "Adafactor" => (() => new Adafactor(parameters, new AdafactorRule(Flag(json, "relative_step"), Flag(json, "warmup_init"), Flag(json, "scale_parameter"),
                Number(json, "clip_threshold", 1), json.TryGetProperty("beta1", out var beta1) ? beta1.GetDouble() : null)),
                ["relative_step", "warmup_init", "scale_parameter", "clip_threshold", "beta1"]),
            "Prodigy" => (() => new Prodigy(parameters, new ProdigyRule(betas[0], betas[1], epsilon, Number(json, "d0", 1e-6), Number(json, "d_coef", 1),
                Number(json, "growth_rate", double.PositiveInfinity), Flag(json, "use_bias_correction"), Flag(json, "safeguard_warmup"))),
                ["betas", "eps", "d0", "d_coef", "growth_rate", "use_bias_correction", "safeguard_warmup"]),
            "ScheduleFreeAdamW" => (() => new ScheduleFreeAdamW(parameters, betas[0], betas[1], epsilon, (long)Number(json, "warmup_steps", 0)),
                ["betas", "eps", "warmup_steps", "r", "weight_lr_power"]),
            _ => throw new NotSupportedException($"the case names an optimizer that the test does not know: {name}"),
        };
        RequireKnown(json, [.. LearningRateKeys, .. read.Keys, "weight_decay"]);
        RequireFixed(json, name);
        return read.Make();
    }

    /// <summary>The loss of a case.</summary>
    /// <param name="json">Its loss; undefined for the plain one.</param>
    /// <param name="typeKey">What the case calls the kind of loss.</param>
    public static LossOptions Loss(JsonElement json, string typeKey)
    {
        var usual = new LossOptions();
        var options = new LossOptions
        {
            Type = Text(json, typeKey) switch { null or "l2" => LossType.L2, "l1" => LossType.L1, "huber" => LossType.Huber, "smooth_l1" => LossType.SmoothL1, var other => throw new NotSupportedException($"the loss {other}") },
            HuberSchedule = Text(json, "huber_schedule") switch { null or "snr" => HuberSchedule.Snr, "exponential" => HuberSchedule.Exponential, "constant" => HuberSchedule.Constant, var other => throw new NotSupportedException($"the threshold's schedule {other}") },
            HuberC = Number(json, "huber_c", usual.HuberC),
            HuberScale = Number(json, "huber_scale", usual.HuberScale),
            MinSnrGamma = Number(json, "snr_gamma", Number(json, "min_snr_gamma", 0)),
            ScaleVPredLossLikeNoisePred = Flag(json, "scale_v_pred_loss_like_noise_pred"),
            VPredLikeLoss = Number(json, "v_pred_like_loss", 0),
            DebiasedEstimation = Flag(json, "debiased"),
        };
        if (Section(json, "mask") is { ValueKind: JsonValueKind.Object } mask)
        {
            RequireKnown(mask, "rule", "temperature");
            options = Text(mask, "rule") switch
            {
                "area" => options with { UnmaskedWeight = 0 },
                "ancestor" => options with { MaskTemperature = Number(mask, "temperature", 1) },
                var other => throw new NotSupportedException($"the mask rule {other}"),
            };
        }
        if (Section(json, "prior") is not { ValueKind: JsonValueKind.Object } prior) return options;
        return options with
        {
            PriorLossWeight = prior.GetProperty("weight").GetDouble(),
            PriorRule = Text(prior, "rule") switch { "two_means" => PriorRule.TwoMeans, "per_sample" => PriorRule.PerSample, var other => throw new NotSupportedException($"the prior rule {other}") },
        };
    }

    /// <summary>Whether a trajectory case trains in phases, and learns tokens.</summary>
    public static bool HasPhases(string id)
    {
        using var golden = LowRank.Testing.GoldenCase.Open(id);
        return golden.Json.GetProperty("config").TryGetProperty("phases", out _);
    }

    /// <summary>Decay where neither the optimizer nor the group names one: the library's default.</summary>
    public static double DefaultDecay(JsonElement optimizer) =>
        Number(optimizer, "weight_decay", optimizer.GetProperty("name").GetString() is "AdamW" or "AdamW8bit" ? 1e-2 : 0);

    /// <summary>What ours has no option for must be what ours does.</summary>
    private static void RequireFixed(JsonElement json, string name)
    {
        if (name == "ScheduleFreeAdamW") Assert.Equal((0.0, 2.0), (Number(json, "r", 0), Number(json, "weight_lr_power", 2)));
        if (name != "CAME") return;
        Assert.Equal(0.9999, json.GetProperty("betas")[2].GetDouble());
        Assert.Equal([1e-30, 1e-16], json.GetProperty("eps").EnumerateArray().Select(item => item.GetDouble()));
    }

    public static double Number(JsonElement json, string key, double otherwise) =>
        json.ValueKind == JsonValueKind.Object && json.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : otherwise;

    public static string? Text(JsonElement json, string key) =>
        json.ValueKind == JsonValueKind.Object && json.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    public static bool Flag(JsonElement json, string key) =>
        json.ValueKind == JsonValueKind.Object && json.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.True;

    /// <summary>A part of the case; undefined when it has none.</summary>
    public static JsonElement Section(JsonElement json, string key) => json.ValueKind == JsonValueKind.Object && json.TryGetProperty(key, out var value) ? value : default;

    /// <summary>Fails on a field that the test would overlook.</summary>
    public static void RequireKnown(JsonElement json, params IEnumerable<string> known)
    {
        var names = known.ToHashSet();
        var unknown = json.EnumerateObject().Where(item => !names.Contains(item.Name) && item.Value.ValueKind != JsonValueKind.Null).Select(item => item.Name).ToList();
        Assert.True(unknown.Count == 0, $"the case has fields that the test does not know: {string.Join(", ", unknown)}");
    }

    private static (double, long?) Piece(JsonElement rule) => (rule[0].GetDouble(), rule[1].ValueKind == JsonValueKind.Null ? null : rule[1].GetInt64());
}
