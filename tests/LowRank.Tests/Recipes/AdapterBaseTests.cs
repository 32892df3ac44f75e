using LowRank.Adapters;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

public sealed class AdapterBaseTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("sd15", "Stable Diffusion 1", "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 768, 640)]
    [InlineData("sd21", "Stable Diffusion 2", "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 1024, 640)]
    [InlineData("sdxl", "Stable Diffusion XL", "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, 640)]
    [InlineData("icons", "icons-64", "lora_te_text_model_encoder_layers_0_self_attn_q_proj", 128, 128)]
    public void An_adapter_of_a_known_model_finds_its_layers_without_it(string name, string title, string module, long inputs, long outputs)
    {
        using var file = AdapterFile.Open(Write(name, module, inputs, outputs));
        using var found = AdapterBase.Find(file, model: null);
        Assert.Equal(title, found.Title);
        Assert.True(new AdapterFit(file, found.Names).IsWhole);
    }

    [Fact]
    public void Every_published_model_has_an_outline_of_denoiser_and_text_encoders() => Assert.All(PublishedModel.All, known =>
    {
        using var outline = ModelOutline.Of(known);
        Assert.Equal(known.Name == "sdxl" ? ["text_encoder", "text_encoder_2", "unet"] : ["text_encoder", "unet"], outline.Components.Keys.Order());
    });

    [Fact]
    public void An_adapter_that_fits_no_known_model_asks_for_its_own()
    {
        using var file = AdapterFile.Open(Write("odd", "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 1024, 555));
        var error = Assert.Throws<CheckpointException>(() => AdapterBase.Find(file, model: null));
        Assert.Equal("""
            adapter does not fit this model: 1 of 1 module of other shapes
              file    odd.safetensors (kohya keys, rank 2; made for Stable Diffusion 2: its cross-attention takes text of width 1024)
              model   Stable Diffusion 2, the likeliest of those that are known; name another with --model
              shapes  lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k: lora_up has 555 output rows, the layer has 640
              try     a base model of the kind the adapter was made for
                      `lora inspect odd.safetensors`
            """, error.Message, ignoreLineEndingDifferences: true);
    }

    private string Write(string name, string module, long inputs, long outputs)
    {
        var path = folder.Path(name + ".safetensors");
        using var scope = NewDisposeScope();
        SafetensorsWriter.Write(path, new Dictionary<string, Tensor> { [module + ".lora_down.weight"] = ones(2, inputs), [module + ".lora_up.weight"] = ones(outputs, 2), [module + ".alpha"] = tensor(2f) });
        return path;
    }
}
