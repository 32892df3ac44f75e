using System.Text.Json.Nodes;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>A model from a folder to one file and back.</summary>
public sealed class ConvertModelTests : IDisposable
{
    private static readonly string Pipelines = Path.Combine(Repository.Root, "tests", "fixtures", "models", "pipelines");
    private readonly TemporaryFolder folder = new();

    public static TheoryData<string> Models => [.. new[] { "sd1", "sd1-inpaint", "sd2-v", "sdxl" }.Select(name => Path.Combine(Pipelines, name)), Path.Combine(Repository.Root, "models", "icons-64")];

    private string Single => folder.Path("model.safetensors");

    public void Dispose() => folder.Dispose();

    [Theory, MemberData(nameof(Models))]
    public void There_and_back_gives_the_same_tensors_and_configurations_bit_for_bit(string model)
    {
        var there = Convert(model, Single);
        var back = Convert(Single, folder.Path("back"));

        Assert.Equal((ModelForm.SingleFile, ModelForm.Diffusers), (there.Form, back.Form));
        var (one, file, other) = (ModelFiles.At(model), ModelFiles.At(Single), ModelFiles.At(folder.Path("back")));
        Assert.Equal(one.Named, other.Named);
        foreach (var part in one.Named.Select(part => part.Name).Where(one.HasWeights))
        {
            using var expected = PartWeights.Open(one, part);
            using var single = PartWeights.Open(file, part);
            using var actual = PartWeights.Open(other, part);
            foreach (var key in expected.Keys)
            {
                using var scope = NewDisposeScope();
                Assert.Equal(expected.TypeOf(key), actual.TypeOf(key));
                var tensor = expected.Read(key, expected.TypeOf(key));
                TensorAssert.Equal(tensor, single.Read(key, expected.TypeOf(key)), key);
                TensorAssert.Equal(tensor, actual.Read(key, expected.TypeOf(key)), key);
            }
            Assert.Equal(one.Configuration(part).Json, other.Configuration(part).Json);
        }
        Assert.Equal(one.Read("scheduler/scheduler_config.json"), other.Read("scheduler/scheduler_config.json"));
        foreach (var text in Directory.GetFiles(model, "*", SearchOption.AllDirectories).Where(text => text.Contains("tokenizer", StringComparison.Ordinal)))
        {
            Assert.Equal(File.ReadAllBytes(text), File.ReadAllBytes(folder.Path("back", Path.GetRelativePath(model, text))));
        }
    }

    [Theory, MemberData(nameof(Models))]
    public void A_file_that_was_written_here_opens_by_itself_and_is_whole(string model)
    {
        Convert(model, Single);
        var report = VerifyModel.Run(Single);
        Assert.Empty(report.Trouble);
        Assert.Equal(VerifyModel.Run(model).Description, report.Description);
        Assert.Empty(ModelFiles.At(Single).Warnings);
    }

    [Fact]
    public void Folder_and_file_draw_the_same_picture()
    {
        var model = Path.Combine(Repository.Root, "models", "icons-64");
        Convert(model, Single);

        Assert.Equal(Draw(model, "a"), Draw(Single, "b"));

        byte[] Draw(string from, string to)
        {
            var picture = Generate.Run(new GenerateOptions { Model = from, Prompt = "red heart", Output = folder.Path(to), Steps = 2, Seed = 3 }, cancellation: TestContext.Current.CancellationToken).Pictures[0];
            using var image = NetVips.Image.NewFromFile(picture);
            return image.WriteToMemory<byte>();
        }
    }

    [Theory]
    [InlineData(LowRank.Training.CacheKind.Memory)]
    [InlineData(LowRank.Training.CacheKind.Disk)]
    public void Folder_and_file_train_the_same_adapter(LowRank.Training.CacheKind cache)
    {
        using var run = new TinyRun();
        Convert(TinyRun.Model, Single);
        Train(TinyRun.Model, "a");
        Train(Single, "b");
        Assert.Equal(TinyRun.Tensors(run.Path("a", "adapter.safetensors")), TinyRun.Tensors(run.Path("b", "adapter.safetensors")));

        void Train(string model, string name) => TinyRun.Train(run.Options with { Model = model, Output = run.Path(name), Training = run.Options.Training with { Cache = cache } });
    }

    [Fact]
    public void A_full_training_of_a_file_writes_a_folder_that_is_whole()
    {
        using var run = new TinyRun();
        Convert(TinyRun.Model, Single);
        var options = new TrainFullOptions { Model = Single, Output = run.Output, Data = run.Options.Data, Training = run.Options.Training with { Steps = 2 }, Preview = run.Options.Preview };
        var result = TrainFull.Run(options, cancellation: TestContext.Current.CancellationToken);
        Assert.Empty(VerifyModel.Run(result.Adapter).Trouble);
    }

