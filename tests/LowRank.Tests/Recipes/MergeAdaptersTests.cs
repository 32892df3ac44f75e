using LowRank.Adapters;
using LowRank.Families;
using LowRank.Families.Original;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>Adapters written into a copy of a model: what changes, what is copied, what is refused. The numbers are held by the golden case.</summary>
public sealed class MergeAdaptersTests : IDisposable
{
    private const string ToQ = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    private static readonly AdapterOptions Small = new() { Rank = 2, Alpha = 3, Targets = ["all"] };

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    public static TheoryData<AdapterKind, string> KindsAndModels() => new(
        from kind in Enum.GetValues<AdapterKind>()
        from model in (string[])["sd1", "sdxl"]
        select (kind, model));

    private string Adapter(string model, AdapterOptions? options = null, string name = "a.safetensors") => MadeAdapter.Write(folder.Path(name), model, options ?? Small);

    private MergeReport Merge(string model, string output, params AdapterUse[] adapters) => Merge(model, output, null, adapters);

    private MergeReport Merge(string model, string output, string? config, AdapterUse[] adapters) => MergeAdapters.Run(new MergeOptions { Model = model, Adapters = adapters, Output = folder.Path(output), Config = config, Precision = SavePrecision.Fp32 }, cancellation: TestContext.Current.CancellationToken);

    [Theory, MemberData(nameof(KindsAndModels))]
    public void A_merged_model_gives_what_the_model_with_the_adapter_attached_gives(AdapterKind kind, string pipeline)
    {
        var model = MadeAdapter.Model(pipeline);
        var path = Adapter(model, Small with { Kind = kind });
        var report = Merge(model, "merged", new AdapterUse(path, 0.7));
        Assert.Empty(report.Warnings);
        Assert.True(VerifyModel.Run(folder.Path("merged")).IsWhole);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var family = FamilyDetector.Open(model);
        using var merged = FamilyDetector.Open(folder.Path("merged"));
        using var file = AdapterFile.Open(path);
        var plain = Outputs(family);
        using var set = AdapterSet.Load(family.ComponentNames.ToDictionary(name => name, family.Component), file, new() { Strength = 0.7 });
        foreach (var ((before, attached), written) in plain.Zip(Outputs(family)).Zip(Outputs(merged)))
        {
            var change = Length(attached - before);
            Assert.True(change > 1e-4 * Length(before));
            Assert.InRange(Length(attached - written), 0, 1e-3 * change + 1e-5 * Length(before));
        }
        Assert.Equal(set.Layers.Count, report.Changed.Count);
        foreach (var layer in set.Layers)
        {
            var norm = layer.DeltaOn(LayerShape.WeightOf(layer.Module), 0.7).norm().item<float>();
            Assert.Equal(norm, report.Changed.Single(weight => weight.Weight == $"{layer.Component}.{layer.Path}.weight").Norm, 1e-4 * norm + 1e-7);
        }
    }

    private static Tensor[] Outputs(LowRank.Diffusion.IDiffusionFamily family)
    {
        using var trial = new Trial(family);
        return [trial.Predict(), trial.Encode()];
    }

    private static double Length(Tensor values) => values.to(ScalarType.Float64).norm().item<double>();

