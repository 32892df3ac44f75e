using LowRank.Recipes;
using LowRank.Tests.Documents;

namespace LowRank.Tests.Recipes;

/// <summary>
/// An option that does nothing does not exist: each key of the recipe, changed by itself, changes what a run leaves behind.
/// The table is complete: a key without a row fails.
/// </summary>
public sealed class OptionEffectTests : IDisposable
{
    private const string Override = "adapter.overrides=[{pattern = '**.to_q', rank = 1}]";

    private const string Text = "text_encoder.learning_rate=0.01";
    private static readonly string Xl = $"model='{Path.Combine(LowRank.Testing.Repository.Root, "tests", "fixtures", "models", "pipelines", "sdxl")}'";

    /// <summary>Key, its other value as TOML, and what must hold beside it for the key to matter (in both runs).</summary>
    private static readonly (string Key, string Value, string[] With)[] Changes =
    [
        ("model", $"'{Path.Combine(LowRank.Testing.Repository.Root, "models", "icons-64")}'", []),
        ("seed", "6", []),
        ("data.caption", "\"a photo\"", []),
        ("data.prefix", "\"garden\"", []),
        ("data.suffix", "\"garden\"", []),
        ("data.repeats", "3", []),
        ("data.folder_repeats", "true", []),
        ("data.shuffle_tags", "true", []),
        ("data.keep_tokens", "2", ["data[0].shuffle_tags=true"]),
        ("data.keep_tokens_separator", "\"in\"", ["data[0].shuffle_tags=true"]),
        ("data.tag_separator", "\" \"", ["data[0].shuffle_tags=true"]),
        ("data.secondary_separator", "\"dog\"", []),
        ("data.wildcards", "true", []),
        ("data.caption_dropout", "0.9", []),
        ("data.caption_dropout_every_epochs", "1", []),
        ("data.tag_dropout", "0.9", []),
        ("data.token_warmup_steps", "4", []),
        ("data.token_warmup_min", "3", ["data[0].token_warmup_steps=4"]),
        ("data.flip", "true", []),
        ("data.crop", "\"random\"", ["data[0].buckets=false"]),
        ("data.resolution", "32", []),
        ("data.buckets", "false", []),
        ("data.bucket_min", "56", []),
        ("data.bucket_max", "80", []),
        ("data.bucket_step", "32", []),
        ("data.enlarge", "false", ["data[0].resolution=128"]),
        ("adapter.rank", "3", []),
        ("adapter.alpha", "1", []),
        ("adapter.conv_rank", "1", ["adapter.targets=[\"all\"]"]),
        ("adapter.conv_alpha", "1", ["adapter.targets=[\"all\"]"]),
        ("adapter.dropout", "0.5", []),
        ("adapter.targets", "[\"all-linear\"]", []),
        ("adapter.overrides", "[{pattern = \"**.to_q\", rank = 1}]", []),
        ("adapter.overrides.pattern", "\"**.to_k\"", [Override]),
        ("adapter.overrides.rank", "3", [Override]),
        ("adapter.overrides.alpha", "5", [Override]),
        ("text_encoder.rank", "3", [Text]),
        ("text_encoder.alpha", "1", [Text]),
        ("text_encoder.targets", "[\"all-linear\"]", [Text]),
        ("text_encoder.learning_rate", "0.02", [Text]),
        ("text_encoder.second_learning_rate", "0.02", [Text, Xl]),
        ("text_encoder.stop_step", "1", [Text]),
        ("training.steps", "3", []),
        ("training.batch_size", "1", []),
        ("training.accumulation", "2", []),
        ("training.learning_rate", "0.02", []),
        ("training.schedule", "\"constant\"", []),
        ("training.warmup_steps", "2", []),
        ("training.cycles", "2", ["training.schedule='cosine-with-restarts'"]),
        ("training.power", "2", ["training.schedule='polynomial'"]),
        ("training.optimizer", "\"sgd\"", []),
        ("training.beta1", "0.5", []),
        ("training.beta2", "0.5", []),
        ("training.epsilon", "0.1", []),
        ("training.weight_decay", "0.5", []),
        ("training.momentum", "0.1", ["training.optimizer='sgd'"]),
        ("training.max_gradient_norm", "0.0001", ["training.optimizer='sgd'"]),
        ("training.min_snr_gamma", "1", []),
        ("training.noise_offset", "0.5", []),
        ("training.min_timestep", "900", []),
        ("training.max_timestep", "100", []),
        ("training.precision", "\"bf16\"", []),
        ("training.clip_skip", "2", []),
        ("training.save_every", "1", []),
        ("training.keep", "1", ["training.save_every=1"]),
        ("training.cache", "\"disk\"", []),
        ("training.cache_folder", "'{0}/elsewhere'", ["training.cache='disk'"]),
        ("preview.every", "1", ["preview.prompts=['a dog']"]),
        ("preview.prompts", "['a cat']", []),
        ("preview.captions", "1", []),
        ("preview.negative_prompt", "\"blurry\"", ["preview.prompts=['a dog']"]),
        ("preview.sampler", "\"euler\"", ["preview.prompts=['a dog']"]),
        ("preview.steps", "3", ["preview.prompts=['a dog']"]),
        ("preview.guidance", "1", ["preview.prompts=['a dog']"]),
        ("save.format", "\"peft\"", []),
        ("save.precision", "\"fp32\"", []),
    ];

