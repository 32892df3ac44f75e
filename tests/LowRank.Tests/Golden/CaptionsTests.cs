using System.Text.Json;
using System.Text.Json.Nodes;
using LowRank.Data;
using LowRank.Testing;

namespace LowRank.Tests.Golden;

/// <summary>Kind <c>captions</c>: one test a part of the case, and one that no part is left out.</summary>
public class CaptionsTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("captions");

    [Theory, MemberData(nameof(Cases))]
    public void Every_part_of_the_case_has_a_test_here(string id)
    {
        using var golden = GoldenCase.Open(id);
        string[] known = ["kind", "what", "order", "random", "defaults", "cases", "caption_files", "folders", "regularisation", "metadata", "templates", "token_map", "tolerance", "libraries"];
        Assert.Empty(golden.Json.EnumerateObject().Select(property => property.Name).Except(known));
        Assert.Equal("exact", golden.Json.GetProperty("tolerance").GetString());
    }

    [Theory, MemberData(nameof(Cases))]
    public void Captions_with_scripted_randomness_come_out_the_same_with_the_same_draws(string id)
    {
        using var golden = GoldenCase.Open(id);
        var defaults = golden.Json.GetProperty("defaults").EnumerateObject().ToDictionary(item => item.Name, item => item.Value);
        foreach (var item in golden.Json.GetProperty("cases").EnumerateArray())
        {
            var options = new Dictionary<string, JsonElement>(defaults);
            if (item.TryGetProperty("options", out var own))
            {
                foreach (var option in own.EnumerateObject())
                {
                    Assert.Contains(option.Name, defaults.Keys);
                    options[option.Name] = option.Value;
                }
            }
            int Int(string key, int otherwise) => item.TryGetProperty(key, out var value) ? value.GetInt32() : otherwise;
            var draws = new ScriptedDraws(item);
            var text = Captions.Draw(item.GetProperty("caption").GetString()!, Rules(options), new CaptionMoment(Int("epoch", 1), Int("step", 0), Int("max_steps", 1000)), draws);
            Assert.Equal(item.GetProperty("expected").GetString(), text);
            Assert.Equal(item.GetProperty("draws").EnumerateArray().Select(draw => draw.GetString()!), draws.Log);
            var leftOver = item.GetProperty("left_over");
            Assert.Equal((leftOver.GetProperty("uniforms").GetInt32(), leftOver.GetProperty("choices").GetInt32()), (draws.Uniforms.Count, draws.Choices.Count));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Caption_files_are_found_and_read(string id)
    {
        using var golden = GoldenCase.Open(id);
        foreach (var file in golden.Json.GetProperty("caption_files").GetProperty("files").EnumerateArray())
        {
            string Text(string key, string otherwise) => file.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : otherwise;
            using var folder = new TemporaryFolder();
            var caption = Text("caption_file", "a.txt");
            File.WriteAllBytes(folder.Path(caption), Convert.FromHexString(file.GetProperty("hex").GetString()!));
            var image = Text("image", "a.png");
            var found = CaptionFile.Find(folder.Path(image), Text("class_tokens", ""));
            var expected = file.GetProperty("ours").GetString();
            var stem = Path.GetFileNameWithoutExtension(image);
            var problem = expected switch
            {
                "empty" => $"caption file {caption} is empty",
                "error: not UTF-8" => $"caption file {caption} is not UTF-8",
                "error: no caption" => $"no caption: neither {stem}.txt nor {stem}.caption is there",
                _ => null,
            };
            Assert.Equal(problem, found.Problem);
            if (problem is null) Assert.Equal(expected, found.Lines[0]);
            if (file.TryGetProperty("ours_lines", out var lines)) Assert.Equal(lines.EnumerateArray().Select(line => line.GetString()!), found.Lines);
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Folder_names_give_repeats_and_class_words(string id)
    {
        using var golden = GoldenCase.Open(id);
        foreach (var folder in golden.Json.GetProperty("folders").EnumerateArray())
        {
            var expected = folder.GetProperty("repeats_and_class");
            RepeatFolder? wanted = expected.ValueKind == JsonValueKind.Array ? new RepeatFolder(expected[0].GetInt32(), expected[1].GetString()!) : null;
            if (wanted is null) Assert.Equal("ignored", expected.GetString());
            Assert.Equal(wanted, RepeatFolder.Parse(folder.GetProperty("folder").GetString()!));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Prior_pictures_are_balanced(string id)
    {
        using var golden = GoldenCase.Open(id);
        foreach (var item in golden.Json.GetProperty("regularisation").EnumerateArray())
        {
            var pictures = item.GetProperty("folders").EnumerateArray()
                .SelectMany((folder, index) => Enumerable.Range(0, folder[2].GetInt32()).Select(number => (Folder: index, Name: $"{number:000}.png", Prior: folder[0].GetBoolean(), Repeats: folder[1].GetInt32())))
                .ToList();
            var training = pictures.Where(picture => !picture.Prior).ToList();
            var priors = pictures.Where(picture => picture.Prior).ToList();
            var total = training.Sum(picture => picture.Repeats);
            Assert.Equal(item.GetProperty("train_images").GetInt32(), total);
            Assert.Equal(item.GetProperty("reg_images").GetInt32(), priors.Sum(picture => picture.Repeats));
            var repeats = PriorImages.Balance(total, [.. priors.Select(picture => picture.Repeats)]);
            var registered = training.Concat(priors.Zip(repeats, (picture, used) => picture with { Repeats = used }).Where(picture => picture.Repeats > 0)).ToList();
            var expected = item.GetProperty("registered").EnumerateArray().Select(row => (row[0].GetInt32(), row[1].GetString()!, row[3].GetBoolean(), row[2].GetInt32()));
            Assert.Equal(expected, registered);
            Assert.Equal(item.GetProperty("total_with_repeats").GetInt32(), registered.Sum(picture => picture.Repeats));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Metadata_files_give_captions_sizes_and_tags(string id)
    {
        using var golden = GoldenCase.Open(id);
        foreach (var item in golden.Json.GetProperty("metadata").EnumerateArray())
        {
            using var folder = new TemporaryFolder();
            var lines = item.TryGetProperty("ending", out var ending) && ending.GetString() == "jsonl";
            var path = folder.Path(lines ? "metadata.jsonl" : "metadata.json");
            var content = item.GetProperty("content");
            File.WriteAllText(path, lines
                ? string.Concat(content.EnumerateObject().Select(entry => Line(entry)))
                : content.GetRawText());
            var separator = item.TryGetProperty("caption_separator", out var own) ? own.GetString()! : ",";
            var wildcards = item.TryGetProperty("enable_wildcard", out var enabled) && enabled.GetBoolean();
            var entries = CaptionMetadata.Read(path, separator, wildcards);
            var repeats = item.TryGetProperty("num_repeats", out var number) ? number.GetInt32() : 1;
            Assert.All(item.GetProperty("expected").EnumerateArray(), entry => Assert.Equal(repeats, entry.GetProperty("repeats").GetInt32()));   // the data set's, not the file's
            var expected = item.GetProperty("expected").EnumerateArray().Select(entry => (entry.GetProperty("image").GetString(), entry.GetProperty("caption").GetString(), SizeOf(entry)));
            Assert.Equal(expected, entries.Select(entry => ((string?)entry.Image, (string?)entry.Caption, entry.Size is { } size ? ((int, int)?)(size.Width, size.Height) : null)));
            var tags = item.GetProperty("tag_frequency").EnumerateObject().ToDictionary(tag => tag.Name, tag => tag.Value.GetInt32());
            Assert.Equal(tags, Captions.CountTags(entries.Select(entry => entry.Tags ?? "")));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Templates_are_the_same_to_the_letter(string id)
    {
        using var golden = GoldenCase.Open(id);
        foreach (var list in golden.Json.GetProperty("templates").EnumerateObject())
        {
            var templates = list.Name switch
            {
                "object" => CaptionTemplates.Object,
                "style" => CaptionTemplates.Style,
                "null" => CaptionTemplates.Plain,
                _ => throw new NotSupportedException($"templates this test does not know: {list.Name}"),
            };
            Assert.Equal(list.Value.GetProperty("count").GetInt32(), templates.Count);
            Assert.Equal(list.Value.GetProperty("distinct").GetInt32(), templates.Distinct().Count());
            Assert.Equal(list.Value.GetProperty("sha256_of_lines_joined_by_newline").GetString(), FormulaPicture.Sha256(System.Text.Encoding.UTF8.GetBytes(string.Join('\n', templates))));
            Assert.Equal(list.Value.GetProperty("each_has_one_{}").GetBoolean(), templates.All(template => template.Split("{}").Length == 2));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Token_maps_are_applied_one_after_the_other(string id)
    {
        using var golden = GoldenCase.Open(id);
        foreach (var item in golden.Json.GetProperty("token_map").EnumerateArray())
        {
            var map = item.GetProperty("token_map").EnumerateObject().Select(token => KeyValuePair.Create(token.Name, token.Value.GetString()!)).ToList();
            Assert.Equal(item.GetProperty("expected").GetString(), CaptionTemplates.ReplaceTokens(item.GetProperty("caption").GetString()!, map));
            Assert.Equal(item.GetProperty("template_token").GetString(), map[0].Value);   // what templates are filled with
        }
    }

    private static string Line(JsonProperty entry)
    {
        var line = JsonObject.Create(entry.Value)!;
        line["image_path"] = entry.Name;
        return line.ToJsonString() + "\n";
    }

    private static (int, int)? SizeOf(JsonElement entry) =>
        entry.GetProperty("size") is { ValueKind: JsonValueKind.Array } size ? (size[0].GetInt32(), size[1].GetInt32()) : null;

    private static CaptionRules Rules(Dictionary<string, JsonElement> options)
    {
        string Text(string key) => options[key].ValueKind == JsonValueKind.Null ? "" : options[key].GetString()!;
        return new CaptionRules
        {
            Prefix = Text("caption_prefix"),
            Suffix = Text("caption_suffix"),
            DropoutRate = options["caption_dropout_rate"].GetDouble(),
            DropoutEveryEpochs = options["caption_dropout_every_n_epochs"].GetInt32(),
            Wildcards = options["enable_wildcard"].GetBoolean(),
            ShuffleTags = options["shuffle_caption"].GetBoolean(),
            TagSeparator = Text("caption_separator"),
            KeepTokens = options["keep_tokens"].GetInt32(),
            KeepTokensSeparator = Text("keep_tokens_separator"),
            SecondarySeparator = Text("secondary_separator"),
            TagDropoutRate = options["caption_tag_dropout_rate"].GetDouble(),
            TokenWarmupMin = options["token_warmup_min"].GetInt32(),
            TokenWarmupSteps = options["token_warmup_step"].GetDouble(),
            Replacements = [.. options["replacements"].EnumerateObject().Select(item => item.Value.ValueKind == JsonValueKind.Array
                ? new CaptionReplacement(item.Name, "") { OneOf = [.. item.Value.EnumerateArray().Select(text => text.GetString()!)] }
                : new CaptionReplacement(item.Name, item.Value.GetString()!))],
        };
    }

    /// <summary>Gives the case's numbers in order and notes what was asked for.</summary>
    private sealed class ScriptedDraws(JsonElement item) : IDraws
    {
        public Queue<double> Uniforms { get; } = new(List(item, "uniforms").Select(value => value.GetDouble()));
        public Queue<int> Choices { get; } = new(List(item, "choices").Select(value => value.GetInt32()));
        public List<string> Log { get; } = [];

        public double Uniform()
        {
            Log.Add("uniform");
            return Uniforms.Dequeue();
        }

        public int Choice(int count)
        {
            Log.Add($"choice of {count}");
            return Choices.Dequeue();
        }

        public int[] Permutation(int count)
        {
            Log.Add($"shuffle of {count}");
            var permutation = List(item, "permutation").Select(value => value.GetInt32()).ToArray();
            Assert.Equal(Enumerable.Range(0, count), permutation.Order());
            return permutation;
        }

        private static JsonElement.ArrayEnumerator List(JsonElement item, string key) => item.TryGetProperty(key, out var list) ? list.EnumerateArray() : default;
    }
}
