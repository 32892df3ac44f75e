using System.Text.Json;
using LowRank.Adapters;
using LowRank.Adapters.Combining;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>sd-scripts' resize_lora: fixed ranks and its three rules; ranks and alphas exactly, and the change.</summary>
public sealed class ResizeGoldenTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    /// <summary>Every run of every case: (case, name).</summary>
    public static IEnumerable<TheoryDataRow<string, string>> Runs()
    {
        foreach (var row in GoldenCase.OfKind("adapters/resize"))
        {
            using var golden = GoldenCase.Open(row.Data);
            foreach (var name in golden.Json.GetProperty("runs").EnumerateArray().Select(run => run.GetProperty("run").GetString()!).Distinct()) yield return new(row.Data, name);
        }
    }

    [Theory, MemberData(nameof(Runs))]
    public void A_rule_keeps_the_ranks_that_sd_scripts_keeps(string id, string run)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var file = AdapterFile.Open(Path.Combine(golden.Folder, golden.Json.GetProperty("file").GetString()!));
        using var net = NetOf(golden, file);
        var rows = golden.Json.GetProperty("runs").EnumerateArray().Where(row => row.GetProperty("run").GetString() == run).ToDictionary(row => row.GetProperty("module").GetString()!);
        var output = folder.Path("out.safetensors");
        var result = ResizeAdapter.Run(OptionsOf(golden, rows) with { Input = file.Path, Output = output }, file, new CombineBase(net.Names, "toy", null));
        using var written = AdapterFile.Open(output);
        var modules = new AdapterFit(written, net.Names).Matched.ToDictionary(item => item.Layer.Path, item => item.Module);
        var deltas = net.Deltas(output);
        Assert.Equal(rows.Keys.Order(), modules.Keys.Order());
        foreach (var (name, row) in rows)
        {
            var told = result.Modules.Single(module => module.Module == "unet." + name);
            Assert.Equal(row.GetProperty("new_rank").GetInt32(), modules[name].Rank);
            golden.AssertNumber(row.GetProperty("new_alpha"), modules[name].Alpha!.Value, $"alpha of {name}");
            golden.AssertClose($"{run}.{name}", deltas[name]);
            golden.AssertNumber(row.GetProperty("error"), told.Error * told.Norm, $"error of {name}");
            if (told.Norm > 0) golden.AssertNumber(row.GetProperty("fro_retained"), Math.Sqrt(told.Energy), $"share kept of {name}");
        }
    }

    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("adapters/resize");

    [Theory, MemberData(nameof(Cases))]
    public void The_singular_values_are_those_of_the_product_without_its_scale(string id)
    {
        using var scope = NewDisposeScope();
        using var golden = GoldenCase.Open(id);
        using var file = AdapterFile.Open(Path.Combine(golden.Folder, golden.Json.GetProperty("file").GetString()!));
        using var net = NetOf(golden, file);
        foreach (var (module, layer) in new AdapterFit(file, net.Names).Matched)
        {
            var (down, up) = LayerChange.Factors(module);
            using var expected = golden.Tensor("singular." + layer.Path);
            var found = Spectrum.OfProduct(up, down).S;
            var padded = new double[expected.numel()];
            found.CopyTo(padded, 0);
            golden.AssertClose("singular." + layer.Path, tensor(padded, ScalarType.Float32));
        }
    }

    /// <summary>A layer that the case's shapes do not name has that of its factors.</summary>
    private static ToyNet NetOf(GoldenCase golden, AdapterFile file)
    {
        var shapes = golden.Json.GetProperty("params").GetProperty("shapes");
        var more = file.Modules.Select(module => (Name: module.Name["lora_unet_".Length..], Module: module)).Where(item => !shapes.TryGetProperty(item.Name, out _))
            .Select(item => (item.Name, new[] { item.Module["up"]!.Shape[0], item.Module["down"]!.Shape[1] })).ToArray();
        return ToyNet.Of(shapes, more);
    }

    private static ResizeOptions OptionsOf(GoldenCase golden, IReadOnlyDictionary<string, JsonElement> rows)
    {
        var (first, parameters) = (rows.Values.First(), golden.Json.GetProperty("params"));
        var options = new ResizeOptions { Input = "", Output = "" };
        if (first.GetProperty("method").ValueKind == JsonValueKind.Null) return options with { Rank = parameters.GetProperty("new_rank").GetInt32(), ConvRank = parameters.GetProperty("new_conv_rank").GetInt32() };
        options = options with { Rank = parameters.GetProperty("max_rank").GetInt32() };
        var value = first.GetProperty("param").GetDouble();
        return first.GetProperty("method").GetString() switch
        {
            "sv_ratio" => options with { SvRatio = value },
            "sv_fro" => options with { SvFro = value },
            "sv_cumulative" => options with { SvCumulative = value },
            var method => throw new Xunit.Sdk.XunitException($"the case has the method {method}, which this test does not know"),
        };
    }
}
