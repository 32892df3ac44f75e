using LowRank.Foundation;
using LowRank.Images;
using LowRank.Recipes;
using LowRank.Tests.Documents;
using LowRank.Tests.Images;
using LowRank.Training;

namespace LowRank.Tests.Recipes;

/// <summary>
/// An option that does nothing does not exist: each key of the recipe, changed by itself, changes what a run leaves behind.
/// The table is complete: a key without a row fails.
/// </summary>
public sealed class OptionEffectTests : IDisposable
{
    private const string Adafactor = "training.optimizer='adafactor'", Constant = "training.schedule='constant'", Prodigy = "training.optimizer='prodigy'", One = "training.learning_rate=1", D0 = "training.d0=0.001";
    private const string Average = "training.ema_decay=0.9", Power = "training.ema_warmup='power'", Rates = "training.rates=[{pattern = '**.to_q', learning_rate = 0.001}]";
    private const string Share = "validation.share=0.2";
    private static readonly string[] Drawn = ["prior.prompt='a cat'", "prior.folder='{0}/../class'", "prior.count=2", "prior.steps=1"];
    private const string Override = "adapter.overrides=[{pattern = '**.to_q', rank = 1}]";

    private static readonly string PredictsV = $"model='{Path.Combine(LowRank.Testing.Repository.Root, "tests", "fixtures", "models", "pipelines", "sd2-v")}'";
    private static readonly string Inpaints = $"model='{Path.Combine(LowRank.Testing.Repository.Root, "tests", "fixtures", "models", "pipelines", "sd1-inpaint")}'";
    private static readonly string[] OneFile = [$"model='{Path.Combine(LowRank.Testing.Repository.Root, "tests", "fixtures", "models", "pipelines", "single-file", "sd1.safetensors")}'", $"model_file.config='{TinyRun.Model}'"];
    private const string Holes = "inpainting.full_holes=0";
    private const string Vae = "full.parts=['vae']", Shown = "preview.steps=20";   // previews of an autoencoder take no steps: the default
    private const string Text = "text_encoder.learning_rate=0.01";
    private static readonly string Xl = $"model='{Path.Combine(LowRank.Testing.Repository.Root, "tests", "fixtures", "models", "pipelines", "sdxl")}'";

