using System.Text.Json;

namespace LowRank.Tests.Golden;

/// <summary>What a trajectory case asks for that is not built, read from its configuration.</summary>
internal static class TrajectoryNeeds
{
    /// <summary>Fields that say nothing that training does, or only fill lists that the case holds in full.</summary>
    private static readonly string[] Told = ["what", "seed", "data_seed", "adapter_seed", "flat", "timestep_range", "timestep_overrides", "keep_init", "masks"];

    private static readonly string[] Built =
    [
        "batch", "size", "steps", "accumulation", "clip", "prediction", "zero_snr", "precision", "timesteps", "cond_len", "data_period",
        "adapter", "optimizer", "lr", "schedule", "loss", "validation", "ids", "time_ids", "clip_skip", "resume_at", "max_norm", "ema", "loraplus", "full", "inpaint",
    ];

    private static readonly string[] BuiltLoss = ["snr_gamma", "snr_table", "noise_offset", "scale_v_pred_loss_like_noise_pred", "v_pred_like_loss", "debiased",
        "huber_schedule", "huber_c", "huber_scale", "adaptive_noise_scale", "ip_noise_gamma", "prior", "mask"];

    private static readonly string[] BuiltAdapter = ["targets", "rank", "alpha", "conv_rank", "conv_alpha", "overrides", "up_amplitude", "type", "dropout", "options"];

    /// <summary>In words; null when everything is built.</summary>
    public static string? NotBuilt(JsonElement golden)
    {
        var needs = Needs(golden).ToList();
        return needs.Count == 0 ? null : string.Join(", ", needs);
    }

    private static IEnumerable<string> Needs(JsonElement golden)
    {
        var config = golden.GetProperty("config");
        foreach (var item in Unknown(config, [.. Told, .. Built])) yield return item.Name;
        foreach (var item in Unknown(GoldenTraining.Section(config, "loss"), ["type", .. BuiltLoss])) yield return $"the loss's {item.Name}";
        var loss = GoldenTraining.Section(config, "loss");
        if (GoldenTraining.Text(loss, "type") is not (null or "l2" or "huber" or "smooth_l1")) yield return $"the loss {GoldenTraining.Text(loss, "type")}";
        if (GoldenTraining.Text(loss, "snr_table") is not (null or "original")) yield return $"the SNR table {GoldenTraining.Text(loss, "snr_table")}";
        if (GoldenTraining.Text(config, "precision") is not (null or "bf16")) yield return $"the precision {GoldenTraining.Text(config, "precision")}";
        if (GoldenTraining.Text(config, "prediction") is not (null or "epsilon" or "v_prediction" or "sample")) yield return $"the prediction {GoldenTraining.Text(config, "prediction")}";
        if (GoldenTraining.Text(config, "full") is not (null or "unet")) yield return $"{GoldenTraining.Text(config, "full")} trained as a whole";
        foreach (var need in OfAdapter(config)) yield return need;
    }

    private static IEnumerable<string> OfAdapter(JsonElement config)
    {
        if (GoldenTraining.Section(config, "adapter") is not { ValueKind: JsonValueKind.Object } parts) yield break;
        foreach (var part in parts.EnumerateObject())
        {
            if (part.Name is not ("unet" or "text_encoder" or "text_encoder_2")) yield return $"an adapter on {part.Name}";
            foreach (var item in Unknown(part.Value, BuiltAdapter)) yield return $"the adapter's {item.Name}";
            if (GoldenTraining.Text(part.Value, "type") is not (null or "lora" or "dropout" or "rslora" or "dora" or "dora_lycoris" or "loha" or "lokr") and var kind) yield return $"the adapter kind {kind}";
            foreach (var item in Unknown(GoldenTraining.Section(part.Value, "dropout"), ["input", "neuron", "rank", "module", "output"])) yield return $"the adapter's dropout of {item.Name}";
            foreach (var item in Unknown(GoldenTraining.Section(part.Value, "options"), ["factor"])) yield return $"the adapter's {item.Name}";
        }
    }

    /// <summary>Fields outside the list that say something; those set to null, false or 0 switch off what they name.</summary>
    private static IEnumerable<JsonProperty> Unknown(JsonElement json, IReadOnlyCollection<string> known) => json.ValueKind != JsonValueKind.Object ? [] :
        json.EnumerateObject().Where(item => !known.Contains(item.Name) && item.Value.ValueKind is not (JsonValueKind.Null or JsonValueKind.False) &&
            !(item.Value.ValueKind == JsonValueKind.Number && item.Value.GetDouble() == 0));
}
