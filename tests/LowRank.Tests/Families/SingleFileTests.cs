using System.Text.Json.Nodes;
using LowRank.Diffusion;
using LowRank.Families;
using LowRank.Families.Original;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Tests.Golden;

namespace LowRank.Tests.Families;

/// <summary>Checkpoints of one file: what is found out about them, and what is refused.</summary>
public sealed class SingleFileTests : IDisposable
{
    private const string Supported = "models of Stable Diffusion 1, 2 and XL are read: folders in the layout of diffusers, and checkpoints whose tensors are named model.diffusion_model.…",
        Whole = "take the file with all parts (denoiser, autoencoder, text encoders), or the model's folder in the layout of diffusers";
    private static readonly string Pipelines = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines");
    private readonly TemporaryFolder folder = new();

    private string File1 => folder.Path("model.safetensors");

    public void Dispose() => folder.Dispose();

    private static string[] Manifests(string model) => model switch
    {
        "sd15" => ["sd15.unet", "sd15.vae", "sd15.text_encoder"],
        "sd15-inpaint" => ["sd15-inpaint.unet", "sd15.vae", "sd15.text_encoder"],
        "sd21" => ["sd21.unet", "sd15.vae", "sd21.text_encoder"],
        _ => ["sdxl.unet", "sdxl.vae", "sdxl.text_encoder", "sdxl.text_encoder_2"],
    };

    /// <summary>A published checkpoint's names and shapes, with what real files have besides.</summary>
    private static IEnumerable<(string, IReadOnlyList<long>)> Published(string model)
    {
        foreach (var manifest in Manifests(model))
        {
            foreach (var row in OriginalManifest.Read(manifest).Rows.DistinctBy(row => row.Original)) yield return (row.Original, row.OriginalShape);
        }
        yield return ("betas", [1000]);
        yield return ("model_ema.decay", []);
        yield return ("model_ema.num_updates", []);
        if (model == "sdxl")
        {
            yield return ("conditioner.embedders.0.transformer.text_model.embeddings.position_ids", [1, 77]);
            yield return ("conditioner.embedders.1.model.logit_scale", []);
        }
        if (model != "sd21") yield break;
        yield return ("cond_stage_model.model.text_projection", [1024, 1024]);
        yield return ("cond_stage_model.model.logit_scale", []);
        foreach (var row in OriginalManifest.Read("sd21.text_encoder").Rows.Where(row => row.Original.Contains(".resblocks.22.", StringComparison.Ordinal)).DistinctBy(row => row.Original))
        {
            yield return (row.Original.Replace(".resblocks.22.", ".resblocks.23.", StringComparison.Ordinal), row.OriginalShape);   // the layer that is not used
        }
    }

    [Theory]
    [InlineData("sd15", "sd15", null)]
    [InlineData("sd15-inpaint", "sd15", null)]
    [InlineData("sd21", "sd21", null)]
    [InlineData("sd21", "sd21-base", FilePrediction.Epsilon)]
    [InlineData("sdxl", "sdxl", null)]
    public void The_shapes_of_a_published_checkpoint_give_its_published_configurations_and_every_tensor_its_place(string model, string configurations, FilePrediction? said)
    {
        SparseCheckpoint.Write(File1, Published(model));
        var published = PublishedModel.All.Single(known => known.Name == configurations);

        var files = ModelFiles.At(File1, new ModelFileOptions { PredictionType = said });

        foreach (var (part, kind) in published.Parts)
        {
            Assert.Equal(kind, files.Part(part));
            using var weights = PartWeights.Open(files, part);
            var expected = JsonNode.Parse(published.File(part + "/config.json"))!;
            if (model == "sd15-inpaint" && part == "unet") expected["in_channels"] = 9;
            Assert.True(JsonNode.DeepEquals(expected, JsonNode.Parse(files.Configuration(part).Json)), part);
        }
        Assert.Equal(configurations == "sd21" ? PredictionType.VPrediction : PredictionType.Epsilon, files.ReadSchedule().PredictionType);
        Assert.Equal(model == "sd15-inpaint" ? "StableDiffusionInpaintPipeline" : model == "sdxl" ? "StableDiffusionXLPipeline" : "StableDiffusionPipeline", files.PipelineClass);
        Assert.DoesNotContain("safety_checker", files.Named.Select(part => part.Name));
    }