    /// <summary>Key, its other value as TOML, and what must hold beside it for the key to matter (in both runs).</summary>
    private static readonly (string Key, string Value, string[] With)[] Changes =
    [
        ("model", $"'{Path.Combine(LowRank.Testing.Repository.Root, "models", "icons-64")}'", []),
        ("model_file.tokenizer", $"'{Path.Combine(LowRank.Testing.Repository.Root, "tests", "fixtures", "models", "pipelines", "sd2-v", "tokenizer")}'", OneFile),
        ("model_file.config", "'{0}/../config'", OneFile),
        ("model_file.prediction_type", "'v-prediction'", OneFile),
        ("model_file.ema", "true", ["model='{0}/../averaged.safetensors'", $"model_file.config='{TinyRun.Model}'"]),
        ("model_file.variant", "'other'", ["model='{0}/../variants'"]),
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
        ("data.prior", "true", ["data=[{folder='{0}/../pictures', repeats=2}, {folder='{0}/../pictures'}]"]),
        ("data.mask", "\"sidecar\"", []),
        ("data.mask_folder", "'{0}/../masks-2'", ["data[0].mask='folder'", "data[0].mask_folder='{0}/../masks'"]),
        ("data.held_out", "true", ["data=[{folder='{0}/../held-out'}, {folder='{0}/../pictures'}]"]),
        ("data.loss_weight", "0.1", ["training.optimizer='sgd'"]),
        ("prior.prompt", "\"a dog\"", Drawn),
        ("prior.count", "3", Drawn),
        ("prior.seed", "5", Drawn),
        ("prior.negative_prompt", "\"blurry\"", Drawn),
        ("prior.sampler", "\"euler\"", Drawn),
        ("prior.steps", "2", Drawn),
        ("prior.guidance", "2", Drawn),
        ("inpainting.holes", "\"masks\"", [Inpaints, "inpainting.ellipses=0.5", "data[0].mask='sidecar'"]),
        ("inpainting.full_holes", "1", [Inpaints, Holes]),
        ("inpainting.min_shapes", "4", [Inpaints, Holes]),
        ("inpainting.max_shapes", "1", [Inpaints, Holes]),
        ("inpainting.min_size", "0.5", [Inpaints, Holes]),
        ("inpainting.max_size", "0.2", [Inpaints, Holes]),
        ("inpainting.ellipses", "1", [Inpaints, Holes]),
        ("adapter.rank", "3", []),
        ("adapter.alpha", "1", []),
        ("adapter.conv_rank", "1", ["adapter.targets=[\"all\"]"]),
        ("adapter.conv_alpha", "1", ["adapter.targets=[\"all\"]"]),
        ("adapter.dropout", "0.5", []),
        ("adapter.kind", "\"loha\"", []),
        ("adapter.use_rslora", "true", []),
        ("adapter.init", "\"orthogonal\"", []),
        ("adapter.dora_rule", "\"lycoris\"", ["adapter.kind='dora'"]),
        ("adapter.factor", "2", ["adapter.kind='lokr'"]),
        ("adapter.decompose_both", "true", ["adapter.kind='lokr'", "adapter.rank=1"]),
        ("adapter.neuron_dropout", "0.5", []),
        ("adapter.rank_dropout", "0.5", []),
        ("adapter.module_dropout", "0.5", []),
        ("adapter.output_dropout", "0.5", []),
        ("adapter.scale_weight_norms", "0.001", []),
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
        ("training.min_lr_ratio", "0.5", []),
        ("training.decay_steps", "3", ["training.schedule='warmup-stable-decay'"]),
        ("training.timescale", "1", ["training.schedule='inverse-sqrt'"]),
        ("training.pct_start", "0.7", ["training.schedule='one-cycle'"]),
        ("training.step_rules", "\"1:1,0.1\"", ["training.schedule='piecewise-constant'", "training.step_rules='0.5'"]),
        ("training.optimizer", "\"sgd\"", []),
        ("training.beta1", "0.5", []),
        ("training.beta2", "0.5", []),
        ("training.epsilon", "0.1", []),
        ("training.weight_decay", "0.5", []),
        ("training.momentum", "0.1", ["training.optimizer='sgd'"]),
        ("training.nesterov", "true", ["training.optimizer='sgd'"]),
        ("training.relative_step", "true", [Adafactor, Constant, "training.learning_rate=0.0001"]),
        ("training.warmup_init", "true", [Adafactor, Constant, "training.learning_rate=0.0001", "training.relative_step=true"]),
        ("training.scale_parameter", "true", [Adafactor]),
        ("training.clip_threshold", "0.1", [Adafactor]),
        ("training.d0", "0.01", [Prodigy, One]),
        ("training.d_coef", "1000", [Prodigy, One, D0]),
        ("training.growth_rate", "1.001", [Prodigy, One, D0, "training.d_coef=1000"]),
        ("training.use_bias_correction", "true", [Prodigy, One, D0]),
        ("training.safeguard_warmup", "true", [Prodigy, One, D0, "training.d_coef=1000", "training.warmup_steps=2", Constant]),
        ("training.loraplus_lr_ratio", "16", []),
        ("training.rates", "[{pattern = \"**.to_q\", learning_rate = 0.001}]", []),
        ("training.rates.pattern", "\"**.to_k\"", [Rates]),
        ("training.rates.learning_rate", "0.02", [Rates]),
        ("training.ema_decay", "0.9", []),
        ("training.ema_warmup", "\"none\"", [Average]),
        ("training.ema_inv_gamma", "9", [Average, Power]),
        ("training.ema_power", "0.2", [Average, Power]),
        ("training.ema_min_decay", "0.5", [Average]),
        ("training.ema_start", "2", [Average]),
        ("training.loss_scale", "3", []),   // no power of two, so that the bits show it
        ("training.loss_scale_growth_interval", "1", ["training.loss_scale=1e38"]),
        ("training.max_gradient_norm", "0.0001", ["training.optimizer='sgd'"]),
        ("training.precision", "\"bf16\"", []),
        ("training.clip_skip", "2", []),
        ("training.save_every", "1", []),
        ("training.keep", "1", ["training.save_every=1"]),
        ("training.cache", "\"disk\"", []),
        ("training.cache_folder", "'{0}/elsewhere'", ["training.cache='disk'"]),
        ("loss.type", "\"l1\"", []),
        ("loss.huber_schedule", "\"constant\"", ["loss.type='huber'"]),
        ("loss.huber_c", "0.5", ["loss.type='huber'"]),
        ("loss.huber_scale", "2", ["loss.type='huber'", "loss.huber_schedule='exponential'"]),
        ("loss.min_snr_gamma", "1", []),
        ("loss.soft_min_snr_gamma", "1", []),
        ("loss.v_snr_gamma", "1.5", [PredictsV]),
        ("loss.debiased_estimation", "true", []),
        ("loss.p2_gamma", "1", []),
        ("loss.p2_k", "2", ["loss.p2_gamma=1"]),
        ("loss.scale_v_pred_loss_like_noise_pred", "true", [PredictsV]),
        ("loss.v_pred_like_loss", "0.5", [PredictsV]),
        ("loss.prior_loss_weight", "0.1", ["data=[{folder='{0}/../pictures'}, {folder='{0}/../pictures', caption='dog', prior=true}]", "training.optimizer='sgd'"]),
        ("loss.teacher_weight", "100", []),
        ("loss.teacher_caption", "\"a cat\"", ["loss.teacher_weight=100"]),
        ("loss.unmasked_weight", "0.5", ["data[0].mask='sidecar'"]),
        ("loss.normalize_masked_area_loss", "true", ["data[0].mask='sidecar'", "training.optimizer='sgd'"]),
        ("loss.mask_temperature", "2", ["data[0].mask='sidecar'"]),
        ("loss.prior_rule", "\"two-means\"", ["data=[{folder='{0}/../pictures'}, {folder='{0}/../pictures', caption='dog', prior=true}]"]),
        ("noise.noise_offset", "0.5", []),
        ("noise.noise_offset_random_strength", "true", ["noise.noise_offset=0.5"]),
        ("noise.adaptive_noise_scale", "0.5", ["noise.noise_offset=0.5"]),
        ("noise.multires_noise_iterations", "3", []),
        ("noise.multires_noise_discount", "0.8", ["noise.multires_noise_iterations=3"]),
        ("noise.ip_noise_gamma", "0.5", []),
        ("noise.zero_terminal_snr", "true", [PredictsV, "noise.min_timestep=900"]),
        ("noise.min_timestep", "900", []),
        ("noise.max_timestep", "100", []),
        ("noise.timestep_distribution", "\"logit-normal\"", []),
        ("noise.logit_mean", "2", ["noise.timestep_distribution='logit-normal'"]),
        ("noise.logit_std", "0.2", ["noise.timestep_distribution='logit-normal'"]),
        ("noise.mode_scale", "0.1", ["noise.timestep_distribution='mode'"]),
        ("noise.beta_alpha", "4", ["noise.timestep_distribution='beta'"]),
        ("noise.beta_beta", "4", ["noise.timestep_distribution='beta'"]),
        ("preview.every", "1", ["preview.prompts=['a dog']"]),
        ("preview.prompts", "['a cat']", []),
        ("preview.captions", "1", []),
        ("preview.negative_prompt", "\"blurry\"", ["preview.prompts=['a dog']"]),
        ("preview.sampler", "\"euler\"", ["preview.prompts=['a dog']"]),
        ("preview.steps", "3", ["preview.prompts=['a dog']"]),
        ("preview.guidance", "1", ["preview.prompts=['a dog']"]),
        ("validation.share", "0.2", []),
        ("validation.every", "3", [Share]),
        ("validation.timesteps", "[20, 980]", [Share]),
        ("validation.seed", "1", [Share]),
        ("save.format", "\"peft\"", []),
        ("save.precision", "\"fp32\"", []),
        ("save.ema", "false", [Average]),
        ("template", "\"style\"", []),
        ("token_norm", "0.4", []),
        ("tokens.token", "\"<s2>\"", ["template='object'"]),
        ("tokens.vectors", "2", []),
        ("tokens.init", "\"cat\"", []),
        ("tokens.init_mean", "true", ["tokens[0].init='cat dog'", "tokens[0].vectors=2"]),
        ("tokens.replaces", "\"dog\"", []),
        ("inversion.steps", "3", []),
        ("inversion.learning_rate", "0.02", []),
        ("inversion.schedule", "\"constant\"", []),
        ("inversion.warmup_steps", "1", []),
        ("inversion.weight_decay", "0.5", []),
        ("inversion.tuning_learning_rate", "0.01", []),
        ("full.parts", "['text_encoder']", []),
        ("full.objective", "'blurred-picture'", ["full.parts=['text_encoder']", "preview.captions=4", Shown, "data[0].buckets=false"]),
        ("full.random_parts", "['text_encoder']", ["full.init='random'", "full.parts=['unet', 'text_encoder']"]),
        ("full.init", "\"random\"", []),
        ("full.words", "['zebra']", ["full.init='random'", "model='{0}/../no-tokenizer'"]),
        ("full.text_encoder_learning_rate", "0.02", ["full.parts=['unet', 'text_encoder']"]),
        ("vae.l1", "1", [Vae, Shown]),
        ("vae.mse", "2", [Vae, Shown, "vae.l1=1"]),
        ("vae.edges", "1", [Vae, Shown]),
        ("vae.kl", "1", [Vae, Shown]),
        ("vae.permute_channels", "1", [Vae, Shown]),
        ("vae.gamma", "1", [Vae, Shown]),
        ("vae.gamma_min", "0.1", [Vae, Shown, "vae.gamma=1"]),
        ("vae.gamma_max", "3", [Vae, Shown, "vae.gamma=1"]),
        ("vae.roll", "9", [Vae, Shown]),
        ("vae.standardize", "true", [Vae, Shown]),
        ("vae.decoder_only", "true", [Vae, Shown]),
        ("vae.latent_noise", "0.5", [Vae, Shown, "vae.decoder_only=true"]),
        ("save.intermediate", "true", []),
        ("embeddings.format", "\"diffusers\"", []),
        ("embeddings.precision", "\"fp16\"", []),
    ];

