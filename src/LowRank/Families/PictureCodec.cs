using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Models;
using LowRank.Models.Layers;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Families;

/// <summary>
/// The autoencoder of a model, between pixels and scaled latents. Loaded at first use.
/// Always float32: SDXL's activations leave float16's range, bfloat16's eight bits blur what people look at,
/// and it runs once a picture, so that the time it takes hardly counts.
/// </summary>
internal sealed class PictureCodec : IDisposable
{
    private readonly Device device;
    private readonly LazyPart<AutoencoderKL> model;

    /// <param name="folder">The model.</param>
    /// <param name="device">Where it runs.</param>
    public PictureCodec(ModelFiles folder, Device device)
    {
        this.device = device;
        folder.Weights("vae", nameof(AutoencoderKL));
        var (json, path) = folder.Configuration("vae");
        Config = AutoencoderKLConfig.Parse(json, path);
        if (Config.InChannels != 3 || Config.OutChannels != 3)
        {
            throw new CheckpointException(Invariant($"unsupported value: in_channels is {Config.InChannels}, out_channels is {Config.OutChannels}; in {path}; supported: 3 (red, green, blue)"));
        }
        model = new LazyPart<AutoencoderKL>(() => Load(folder));
    }

    /// <summary>The network's configuration.</summary>
    public AutoencoderKLConfig Config { get; }

    /// <summary>The network; loads it.</summary>
    public AutoencoderKL Model => model.Value;

    /// <summary>What latents pictures may have, before scaling. The caller owns it.</summary>
    /// <param name="pixels">(B, 3, H, W) in [-1, 1], sides multiples of the latent factor.</param>
    public DiagonalGaussian Posterior(Tensor pixels)
    {
        Shapes.Require(pixels, "B,3,H,W");
        if (pixels.size(2) % Config.LatentFactor != 0 || pixels.size(3) % Config.LatentFactor != 0)
        {
            throw new ArgumentException(Invariant($"pixels has shape {Shapes.Show(pixels.shape)}; height and width must be multiples of {Config.LatentFactor}"), nameof(pixels));
        }
        using var scope = NewDisposeScope();
        return Model.Encode(pixels.to(ScalarType.Float32, device));
    }

    /// <summary>Pixels to scaled latents, as <see cref="Diffusion.IDiffusionFamily.EncodeImages"/>.</summary>
    public Tensor Encode(Tensor pixels, Generator? posterior)
    {
        using var scope = NewDisposeScope();
        using var latents = Posterior(pixels);
        if (posterior is null) return Model.Scale(latents.Mean).MoveToOuterDisposeScope();
        var noise = randn(latents.Mean.shape, generator: posterior).to(device);   // drawn on the CPU: the same on every device
        return Model.Scale(latents.Sample(noise)).MoveToOuterDisposeScope();
    }

    /// <summary>As <see cref="Diffusion.IDiffusionFamily.Reconstruct"/>.</summary>
    public Reconstruction Reconstruct(Tensor pixels, Generator posterior)
    {
        using var scope = NewDisposeScope();
        using var latents = Posterior(pixels);
        var noise = randn(latents.Mean.shape, generator: posterior).to(device);
        return new Reconstruction(Model.Decode(latents.Sample(noise)).MoveToOuterDisposeScope(), latents.KlDivergence().MoveToOuterDisposeScope());
    }

    /// <summary>Scaled latents (B, C, h, w) to pixels (B, 3, H, W) float32.</summary>
    public Tensor Decode(Tensor latents)
    {
        Shapes.Require(latents, Invariant($"B,{Config.LatentChannels},h,w"));
        using var scope = NewDisposeScope();
        return Model.Decode(Model.Unscale(latents.to(ScalarType.Float32, device))).MoveToOuterDisposeScope();
    }

    /// <summary>Whether it is in memory.</summary>
    public bool IsLoaded => model.IsLoaded;

    /// <summary>Gives the network random weights in place of those in its file.</summary>
    public void Draw(Generator generator) => model.Replace(DrawnNetwork.Of(new AutoencoderKL(Config, LayerFactory.Meta), generator, ScalarType.Float32, device));

    /// <summary>Lets the network go.</summary>
    public void Release() => model.Release();

    /// <inheritdoc/>
    public void Dispose() => model.Dispose();

    private AutoencoderKL Load(ModelFiles folder)
    {
        var loaded = new AutoencoderKL(Config, LayerFactory.Meta);
        using var weights = folder.OpenWeights("vae");
        weights.LoadInto(loaded, AutoencoderKL.PresentKey, ScalarType.Float32, device);
        loaded.eval();
        return loaded;
    }
}
