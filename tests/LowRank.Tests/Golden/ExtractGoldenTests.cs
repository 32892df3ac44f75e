using System.Globalization;
using System.Text.Json;
using LowRank.Adapters;
using LowRank.Adapters.Combining;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>
/// The difference of two models as low-rank factors: the nearest ones and their singular values, and what three tools write. Clamped factors
/// depend on signs that a decomposition chooses; they are looked for among all choices.
/// </summary>
public sealed class ExtractGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("adapters/extract");

    /// <summary>Every module of every case: (case, name).</summary>
    public static IEnumerable<TheoryDataRow<string, string>> Modules()
    {
        foreach (var row in Cases())
        {
            using var golden = GoldenCase.Open(row.Data);
            foreach (var module in golden.Json.GetProperty("modules").EnumerateArray()) yield return new(row.Data, Name(module));
        }
    }

    [Theory, MemberData(nameof(Modules))]
    public void A_layer_gives_the_nearest_change_of_its_rank(string id, string name)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var layers = new Layers(golden);
        var (row, difference) = (Row(golden, "modules", name), layers.Difference(name));
        var (rank, norm) = (row.GetProperty("rank").GetInt32(), row.GetProperty("residual_norm").GetDouble());
        golden.AssertClose("svd.singular." + name, tensor(Spectrum.Of(difference).S, ScalarType.Float32));
        foreach (var method in new[] { SvdMethod.Exact, SvdMethod.Randomized, SvdMethod.Auto })
        {
            var made = layers.Extract(name, Options() with { Rank = rank, Method = method });
            golden.AssertClose("svd.delta." + name, made.Layer.Delta());
            Assert.Equal((rank, (double)rank), (made.Layer.Rank, made.Layer.Alpha));
            golden.AssertNumber(row.GetProperty("residual_norm"), made.Norm, "‖difference‖");
            Assert.Equal(row.GetProperty("error").GetDouble() / norm, made.Error, 1e-3);
            Assert.Equal(1 - made.Error * made.Error, made.Energy, 1e-5);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void The_package_of_2022_clamps_both_factors_at_a_quantile_of_their_numbers(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var layers = new Layers(golden);
        var (quantile, rank) = (golden.Json.GetProperty("params").GetProperty("clamp").GetDouble(), golden.Json.GetProperty("params").GetProperty("rank").GetInt32());
        foreach (var row in golden.Json.GetProperty("ancestor").EnumerateArray())
        {
            var (name, half) = (Name(row), row.GetProperty("dtype").GetString() == "f16");
            var spectrum = Spectrum.Of(layers.Difference(name, half ? ScalarType.Float16 : ScalarType.Float32));
            var choices = Choices(spectrum, rank, quantile).ToList();
            var range = row.GetProperty("hi_value_over_all_sign_choices").EnumerateArray().Select(value => value.GetDouble()).ToList();
            Assert.Equal(range[0], choices.Min(item => item.Limit), 1e-3);
            Assert.Equal(range[1], choices.Max(item => item.Limit), 1e-3);
            if (half)
            {
                var rounded = choices.Select(item => item.Up.to(ScalarType.Float16).to(ScalarType.Float32).mm(item.Down.to(ScalarType.Float16).to(ScalarType.Float32)));
                AssertOne(golden, "ancestor_f16.delta." + name, rounded);
                continue;
            }
            var (down, up) = (golden.Tensor("ancestor.down_unclamped." + name), golden.Tensor("ancestor.up_unclamped." + name));
            TensorAssert.Close(spectrum.Factors(rank).Up.mm(spectrum.Factors(rank).Down), up.mm(down), 1e-3, 1e-4, name);
            var (clampedDown, clampedUp, limit) = QuantileClamp.Apply(down, up, quantile);
            golden.AssertNumber(row.GetProperty("hi_value"), limit, "limit of " + name);
            golden.AssertClose("ancestor.delta." + name, clampedUp.mm(clampedDown).view(layers.Of(name).Shape.Weight));
            AssertOne(golden, "ancestor.delta." + name, choices.Select(item => item.Up.mm(item.Down)));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void What_sd_scripts_writes_is_one_of_the_clamped_choices(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var layers = new Layers(golden);
        var quantile = golden.Json.GetProperty("params").GetProperty("clamp").GetDouble();
        foreach (var run in golden.Json.GetProperty("sd_scripts").EnumerateArray())
        {
            int? convRank = run.GetProperty("conv_dim").ValueKind == JsonValueKind.Null ? null : run.GetProperty("conv_dim").GetInt32();
            var text = run.GetProperty("per_module").EnumerateArray().Where(row => Name(row).StartsWith("text", StringComparison.Ordinal)).ToList();
            // text encoders are written as a whole where one number differs enough
            var differs = text.Exists(row => layers.Difference(Name(row)).abs().max().item<float>() > run.GetProperty("min_diff").GetDouble());
            Assert.All(text, row => Assert.Equal(differs, row.GetProperty("written").GetBoolean()));
            foreach (var row in run.GetProperty("per_module").EnumerateArray())
            {
                var (name, shape) = (Name(row), layers.Of(Name(row)).Shape);
                using var generator = new Generator(0);
                var extractor = new LayerExtractor(Options() with { Rank = run.GetProperty("dim").GetInt32(), ConvRank = convRank ?? 0 }, ScalarType.Float32, generator);
                if (extractor.LeavesOut(shape)) Assert.False(row.GetProperty("written").GetBoolean());
                if (!row.GetProperty("written").GetBoolean()) continue;
                var rank = (int)Math.Min(shape.IsWideConvolution ? convRank!.Value : run.GetProperty("dim").GetInt32(), Math.Min(shape.Outputs, shape.Inputs));
                Assert.Equal((rank, (double)rank), (row.GetProperty("rank").GetInt32(), row.GetProperty("alpha").GetDouble()));
                Assert.Equal(shape.Up(rank), row.GetProperty("up_shape").EnumerateArray().Select(size => size.GetInt64()));
                Assert.Equal(shape.Down(rank), row.GetProperty("down_shape").EnumerateArray().Select(size => size.GetInt64()));
                var choices = Choices(Spectrum.Of(layers.Difference(name)), rank, quantile).ToList();
                Assert.Contains(choices, item => Math.Abs(item.Limit - row.GetProperty("hi_value").GetDouble()) < 1e-3);
                if (run.GetProperty("name").GetString() == "conv") AssertOne(golden, "sd_scripts.delta." + name, choices.Select(item => item.Up.mm(item.Down)));
            }
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Ranks_by_the_four_modes_of_LyCORIS(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var layers = new Layers(golden);
        foreach (var row in golden.Json.GetProperty("lycoris").EnumerateArray())
        {
            using var inner = NewDisposeScope();
            var (name, value) = (Name(row), row.GetProperty("param").GetDouble());
            var options = row.GetProperty("mode").GetString() switch
            {
                "fixed" => Options() with { Rank = (int)value },
                "threshold" => Options() with { Threshold = value },
                "ratio" => Options() with { Ratio = value },
                "quantile" => Options() with { Quantile = value },
                var mode => throw new Xunit.Sdk.XunitException($"the case has the mode {mode}, which this test does not know"),
            };
            var (made, shape) = (layers.Extract(name, options), layers.Of(name).Shape);
            Assert.Equal(row.GetProperty("rank_before_full_test").GetInt32(), Math.Min(made.Layer.Rank, Math.Min(shape.Outputs, shape.Inputs)));
            var isLow = row.GetProperty("kind").GetString() == "low rank";
            Assert.Equal(isLow, row.GetProperty("rank_before_full_test").GetInt32() < shape.Outputs / 2.0);   // else it writes the difference itself
            if (isLow && made.Layer.Rank == row.GetProperty("rank").GetInt32()) golden.AssertNumber(row.GetProperty("error"), made.Error * made.Norm, $"error of {name}");
        }
    }

    /// <summary>Its Tucker form is a second decomposition, of the turned down factor; it loses much, so it is not written here.</summary>
    [Theory, MemberData(nameof(Cases))]
    public void What_the_Tucker_form_of_LyCORIS_loses(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var layers = new Layers(golden);
        var last = new Dictionary<string, Tensor>();   // a mode with two sizes keeps the second one's
        foreach (var row in golden.Json.GetProperty("lycoris").EnumerateArray().Where(row => row.TryGetProperty("tucker", out _)))
        {
            var (name, rank) = (Name(row), row.GetProperty("rank").GetInt32());
            var (shape, difference) = (layers.Of(name).Shape, layers.Difference(name));
            var (down, up) = Spectrum.Of(difference).Factors(rank);
            var turned = down.view(shape.Down(rank)).transpose(0, 1).reshape(shape.Inputs, -1);             // (in, r·k·k)
            var (second, first) = Spectrum.Of(turned).Factors((int)Math.Min(rank, shape.Inputs));
            var cut = first.mm(second).view(shape.Inputs, rank, shape.Kernel[0], shape.Kernel[1]).transpose(0, 1).reshape(rank, -1);
            var made = up.mm(cut);
            golden.AssertNumber(row.GetProperty("tucker").GetProperty("error"), made.sub(difference).norm().item<float>(), $"error of {name}");
            last[$"lycoris.tucker.{row.GetProperty("mode").GetString()}.{name}"] = made.view(shape.Weight);
        }
        foreach (var (key, made) in last) golden.AssertClose(key, made);
    }

    private static ExtractOptions Options() => new() { Base = "base", Tuned = "tuned", Output = "out.safetensors", Method = SvdMethod.Exact };

    /// <summary>Factors of a rank with each choice of signs, clamped.</summary>
    private static IEnumerable<(Tensor Down, Tensor Up, double Limit)> Choices(Spectrum spectrum, int rank, double quantile)
    {
        var (down, up) = spectrum.Factors(rank);
        for (var bits = 0; bits < 1 << rank; bits++)
        {
            var signs = tensor(Enumerable.Range(0, rank).Select(at => (bits >> at & 1) == 0 ? 1f : -1f).ToArray());
            yield return QuantileClamp.Apply(down.mul(signs.unsqueeze(1)), up.mul(signs), quantile);
        }
    }

    private static void AssertOne(GoldenCase golden, string name, IEnumerable<Tensor> choices)
    {
        using var expected = golden.Tensor(name);
        var (relative, absolute) = golden.Tolerance(name);
        var flat = expected.flatten(1);
        Assert.True(choices.Any(choice => choice.allclose(flat, relative, absolute)), string.Create(CultureInfo.InvariantCulture, $"{golden.Name}: no choice of signs gives {name}"));
    }

    private static string Name(JsonElement row) => row.GetProperty("module").GetString()!;

    private static JsonElement Row(GoldenCase golden, string list, string name) => golden.Json.GetProperty(list).EnumerateArray().Single(row => Name(row) == name);

    /// <summary>The layers of the case's models, and the two weights of each that differs.</summary>
    private sealed class Layers : IDisposable
    {
        private readonly GoldenCase golden;
        private readonly AdapterModels models;
        private readonly Dictionary<string, ModelLayer> layers;
        private readonly Generator generator = new(1);

        public Layers(GoldenCase golden)
        {
            this.golden = golden;
            models = AdapterModels.FromParams(golden.Json.GetProperty("params").GetProperty("sd1"));
            layers = new ModuleNames(models).Layers.ToDictionary(layer => $"{layer.Component}.{layer.Path}");
        }

        public ModelLayer Of(string name) => layers[name];

        /// <summary>Tuned − base as a matrix, in float32, of weights that were rounded to a type.</summary>
        public Tensor Difference(string name, ScalarType type = ScalarType.Float32)
        {
            var weight = Formula.Weight(name + ".weight", Of(name).Shape.Weight, golden.Json.GetProperty("params").GetProperty("seed_of_base").GetInt64());
            return golden.Tensor("tuned." + name).to(type).sub(weight.to(type)).to(ScalarType.Float32).flatten(1);
        }

        public ComputedLayer Extract(string name, ExtractOptions options) => new LayerExtractor(options, ScalarType.Float32, generator).Extract(Of(name), Difference(name));

        public void Dispose()
        {
            models.Dispose();
            generator.Dispose();
        }
    }
}