    [Fact]
    public void Only_Stable_Diffusion_2_warns_of_a_prediction_that_nothing_tells()
    {
        const string Assumed = "predicts v: assumed, nothing in the file says it; Stable Diffusion 2's 512 px base predicts noise: --prediction-type epsilon";
        SparseCheckpoint.Write(File1, Published("sd21"));
        Assert.Equal([Assumed], ModelFiles.At(File1).Warnings);
        Assert.Empty(ModelFiles.At(File1, new ModelFileOptions { PredictionType = FilePrediction.VPrediction }).Warnings);
        Assert.Equal(
        [
            "Stable Diffusion 2 in the original layout, told by its text encoders (cond_stage_model.model.…); 4 input channels",
            "configurations: those of Stable Diffusion 2 (v-prediction), by shapes", Assumed,
        ], ModelFiles.At(File1).Findings);
        SparseCheckpoint.Write(File1, Published("sd15"));
        Assert.Empty(ModelFiles.At(File1).Warnings);
        Assert.Contains("predicts noise (epsilon): assumed, nothing in the file says it; other: --prediction-type v-prediction", ModelFiles.At(File1).Findings);
    }

    [Theory]
    [InlineData("v_pred", null, null, "v", "predicts v: the file is marked so (tensor v_pred)")]
    [InlineData("v_pred", "ztsnr", null, "v", "predicts v: the file is marked so (tensor v_pred); its last timestep is pure noise (tensor ztsnr)")]
    [InlineData(null, null, "v", "v", "predicts v: the metadata say so (modelspec.prediction_type = v)")]
    [InlineData(null, null, "epsilon", "noise", "predicts noise (epsilon): the metadata say so (modelspec.prediction_type = epsilon)")]
    [InlineData(null, null, "v", "v", "predicts v: the metadata say so (modelspec.predict_key = v)")]
    public void Marks_in_the_file_tell_what_it_predicts(string? tensor, string? second, string? metadata, string predicts, string words)
    {
        IEnumerable<(string, IReadOnlyList<long>)> marks = new[] { tensor, second }.OfType<string>().Select(name => (name, (IReadOnlyList<long>)[0]));
        var key = words.Contains("predict_key", StringComparison.Ordinal) ? "modelspec.predict_key" : "modelspec.prediction_type";
        SparseCheckpoint.Write(File1, Published("sd15").Concat(marks), metadata is null ? null : new Dictionary<string, string> { [key] = metadata });

        var files = ModelFiles.At(File1);

        Assert.Equal(predicts == "v" ? PredictionType.VPrediction : PredictionType.Epsilon, files.ReadSchedule().PredictionType);
        Assert.Equal(second is not null, files.ReadSchedule().Options.RescaleBetasZeroSnr);
        Assert.Contains(words, files.Findings);
    }

    [Fact]
    public void The_trainings_own_configuration_beside_the_file_tells_what_it_predicts()
    {
        SparseCheckpoint.Write(File1, Published("sd21"));
        File.WriteAllText(folder.Path("model.yaml"), "model:\n  params:\n    linear_start: 0.00085\n");
        Assert.Equal(PredictionType.Epsilon, ModelFiles.At(File1).ReadSchedule().PredictionType);
        File.WriteAllText(folder.Path("model.yaml"), "model:\n  params:\n    parameterization: \"v\"\n");
        Assert.Equal(PredictionType.VPrediction, ModelFiles.At(File1).ReadSchedule().PredictionType);
        Assert.Contains("predicts v: model.yaml beside the file says so", ModelFiles.At(File1).Findings);
    }

