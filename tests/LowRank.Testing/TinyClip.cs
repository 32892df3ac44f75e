using System.Text;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using static TorchSharp.torch;

namespace LowRank.Testing;

/// <summary>Folders of tiny CLIP models, weights by formula.</summary>
public static class TinyClip
{
    private const string Text = """
        { "vocab_size": 600, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 10, "projection_dim": 6, "eos_token_id": 2 }
        """;
    private const string Vision = """
        { "model_type": "clip_vision_model", "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 20, "patch_size": 5, "projection_dim": 6 }
        """;

    /// <summary>Writes a model.</summary>
    /// <param name="folder">Made when absent.</param>
    /// <param name="seed">Of the weights.</param>
    /// <param name="texts">Whether it reads texts too.</param>
    /// <param name="textSeed">Of the text encoder's weights; null: the same.</param>
    /// <returns>The folder.</returns>
    public static string Write(string folder, long seed, bool texts = true, long? textSeed = null)
    {
        using var scope = NewDisposeScope();
        var layers = new LayerFactory(CPU, ScalarType.Float32);
        using var vision = new ClipVisionModel(ClipVisionConfig.Parse(Encoding.UTF8.GetBytes(Vision), "config.json"), layers);
        using var text = new ClipTextModel(ClipTextConfig.Parse(Encoding.UTF8.GetBytes(Text), "config.json"), projection: true, layers);
        Formula.Fill(vision, seed);
        Formula.Fill(text, textSeed ?? seed);
        Directory.CreateDirectory(folder);
        using var tokenizer = new TinyTokenizer();
        foreach (var file in Directory.GetFiles(tokenizer.Folder)) File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        File.WriteAllText(Path.Combine(folder, "config.json"), texts ? $$"""{ "model_type": "clip", "projection_dim": 6, "text_config": {{Text}}, "vision_config": {{Vision}} }""" : Vision);
        SafetensorsWriter.Write(Path.Combine(folder, "model.safetensors"), texts ? [.. vision.state_dict(), .. text.state_dict()] : vision.state_dict());
        return folder;
    }
}
