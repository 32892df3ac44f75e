using System.Text.Json;
using LowRank.Foundation;
using LowRank.Testing;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace LowRank.Tests.Foundation;

public sealed class CheckpointTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly DisposeScope scope = NewDisposeScope();

    public void Dispose()
    {
        scope.Dispose();
        folder.Dispose();
    }

    private sealed class Tiny : nn.Module
    {
        private readonly Linear first;
        private readonly Conv2d second;
        private readonly ModuleList<nn.Module<Tensor, Tensor>> norms;
        private readonly Embedding table;
        private readonly Parameter gain;
        private readonly Tensor positions;

        public Tiny(Device device) : base(nameof(Tiny))
        {
            first = nn.Linear(3, 2, device: device);
            second = nn.Conv2d(2, 4, 3, device: device);
            norms = new(nn.GroupNorm(2, 4, device: device), nn.LayerNorm(5, device: device), nn.BatchNorm2d(4, device: device));
            table = nn.Embedding(7, 3, device: device);
            gain = new Parameter(ones(3, device: device));
            positions = TensorArithmetic.Counting(4, ScalarType.Int64, device);
            RegisterComponents();
        }

        public Parameter Gain => gain;
        public Tensor Positions => positions;
        public Linear First => first;
    }

    private static readonly string[] Keys =
    [
        "first.bias", "first.weight", "gain", "norms.0.bias", "norms.0.weight", "norms.1.bias", "norms.1.weight", "norms.2.bias", "norms.2.num_batches_tracked",
        "norms.2.running_mean", "norms.2.running_var", "norms.2.weight", "positions", "second.bias", "second.weight", "table.weight",
    ];

    /// <summary>Weights by formula for every key, in a file.</summary>
    private static Dictionary<string, Tensor> Write(string path, ScalarType type = ScalarType.Float32)
    {
        using var module = new Tiny(CPU);
        var weights = module.state_dict().ToDictionary(item => item.Key, item =>
            item.Value.is_floating_point() ? Formula.Weight(item.Key, item.Value.shape, 5).to(type) : item.Value.Plus(3));
        SafetensorsWriter.Write(path, weights);
        return weights;
    }

    [Theory]
    [InlineData(ScalarType.Float32, ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16, ScalarType.BFloat16)]
    [InlineData(ScalarType.Float16, ScalarType.Float32)]
    [InlineData(ScalarType.Float32, ScalarType.BFloat16)]
    public void A_module_without_memory_gets_every_weight(ScalarType stored, ScalarType wanted)
    {
        var weights = Write(folder["tiny.safetensors"], stored);
        using var module = new Tiny(META);
        using (var checkpoint = Checkpoint.Open(folder["tiny.safetensors"])) checkpoint.LoadInto(module, type: wanted);

        Assert.Equal(Keys, module.state_dict().Keys.Order(StringComparer.Ordinal));
        foreach (var (key, value) in module.state_dict())
        {
            TensorAssert.Equal(weights[key].is_floating_point() ? weights[key].to(wanted) : weights[key], value, key);
            Assert.Equal(weights[key].is_floating_point() ? wanted : ScalarType.Int64, value.dtype);
            Assert.False(value.requires_grad);
            Assert.True(value.is_leaf);
        }
        TensorAssert.Equal(weights["gain"].to(wanted), module.Gain);
        TensorAssert.Equal(weights["positions"], module.Positions);
        TensorAssert.Equal(weights["first.weight"].to(wanted), module.First.weight);
    }

    [Fact]
    public void Weights_of_the_right_type_are_not_copied()
    {
        Write(folder["tiny.safetensors"]);
        using var checkpoint = Checkpoint.Open(folder["tiny.safetensors"]);
        using var module = new Tiny(META);
        checkpoint.LoadInto(module);
        using var other = checkpoint.Map("gain");
        other.copy_(tensor(9f));
        Assert.Equal(9, module.Gain[0].item<float>());
    }

    [Fact]
    public void Loading_leaves_nothing_behind_but_the_weights()
    {
        Write(folder["tiny.safetensors"], ScalarType.Float16);
        LeakGuard.AssertNothingLeft(() =>
        {
            using var inner = NewDisposeScope();
            using var module = new Tiny(META);
            using var checkpoint = Checkpoint.Open(folder["tiny.safetensors"]);
            checkpoint.LoadInto(module);
            foreach (var value in module.parameters()) value.Dispose();
            foreach (var value in module.buffers()) value.Dispose();
        });
    }

    [Fact]
    public void A_loaded_module_survives_the_scope_it_was_loaded_in()
    {
        Write(folder["tiny.safetensors"]);
        using var module = new Tiny(META);
        using (NewDisposeScope())
        {
            using var checkpoint = Checkpoint.Open(folder["tiny.safetensors"]);
            checkpoint.LoadInto(module);
        }
        Assert.All(module.state_dict().Values, value => Assert.False(value.IsInvalid));
    }

    [Fact]
    public void What_does_not_fit_is_listed_and_nothing_is_changed()
    {
        var weights = Write(folder["tiny.safetensors"]);
        weights.Remove("first.bias");
        weights.Remove("table.weight");
        weights["tabel.weight"] = ones(7, 3);
        weights["stranger"] = ones(1);
        weights["gain"] = ones(1);          // would broadcast
        weights["second.weight"] = ones(4, 2, 3, 1);
        var path = folder["other.safetensors"];
        SafetensorsWriter.Write(path, weights);
        using var checkpoint = Checkpoint.Open(path);
        using var module = new Tiny(META);

        var message = Assert.Throws<CheckpointException>(() => checkpoint.LoadInto(module)).Message;

        Assert.Equal($"""
            the weights do not fit the model: 2 missing, 2 unexpected, 2 mis-shaped of 16; in {path}
              missing: first.bias, table.weight
              unexpected: stranger, tabel.weight (did you mean "table.weight"?)
              mis-shaped: gain is [1], the model has [3], second.weight is [4,2,3,1], the model has [4,2,3,3]
            the file and the model's configuration belong to different models, or to different versions of one: use the pair as published
            """, message);
        Assert.All(module.parameters(), value => Assert.Equal(DeviceType.META, value.device_type));
    }

    [Fact]
    public void Long_lists_show_ten_and_a_count()
    {
        SafetensorsWriter.Write(folder["none.safetensors"], new Dictionary<string, Tensor>());
        using var checkpoint = Checkpoint.Open(folder["none.safetensors"]);
        using var module = new Tiny(META);
        Assert.Equal($"""
            the weights do not fit the model: 16 missing, 0 unexpected, 0 mis-shaped of 16; in {folder["none.safetensors"]}
              missing: gain, positions, first.weight, first.bias, second.weight, second.bias, norms.0.weight, norms.0.bias, norms.1.weight, norms.1.bias, and 6 more
            the file and the model's configuration belong to different models, or to different versions of one: use the pair as published
            """, Assert.Throws<CheckpointException>(() => checkpoint.LoadInto(module)).Message);
    }

    [Fact]
    public void Names_are_mapped_and_what_maps_to_nothing_is_left_out()
    {
        var weights = Write(folder["tiny.safetensors"]);
        var renamed = weights.ToDictionary(item => "model." + item.Key, item => item.Value);
        renamed["model_ema.decay"] = ones(1);
        SafetensorsWriter.Write(folder["wrapped.safetensors"], renamed);
        using var checkpoint = Checkpoint.Open(folder["wrapped.safetensors"]);
        using var module = new Tiny(META);
        checkpoint.LoadInto(module, name => name.StartsWith("model.", StringComparison.Ordinal) ? name[6..] : null);
        TensorAssert.Equal(weights["gain"], module.Gain);

        var message = Assert.Throws<CheckpointException>(() => checkpoint.LoadInto(module, name => name.StartsWith("model.", StringComparison.Ordinal) ? name[6..] : "gain")).Message;
        Assert.Equal($"\"model.gain\" and \"model_ema.decay\" are both the weight \"gain\"; in {folder["wrapped.safetensors"]}; download or copy the file again", message);
    }

    [Fact]
    public void Weights_may_be_cut_and_turned_on_the_way()
    {
        var stacked = Formula.Weight("stacked", [4, 3], 1);
        SafetensorsWriter.Write(folder["x.safetensors"], new Dictionary<string, Tensor> { ["stacked"] = stacked, ["turned"] = stacked.t() });
        using var module = nn.Sequential(("q", nn.Linear(3, 2, false, META)), ("t", nn.Linear(3, 4, false, META)));
        using (var checkpoint = Checkpoint.Open(folder["x.safetensors"]))
        {
            checkpoint.LoadInto(module,
            [
                new WeightSource("q.weight", "stacked", [2, 3], () => checkpoint.Map("stacked").narrow(0, 2, 2)),
                new WeightSource("t.weight", "turned", [4, 3], () => checkpoint.Map("turned").t()),
            ]);
        }
        TensorAssert.Equal(stacked[2..], module.get_parameter("q.weight")!);
        TensorAssert.Equal(stacked, module.get_parameter("t.weight")!);
        Assert.True(module.get_parameter("t.weight")!.is_contiguous());
    }

    [Theory]
    [InlineData("diffusion_pytorch_model.safetensors")]
    [InlineData("diffusion_pytorch_model.fp16.safetensors")]
    [InlineData("model.safetensors")]
    [InlineData("model.fp16.safetensors")]
    public void A_folder_gives_its_weights(string name)
    {
        File.WriteAllText(folder["config.json"], "{}");
        Write(folder[name]);
        using var checkpoint = Checkpoint.Open(folder.Path);
        Assert.Equal(folder[name], checkpoint.Path);
        Assert.Equal(Keys, checkpoint.Names.Order(StringComparer.Ordinal));
        Assert.Equal([4, 2, 3, 3], checkpoint.Info("second.weight").Shape);
    }

    [Fact]
    public void Full_precision_comes_before_half()
    {
        Write(folder["model.fp16.safetensors"], ScalarType.Float16);
        Write(folder["model.safetensors"]);
        using var checkpoint = Checkpoint.Open(folder.Path);
        Assert.Equal(StoredType.F32, checkpoint.Info("gain").Type);
    }

    [Fact]
    public void A_folder_without_weights_says_what_it_has()
    {
        File.WriteAllText(folder["config.json"], "{}");
        File.WriteAllText(folder["weights.onnx"], "");
        Assert.Equal($"the folder holds no weights: it has config.json, weights.onnx; in {folder.Path}; expected diffusion_pytorch_model.safetensors, model.safetensors or pytorch_model.bin",
            Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder.Path)).Message);
    }

    [Theory]
    [InlineData("diffusion_pytorch_model.safetensors.index.json")]
    [InlineData("diffusion_pytorch_model.safetensors.index.fp16.json")]
    [InlineData("model.fp16.safetensors.index.json")]
    public void Weights_in_parts_are_one_checkpoint(string index)
    {
        var weights = WriteParts(index);
        using var module = new Tiny(META);
        using (var checkpoint = Checkpoint.Open(folder.Path))
        {
            Assert.Equal(Keys, checkpoint.Names.Order(StringComparer.Ordinal));
            checkpoint.LoadInto(module);
        }
        TensorAssert.Equal(weights["table.weight"], module.get_parameter("table.weight")!);
    }

    [Fact]
    public void An_index_that_disagrees_with_its_parts_is_refused()
    {
        const string Index = "model.safetensors.index.json";
        WriteParts(Index);
        var text = File.ReadAllText(folder[Index]);

        Refused(text.Replace("\"gain\":\"part-2.safetensors\"", "\"gain\":\"part-1.safetensors\"", StringComparison.Ordinal),
            "the index says that \"gain\" is in part-1.safetensors, which does not hold it");
        Refused(text.Replace("\"gain\":\"part-2.safetensors\",", "", StringComparison.Ordinal), "part-2.safetensors holds \"gain\", which the index does not say");
        Refused(text.Replace("part-2.safetensors", "../part-2.safetensors", StringComparison.Ordinal), "the index names the file \"../part-2.safetensors\", which is not in its folder");
        Refused("[]", "no index of a checkpoint in parts: it needs \"weight_map\", an object of tensor names and files");
        Refused("{", "no index of a checkpoint in parts: it needs \"weight_map\", an object of tensor names and files");
        Refused("""{"weight_map":{"gain":3}}""", "no index of a checkpoint in parts: it needs \"weight_map\", an object of tensor names and files");
        File.Delete(folder["part-2.safetensors"]);
        File.WriteAllText(folder[Index], text);
        Assert.Equal($"no such file; {folder["part-2.safetensors"]}; check the path", Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder.Path)).Message);

        void Refused(string index, string why)
        {
            File.WriteAllText(folder[Index], index);
            Assert.Equal($"{why}; in {folder[Index]}; download or copy the file again", Assert.Throws<CheckpointException>(() => Checkpoint.Open(folder.Path)).Message);
        }
    }

    private Dictionary<string, Tensor> WriteParts(string index)
    {
        var weights = Write(folder["whole"]);
        File.Delete(folder["whole"]);
        var map = weights.ToDictionary(item => item.Key, item => item.Key.StartsWith("norms", StringComparison.Ordinal) ? "part-1.safetensors" : "part-2.safetensors");
        foreach (var part in map.Values.Distinct()) SafetensorsWriter.Write(folder[part], weights.Where(item => map[item.Key] == part));
        File.WriteAllText(folder[index], JsonSerializer.Serialize(new { metadata = new { total_size = 1 }, weight_map = map }));
        return weights;
    }
}