    [Theory]
    [InlineData(SavePrecision.Fp16, StoredType.F16)]
    [InlineData(SavePrecision.Bf16, StoredType.BF16)]
    [InlineData(SavePrecision.Fp32, StoredType.F32)]
    public void The_wanted_type_is_that_of_every_tensor(SavePrecision precision, StoredType type)
    {
        var model = Path.Combine(Pipelines, "sdxl");
        ConvertModel.Run(new ConvertModelOptions { Input = model, Output = Single, Precision = precision }, cancellation: TestContext.Current.CancellationToken);
        ConvertModel.Run(new ConvertModelOptions { Input = model, Output = folder.Path("same"), Precision = precision, To = ModelForm.Diffusers }, cancellation: TestContext.Current.CancellationToken);

        foreach (var converted in (string[])[Single, folder.Path("same")])
        {
            foreach (var part in (string[])["unet", "vae", "text_encoder", "text_encoder_2"])
            {
                using var before = PartWeights.Open(ModelFiles.At(model), part);
                using var after = PartWeights.Open(ModelFiles.At(converted), part);
                foreach (var key in before.Keys)
                {
                    using var scope = NewDisposeScope();
                    Assert.Equal(type, after.TypeOf(key));
                    TensorAssert.Equal(before.Read(key, type), after.Read(key, type), key);
                }
            }
        }
    }

    [Fact]
    public void Numbers_that_fp16_does_not_hold_are_refused_and_nothing_is_left()
    {
        var model = Copy("sd1");
        var unet = Path.Combine(model, "unet", "diffusion_pytorch_model.safetensors");
        using (var scope = NewDisposeScope())
        {
            Dictionary<string, Tensor> weights;
            using (var file = SafetensorsReader.Open(unet)) weights = file.Tensors.Keys.ToDictionary(name => name, name => file.Read(name).to(ScalarType.Float32));
            weights["conv_out.bias"][0] = 70_000f;
            SafetensorsWriter.Write(unet, weights);
        }
        var message = Assert.Throws<CheckpointException>(() => ConvertModel.Run(new ConvertModelOptions { Input = model, Output = Single, Precision = SavePrecision.Fp16 }, cancellation: TestContext.Current.CancellationToken)).Message;
        Assert.Equal($"tensor \"conv_out.bias\" has numbers up to 7E+04, fp16 holds them up to 65504; in {unet}; write bf16 or fp32", message);
        Assert.Equal([model], Directory.GetFileSystemEntries(folder.FullName));
    }

    [Fact]
    public void A_ckpt_becomes_safetensors_with_its_averages_where_they_are_asked_for()
    {
        var source = Path.Combine(Pipelines, "single-file", "sd1.safetensors");
        var averaged = folder.Path("averaged.safetensors");
        using (var scope = NewDisposeScope())
        {
            using var file = SafetensorsReader.Open(source);
            var plain = file.Tensors.Keys.Where(name => !name.StartsWith("model_ema.", StringComparison.Ordinal)).ToList();
            var averages = plain.Where(name => name.StartsWith("model.", StringComparison.Ordinal)).Select(name => KeyValuePair.Create("model_ema." + name["model.".Length..].Replace(".", "", StringComparison.Ordinal), file.Read(name).Times(0.5)));
            SafetensorsWriter.Write(averaged, plain.Select(name => KeyValuePair.Create(name, file.Read(name))).Concat(averages));
        }
        var config = new ModelFileOptions { Config = Path.Combine(Pipelines, "sd1") };

        var report = ConvertModel.Run(new ConvertModelOptions { Input = averaged, Output = Single, To = ModelForm.SingleFile, ModelFile = config with { Ema = true } }, cancellation: TestContext.Current.CancellationToken);

        Assert.Contains("the denoiser's averaged weights (model_ema.…) are used", report.Findings);
        Assert.Contains("the file holds averaged weights (model_ema.…) too, which are not used; --ema takes them", ModelFiles.At(averaged, config).Findings);
        using var scope2 = NewDisposeScope();
        using var before = SafetensorsReader.Open(averaged);
        using var after = SafetensorsReader.Open(Single);
        Assert.Equal(before.Tensors.Keys.Where(name => !name.Contains("ema", StringComparison.Ordinal) && !name.Contains("position_ids", StringComparison.Ordinal) && name.Contains('.', StringComparison.Ordinal)).Order(StringComparer.Ordinal), after.Tensors.Keys.Order(StringComparer.Ordinal));
        foreach (var name in after.Tensors.Keys)
        {
            TensorAssert.Equal(name.StartsWith("model.", StringComparison.Ordinal) ? before.Read(name).Times(0.5) : before.Read(name), after.Read(name), name);
        }
    }

    [Fact]
    public void What_other_programs_look_for_is_in_the_file()
    {
        var report = Convert(Path.Combine(Pipelines, "sd2-v"), Single);

        using var file = SafetensorsReader.Open(Single);
        Assert.Equal(("pt", "stable-diffusion-v2-768-v", "v", "model"), (file.Metadata["format"], file.Metadata["modelspec.architecture"], file.Metadata["modelspec.prediction_type"], file.Metadata["modelspec.title"]));
        Assert.Equal([0], file.Tensors["v_pred"].Shape);
        Assert.Contains("cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight", file.Tensors.Keys);
        Assert.Equal(file.Tensors.Count, report.Tensors);
        Assert.Equal(new FileInfo(Single).Length, report.Bytes);
    }

