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

    /// <summary>The optimizer of a case; null when it is none of ours.</summary>
    public static IOptimizer? Optimizer(JsonElement json, TrainedParameters parameters)
    {
        switch (json.GetProperty("name").GetString())
        {
            case "AdamW":
                RequireKnown(json, [.. LearningRateKeys, "betas", "eps", "weight_decay"]);
                var betas = json.TryGetProperty("betas", out var pair) ? pair.EnumerateArray().Select(item => item.GetDouble()).ToArray() : [0.9, 0.999];
                return new AdamW(parameters, betas[0], betas[1], Number(json, "eps", 1e-8));
            case "SGD":
                RequireKnown(json, [.. LearningRateKeys, "momentum", "nesterov", "weight_decay"]);
                return new Sgd(parameters, Number(json, "momentum", 0), json.TryGetProperty("nesterov", out var nesterov) && nesterov.GetBoolean());
            default:
                return null;
        }
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

    /// <summary>Decay where neither the optimizer nor the group names one: torch's default.</summary>
    public static double DefaultDecay(JsonElement optimizer) =>
        Number(optimizer, "weight_decay", optimizer.GetProperty("name").GetString() == "AdamW" ? 1e-2 : 0);

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