    [Fact]
    public void What_no_adapter_touches_is_copied_byte_for_byte_and_every_other_file_with_it()
    {
        var path = Adapter("icons-64", Small with { Targets = ["unet:" + ToQ] });
        var report = MergeAdapters.Run(new MergeOptions { Model = "icons-64", Adapters = [new(path)], Output = folder.Path("merged") }, cancellation: TestContext.Current.CancellationToken);
        var (before, after) = (ModelFiles.At(FamilyDetector.Find("icons-64")), ModelFiles.At(folder.Path("merged")));
        var copied = 0;
        foreach (var part in (string[])["unet", "vae", "text_encoder"])
        {
            using var old = before.OpenWeights(part);
            using var fresh = after.OpenWeights(part);
            Assert.Equal(old.Names.Order(StringComparer.Ordinal), fresh.Names.Order(StringComparer.Ordinal));
            foreach (var name in old.Names)
            {
                Assert.Equal(old.Info(name).Type, fresh.Info(name).Type);
                using var scope = NewDisposeScope();
                var same = old.Read(name).equal(fresh.Read(name)).all().item<bool>();
                Assert.Equal((part, name) != ("unet", ToQ + ".weight"), same);
                copied += same ? 1 : 0;
            }
        }
        Assert.Equal((copied, 0, 1), (report.Copied, report.Converted, report.Changed.Count));
        var weights = new[] { ".safetensors", ".bin" };
        IEnumerable<string> Texts(string model) => Directory.GetFiles(model, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(model, file)).Where(file => !weights.Contains(Path.GetExtension(file)) && file.Contains(Path.DirectorySeparatorChar)).Order(StringComparer.Ordinal);
        Assert.Superset(Texts(folder.Path("merged")).ToHashSet(), Texts(before.Path).ToHashSet());
        foreach (var file in Texts(folder.Path("merged"))) Assert.Equal(File.ReadAllBytes(Path.Combine(before.Path, file)), File.ReadAllBytes(Path.Combine(folder.Path("merged"), file)));
        Assert.Equal(report.Bytes, Directory.GetFiles(folder.Path("merged"), "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length));
    }

    /// <summary>SD 2 and XL have text encoders whose query, key and value are one tensor in such files, and transposed projections.</summary>
    [Theory]
    [InlineData("sd1")]
    [InlineData("sd2-v")]
    [InlineData("sdxl")]
    public void A_single_file_holds_what_the_folder_holds(string pipeline)
    {
        var model = MadeAdapter.Model(pipeline);
        var (a, b) = (new AdapterUse(Adapter(model), 0.7), new AdapterUse(Adapter(model, Small with { Rank = 3, Kind = AdapterKind.Dora, Targets = ["attention"] }, "b.safetensors"), -0.3));
        var single = WriteOriginal(model, folder.Path("single.safetensors"));
        var report = Merge(single, "merged.safetensors", model, [a, b]);
        Assert.Equal(Merge(model, "merged", a, b).Changed.Select(weight => (weight.Weight, Math.Round(weight.Norm, 4))), report.Changed.Select(weight => (weight.Weight, Math.Round(weight.Norm, 4))));
        var (one, other) = (ModelFiles.At(folder.Path("merged")), ModelFiles.At(folder.Path("merged.safetensors"), new ModelFileOptions { Config = model }));
        foreach (var part in one.PartNames.Where(one.HasWeights))
        {
            using var scope = NewDisposeScope();
            using var expected = one.OpenWeights(part);
            using var actual = other.OpenWeights(part);
            var kind = one.Part(part);
            foreach (var name in expected.Names)
            {
                if (ModelCheck.KeyOf(kind, name) is { } key) TensorAssert.Close(expected.Read(name).to(ScalarType.Float32), actual.Read(key), 1e-6, 1e-7, $"{part}.{key}");
            }
        }
        using var was = Checkpoint.Open(single);
        using var now = Checkpoint.Open(folder.Path("merged.safetensors"));
        Assert.Equal(was.Names.Order(StringComparer.Ordinal), now.Names.Order(StringComparer.Ordinal));
        Assert.Equal(was.Info("something.else").Shape, now.Info("something.else").Shape);
        Assert.Equal("single.safetensors + a.safetensors × 0.7 + b.safetensors × -0.3", now.Metadata["lowrank.merged"]);
        Assert.Equal(now.Metadata["lowrank.merged"], now.Metadata["modelspec.merged_from"]);
        Assert.Equal(("pt", "the title"), (now.Metadata["format"], now.Metadata["modelspec.title"]));
        Assert.False(now.Metadata.ContainsKey("modelspec.hash_sha256"));
        Assert.DoesNotContain(now.Metadata.Values, value => value.Contains(Path.GetDirectoryName(single)!, StringComparison.Ordinal));
    }

    /// <summary>A folder's weights as one file, with a tensor beside them that belongs to no part.</summary>
    private static string WriteOriginal(string model, string path)
    {
        using var scope = NewDisposeScope();
        var files = ModelFiles.At(model);
        using var unet = files.OpenWeights("unet");
        var layout = OriginalLayout.For(files.PartNames, unet.Info(ToQ.Replace("transformer_blocks.0.attn1.to_q", "proj_in.weight", StringComparison.Ordinal)).Shape.Count == 2);
        var tensors = new Dictionary<string, Tensor> { ["something.else"] = TensorArithmetic.Counting(3, ScalarType.Int64) };
        foreach (var part in layout.Parts)
        {
            using var weights = files.OpenWeights(part);
            var stored = weights.Names.Select(name => (Name: name, Key: ModelCheck.KeyOf(files.Part(part), name))).Where(item => item.Key is not null).ToDictionary(item => item.Key!, item => item.Name);
            var names = layout.NamesOf(part, ModelCheck.KeysOf(files, part));
            foreach (var group in stored.Select(item => (Place: names.Of(item.Key)!, Value: weights.Read(item.Value))).GroupBy(item => item.Place.Name))
            {
                var values = group.OrderBy(item => item.Place.Index).Select(item => item.Value).ToList();
                tensors[group.Key] = group.First().Place.Turn switch
                {
                    Turn.Third => cat(values),
                    Turn.Transposed => values[0].t().contiguous(),
                    Turn.Convolution => values[0].unsqueeze(-1).unsqueeze(-1),
                    _ => values[0],
                };
            }
        }
        SafetensorsWriter.Write(path, tensors, new Dictionary<string, string> { ["modelspec.architecture"] = "a", ["modelspec.hash_sha256"] = "0xabc", ["modelspec.title"] = "the title" });
        return path;
    }

    [Fact]
    public void The_averaged_weights_of_a_file_stay_as_they_are_and_the_report_says_so()
    {
        using var scope = NewDisposeScope();
        var model = MadeAdapter.Model("sd1");
        var single = folder.Path("averaged.safetensors");
        using (var stored = Checkpoint.Open(WriteOriginal(model, folder.Path("single.safetensors"))))
        {
            var tensors = stored.Names.ToDictionary(name => name, stored.Read);
            foreach (var name in stored.Names.Where(name => name.StartsWith("model.diffusion_model.", StringComparison.Ordinal))) tensors["model_ema." + name["model.".Length..].Replace(".", "", StringComparison.Ordinal)] = tensors[name];
            SafetensorsWriter.Write(single, tensors, stored.Metadata);
        }
        var report = Merge(single, "merged.safetensors", model, [new(Adapter(model))]);
        Assert.Equal(["averaged.safetensors: its averaged weights (model_ema.…) stay as they are: read with --ema, the merged file is without the adapters"], report.Warnings);
        using var was = Checkpoint.Open(single);
        using var now = Checkpoint.Open(folder.Path("merged.safetensors"));
        foreach (var name in was.Names.Where(name => name.StartsWith("model_ema.", StringComparison.Ordinal))) TensorAssert.Close(was.Read(name), now.Read(name), 0, 0, name);
    }

    [Fact]
    public void Strengths_of_parts_and_blocks_hold_and_what_has_none_is_copied()
    {
        var model = MadeAdapter.Model("sd1");
        var path = Adapter(model);
        var report = Merge(model, "merged", AdapterUse.Parse(path + "=0.5,text_encoder:0,blocks:" + string.Join('/', Enumerable.Range(0, 26).Select(i => i == 13 ? 2 : 0))));
        Assert.All(report.Changed, weight => Assert.StartsWith("unet.mid_block.", weight.Weight, StringComparison.Ordinal));
        Assert.True(report.Changed.Count > 5);
        var whole = Merge(model, "whole", new AdapterUse(path));
        foreach (var weight in report.Changed) Assert.Equal(whole.Changed.Single(other => other.Weight == weight.Weight).Norm, weight.Norm, 1e-5);
        var nothing = Merge(model, "nothing", new AdapterUse(path, 0));
        Assert.Equal(["a.safetensors: changes nothing, its strength is 0 everywhere"], nothing.Warnings);
        Assert.Empty(nothing.Changed);
    }

    /// <summary>In float32 within the bound of two roundings; halves come back changed: keep the original.</summary>
    [Fact]
    public void Merging_with_the_negative_strength_restores_float32_and_not_halves()
    {
        var path = Adapter("icons-64", Small with { Targets = ["unet:" + ToQ] });
        using var scope = NewDisposeScope();
        foreach (var precision in new[] { SavePrecision.Fp32, SavePrecision.Fp16 })
        {
            MergeReport Run(string from, double strength, string to) => MergeAdapters.Run(new MergeOptions { Model = from, Adapters = [new(path, strength)], Output = folder.Path(to), Precision = precision });
            Run("icons-64", 1, $"{precision}1");
            Run(folder.Path($"{precision}1"), -1, $"{precision}2");
            Tensor Read(string model)
            {
                using var weights = ModelFiles.At(FamilyDetector.Find(model)).OpenWeights("unet");
                return weights.Read(ToQ + ".weight").to(precision == SavePrecision.Fp32 ? ScalarType.Float32 : ScalarType.Float16).to(ScalarType.Float32);
            }
            var (was, merged, back) = (Read("icons-64"), Read(folder.Path($"{precision}1")), Read(folder.Path($"{precision}2")));
            var beyond = (back - was).abs().sub(merged.abs().Plus(back.abs()).Times(Math.Pow(2, -24) * 1.0001)).IsAbove(0).sum().item<long>();
            if (precision == SavePrecision.Fp32) Assert.Equal(0, beyond);
            else Assert.InRange(beyond, 1, was.numel() / 2);
        }
    }

    [Fact]
    public void The_type_of_all_weights_can_be_another()
    {
        var report = MergeAdapters.Run(new MergeOptions { Model = "icons-64", Adapters = [new(Adapter("icons-64"))], Output = folder.Path("merged"), Precision = SavePrecision.Bf16 }, cancellation: TestContext.Current.CancellationToken);
        Assert.True(report.Converted > 0);
        foreach (var part in (string[])["unet", "vae", "text_encoder"])
        {
            using var weights = ModelFiles.At(folder.Path("merged")).OpenWeights(part);
            Assert.Equal([StoredType.BF16], weights.Names.Select(name => weights.Info(name).Type).Where(type => type != StoredType.I64).Distinct());
            Assert.Equal("pt", weights.Metadata["format"]);
        }
    }

    [Fact]
    public void Embeddings_are_named_and_left_out()
    {
        var path = folder.Path("bundle.safetensors");
        MadeAdapter.Write(path, MadeAdapter.Model("sd1"), Small with { Targets = ["unet:" + ToQ] });
        using var scope = NewDisposeScope();
        using (var file = SafetensorsReader.Open(path)) SafetensorsWriter.Write(folder.Path("both.safetensors"), file.Tensors.Keys.Select(key => KeyValuePair.Create(key, file.Read(key))).Append(new("bundle_emb.<s1>.string_to_param.*", ones(1, 8))));
        Assert.Equal(["both.safetensors: the file also holds embeddings, which are not applied: <s1>"], Merge(MadeAdapter.Model("sd1"), "merged", new AdapterUse(folder.Path("both.safetensors"))).Warnings);
    }

    [Fact]
    public void A_weight_that_is_not_finite_is_named_and_nothing_is_written()
    {
        var path = MadeAdapter.Write(folder.Path("huge.safetensors"), "icons-64", Small with { Alpha = 2, Targets = ["unet:" + ToQ] }, set => set.FlatParameters.copy_(TensorArithmetic.Filled(set.FlatParameters.shape, 300)));
        Assert.Equal(
            $"the merged model is not written: {ToQ}.weight is not finite as F16 after merging; F16 holds numbers up to 65504: write --dtype bf16 or fp32, or use a smaller strength",
            Assert.Throws<CheckpointException>(() => MergeAdapters.Run(new MergeOptions { Model = "icons-64", Adapters = [new(path)], Output = folder.Path("merged"), Precision = SavePrecision.Fp16 })).Message);
        Assert.Equal([path], Directory.GetFileSystemEntries(Path.GetDirectoryName(path)!));
        MadeAdapter.Write(path, "icons-64", Small with { Targets = ["unet:" + ToQ] }, set => set.FlatParameters.copy_(TensorArithmetic.Filled(set.FlatParameters.shape, 1e30)));
        Assert.Equal(
            $"the merged model is not written: {ToQ}.weight is not finite as F32 after merging; use a smaller strength, and look at the model: lora verify-model",
            Assert.Throws<CheckpointException>(() => Merge("icons-64", "merged", new AdapterUse(path))).Message);
        Assert.Equal(
            $"adapter cannot be merged: its change of unet.{ToQ}.weight is not finite; in {path}; an earlier save of the adapter, or a strength nearer to 1",
            Assert.Throws<CheckpointException>(() => Merge("icons-64", "merged", new AdapterUse(path), new AdapterUse(path))).Message);
    }

    [Fact]
    public void An_output_that_would_touch_an_input_is_refused()
    {
        var model = folder.Path("model");
        Copy(MadeAdapter.Model("sd1"), model);
        var path = Adapter(model);
        var single = WriteOriginal(model, folder.Path("single.safetensors"));
        Directory.CreateDirectory(folder.Path("full"));
        File.WriteAllText(folder.Path("full", "x"), "");
        Refused(model, model, $"the output folder is not empty; {model}; name a new folder: nothing is overwritten");
        Refused(model, Path.Combine(model, "merged"), $"the output would overwrite or change an input; {model}; give a place outside it: inputs are never changed");
        Directory.CreateSymbolicLink(folder.Path("link"), model);
        Refused(folder.Path("link"), Path.Combine(model, "merged"), $"the output would overwrite or change an input; {folder.Path("link")}; give a place outside it: inputs are never changed");
        Refused(model, folder.Path("full"), $"the output folder is not empty; {folder.Path("full")}; name a new folder: nothing is overwritten");
        Refused(model, folder.Path("x.safetensors"), $"the output must be a folder, as the model is one; {folder.Path("x.safetensors")}; name a folder, or convert the model to one file first: lora convert-model");
        Refused(model, path[..^12], null);
        Refused(single, folder.Path("merged"), $"the output must be a .safetensors file, as the model is one file; {folder.Path("merged")}; give it that ending, or convert the model to a folder first: lora convert-model");
        Refused(single, single, $"the output would overwrite or change an input; {single}; give a place outside it: inputs are never changed");
        Refused(single, path, $"the output would overwrite or change an input; {path}; give a place outside it: inputs are never changed");

        void Refused(string from, string to, string? message)
        {
            var options = new MergeOptions { Model = from, Adapters = [new(path)], Output = to, Config = from == single ? model : null };
            if (message is null) Assert.True(MergeAdapters.Run(options).Changed.Count > 0);   // beside them all is well
            else Assert.Equal(message, Assert.Throws<OptionsException>(() => MergeAdapters.Run(options)).Message);
        }
    }

    [Fact]
    public void An_adapter_of_another_model_is_refused_and_options_are_checked_first()
    {
        var path = Adapter(MadeAdapter.Model("sdxl"));
        Assert.StartsWith("adapter does not fit this model: ", Assert.Throws<CheckpointException>(() => Merge(MadeAdapter.Model("sd1"), "merged", new AdapterUse(path))).Message, StringComparison.Ordinal);
        Assert.Equal(
            ["model: empty; must name a folder, a file or icons-64", "output: empty; must name the folder or file to write", "adapters: none; must be one or more"],
            new MergeOptions { Model = "", Adapters = [], Output = " " }.Validate());
        Assert.Equal(["adapters: a has strength NaN; must be a number"], new MergeOptions { Model = "m", Adapters = [new("a", double.NaN)], Output = "o" }.Validate());
    }

    [Fact]
    public void A_bias_that_the_model_lacks_is_not_merged()
    {
        using var scope = NewDisposeScope();
        var path = MadeAdapter.Write(folder.Path("bias.safetensors"), new() { [$"unet.{ToQ}.diff_b"] = ones(16) });
        var message = Assert.Throws<CheckpointException>(() => Merge(MadeAdapter.Model("sd1"), "merged", new AdapterUse(path))).Message;
        Assert.Matches($@"^adapter cannot be (merged: unet\.{ToQ} changes the bias of unet\.{ToQ}, which has none; in .*; attach it instead: lora generate --adapter|used)|^adapter does not fit", message);
    }

    [Fact]
    public void Stopping_leaves_nothing()
    {
        var path = Adapter(MadeAdapter.Model("sd1"));
        using var stop = new CancellationTokenSource();
        var seen = 0;
        var options = new MergeOptions { Model = MadeAdapter.Model("sd1"), Adapters = [new(path)], Output = folder.Path("merged") };
        Assert.Throws<OperationCanceledException>(() => MergeAdapters.Run(options, new Hearing(progress =>
        {
            if (Interlocked.Increment(ref seen) == 5) stop.Cancel();
        }), stop.Token));
        Assert.Equal([path], Directory.GetFileSystemEntries(Path.GetDirectoryName(path)!));
        Assert.InRange(seen, 5, 10);
    }

    private sealed class Hearing(Action<MergeProgress> hear) : IProgress<MergeProgress>
    {
        public void Report(MergeProgress value) => hear(value);
    }

    private static void Copy(string from, string to)
    {
        foreach (var file in Directory.GetFiles(from, "*", SearchOption.AllDirectories))
        {
            var copy = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
    }
}
