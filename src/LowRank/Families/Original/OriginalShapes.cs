using System.Text.Json.Nodes;
using LowRank.Foundation;
using LowRank.Models;
using static System.FormattableString;

namespace LowRank.Families.Original;

/// <summary>
/// Configurations by the shapes of a checkpoint's tensors: those of the published model of its family, with what the shapes say otherwise. The original
/// implementation normalises in 32 groups whatever the width; the number of attention heads is no matter of shapes, so that of other widths it is assumed.
/// </summary>
internal sealed class OriginalShapes(ITensorFile file, OriginalLayout layout)
{
    private const int Groups = 32, HeadWidth = 64;

    /// <summary>What was assumed of a network whose shapes are of no published model: one a line.</summary>
    public List<string> Assumed { get; } = [];

    /// <summary>Input channels of the denoiser: 4, or 9 of an inpainting model.</summary>
    public long DenoiserChannels => Shape(OriginalLayout.UnetPrefix + "input_blocks.0.0.weight", 4)[1];

    /// <summary>A part's <c>config.json</c>.</summary>
    /// <param name="part">One of <see cref="OriginalLayout.Parts"/>.</param>
    /// <param name="published">The published model of the family.</param>
    /// <exception cref="CheckpointException">The part has tensors of no known kind, or shapes that do not tell enough.</exception>
    public byte[] Configuration(string part, PublishedModel published)
    {
        var path = $"{part}/config.json";
        var json = published.File(path);
        var node = JsonNode.Parse(json)!.AsObject();
        if (part == "unet") Unet(node, UNet2DConditionConfig.Parse(json, path));
        else if (part == "vae") Vae(node, AutoencoderKLConfig.Parse(json, path));
        else Text(node, ClipTextConfig.Parse(json, path), layout.Encoders.First(encoder => encoder.Part == part));
        return ModelFiles.Text(node);
    }

    private void Unet(JsonObject node, UNet2DConditionConfig known)
    {
        const string P = OriginalLayout.UnetPrefix;
        var blocks = Blocks(P + "input_blocks.", "in_layers.0.weight");
        var (channels, attends, layers) = (new List<int>(), new List<bool>(), 0);
        var depths = new List<int>();
        for (var i = 1; i < blocks + 1; i++)
        {
            if (Has($"{P}input_blocks.{i}.0.op.weight")) continue;   // the way down to the next level
            var first = i == 1 || Has($"{P}input_blocks.{i - 1}.0.op.weight");
            if (first) channels.Add((int)Shape($"{P}input_blocks.{i}.0.out_layers.3.weight", 4)[0]);
            if (first) attends.Add(Has($"{P}input_blocks.{i}.1.proj_in.weight"));
            if (first) depths.Add(Depth($"{P}input_blocks.{i}.1."));
            if (channels.Count == 1) layers++;
        }
        if (channels.Count == 0) throw Refuse("the denoiser has no blocks that are known", "download the file again");
        Set(node, "in_channels", (int)DenoiserChannels, known.InChannels);
        Set(node, "out_channels", (int)Shape(P + "out.2.weight", 4)[0], known.OutChannels);
        if (layers != (known.LayersPerBlock.IsList ? -1 : known.LayersPerBlock[0])) node["layers_per_block"] = layers;
        var rising = Enumerable.Range(0, channels.Count).Select(i => Has($"{P}output_blocks.{i * (layers + 1)}.1.proj_in.weight")).ToList();
        SetTypes(node, "down_block_types", [.. attends.Select(attend => attend ? "CrossAttnDownBlock2D" : "DownBlock2D")], known.DownBlockTypes);
        SetTypes(node, "up_block_types", [.. rising.Select(attend => attend ? "CrossAttnUpBlock2D" : "UpBlock2D")], known.UpBlockTypes);
        depths[^1] = Math.Max(1, Depth(P + "middle_block.1."));
        if (depths.Where((depth, i) => depth > 0 && depth != (i < known.Levels ? known.TransformerLayersPerBlock[i] : 1)).Any()) node["transformer_layers_per_block"] = Numbers(depths.Select(depth => Math.Max(1, depth)));
        SetAttention(node, known, channels, attends);
        if (Has(P + "label_emb.0.0.weight")) Set(node, "projection_class_embeddings_input_dim", (int)Shape(P + "label_emb.0.0.weight", 2)[1], known.ProjectionClassEmbeddingsInputDim ?? 0);
    }

