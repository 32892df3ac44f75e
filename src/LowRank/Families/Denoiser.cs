using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>The UNet of a model. Loaded at first use.</summary>
internal sealed class Denoiser : IDisposable
{
    private const string FirstLayer = "conv_in.weight";

    private readonly LayerFactory placement;
    private readonly LazyPart<UNet2DConditionModel> model;

    /// <param name="folder">The model.</param>
    /// <param name="placement">Device and base dtype.</param>
    public Denoiser(ModelFiles folder, LayerFactory placement)
    {
        this.placement = placement;
        folder.Weights("unet", nameof(UNet2DConditionModel));
        (var json, ConfigPath) = folder.Configuration("unet");
        Config = UNet2DConditionConfig.Parse(json, ConfigPath);
        if (folder.Widen)
        {
            if (Config.InChannels != Config.OutChannels) throw Unfit(Invariant($"there is nothing to widen: in_channels is {Config.InChannels}"), "leave inpainting.widen out, or take the model it was made from");
            Added = Config.OutChannels + 1;
            Config = Config with { InChannels = Config.InChannels + Added };
        }
        model = new LazyPart<UNet2DConditionModel>(() => Load(folder));
    }

    /// <summary>The network's configuration, as widened.</summary>
    public UNet2DConditionConfig Config { get; }

    /// <summary>Input channels that the file does not have: 0, or those for the hole and the picture without it.</summary>
    public int Added { get; }

    /// <summary>Numbers that the file does not have.</summary>
    public long AddedParameters => 9L * Added * Config.BlockOutChannels[0];   // a 3×3 convolution

    /// <summary>The configuration's file.</summary>
    public string ConfigPath { get; }

    /// <summary>The network; loads it.</summary>
    public UNet2DConditionModel Model => model.Value;

    /// <summary>Whether it is in memory.</summary>
    public bool IsLoaded => model.IsLoaded;

    /// <summary>Gives the network random weights in place of those in its file.</summary>
    public void Draw(Generator generator) => model.Replace(DrawnNetwork.Of(new UNet2DConditionModel(Config, LayerFactory.Meta), generator, placement.Type, placement.Device));

    /// <summary>Lets the network go.</summary>
    public void Release() => model.Release();

    /// <summary>Checks what the parts must agree in.</summary>
    /// <param name="latentChannels">The autoencoder's.</param>
    /// <param name="textWidth">Of the text states.</param>
    /// <exception cref="CheckpointException">They belong to different models, or to a kind that is not built.</exception>
    public void RequireFit(int latentChannels, int textWidth)
    {
        if (Config.InChannels != latentChannels && Config.InChannels != 2 * latentChannels + 1)
        {
            throw Unfit(Invariant($"unsupported value: in_channels is {Config.InChannels}"),
                Invariant($"supported: {latentChannels} (latents), {2 * latentChannels + 1} (inpainting: latents, mask, masked picture's latents)"));
        }
        if (Config.OutChannels != latentChannels) throw Unfit(Invariant($"out_channels is {Config.OutChannels}, the autoencoder's latent_channels is {latentChannels}"), "take all parts from one model");
        if (Config.CrossAttentionDim != textWidth) throw Unfit(Invariant($"cross_attention_dim is {Config.CrossAttentionDim}, the text is {textWidth} wide"), "take all parts from one model");
    }

    /// <summary>An error about this network's configuration.</summary>
    public CheckpointException Unfit(string what, string advice) => new($"{what}; in {ConfigPath}; {advice}");

    /// <summary>Side of the latents that the network was made for.</summary>
    public int SampleSize => Config.SampleSize is { } size ? size[0] : throw Unfit("the key sample_size is missing, which says the side of the latents", "copy the file from the model again");

    /// <summary>The prediction: parameters as in <see cref="IDiffusionFamily.Predict"/>.</summary>
    public Tensor Predict(Tensor latents, Tensor timesteps, Conditioning conditioning)
    {
        Shapes.Require(latents, Invariant($"B,{Config.InChannels},h,w"));
        Shapes.Require(conditioning.Hidden, Invariant($"{latents.size(0)},T,{Config.CrossAttentionDim}"), "conditioning");
        using var scope = NewDisposeScope();
        var prediction = Model.call(Placed(latents), timesteps.to(placement.Device), Placed(conditioning.Hidden),
            conditioning.Pooled is null ? null : Placed(conditioning.Pooled), conditioning.TimeIds?.to(placement.Device));
        return prediction.MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose() => model.Dispose();

    private Tensor Placed(Tensor value) => value.to(placement.Type, placement.Device);

    private UNet2DConditionModel Load(ModelFiles folder)
    {
        var loaded = new UNet2DConditionModel(Config, LayerFactory.Meta);
        using var weights = folder.OpenWeights("unet");
        weights.LoadInto(loaded, [.. weights.Names.Select(name => Source(weights, name))], placement.Type, placement.Device);
        loaded.eval();
        return loaded;
    }

    /// <summary>A weight as the file has it; that of the first layer with zeros for channels that are added, so that the prediction stays what it was.</summary>
    private WeightSource Source(Checkpoint weights, string name)
    {
        var shape = weights.Info(name).Shape;
        if (Added == 0 || name != FirstLayer || shape.Count != 4) return new WeightSource(name, name, shape, () => weights.Map(name));
        return new WeightSource(name, name, [shape[0], shape[1] + Added, shape[2], shape[3]], () =>
        {
            var narrow = weights.Map(name);   // (out, C, 3, 3)
            return cat([narrow, zeros([shape[0], Added, shape[2], shape[3]], narrow.dtype)], 1);
        });
    }
}
