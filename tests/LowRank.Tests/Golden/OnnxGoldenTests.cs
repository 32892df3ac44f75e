using System.Text.Json;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Preparation;
using LowRank.Testing;
using NetVips;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>Kind <c>onnx</c>: taggers, segmenters and captioners by ONNX Runtime, from the picture to the words.</summary>
public class OnnxGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("images/onnx");

    [Theory, MemberData(nameof(Cases))]
    public void A_tagger_sees_the_same_pictures_gives_the_same_probabilities_and_the_same_tags_are_chosen(string id)
    {
        using var golden = GoldenCase.Open(id);
        var part = golden.Json.GetProperty("tagger");
        using var tagger = Tagger.Open(In(golden, part.GetProperty("file")), In(golden, part.GetProperty("tags")));
        Assert.Equal(part.GetProperty("size").GetInt32(), tagger.Side);
        var pictures = part.GetProperty("pictures").EnumerateArray().Select(Picture).ToList();
        using var inputs = tensor(pictures.SelectMany(tagger.Input).ToArray(), [pictures.Count, tagger.Side, tagger.Side, 3]);
        golden.AssertClose("tagger.input", inputs);
        var probabilities = pictures.Select(tagger.Probabilities).ToList();
        using var outputs = tensor(probabilities.SelectMany(values => values).ToArray(), [pictures.Count, tagger.Tags.Count]);
        golden.AssertClose("tagger.output", outputs);
        foreach (var text in part.GetProperty("texts").EnumerateArray())
        {
            var rules = Rules(text.GetProperty("settings"));
            Assert.Equal(text.GetProperty("caption").GetString(), string.Join(", ", rules.Choose(tagger.Tags, probabilities[text.GetProperty("picture").GetInt32()])));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_segmenter_gives_the_same_logits(string id)
    {
        using var golden = GoldenCase.Open(id);
        var part = golden.Json.GetProperty("segmenter");
        using var tokenizer = new TinyTokenizer();
        using var segmenter = Segmenter.Open(In(golden, part.GetProperty("file")), tokenizer.Folder, part.GetProperty("picture").GetProperty("width").GetInt32());
        var planes = segmenter.Input.Planes(Picture(part.GetProperty("picture")));
        var side = segmenter.Input.Side;
        using var pixels = tensor(planes, [3, side, side]);
        golden.AssertClose("segmenter.pixel_values", pixels);
        var length = part.GetProperty("input_ids")[0].GetArrayLength();
        var (values, size) = segmenter.Answer(planes, side, Ids(part.GetProperty("input_ids")), Ids(part.GetProperty("attention_mask")), length);
        using var logits = tensor(values, [2, size.Height, size.Width]);
        golden.AssertClose("segmenter.logits", logits);

        static long[] Ids(JsonElement rows) => [.. rows.EnumerateArray().SelectMany(row => row.EnumerateArray()).Select(value => value.GetInt64())];
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_captioner_says_the_same_words(string id)
    {
        using var golden = GoldenCase.Open(id);
        var part = golden.Json.GetProperty("captioner");
        var (files, config) = (part.GetProperty("files"), part.GetProperty("config"));
        using var captioner = Captioner.Open(new CaptionerFiles
        {
            Encoder = In(golden, files[0]),
            Decoder = In(golden, files[1]),
            Vocabulary = In(golden, files[2]),
            Size = config.GetProperty("size").GetInt32(),
            MaximumLength = config.GetProperty("max_length").GetInt32(),
        });
        Assert.Equal((config.GetProperty("bos").GetInt64(), config.GetProperty("eos").GetInt64()), (captioner.Start, captioner.End));
        var index = 0;
        foreach (var row in part.GetProperty("pictures").EnumerateArray())
        {
            var picture = Picture(row);
            var side = captioner.Input.Side;
            using var pixels = tensor(captioner.Input.Planes(picture), [3, side, side]);
            golden.AssertClose($"captioner.{index}.pixel_values", pixels);
            var encoded = captioner.Encode(picture);
            using var hidden = tensor(encoded.Values, encoded.Shape.AsSpan(1));
            golden.AssertClose($"captioner.{index}.hidden", hidden);
            var (ids, last) = captioner.Words(encoded);
            Assert.Equal(row.GetProperty("ids").EnumerateArray().Select(value => value.GetInt64()), ids);
            using var logits = tensor(last, golden.TensorInfos[$"captioner.{index}.last_logits"].Shape.ToArray());
            golden.AssertClose($"captioner.{index}.last_logits", logits);
            Assert.Equal(row.GetProperty("caption").GetString(), captioner.Caption(picture));
            index++;
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void Libtorch_and_ONNX_Runtime_work_in_one_process(string id)
    {
        using var golden = GoldenCase.Open(id);
        var file = In(golden, golden.Json.GetProperty("tagger").GetProperty("file"));
        using var scope = NewDisposeScope();
        var (a, b) = (Formula.Noise("a", [64, 96], 1), Formula.Noise("b", [96, 64], 1).Times(1e-20));   // tiny numbers: a switch to flush them to zero would show
        var threads = get_num_threads();
        var before = a.matmul(b).Times(1e-20).data<float>().ToArray();
        using var tagger = Tagger.Open(file, In(golden, golden.Json.GetProperty("tagger").GetProperty("tags")));
        var picture = Picture(golden.Json.GetProperty("tagger").GetProperty("pictures")[0]);
        var first = tagger.Probabilities(picture);
        Assert.Equal(before, a.matmul(b).Times(1e-20).data<float>().ToArray());
        Assert.Equal(threads, get_num_threads());
        Assert.Equal(first, tagger.Probabilities(picture));
    }

    private static string In(GoldenCase golden, JsonElement name) => Path.Combine(golden.Folder, name.GetString()!);

    private static TagRules Rules(JsonElement settings)
    {
        bool Flag(string key) => settings.TryGetProperty(key, out var value) && value.GetBoolean();
        foreach (var setting in settings.EnumerateObject()) Assert.Contains(setting.Name, (string[])["general", "character", "remove_underscore", "character_first", "rating", "undesired"]);
        return new TagRules
        {
            GeneralThreshold = settings.GetProperty("general").GetDouble(),
            CharacterThreshold = settings.GetProperty("character").GetDouble(),
            KeepUnderscores = !Flag("remove_underscore"),
            CharactersFirst = Flag("character_first"),
            Rating = settings.TryGetProperty("rating", out var place) ? Enum.Parse<RatingPlace>(place.GetString()!, ignoreCase: true) : RatingPlace.None,
            Excluded = settings.TryGetProperty("undesired", out var list) ? [.. list.EnumerateArray().Select(tag => tag.GetString()!)] : [],
        };
    }

    /// <summary>Through a PNG, so that alpha is laid over white as for every picture.</summary>
    private static RgbImage Picture(JsonElement json)
    {
        int Int(string key) => json.GetProperty(key).GetInt32();
        var pixels = FormulaPicture.Of(json.GetProperty("name").GetString()!, Int("height"), Int("width"), Int("channels"), Int("seed"));
        Assert.Equal(json.GetProperty("sha256").GetString(), FormulaPicture.Sha256(pixels));
        using var image = Image.NewFromMemory(pixels, Int("width"), Int("height"), Int("channels"), Enums.BandFormat.Uchar);
        using var coloured = image.Copy(interpretation: Enums.Interpretation.Srgb);
        return ImageFile.Decode(coloured.PngsaveBuffer());
    }
}