    [Fact]
    public void A_tokenizer_is_found_beside_the_file_and_its_padding_is_the_encoders()
    {
        SparseCheckpoint.Write(File1, Published("sdxl"));
        foreach (var file in Directory.GetFiles(Path.Combine(Pipelines, "sd1", "tokenizer"))) File.Copy(file, folder.Path("tokenizer", Path.GetFileName(file)));

        var files = ModelFiles.At(File1);

        var (first, second) = (files.OpenTokenizer("tokenizer"), files.OpenTokenizer("tokenizer_2"));
        Assert.Equal(first.EndId, first.PaddingId);
        Assert.Equal(0, second.PaddingId);
        Assert.Equal(second.PaddingId, ModelFiles.At(File1, new ModelFileOptions { Tokenizer = folder.Path("tokenizer") }).OpenTokenizer("tokenizer_2").PaddingId);
        Assert.Equal(folder.Path("tokenizer"), second.Source);
    }

    [Fact]
    public void Options_that_do_not_go_with_the_model_are_refused()
    {
        SparseCheckpoint.Write(File1, Published("sd15"));
        Assert.Equal($"variant is for models in folders, and the model is one file; {File1}; leave it out", Options(File1, new() { Variant = "fp16" }));
        Assert.Equal("config: there is no folder /nowhere", Options(File1, new() { Config = "/nowhere" }));
        Assert.Equal("tokenizer: there is no folder /nowhere", Options(File1, new() { Tokenizer = "/nowhere" }));
        Assert.Equal($"tokenizer: the folder holds no vocab.json with merges.txt and no tokenizer.json, and its folder tokenizer neither; {folder.FullName}", Options(File1, new() { Tokenizer = folder.FullName }));
        var model = Path.Combine(Pipelines, "sd1");
        Assert.Equal($"ema is for checkpoints of one file, and the model is a folder, which has its own; {model}; leave it out", Options(model, new() { Ema = true }));

        static string Options(string path, ModelFileOptions options) => Assert.Throws<OptionsException>(() => ModelFiles.At(path, options)).Message;
    }

    [Theory]
    [InlineData("first_stage_model.", "the checkpoint holds no autoencoder (VAE): no tensor is named first_stage_model.…")]
    [InlineData("cond_stage_model.", "the checkpoint holds no text encoder: no tensor is named cond_stage_model.… or conditioner.embedders.…")]
    [InlineData("first_stage_model.|cond_stage_model.", "the checkpoint holds a denoiser (UNet) only: no autoencoder (first_stage_model.…) and no text encoder (cond_stage_model.…, conditioner.embedders.…)")]
    public void A_checkpoint_without_a_part_says_which(string prefixes, string what)
    {
        SparseCheckpoint.Write(File1, Published("sd15").Where(tensor => !prefixes.Split('|').Any(prefix => tensor.Item1.StartsWith(prefix, StringComparison.Ordinal))));
        Assert.Equal($"{what}; in {File1}; {Whole}", Refusal(File1));
    }

    [Fact]
    public void Half_of_XLs_text_encoders_are_not_enough()
    {
        SparseCheckpoint.Write(File1, Published("sdxl").Where(tensor => !tensor.Item1.StartsWith("conditioner.embedders.1.", StringComparison.Ordinal)));
        Assert.Equal($"the checkpoint holds no complete set of text encoders: conditioner.embedders.0.transformer.… and conditioner.embedders.1.model.… are expected; in {File1}; {Whole}", Refusal(File1));
    }

