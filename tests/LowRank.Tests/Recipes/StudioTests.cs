using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Images;
using LowRank.Recipes;
using LowRank.Testing;
using TorchSharp;

namespace LowRank.Tests.Recipes;

/// <summary>Adapters come, go and change on an open model, and every picture is the one that a fresh model would draw.</summary>
public sealed class StudioTests : IDisposable
{
    private static readonly PictureOptions Picture = new() { Prompt = "red heart", Steps = 2, Seed = 1 };

    private readonly TemporaryFolder folder = new();
    private readonly Studio studio = Studio.Open("icons-64");

    public void Dispose()
    {
        studio.Dispose();
        folder.Dispose();
    }

    [Fact]
    public void Every_state_draws_what_a_fresh_model_draws()
    {
        var line = studio.Load("icons-line");
        Assert.Equal(Fresh(new AdapterUse("icons-line")), Draw());
        line.Strength = 0.4;
        Assert.Equal(Fresh(new AdapterUse("icons-line", 0.4)), Draw());
        var pixel = studio.Load("icons-pixel");
        Assert.Equal(Fresh(new AdapterUse("icons-line", 0.4), new AdapterUse("icons-pixel")), Draw());
        studio.Switch("icons-pixel");
        Assert.Equal((false, true), (line.IsOn, pixel.IsOn));
        Assert.Equal(Fresh(new AdapterUse("icons-pixel")), Draw());
        pixel.Blocks = [.. studio.BlockNames.Select(name => name == "MID" ? 2 : 0.5)];
        pixel.Parts = new Dictionary<string, double> { ["unet"] = 0.5 };
        Assert.Equal(Fresh(new AdapterUse("icons-pixel") { Blocks = pixel.Blocks, Parts = pixel.Parts }), Draw());
        (pixel.Blocks, pixel.Parts) = ([], new Dictionary<string, double>());
        studio.Switch("icons-line");
        line.Strength = 1;
        Assert.Equal(Fresh(new AdapterUse("icons-line")), Draw());
        studio.Switch();
        Assert.Equal(Fresh(), Draw());
        studio.Switch("icons-line");
        line.Strength = 0;
        Assert.Equal(Fresh(), Draw());
        studio.Unload("icons-line");
        Assert.Throws<ObjectDisposedException>(() => line.IsOn = true);
        Assert.Equal(["icons-pixel"], studio.Adapters.Select(adapter => adapter.Name));
    }

    [Fact]
    public void The_settings_of_a_picture_tell_what_is_on()
    {
        var line = studio.Load("icons-line", "mine");
        studio.Load("icons-pixel").IsOn = false;
        line.Strength = 0.5;
        line.Parts = new Dictionary<string, double> { ["unet"] = 0.25 };
        var text = PngText.Read(studio.Draw(Picture))["parameters"];
        Assert.Equal("red heart\nSteps: 2, Sampler: DDIM, CFG scale: 5, Seed: 1, Size: 64x64, Model: icons-64, Adapters: \"icons-line: 0.5 unet:0.25\", Lora hashes: \"mine: HASH\", Version: LowRank",
            System.Text.RegularExpressions.Regex.Replace(text, "(?<=mine: )[0-9a-f]{12}", "HASH"));
    }

    /// <summary>Prompts are encoded anew for every picture: an adapter of the text encoder works at the strength of now.</summary>
    [Fact]
    public void Strengths_of_text_encoder_adapters_reach_the_prompt()
    {
        var path = folder.Path("words.safetensors");
        using (var family = LowRank.Families.FamilyDetector.Open("icons-64"))
        {
            using var quiet = torch.no_grad();
            using var init = new torch.Generator(1);
            using var adapter = AdapterSet.Create(family.ComponentNames.ToDictionary(name => name, family.Component), new() { Rank = 2, Targets = ["text_encoder:**"] }, init, torch.CPU);
            using var values = torch.randn(adapter.FlatParameters.shape, generator: init).MultiplyInPlace(0.1);
            adapter.FlatParameters.copy_(values);
            AdapterWriter.Write(path, adapter);
        }
        var (none, words) = (Draw(), studio.Load(path));
        var whole = Draw();
        words.Strength = 0.5;
        var half = Draw();
        Assert.Equal(3, new[] { none, whole, half }.Select(Convert.ToHexString).Distinct().Count());
        Assert.Equal(Fresh(new AdapterUse(path, 0.5)), half);
        words.Parts = new Dictionary<string, double> { ["text_encoder"] = 2 };
        Assert.Equal(whole, Draw());
        words.Parts = new Dictionary<string, double> { ["text_encoder"] = 0 };
        Assert.Equal(none, Draw());
        words.Parts = new Dictionary<string, double> { ["unet"] = 0 };
        Assert.Equal(half, Draw());
    }