    private readonly TinyRun run = new();

    public OptionEffectTests()
    {
        File.Copy(run.Path("pictures", "a.png"), run.Path("pictures", "3_a garden", "d.png"));
        File.WriteAllBytes(run.Path("held-out", "e.png"), Samples.Png(64, 64, seed: 9));
        File.WriteAllText(run.Path("held-out", "e.txt"), "a tree");
        foreach (var file in Directory.GetFiles(TinyRun.Model, "*", SearchOption.AllDirectories).Where(file => !file.Contains("tokenizer", StringComparison.Ordinal)))
        {
            File.Copy(file, run.Path(["no-tokenizer", .. Path.GetRelativePath(TinyRun.Model, file).Split(Path.DirectorySeparatorChar)]));
        }
        foreach (var picture in Directory.GetFiles(run.Pictures, "*.png", SearchOption.AllDirectories))
        {
            var size = ImageFile.ReadHeader(File.ReadAllBytes(picture)).Size;
            File.WriteAllBytes(Path.ChangeExtension(picture, ".mask.png"), Samples.Png(size.Width, size.Height, seed: 2));
            File.WriteAllBytes(run.Path("masks", Path.GetRelativePath(run.Pictures, picture)), Samples.Png(size.Width, size.Height, seed: 3));
            File.WriteAllBytes(run.Path("masks-2", Path.GetRelativePath(run.Pictures, picture)), Samples.Png(size.Width, size.Height, seed: 4));
        }
    }