    [Theory]
    [InlineData("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "this is a model of Flux, which is not supported: it holds \"model.diffusion_model.double_blocks.0.img_attn.qkv.weight\"", Supported)]
    [InlineData("double_blocks.0.img_attn.qkv.weight", "this is a model of Flux, which is not supported: it holds \"double_blocks.0.img_attn.qkv.weight\"", Supported)]
    [InlineData("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "this is a model of Stable Diffusion 3, which is not supported: it holds \"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight\"", Supported)]
    [InlineData("model.diffusion_model.x conditioner.embedders.0.model.transformer.resblocks.0.ln_1.weight first_stage_model.x", "this is Stable Diffusion XL's refiner, which continues the pictures of another model and draws none by itself", "give the base model")]
    [InlineData("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "this is an adapter (LoRA or its like), no model: it holds \"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight\"", "give it with --adapter, and the model that it was made for with --model")]
    [InlineData("base_model.model.down_blocks.0.attentions.0.proj_in.lora_A.weight", "this is an adapter (LoRA or its like), no model: it holds \"base_model.model.down_blocks.0.attentions.0.proj_in.lora_A.weight\"", "give it with --adapter, and the model that it was made for with --model")]
    [InlineData("unet:0:up unet:0:down", "this is an adapter (LoRA or its like), no model: it holds \"unet:0:down\"", "give it with --adapter, and the model that it was made for with --model")]
    [InlineData("model.diffusion_model.x edm_mean edm_std", "this is a model that was trained on another scale of noise (EDM), which is not supported: it holds \"edm_mean\"", Supported)]
    [InlineData("model.diffusion_model.x edm_vpred.sigma_max v_pred", "this is a model that was trained on another scale of noise (EDM), which is not supported: it holds \"edm_vpred.sigma_max\"", Supported)]
    [InlineData("emb_params", "this is an embedding (textual inversion), no model", "give it with --embedding, and the model that it was made for with --model")]
    [InlineData("conv_in.weight down_blocks.0.resnets.0.conv1.weight", "this is one part of a model, its denoiser (UNet), not a whole one", "give the folder that holds model_index.json, with this file in the folder of its part, or a checkpoint of one file with all parts")]
    [InlineData("encoder.conv_in.weight decoder.conv_in.weight", "this is one part of a model, its autoencoder (VAE), not a whole one", "give the folder that holds model_index.json, with this file in the folder of its part, or a checkpoint of one file with all parts")]
    [InlineData("text_model.encoder.layers.0.self_attn.q_proj.weight", "this is one part of a model, its text encoder, not a whole one", "give the folder that holds model_index.json, with this file in the folder of its part, or a checkpoint of one file with all parts")]
    [InlineData("one two three four", "the layout of this file is not known: it holds \"four\", \"one\", \"three\", …", Supported)]
    public void A_file_that_is_no_model_says_what_it_is(string names, string what, string advice)
    {
        SparseCheckpoint.Write(File1, names.Split(' ').Select(name => (name, (IReadOnlyList<long>)[2])));
        Assert.Equal($"{what}; in {File1}; {advice}", Refusal(File1));
    }

