using System.Globalization;
using System.Text.Json;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Adapters merged into weights of every precision: at every strength, two in one pass, and what taking one out again leaves.</summary>
public sealed class MergeBaseGoldenTests
{
    private static readonly Dictionary<string, (ScalarType Type, int Digits)> Types = new() { ["f32"] = (ScalarType.Float32, 24), ["f16"] = (ScalarType.Float16, 11), ["bf16"] = (ScalarType.BFloat16, 8) };

    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("merge_base");

    [Theory, MemberData(nameof(Cases))]
    public void Merged_weights_are_those_of_the_case(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var toy = new Toy(golden);
        foreach (var key in golden.TensorInfos.Keys)
        {
            var (module, rest) = (key[..key.IndexOf('.', StringComparison.Ordinal)], key[(key.IndexOf('.', StringComparison.Ordinal) + 1)..]);
            var at = rest.IndexOfAny(['@', '.']);
            var (type, digits) = Types[rest[..at]];
            var strengths = rest[at] == '@' ? [double.Parse(rest[(at + 1)..], CultureInfo.InvariantCulture), 0] : toy.Two;
            var expected = golden.Tensor(key);
            var actual = toy.Merge(module, type, strengths);
            if (strengths is [0, 0]) TensorAssert.Equal(toy.Base(module, type), actual);
            if (type == ScalarType.Float32) TensorAssert.Close(expected, actual, golden.Json.GetProperty("tolerance").GetProperty("rtol").GetDouble(), golden.Json.GetProperty("tolerance").GetProperty("atol").GetDouble(), key);
            else
            {
                // one unit in the last place, in at most 1 % of the numbers
                var differ = (actual.to(ScalarType.Float32) - expected).abs();
                Assert.True(differ.sub(expected.abs().Times(Math.Pow(2, 1 - digits))).max().item<float>() <= 0, $"{key}: more than a unit in the last place");
                Assert.InRange(differ.IsAbove(0).sum().item<long>(), 0, differ.numel() / 100);
            }
        }
    }

    /// <summary>In float32 the error of merging and taking out has a bound; in halves numbers come back changed, as many as the case says, and so they do where halves are written between two adapters.</summary>
    [Theory, MemberData(nameof(Cases))]
    public void Taking_an_adapter_out_again_leaves_what_the_case_says(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var toy = new Toy(golden);
        foreach (var row in golden.Json.GetProperty("statistics").EnumerateArray())
        {
            var module = row.GetProperty("module").GetString()!;
            var w = toy.Base(module, ScalarType.Float32);
            var merged = toy.Merge(module, w, [1, 0]);
            var back = toy.Merge(module, merged, [-1, 0]);
            var bound = merged.abs().Plus(back.abs()).Times(Math.Pow(2, -24) * 1.0001);
            Assert.True((back - w).abs().sub(bound).max().item<float>() <= 0, $"{module}: beyond the bound of float32");
            foreach (var name in new[] { "f16", "bf16" })
            {
                var type = Types[name].Type;
                var half = toy.Base(module, type);
                var restored = toy.Merge(module, toy.Merge(module, half, [0.5, 0]), [-0.5, 0]);
                Near(row.GetProperty(name + "_unmerge_changed_elements"), restored, half);
                Assert.True((restored.to(ScalarType.Float32) - half.to(ScalarType.Float32)).abs().max().item<float>() <= row.GetProperty(name + "_unmerge_max_error").GetDouble() * 2);
                var between = toy.Merge(module, toy.Merge(module, half, [toy.Two[0], 0]), [0, toy.Two[1]]);
                Near(row.GetProperty(name + "_two_adapters_differs_if_cast_between"), between, toy.Merge(module, half, toy.Two));
            }

            void Near(JsonElement expected, Tensor one, Tensor other)
            {
                var slack = one.numel() / 100 + 1;
                Assert.InRange(one.ne(other).sum().item<long>(), expected.GetInt64() - slack, expected.GetInt64() + slack);
            }
        }
    }

    /// <summary>The case's two adapters and its layers.</summary>
    private sealed class Toy : IDisposable
    {
        private readonly GoldenCase golden;
        private readonly ToyNet net;
        private readonly List<AdapterFile> files;

        public Toy(GoldenCase golden)
        {
            this.golden = golden;
            net = ToyNet.Of(golden.Json.GetProperty("params").GetProperty("shapes"));
            files = [.. golden.Json.GetProperty("files").EnumerateArray().Select(file => AdapterFile.Open(Path.Combine(golden.Folder, file.GetString()!)))];
            Two = [.. golden.Json.GetProperty("params").GetProperty("two_strengths").EnumerateArray().Select(strength => strength.GetDouble())];
        }

        /// <summary>The strengths of the pass with both.</summary>
        public double[] Two { get; }

        public Tensor Base(string module, ScalarType type) =>
            Formula.Weight($"base.{module}.weight", LayerShape.WeightOf(net.Names.Layers.Single(layer => layer.Path == module).Module).shape, golden.Json.GetProperty("params").GetProperty("seed").GetInt64()).to(type);

        public Tensor Merge(string module, ScalarType type, double[] strengths) => Merge(module, Base(module, type), strengths);

        /// <summary>As a merged file has it: in float32, rounded once.</summary>
        public Tensor Merge(string module, Tensor weight, double[] strengths)
        {
            var changes = new WeightChanges(net.Names);
            foreach (var (file, strength) in files.Zip(strengths)) changes.Add(file, strength, new PartStrengths(new Dictionary<string, double>(), []), new AdapterLoadOptions());
            var wide = weight.to(ScalarType.Float32, copy: true);
            if (changes.Keys.Contains(("unet", module + ".weight"))) changes.ApplyTo("unet", module + ".weight", wide);
            return wide.to(weight.dtype);
        }

        public void Dispose()
        {
            foreach (var file in files) file.Dispose();
            net.Dispose();
        }
    }
}