    /// <summary>All but the method, which decides which keys there are, paths that every run uses, and two that have tests of their own: without <c>widen</c> a run of it is refused (InpaintingTrainingTests).</summary>
    public static TheoryData<string> Keys => [.. RecipePage.Rows.Select(row => row.Path).Except(["method", "output", "data.folder", "prior.folder", "training.gradient_checkpointing", "inpainting.widen"])];

    public void Dispose() => run.Dispose();

    [Theory]
    [MemberData(nameof(Keys))]
    public void Every_key_changes_what_a_run_leaves(string key)
    {
        var (_, value, with) = Assert.Single(Changes, change => change.Key == key);
        var set = key.Replace("data.", "data[0].", StringComparison.Ordinal).Replace("overrides.", "overrides[0].", StringComparison.Ordinal).Replace("rates.", "rates[0].", StringComparison.Ordinal).Replace("tokens.", "tokens[0].", StringComparison.Ordinal);
        with = [.. with.Select(setting => setting.Replace("{0}", run.Path("after"), StringComparison.Ordinal))];
        var row = RecipePage.Rows.Single(row => row.Path == key);
        var method = RecipePage.MethodOf(row.Section, row.Key) switch { "pivotal" => TrainingMethod.Pivotal, "full" => TrainingMethod.Full, _ => TrainingMethod.Lora };
        if (key.StartsWith("model_file.", StringComparison.Ordinal)) WriteModels();
        var before = Left(method, "before", with);
        var after = Left(method, "after", [.. with, $"{set}={value.Replace("{0}", run.Path("after"), StringComparison.Ordinal)}"]);
        Assert.NotEqual(before, after);
    }