    private void SetAttention(JsonObject node, UNet2DConditionConfig known, List<int> channels, List<bool> attends)
    {
        const string P = OriginalLayout.UnetPrefix;
        var keys = file.Tensors.Keys.FirstOrDefault(name => name.StartsWith(P, StringComparison.Ordinal) && name.EndsWith(".attn2.to_k.weight", StringComparison.Ordinal));
        if (keys is not null) Set(node, "cross_attention_dim", (int)Shape(keys, 2)[1], known.CrossAttentionDim);
        if (channels.SequenceEqual(known.BlockOutChannels)) return;
        node["block_out_channels"] = Numbers(channels);
        RequireGroups("denoiser", "unet", channels);
        if (known.AttentionHeadDim.IsList)
        {
            if (channels.Where((width, i) => (attends[i] || i == channels.Count - 1) && width % HeadWidth != 0).Any()) throw Unknown("denoiser", "unet", "number of attention heads");
            node["attention_head_dim"] = Numbers(channels.Select(width => Math.Max(1, width / HeadWidth)));
        }
        Assumed.Add($"the denoiser's widths ({string.Join(", ", channels)}) are of no published model: {(known.AttentionHeadDim.IsList ? $"attention heads of {HeadWidth} channels" : $"{known.AttentionHeadDim} attention heads a level")} are assumed, as {layout.Title} has them; other configurations: --config FOLDER");
    }

    private void Vae(JsonObject node, AutoencoderKLConfig known)
    {
        const string P = OriginalLayout.VaePrefix;
        var levels = Blocks(P + "encoder.down.", "block.0.norm1.weight", first: 0);
        var channels = Enumerable.Range(0, levels).Select(i => (int)Shape($"{P}encoder.down.{i}.block.0.conv1.weight", 4)[0]).ToList();
        if (levels == 0) throw Refuse("the autoencoder has no blocks that are known", "download the file again");
        Set(node, "in_channels", (int)Shape(P + "encoder.conv_in.weight", 4)[1], known.InChannels);
        Set(node, "out_channels", (int)Shape(P + "decoder.conv_out.weight", 4)[0], known.OutChannels);
        Set(node, "latent_channels", (int)Shape(P + "decoder.conv_in.weight", 4)[1], known.LatentChannels);
        Set(node, "layers_per_block", Blocks(P + "encoder.down.0.block.", "norm1.weight", first: 0), known.LayersPerBlock);
        if (channels.SequenceEqual(known.BlockOutChannels)) return;
        RequireGroups("autoencoder", "vae", channels);
        node["block_out_channels"] = Numbers(channels);
        SetTypes(node, "down_block_types", [.. channels.Select(_ => "DownEncoderBlock2D")], known.DownBlockTypes);
        SetTypes(node, "up_block_types", [.. channels.Select(_ => "UpDecoderBlock2D")], known.UpBlockTypes);
        Assumed.Add(Invariant($"the autoencoder's widths ({string.Join(", ", channels)}) are of no published model: its scaling factor is assumed to be {known.ScalingFactor}; other configurations: --config FOLDER"));
    }