    private readonly TinyRun run = new();

    public OptionEffectTests()
    {
        File.Copy(run.Path("pictures", "a.png"), run.Path("pictures", "3_a garden", "d.png"));
    }

    public static TheoryData<string> Keys => [.. RecipePage.Rows.Select(row => row.Path).Except(["method", "output", "data.folder", "training.gradient_checkpointing"])];   // one method so far; the two paths are used by every run; the last has a test of its own

    public void Dispose() => run.Dispose();

    [Theory]
    [MemberData(nameof(Keys))]
    public void Every_key_changes_what_a_run_leaves(string key)
    {
        var (_, value, with) = Assert.Single(Changes, change => change.Key == key);
        var set = key.Replace("data.", "data[0].", StringComparison.Ordinal).Replace("overrides.", "overrides[0].", StringComparison.Ordinal);
        var before = Left("before", with);
        var after = Left("after", [.. with, $"{set}={value.Replace("{0}", run.Path("after"), StringComparison.Ordinal)}"]);
        Assert.NotEqual(before, after);
    }

    /// <summary>The one key that may change nothing but memory and time; that it does change those: BlockRunnerTests.</summary>
    [Fact]
    public void Gradient_checkpointing_changes_nothing_that_a_run_leaves() =>
        Assert.Equal(Left("before", [Text]), Left("after", [Text, "training.gradient_checkpointing=true"]));

    /// <summary>What a run leaves: every file's name, the numbers of its adapters, and the pictures. Not what adapters say of themselves, which names every option.</summary>
    private List<string> Left(string name, string[] settings)
    {
        var output = run.Path(name);
        var recipe = run.Path(name + ".toml");
        File.WriteAllText(recipe, $"""
            model = '{TinyRun.Model}'
            output = '{output}'
            [[data]]
            folder = '{run.Pictures}'
            [adapter]
            rank = 2
            [training]
            steps = 4
            batch_size = 2
            learning_rate = 0.01
            [preview]
            captions = 0
            steps = 1
            """);
        TinyRun.Train(TrainLoraOptions.Read(recipe, settings));
        return [.. Directory.GetFiles(output, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Select(file =>
        {
            var path = Path.GetRelativePath(output, file).Replace('\\', '/');
            if (path.StartsWith("tensorboard/", StringComparison.Ordinal)) return "tensorboard";
            if (path.StartsWith("adapter", StringComparison.Ordinal)) return $"{path}: {string.Join('\n', TinyRun.Tensors(file).Select(tensor => $"{tensor.Key} {tensor.Value}"))}";
            return Path.GetExtension(path) == ".png" && path != "loss.png" ? $"{path}: {Convert.ToHexString(File.ReadAllBytes(file))}" : path;
        })];
    }
}