    [Fact]
    public void Half_a_download_is_refused()
    {
        SparseCheckpoint.Write(File1, Published("sd15"));
        var whole = new FileInfo(File1).Length;
        using (var file = File.OpenWrite(File1)) file.SetLength(whole / 2);
        var message = Refusal(File1);
        Assert.StartsWith("the file is cut short: tensor \"", message, StringComparison.Ordinal);
        Assert.EndsWith($", the file has {whole / 2} bytes; in {File1}; download or copy the file again", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_pickle_that_asks_for_more_than_tensors_is_refused()
    {
        var path = Path.Combine(Pipelines, "malformed", "forbidden-global.pt");
        Assert.Equal(Assert.Throws<CheckpointException>(() => Checkpoint.Open(path)).Message, Refusal(path));
        Assert.Contains("system", Refusal(path), StringComparison.Ordinal);
    }

    [Fact]
    public void Widths_of_no_published_model_ask_for_the_configuration()
    {
        var path = Path.Combine(Pipelines, "single-file", "sd1.safetensors");
        var files = ModelFiles.At(path);
        Assert.Equal($"the denoiser has the shapes of no published model, and shapes do not tell the number of groups in its norms; in {path}; give a folder with its configuration (unet/config.json): --config FOLDER, or config in the recipe's [model_file]",
            Assert.Throws<CheckpointException>(() => files.Configuration("unet")).Message);
    }

    [Fact]
    public void Heads_that_shapes_do_not_tell_are_assumed_with_a_warning()
    {
        // half as wide as published, which 32 groups still divide
        static IReadOnlyList<long> Half(string name, IReadOnlyList<long> shape) => name.StartsWith(OriginalLayout.UnetPrefix, StringComparison.Ordinal) ? [.. shape.Select(size => size >= 320 && size != 768 ? size / 2 : size)] : shape;
        SparseCheckpoint.Write(File1, Published("sd15").Select(tensor => (tensor.Item1, Half(tensor.Item1, tensor.Item2))));

        var files = ModelFiles.At(File1);

        Assert.Equal(["the denoiser's widths (160, 320, 640, 640) are of no published model: 8 attention heads a level are assumed, as Stable Diffusion 1 has them; other configurations: --config FOLDER"], files.Warnings);
        using var weights = PartWeights.Open(files, "unet");
        Assert.Equal(686, weights.Keys.Count);
    }

    [Fact]
    public void Averages_are_taken_where_they_are_asked_for_and_must_be_whole()
    {
        var path = Path.Combine(Pipelines, "single-file", "sd1.safetensors");
        var options = new ModelFileOptions { Config = Path.Combine(Pipelines, "sd1"), Ema = true };
        Assert.Equal($"the averaged weights are not complete: 1 of the denoiser's 684 tensors are named model_ema.…; in {path}; leave --ema out", Assert.Throws<CheckpointException>(() => ModelFiles.At(path, options).OpenWeights("unet")).Message);
        SparseCheckpoint.Write(path = File1, Published("sd15"));
        Assert.Equal($"the checkpoint holds no averaged weights: no tensors are named model_ema.…; in {path}; leave --ema out", Assert.Throws<CheckpointException>(() => ModelFiles.At(path, options).OpenWeights("unet")).Message);
    }

    [Fact]
    public void A_wrong_shape_is_told_by_both_names()
    {
        SparseCheckpoint.Write(File1, Published("sd15").Select(tensor => tensor.Item1 == "first_stage_model.encoder.mid.attn_1.q.weight" ? (tensor.Item1, [512, 256, 1, 1]) : tensor));
        Assert.Equal($"the weights do not fit the model: 0 missing, 0 unexpected, 1 mis-shaped of 248; in {File1}\n"
            + "  mis-shaped: encoder.mid_block.attentions.0.to_q.weight is [512,256], the model has [512,512]\n"
            + "the file and the model's configuration belong to different models, or to different versions of one: use the pair as published",
            Assert.Throws<CheckpointException>(() => PartWeights.Open(ModelFiles.At(File1), "vae")).Message);
    }

    [Fact]
    public void Tensors_of_a_part_that_nobody_knows_are_refused_and_others_are_told()
    {
        SparseCheckpoint.Write(File1, Published("sd15").Append(("model.diffusion_model.extra.weight", [3])).Append(("control_model.x.weight", [3])));
        var files = ModelFiles.At(File1);
        Assert.Contains("1 tensors belong to no part of the model and are left out: control_model.x.weight", files.Findings);
        Assert.Contains("  unexpected: model.diffusion_model.extra.weight\n", Assert.Throws<CheckpointException>(() => PartWeights.Open(files, "unet")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_outline_of_a_file_has_the_models_layers()
    {
        SparseCheckpoint.Write(File1, Published("sdxl"));
        using var outline = ModelOutline.Of(File1);
        Assert.Equal(["text_encoder", "text_encoder_2", "unet"], outline.Components.Keys.Order(StringComparer.Ordinal));
    }

    private static string Refusal(string path) => Assert.Throws<CheckpointException>(() => FamilyDetector.Open(path)).Message;
}
