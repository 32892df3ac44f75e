using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using LowRank.Foundation;

namespace LowRank.Tests.Foundation;

public sealed class HubJsonTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private enum Kind
    {
        Simple,
        RatherComplex,
    }

    private sealed record Config
    {
        public required int BlockCount { get; init; }
        public IReadOnlyList<int> OutChannels { get; init; } = [];
        public double NormEps { get; init; } = 1e-5;
        public string? Optional { get; init; }
        public string Named { get; init; } = "default";
        [JsonExtensionData] public IDictionary<string, JsonElement>? Other { get; init; }
    }

    private sealed record Inner
    {
        public required double LearningRate { get; init; }
    }

    private sealed record Options
    {
        public required Inner Training { get; init; }
        public IReadOnlyList<Inner> Groups { get; init; } = [];
        public Kind Kind { get; init; }
        public string Note { get; init; } = "";
    }

    [Fact]
    public void A_published_file_is_read_and_its_other_keys_are_kept()
    {
        File.WriteAllText(folder["config.json"], """{"_class_name": "X", "block_count": 3, "out_channels": [1, 2,], "norm_eps": 1e-06, "optional": null /* said the hub */}""");
        var config = HubJson.ReadHub<Config>(folder["config.json"]);
        Assert.Equal(3, config.BlockCount);
        Assert.Equal([1, 2], config.OutChannels);
        Assert.Equal(1e-6, config.NormEps);
        Assert.Equal("default", config.Named);
        Assert.Equal("X", config.Other!["_class_name"].GetString());
    }

    [Theory]
    [InlineData("""{"out_channels": []}""", "block_count")]
    [InlineData("""{"block_count": "three"}""", "$.block_count")]
    [InlineData("""{"block_count": 1, "named": null}""", "named")]
    [InlineData("""{"block_count": [1]""", "$.block_count")]
    [InlineData("null", "the file holds null")]
    public void A_published_file_that_does_not_fit_is_refused_with_the_place(string json, string place)
    {
        File.WriteAllText(folder["config.json"], json);
        var message = Assert.Throws<CheckpointException>(() => HubJson.ReadHub<Config>(folder["config.json"])).Message;
        Assert.StartsWith("the configuration cannot be read: ", message);
        Assert.Contains(place, message);
        Assert.EndsWith($"; in {folder["config.json"]}; compare it with the published file", message);
    }

    [Fact]
    public void A_missing_published_file_is_refused() =>
        Assert.Equal($"no such file; {folder["config.json"]}; check the path, or fetch the model's folder again",
            Assert.Throws<CheckpointException>(() => HubJson.ReadHub<Config>(folder["config.json"])).Message);

    [Fact]
    public void Our_files_come_back_as_they_were()
    {
        var options = new Options { Training = new() { LearningRate = 0.1 }, Groups = [new() { LearningRate = double.PositiveInfinity }], Kind = Kind.RatherComplex, Note = "é <\"> 🐕" };
        var json = HubJson.WriteOwn(options);
        Assert.Equal("{\n  \"training\": {\n    \"learning_rate\": 0.1\n  },\n  \"groups\": [\n    {\n      \"learning_rate\": \"Infinity\"\n    }\n  ],\n  \"kind\": \"rather_complex\",\n  \"note\": \"é <\\\"> 🐕\"\n}\n",
            Encoding.UTF8.GetString(json).Replace("\\uD83D\\uDC15", "🐕", StringComparison.Ordinal));
        var back = HubJson.ReadOwn<Options>(json, "options.json");
        Assert.Equal(options.Training, back.Training);
        Assert.Equal(options.Groups, back.Groups);
        Assert.Equal(options.Note, back.Note);
    }

    [Theory]
    [InlineData("""{"training": {"learning_rate": 1}, "knid": "simple"}""", "unknown key \"knid\" (did you mean \"kind\"?)")]
    [InlineData("""{"training": {"learning_rat": 1}}""", "unknown key \"training.learning_rat\" (did you mean \"learning_rate\"?)")]
    [InlineData("""{"training": {"learning_rate": 1}, "groups": [{"learning_rate": 1}, {"weight": 1}]}""", "unknown key \"groups[1].weight\"")]
    public void An_unknown_key_in_our_file_is_named_with_the_nearest(string json, string why) =>
        Assert.Equal($"{why}; in options.json; see the documentation of Options",
            Assert.Throws<OptionsException>(() => HubJson.ReadOwn<Options>(Encoding.UTF8.GetBytes(json), "options.json")).Message);

    [Theory]
    [InlineData("{}", "training")]
    [InlineData("""{"training": {"learning_rate": 1}, "kind": 1}""", "$.kind")]
    [InlineData("""{"training": {"learning_rate": 1}, "note": "a", "note": "b"}""", "note")]
    [InlineData("", "JSON")]
    public void Our_file_that_does_not_fit_is_refused(string json, string place)
    {
        var message = Assert.Throws<OptionsException>(() => HubJson.ReadOwn<Options>(Encoding.UTF8.GetBytes(json), "options.json")).Message;
        Assert.Contains(place, message);
        Assert.EndsWith("; in options.json; see the documentation of Options", message);
    }
}