    [Fact]
    public void Old_folders_lose_what_has_no_place_and_the_report_says_it()
    {
        var model = Copy("sd1");
        var index = Path.Combine(model, "model_index.json");
        var json = JsonNode.Parse(File.ReadAllText(index))!;
        json["safety_checker"] = new JsonArray("stable_diffusion", "StableDiffusionSafetyChecker");
        File.WriteAllText(index, json.ToJsonString());
        Directory.CreateDirectory(Path.Combine(model, "safety_checker"));
        File.WriteAllText(Path.Combine(model, "safety_checker", "config.json"), "{}");

        var report = Convert(model, Single);

        Assert.Equal(["safety_checker"], report.Lost);
        Assert.EndsWith("\nleft out  safety_checker", report.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("safety_checker", ModelFiles.At(Single).Named.Select(part => part.Name));
    }

    [Fact]
    public void An_output_that_would_replace_something_is_refused()
    {
        var model = Copy("sd1");
        Convert(model, Single);
        var inside = Path.Combine(model, "out.safetensors");
        Assert.Equal($"output: {Single}; is the model itself, which is never changed", Refusal(Single, Single));
        Assert.Equal($"output: {inside}; lies in the model's folder, which is never changed", Refusal(model, inside));
        var (linked, behind) = (folder.Path("linked.safetensors"), folder.Path("behind"));
        File.CreateSymbolicLink(linked, Single);
        Directory.CreateSymbolicLink(behind, model);
        Assert.Equal($"output: {Single}; is the model itself, which is never changed", Refusal(linked, Single, ModelForm.SingleFile));
        Assert.Equal($"output: {inside}; lies in the model's folder, which is never changed", Refusal(behind, inside));
        Assert.Equal($"output: {model}; the folder holds something already: name another", Refusal(Single, model));
        Assert.Equal($"output: {Single}; is a file, and a folder is written: name a folder, or take --to single", Refusal(model, Single, ModelForm.Diffusers));
        Assert.Equal($"output: {model}; is a folder, and a file is written: name a .safetensors file, or take --to diffusers", Refusal(Single, model, ModelForm.SingleFile));
        Assert.Equal($"output: {folder.Path("x.ckpt")}; a checkpoint is written as .safetensors, which can hold no code: name it so", Refusal(model, folder.Path("x.ckpt")));
    }

    [Fact]
    public void A_conversion_that_is_stopped_leaves_nothing()
    {
        using var stop = new CancellationTokenSource();
        var seen = 0;
        var progress = new Stopper(() => { if (++seen == 20) stop.Cancel(); });
        Assert.Throws<OperationCanceledException>(() => ConvertModel.Run(new ConvertModelOptions { Input = Path.Combine(Pipelines, "sd1"), Output = Single }, progress, stop.Token));
        Assert.Empty(Directory.GetFileSystemEntries(folder.FullName));
        Assert.Equal(20, seen);
    }

    [Fact]
    public void Another_variant_is_read_where_it_is_named()
    {
        var model = Copy("sd1");
        foreach (var file in Directory.GetFiles(model, "*.safetensors", SearchOption.AllDirectories)) File.Move(file, file.Replace(".safetensors", ".bf16.safetensors", StringComparison.Ordinal));
        var unet = Path.Combine(model, "unet");

        Assert.Equal($"the folder holds no weights: it has config.json, diffusion_pytorch_model.bf16.safetensors; in {unet}; it has weights of a variant, which must be named: bf16", Assert.Throws<CheckpointException>(() => FamilyDetector.Open(model)).Message);
        Assert.Equal($"the folder holds no weights of the variant fp16: it has config.json, diffusion_pytorch_model.bf16.safetensors; in {unet}; variants that it has: bf16", Assert.Throws<CheckpointException>(() => FamilyDetector.Open(model, files: new ModelFileOptions { Variant = "fp16" })).Message);
        var report = ConvertModel.Run(new ConvertModelOptions { Input = model, Output = Single, ModelFile = new ModelFileOptions { Variant = "bf16" } }, cancellation: TestContext.Current.CancellationToken);
        Assert.NotEqual(0, report.Tensors);
    }

    private sealed class Stopper(Action told) : IProgress<ConvertModelProgress>
    {
        public void Report(ConvertModelProgress value) => told();
    }

    private static string Refusal(string input, string output, ModelForm? to = null) =>
        Assert.Throws<OptionsException>(() => ConvertModel.Run(new ConvertModelOptions { Input = input, Output = output, To = to })).Message;

    private static ConvertModelReport Convert(string input, string output) => ConvertModel.Run(new ConvertModelOptions { Input = input, Output = output }, cancellation: TestContext.Current.CancellationToken);

    private string Copy(string pipeline)
    {
        var source = Path.Combine(Pipelines, pipeline);
        foreach (var file in Directory.GetFiles(source, "*", SearchOption.AllDirectories)) File.Copy(file, folder.Path([pipeline, .. Path.GetRelativePath(source, file).Split(Path.DirectorySeparatorChar)]));
        return folder.Path(pipeline);
    }
}
