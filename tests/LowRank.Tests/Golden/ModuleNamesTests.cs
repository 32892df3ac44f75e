using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>The names of all modules that a full-size sd-scripts file can hold, against the real models' module lists.</summary>
public class ModuleNamesTests
{
    private static readonly string[] WithoutConvolutions = ["text_encoder", "text_encoder_2"];

    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("module_names");

    private sealed record Row(string Component, string Name, string Path, long Outputs, long Inputs, long Kernel, bool Default, int Block)
    {
        public static Row Of(JsonElement row)
        {
            var name = row[0].GetString()!;
            var component = name.StartsWith("lora_unet_", StringComparison.Ordinal) ? "unet" : name.StartsWith("lora_te2_", StringComparison.Ordinal) ? "text_encoder_2" : "text_encoder";
            return new(component, name, row[1].GetString()!, row[2].GetInt64(), row[3].GetInt64(), row[4].GetInt64(), row[5].GetInt32() == 1, row[6].GetInt32());
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Every_module_of_the_published_model_has_the_name_that_sd_scripts_gives_it(string id)
    {
        using var golden = GoldenCase.Open(id);
        var rows = golden.Json.GetProperty("rows").EnumerateArray().Select(Row.Of).ToList();
        using var models = AdapterModels.Published(golden.Json.GetProperty("family").GetString()!);
        var names = new ModuleNames(models);
        var layers = names.Layers.ToDictionary(layer => (layer.Component, layer.Path));
        foreach (var row in rows)
        {
            var layer = layers[(row.Component, row.Path)];
            Assert.Equal(row.Kernel == 0 ? [row.Outputs, row.Inputs] : [row.Outputs, row.Inputs, row.Kernel, row.Kernel], layer.Shape.Weight);
            Assert.Equal(row.Name, names.Kohya(row.Component, row.Path));
            Assert.Same(layer, Assert.Single(names.Find(row.Name)));
        }
        CheckHash("sha256_of_names_default", rows.Where(row => row.Default));
        CheckHash("sha256_of_names_with_conv", rows);

        // the list is whole: it has every layer of the blocks, and of the encoders
        var inBlocks = names.Layers.Where(layer => layer.Path.Contains("_block", StringComparison.Ordinal) || layer.Path.Contains("encoder.layers", StringComparison.Ordinal));
        Assert.Equal(inBlocks.Select(layer => (layer.Component, layer.Path)).Order(), rows.Select(row => (row.Component, row.Path)).Order());

        void CheckHash(string key, IEnumerable<Row> of)
        {
            var text = string.Join('\n', of.Select(row => names.Kohya(row.Component, row.Path)));
            Assert.Equal(golden.Json.GetProperty(key).GetString(), Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text))));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Counts_are_those_of_real_files(string id)
    {
        using var golden = GoldenCase.Open(id);
        var rows = golden.Json.GetProperty("rows").EnumerateArray().Select(Row.Of).ToList();
        foreach (var count in golden.Json.GetProperty("counts").EnumerateObject())
        {
            var actual = count.Name switch
            {
                "unet_default" => rows.Count(row => row is { Component: "unet", Default: true }),
                "unet_with_conv_dim" => rows.Count(row => row.Component == "unet"),
                "text_encoders" => rows.Count(row => WithoutConvolutions.Contains(row.Component)),
                "te1" => rows.Count(row => row.Component == "text_encoder"),
                "te2" => rows.Count(row => row.Component == "text_encoder_2"),
                _ => throw new Xunit.Sdk.XunitException($"the case counts {count.Name}, which this test does not know"),
            };
            Assert.Equal(count.Value.GetInt32(), actual);
        }
    }

    /// <summary>Lists of block strengths are as long as people know them, and reach the modules that sd-scripts gives them to.</summary>
    [Theory, MemberData(nameof(Cases))]
    public void Block_strengths_reach_the_modules_of_their_block(string id)
    {
        using var golden = GoldenCase.Open(id);
        var rows = golden.Json.GetProperty("rows").EnumerateArray().Select(Row.Of).ToList();
        using var models = AdapterModels.Published(golden.Json.GetProperty("family").GetString()!);
        var names = new ModuleNames(models);
        var (blocks, xl) = (names.Blocks, models.ContainsKey("text_encoder_2"));
        Assert.Equal(xl ? 20 : 26, blocks.Names.Count);
        Assert.Equal(xl
            ? ["BASE", "IN04", "IN05", "IN07", "IN08", "MID", "OUT00", "OUT01", "OUT02", "OUT03", "OUT04", "OUT05"]
            : ["BASE", "IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "MID", "OUT03", "OUT04", "OUT05", "OUT06", "OUT07", "OUT08", "OUT09", "OUT10", "OUT11"], blocks.WithAttention);
        string[] everywhere = ["BASE", .. Enumerable.Range(0, 12).Select(number => $"IN{number:D2}"), "MID", .. Enumerable.Range(0, 12).Select(number => $"OUT{number:D2}")];
        foreach (var row in rows) Assert.Equal((row.Name, everywhere[row.Block]), (row.Name, blocks.Names[blocks.PlaceOf(row.Component, row.Path)]));
        var expanded = blocks.Expand([.. Enumerable.Range(0, blocks.WithAttention.Count).Select(place => (double)place + 2)]);
        foreach (var (name, strength) in blocks.Names.Zip(expanded)) Assert.Equal(blocks.WithAttention.Contains(name) ? blocks.WithAttention.ToList().IndexOf(name) + 2 : 1, strength);
    }

    /// <summary>Block weights count the original blocks: 0 all else, 1 to 12 the inputs, 13 the middle, 14 on the outputs.</summary>
    [Theory, MemberData(nameof(Cases))]
    public void Blocks_are_numbered_as_in_the_original_model(string id)
    {
        using var golden = GoldenCase.Open(id);
        var rows = golden.Json.GetProperty("rows").EnumerateArray().Select(Row.Of).ToList();
        var original = new OriginalUnetNames(rows.Where(row => row.Component == "unet").Select(row => row.Path).ToList());
        foreach (var row in rows)
        {
            var parts = row.Component == "unet" ? original.Of(row.Path)!.Split('.') : [""];
            var block = parts[0] switch { "input_blocks" => 1 + Number(), "middle_block" => 13, "output_blocks" => 14 + Number(), _ => 0 };
            Assert.Equal((row.Name, row.Block), (row.Name, block));

            int Number() => int.Parse(parts[1], CultureInfo.InvariantCulture);
        }
    }
}