    /// <summary>Models whose files differ in what a key of <c>[model_file]</c> chooses.</summary>
    private void WriteModels()
    {
        foreach (var file in Directory.GetFiles(TinyRun.Model, "*", SearchOption.AllDirectories))
        {
            var parts = Path.GetRelativePath(TinyRun.Model, file).Split(Path.DirectorySeparatorChar);
            File.Copy(file, run.Path(["config", .. parts]));
            File.Copy(file, run.Path(["variants", .. parts]));
            if (!file.EndsWith(".safetensors", StringComparison.Ordinal)) continue;
            using var weights = SafetensorsReader.Open(file);
            SafetensorsWriter.Write(run.Path(["variants", .. parts[..^1], parts[^1].Replace(".safetensors", ".other.safetensors", StringComparison.Ordinal)]), weights.Tensors.Keys.Select(name => KeyValuePair.Create(name, Half(weights.Read(name)))));
        }
        var unet = run.Path("config", "unet", "config.json");
        File.WriteAllText(unet, File.ReadAllText(unet).Replace("\"attention_head_dim\": 2", "\"attention_head_dim\": 4", StringComparison.Ordinal));
        using var single = SafetensorsReader.Open(OneFile[0][7..^1]);
        var plain = single.Tensors.Keys.Where(name => !name.StartsWith("model_ema.", StringComparison.Ordinal)).ToList();
        var averages = plain.Where(name => name.StartsWith("model.", StringComparison.Ordinal)).Select(name => KeyValuePair.Create("model_ema." + name["model.".Length..].Replace(".", "", StringComparison.Ordinal), Half(single.Read(name))));
        SafetensorsWriter.Write(run.Path("averaged.safetensors"), plain.Select(name => KeyValuePair.Create(name, single.Read(name))).Concat(averages));
        static TorchSharp.torch.Tensor Half(TorchSharp.torch.Tensor weight) => weight.is_floating_point() ? weight.Times(0.5) : weight;
    }

    /// <summary>The one key that may change nothing but memory and time; that it does change those: BlockRunnerTests.</summary>
    [Fact]
    public void Gradient_checkpointing_changes_nothing_that_a_run_leaves() =>
        Assert.Equal(Left(TrainingMethod.Lora, "before", [Text]), Left(TrainingMethod.Lora, "after", [Text, "training.gradient_checkpointing=true"]));

    /// <summary>What a run leaves: every file's name, the numbers of its adapters, and the pictures. Not what adapters say of themselves, which names every option.</summary>
    private List<string> Left(TrainingMethod method, string name, string[] settings)
    {
        var output = run.Path(name);
        var recipe = run.Path(name + ".toml");
        if (Directory.Exists(run.Path("class"))) Directory.Delete(run.Path("class"), recursive: true);   // prior pictures of other options are refused there
        File.WriteAllText(recipe, $"""
            model = '{TinyRun.Model}'
            output = '{output}'
            [[data]]
            folder = '{run.Pictures}'
            {(method == TrainingMethod.Full ? "" : "[adapter]\nrank = 2")}
            [training]
            steps = 4
            batch_size = 2
            learning_rate = 0.01
            [preview]
            captions = 0
            steps = 1
            """);
        if (method == TrainingMethod.Lora) TinyRun.Train(TrainLoraOptions.Read(recipe, settings));
        else if (method == TrainingMethod.Full) TrainFull.Run(TrainFullOptions.Read(recipe, ["method=full", .. settings]), cancellation: TestContext.Current.CancellationToken);
        else
        {
            File.AppendAllText(recipe, """

                [[tokens]]
                token = "<s1>"
                [inversion]
                steps = 2
                """);
            TrainPivotal.Run(TrainPivotalOptions.Read(recipe, ["method=pivotal", "data[0].suffix='<s1>'", .. settings]), cancellation: TestContext.Current.CancellationToken);
        }
        return [.. Directory.GetFiles(output, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Select(file =>
        {
            var path = Path.GetRelativePath(output, file).Replace('\\', '/');
            if (path.StartsWith("tensorboard/", StringComparison.Ordinal)) return "tensorboard";
            if (path == "events.jsonl") return string.Join('\n', RunFolder.Open(output).ReadEvents().OfType<HeldOutMeasured>().Select(measured => $"held out, {measured.Step}: {string.Join(' ', measured.Timesteps)}, {measured.Loss:R}"));
            if (path.EndsWith(".safetensors", StringComparison.Ordinal) && !path.StartsWith("state/", StringComparison.Ordinal) && !path.Contains("cache", StringComparison.Ordinal) && !path.Contains("elsewhere", StringComparison.Ordinal)) return $"{path}: {string.Join('\n', TinyRun.Tensors(file).Select(tensor => $"{tensor.Key} {tensor.Value}"))}";
            return Path.GetExtension(path) == ".png" && path != "loss.png" ? $"{path}: {Convert.ToHexString(File.ReadAllBytes(file))}" : path;
        })];
    }
}
