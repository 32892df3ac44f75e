using System.Globalization;
using System.Text.Json;

namespace LowRank.Recipes;

/// <summary>What an adapter's metadata says of its training, in words: sd-scripts' <c>ss_*</c> (train_network.py), <c>modelspec.*</c> (Stability's ModelSpec) and ours.</summary>
internal static class TrainingWords
{
    private const int MostTags = 10;

    /// <param name="metadata">Of the file.</param>
    /// <returns>By a word in front; only what the file says.</returns>
    public static Dictionary<string, string> Of(IReadOnlyDictionary<string, string> metadata)
    {
        var facts = new Facts(metadata);
        return new Dictionary<string, string>
        {
            ["made"] = Join(facts.Quoted("title", "modelspec.title"), facts.Said("by", "modelspec.author"), Date(facts), facts.Said("license", "modelspec.license"), facts.Quoted("trigger", "modelspec.trigger_phrase"), facts.Quoted("comment", "ss_training_comment")),
            ["trained"] = Join(Steps(facts), Epochs(facts), facts.Said("seed", "lowrank.seed", "ss_seed"), facts.Said("on", "ss_sd_model_name")),
            ["rates"] = Join(facts.Said("UNet", "ss_unet_lr", "ss_learning_rate"), facts.Said("text encoder", "ss_text_encoder_lr"), facts.Plain("ss_lr_scheduler"), facts.Said("warm-up", "ss_lr_warmup_steps", but: "0"), Optimizer(facts)),
            ["settings"] = Join(Resolution(facts), facts.Said("batch", "ss_total_batch_size", "ss_batch_size_per_device"), facts.Said("gradients of", "ss_gradient_accumulation_steps", but: "1", after: "batches"), facts.Plain("ss_mixed_precision", but: "no"),
                facts.Said("noise offset", "ss_noise_offset"), facts.Said("min-SNR gamma", "ss_min_snr_gamma"), facts.Said("clip skip", "ss_clip_skip"), facts.Said("dropout", "ss_network_dropout")),
            ["pictures"] = Join(Pictures(facts), facts.Said("prior pictures", "ss_num_reg_images", but: "0"), Folders(facts)),
            ["tags"] = Tags(facts),
        }.Where(item => item.Value.Length > 0).ToDictionary();
    }

    private static string Join(params string?[] words) => string.Join(", ", words.OfType<string>());

    private static string? Steps(Facts facts)
    {
        var (done, asked) = (facts["lowrank.steps"] ?? facts["ss_steps"], facts["ss_max_train_steps"]);
        return (done ?? asked) is { } steps ? $"{steps} steps{(asked is not null && done is not null && asked != done ? $" of {asked}" : "")}" : null;
    }

    private static string? Epochs(Facts facts)
    {
        var (done, asked) = (facts["ss_epoch"], facts["ss_num_epochs"]);
        return (done ?? asked) is { } epochs ? $"{epochs}{(asked is not null && done is not null && asked != done ? $" of {asked}" : "")} epochs" : null;
    }

    /// <summary>The name of the class, without its module and arguments.</summary>
    private static string? Optimizer(Facts facts) => facts["ss_optimizer"] is { } name ? name.Split('(')[0].Split('.')[^1] : null;

    private static string? Resolution(Facts facts) => facts["ss_resolution"] is { } size ? size.Trim('(', ')').Replace(", ", "×", StringComparison.Ordinal) + " px"
        : facts["modelspec.resolution"] is { } side ? side.Replace('x', '×') + " px" : null;

    private static string? Pictures(Facts facts) => facts["ss_num_train_images"] is { } count ? $"{count} an epoch" : null;

    private static string? Date(Facts facts)
    {
        if (facts["modelspec.date"] is { } date) return date.Replace('T', ' ');
        var seconds = facts["ss_training_finished_at"] ?? facts["ss_training_started_at"];
        return double.TryParse(seconds, NumberStyles.Float, CultureInfo.InvariantCulture, out var time) && time is > 0 and < 1e11
            ? DateTime.UnixEpoch.AddSeconds(time).ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) + " UTC" : null;
    }

    /// <summary>"10_wolf: 2 pictures × 10": sd-scripts' folders of pictures and how often each is shown in an epoch.</summary>
    private static string? Folders(Facts facts)
    {
        if (facts.Json("ss_dataset_dirs") is not { ValueKind: JsonValueKind.Object } folders) return null;
        var found = folders.EnumerateObject().Where(folder => folder.Value.ValueKind == JsonValueKind.Object)
            .Select(folder => $"{folder.Name}: {Number(folder.Value, "img_count")} pictures × {Number(folder.Value, "n_repeats")}").ToList();
        return found.Count == 0 ? null : string.Join(", ", found);

        static string Number(JsonElement folder, string key) => folder.TryGetProperty(key, out var value) ? value.ToString() : "?";
    }

    /// <summary>The ten most frequent over all folders, with their counts.</summary>
    private static string Tags(Facts facts)
    {
        if (facts.Json("ss_tag_frequency") is not { ValueKind: JsonValueKind.Object } folders) return "";
        var counts = folders.EnumerateObject().Where(folder => folder.Value.ValueKind == JsonValueKind.Object).SelectMany(folder => folder.Value.EnumerateObject())
            .Where(tag => tag.Value.ValueKind == JsonValueKind.Number)
            .GroupBy(tag => tag.Name.Trim()).Select(tag => (tag.Key, Count: tag.Sum(one => one.Value.GetDouble()))).OrderByDescending(tag => tag.Count).ThenBy(tag => tag.Key, StringComparer.Ordinal).ToList();
        return string.Join(", ", counts.Take(MostTags).Select(tag => string.Create(CultureInfo.InvariantCulture, $"{tag.Key} {tag.Count}")))
            + (counts.Count > MostTags ? string.Create(CultureInfo.InvariantCulture, $" and {counts.Count - MostTags} more") : "");
    }

    /// <summary>Metadata as it was meant: Python's None and empty values are none.</summary>
    private sealed class Facts(IReadOnlyDictionary<string, string> metadata)
    {
        public string? this[string key] => metadata.GetValueOrDefault(key) is { } value && value.Trim() is not ("" or "None" or "null" or "{}" or "[]") ? value.Trim() : null;

        public string? Plain(string key, string? but = null) => this[key] is { } value && value != but ? value : null;

        public string? Said(string word, string key, string? other = null, string? but = null, string? after = null) =>
            (this[key] ?? (other is null ? null : this[other])) is { } value && value != but ? $"{word} {value}{(after is null ? "" : " " + after)}" : null;

        public string? Quoted(string word, string key) => this[key] is { } value ? $"{word} \"{value}\"" : null;

        public JsonElement? Json(string key)
        {
            if (this[key] is not { } text) return null;
            try
            {
                using var document = JsonDocument.Parse(text);
                return document.RootElement.Clone();
            }
            catch (JsonException)   // metadata is anybody's text
            {
                return null;
            }
        }
    }
}