    private void Text(JsonObject node, ClipTextConfig known, OriginalLayout.Encoder encoder)
    {
        var level = encoder.IsOpenClip || !Has(encoder.Prefix + "text_model.embeddings.token_embedding.weight") ? encoder.Prefix : encoder.Prefix + "text_model.";
        var (ids, positions) = encoder.IsOpenClip ? ("token_embedding.weight", "positional_embedding") : ("embeddings.token_embedding.weight", "embeddings.position_embedding.weight");
        var (blocks, inner) = encoder.IsOpenClip ? ("transformer.resblocks.", ".mlp.c_fc.weight") : ("encoder.layers.", ".mlp.fc1.weight");
        var width = (int)Shape(level + ids, 2)[1];
        var layers = Blocks(level + blocks, inner[1..], first: 0);
        if (layers == 0) throw Refuse("the text encoder has no layers that are known", "download the file again");
        if (layers == known.NumHiddenLayers + 1 && layout == OriginalLayout.Second) layers--;   // the published file has a layer that is not used
        Set(node, "vocab_size", (int)Shape(level + ids, 2)[0], known.VocabSize);
        Set(node, "max_position_embeddings", (int)Shape(level + positions, 2)[0], known.MaxPositionEmbeddings);
        Set(node, "intermediate_size", (int)Shape(level + blocks + "0" + inner, 2)[0], known.IntermediateSize);
        if (layers != known.NumHiddenLayers && layout == OriginalLayout.Second) throw Unknown("text encoder", encoder.Part, "number of layers that are used");
        Set(node, "num_hidden_layers", layers, known.NumHiddenLayers);
        if (encoder.Part == "text_encoder_2") Set(node, "projection_dim", (int)Shape(level + "text_projection", 2)[1], known.ProjectionDim);
        if (width == known.HiddenSize) return;
        if (width % HeadWidth != 0) throw Unknown("text encoder", encoder.Part, "number of attention heads");
        node["hidden_size"] = width;
        node["num_attention_heads"] = width / HeadWidth;
        Assumed.Add(Invariant($"{encoder.Part} is {width} wide, as no published one: attention heads of {HeadWidth} channels are assumed; other configurations: --config FOLDER"));
    }

    private void RequireGroups(string part, string folder, List<int> channels)
    {
        if (channels.Any(width => width % Groups != 0)) throw Unknown(part, folder, "number of groups in its norms");
    }

    private CheckpointException Unknown(string part, string folder, string what) => Refuse(
        $"the {part} has the shapes of no published model, and shapes do not tell the {what}", $"give a folder with its configuration ({folder}/config.json): --config FOLDER, or config in the recipe's [model_file]");

    private CheckpointException Refuse(string what, string advice) => TensorFile.Refuse(file.Path, what, advice);

    private static void Set(JsonObject node, string key, int value, int known)
    {
        if (value != known) node[key] = value;
    }

    private static void SetTypes(JsonObject node, string key, IReadOnlyList<string> types, IReadOnlyList<string> known)
    {
        if (!types.SequenceEqual(known)) node[key] = new JsonArray([.. types.Select(type => JsonValue.Create(type))]);
    }

    private static JsonArray Numbers(IEnumerable<int> values) => new([.. values.Select(value => JsonValue.Create(value))]);

    private int Depth(string prefix) => Blocks(prefix + "transformer_blocks.", "norm1.weight", first: 0);

    /// <summary>How many follow each other from the first number on; of input blocks those between count too.</summary>
    private int Blocks(string prefix, string inside, int first = 1)
    {
        var count = 0;
        while (Has(Invariant($"{prefix}{first + count}.{inside}")) || Has(Invariant($"{prefix}{first + count}.0.{inside}")) || Has(Invariant($"{prefix}{first + count}.0.op.weight"))) count++;
        return count;
    }

    private bool Has(string name) => file.Tensors.ContainsKey(name);

    private IReadOnlyList<long> Shape(string name, int axes)
    {
        if (!file.Tensors.TryGetValue(name, out var info)) throw Refuse($"the checkpoint lacks the tensor \"{name}\"", "download the file again, or take another version of it");
        return info.Shape.Count == axes ? info.Shape : throw Refuse(Invariant($"tensor \"{name}\" has shape {Shapes.Show(info.Shape)}, {axes} axes are expected"), "take another version of the file");
    }
}