    [Fact]
    public void A_learned_token_is_known_from_the_moment_it_is_loaded()
    {
        var path = folder.Path("mine.safetensors");
        using (var rows = TensorArithmetic.Filled([1, 128], 0.3)) EmbeddingWriter.Write(path, new("<mine>", new Dictionary<string, torch.Tensor> { ["text_encoder"] = rows }));
        var named = Picture with { Prompt = "red heart <mine>" };
        var text = studio.Draw(named);
        studio.LoadEmbedding(path);
        var known = studio.Draw(named);
        Assert.NotEqual(Convert.ToHexString(text), Convert.ToHexString(known));
        Assert.Contains("Embeddings: \"mine.safetensors\", TI hashes: \"mine: ", PngText.Read(known)["parameters"], StringComparison.Ordinal);
    }

    [Fact]
    public void A_word_that_the_model_refuses_leaves_the_studio_as_it_was()
    {
        var path = folder.Path("red.safetensors");
        using (var rows = TensorArithmetic.Filled([1, 128], 0.3)) EmbeddingWriter.Write(path, new("red", new Dictionary<string, torch.Tensor> { ["text_encoder"] = rows }));
        var before = Draw();
        Assert.StartsWith("the placeholder token red is in the vocabulary of the model already", Assert.Throws<OptionsException>(() => studio.LoadEmbedding(path, "red")).Message, StringComparison.Ordinal);
        Assert.Equal(before, Draw());
        studio.LoadEmbedding(path, "<red>");
        Assert.Equal(before, Draw());
    }

    /// <summary>The hash of an adapter's data is in its metadata, or what that would say is computed.</summary>
    [Fact]
    public void The_hash_of_an_adapter_is_that_of_its_data()
    {
        var source = Path.Combine(Repository.Root, "models", "adapters", "icons-line.safetensors");
        using (var file = SafetensorsReader.Open(source))
        {
            var tensors = file.Tensors.Keys.Order(StringComparer.Ordinal).Select(key => KeyValuePair.Create(key, file.Read(key))).ToArray();
            SafetensorsWriter.Write(folder.Path("bare.safetensors"), tensors);
            foreach (var (_, tensor) in tensors) tensor.Dispose();
            Assert.Equal(file.Metadata["sshs_model_hash"][..12], studio.Load("icons-line").Hash);
        }
        Assert.Equal(studio["icons-line"].Hash, studio.Load(folder.Path("bare.safetensors")).Hash);
    }

    [Fact]
    public void What_cannot_be_done_is_refused_and_changes_nothing()
    {
        var line = studio.Load("icons-line");
        Refused("an adapter is named icons-line already; give this one another name: icons-line", () => studio.Load("icons-line"));
        Refused("no adapter is named icons-lin (did you mean \"icons-line\"?); there are icons-line", () => studio.Switch("icons-lin"));
        Refused("strength of icons-line: NaN; must be a number", () => line.Strength = double.NaN);
        Refused("strengths of icons-line: a factor that is no number", () => line.Parts = new Dictionary<string, double> { ["unet"] = double.PositiveInfinity });
        Refused("no part of this model is named text_encoder_2 (did you mean \"text_encoder\"?); it has unet, text_encoder", () => line.Parts = new Dictionary<string, double> { ["text_encoder_2"] = 1 });
        Refused("1 problem in the options\n\nprompt  it names an adapter; load it into the studio instead", () => studio.Draw(Picture with { Prompt = "x <lora:icons-line:1>" }));
        Assert.Equal((1, true), (line.Strength, line.IsOn));
        Assert.Empty(line.Parts);
        Assert.Equal(Fresh(new AdapterUse("icons-line")), Draw());

        static void Refused(string message, Action action) => Assert.Equal(message, Assert.Throws<OptionsException>(action).Message);
    }

    [Fact]
    public void Loading_switching_and_drawing_leaves_no_tensor_behind()
    {
        studio.Load("icons-line");
        studio.Draw(Picture);
        LeakGuard.AssertNothingLeft(() =>
        {
            studio.Load("icons-pixel");
            studio.Switch("icons-pixel");
            studio.Draw(Picture);
            studio.Unload("icons-pixel");
        });
    }

    private byte[] Draw()
    {
        var path = folder.Path(Guid.NewGuid().ToString("N") + ".png");
        File.WriteAllBytes(path, studio.Draw(Picture));
        return ImageFile.Read(path).Pixels;
    }

    private byte[] Fresh(params AdapterUse[] adapters) => ImageFile.Read(Generate.Run(new GenerateOptions
    {
        Model = "icons-64",
        Prompt = Picture.Prompt,
        Steps = Picture.Steps,
        Seed = Picture.Seed,
        Adapters = adapters,
        Output = folder.Path(Guid.NewGuid().ToString("N")),
    }).Pictures[0]).Pixels;
}
