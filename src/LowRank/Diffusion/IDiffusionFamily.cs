using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>
/// One way in which text encoders, denoiser and autoencoder work together. The contract that training and generation see;
/// each implementation, in Families, is the only place that knows which model it is.
/// Components are loaded at first use and stay until <see cref="Release"/> or dispose.
/// </summary>
public interface IDiffusionFamily : IDisposable
{
    /// <summary>In words: "Stable Diffusion 1", "Stable Diffusion XL".</summary>
    string Name { get; }

    /// <summary>What was found, in words: "Stable Diffusion 1 layout, 64 px, 8.6 M parameters, v_prediction".</summary>
    string Description { get; }

    /// <summary>What was assumed where the model's files do not say it, one a line: its user should hear of it. Empty for models in folders, which say everything.</summary>
    IReadOnlyList<string> Warnings => [];

    /// <summary>What adapter metadata calls it (<c>ss_base_model_version</c>): sd_v1, sd_v2, sd_v2_v, sdxl_base_v1-0.</summary>
    string BaseVersion { get; }

    /// <summary>The noise schedule the model was trained with.</summary>
    NoiseSchedule Schedule { get; }

    /// <summary>What the denoiser predicts.</summary>
    PredictionType PredictionType { get; }

    /// <summary>Pixels per latent, each axis (8 for published models).</summary>
    int LatentFactor { get; }

    /// <summary>Channels of the latents (4).</summary>
    int LatentChannels { get; }

    /// <summary>Channels the denoiser takes: as the latents, or 9 for inpainting (noisy latents, mask, masked-image latents).</summary>
    int DenoiserChannels { get; }

    /// <summary>Whether the denoiser sees a hole and the picture around it beside the noisy latents.</summary>
    bool Inpaints => DenoiserChannels != LatentChannels;

    /// <summary>Side in pixels of the pictures the model was made for.</summary>
    int DefaultSize { get; }

    /// <summary>Longest prompt in tokens, start and end included (77).</summary>
    int PromptLength { get; }

    /// <summary>Numbers in all parts together.</summary>
    long ParameterCount { get; }

    /// <summary>Trainable modules by component name: unet, text_encoder, text_encoder_2; and vae, which is trained by itself (<see cref="Reconstruct"/>). Loads them.</summary>
    nn.Module Component(string name);

    /// <summary>Names of denoiser and text encoders, the denoiser first.</summary>
    IReadOnlyList<string> ComponentNames { get; }

    /// <summary>Writes the whole model with the weights that it has now, in the layout that it was opened from: other programs open it too.</summary>
    /// <param name="target">The folder; replaced where it exists, and there whole or not at all.</param>
    /// <param name="type">Element type of the weights of all parts.</param>
    /// <param name="facts">Metadata of the weights' files.</param>
    /// <param name="latents">
    /// Writes an autoencoder whose scaled latents have mean 0 and standard deviation 1 where they are like this now (standard deviation 1 over all channels, where
    /// it has no quant convolutions); what it decodes pictures to stays. Null: as it is.
    /// </param>
    /// <exception cref="Foundation.CheckpointException">It cannot be written.</exception>
    void Write(string target, ScalarType type, IReadOnlyDictionary<string, string> facts, LatentStatistics? latents = null);

    /// <summary>
    /// Gives a component new random weights, as the libraries that its kind comes from draw them, in place of those in its files. They are gone with
    /// <see cref="Release"/>.
    /// </summary>
    /// <param name="component">As for <see cref="Component"/>.</param>
    /// <param name="generator">Draws on the CPU.</param>
    void DrawWeights(string component, Generator generator);

    /// <summary>Frees a component ("vae", "text_encoder", …) when its results are all in hand.</summary>
    void Release(string component);

    /// <summary>
    /// Puts learned tokens into prompts and text encoders, in place of those put before; an empty list takes them out and leaves everything as it was.
    /// No weight of the model changes. The vectors stay the caller's, and must live until they are taken out.
    /// </summary>
    /// <exception cref="Foundation.OptionsException">A token that the vocabulary has already, or vectors of another model.</exception>
    void Place(IReadOnlyList<LearnedToken> tokens);

    /// <summary>The vectors of a text's tokens in the table of a text encoder: (n, C) float32, a copy that the caller owns. Loads the encoder.</summary>
    /// <param name="component">text_encoder, text_encoder_2.</param>
    /// <param name="text">One word or more.</param>
    Tensor TokenVectors(string component, string text);

    /// <summary>Mean length (Euclidean) of the vectors in the table of a text encoder. Loads the encoder.</summary>
    /// <param name="component">text_encoder, text_encoder_2.</param>
    double MeanTokenNorm(string component);

    /// <summary>Pixels to scaled latents.</summary>
    /// <param name="pixels">(B, 3, H, W) float32 in [-1, 1], H and W multiples of the latent factor.</param>
    /// <param name="posterior">Draws from the posterior; null takes its mean.</param>
    /// <returns>(B, C, h, w) float32, scaled and shifted.</returns>
    Tensor EncodeImages(Tensor pixels, Generator? posterior);

    /// <summary>Prompts to conditioning, without size conditions.</summary>
    /// <param name="prompts">One for each picture.</param>
    /// <param name="options">What families with more than one text encoder, or users of a shortened one, ask for; null for the usual.</param>
    Conditioning EncodePrompts(IReadOnlyList<string> prompts, PromptOptions? options = null);

    /// <summary>The conditioning of an absent negative prompt for one picture: "" encoded, or zeros where the family says so.</summary>
    /// <param name="options">As for prompts; null for the usual.</param>
    Conditioning EncodeNoPrompt(PromptOptions? options = null);

    /// <summary>The same conditioning with the sizes of the pictures (SDXL); families without return an equal one. The caller owns the result.</summary>
    Conditioning WithSizes(Conditioning conditioning, IReadOnlyList<SizeCondition> sizes);

    /// <summary>How many tokens of the prompt do not fit, and the text that is cut; null when all fit.</summary>
    string? CutText(string prompt);

    /// <summary>The denoiser's prediction.</summary>
    /// <param name="latents">(B, DenoiserChannels, h, w), any float dtype.</param>
    /// <param name="timesteps">(B) float32, 0…999, may be fractional.</param>
    /// <param name="conditioning">For B pictures.</param>
    /// <returns>(B, C, h, w) in the denoiser's dtype.</returns>
    Tensor Predict(Tensor latents, Tensor timesteps, Conditioning conditioning);

    /// <summary>Scaled latents to pixels.</summary>
    /// <returns>(B, 3, H, W) float32, about [-1, 1], not clipped.</returns>
    Tensor DecodeLatents(Tensor latents);

    /// <summary>Pixels through the whole autoencoder, with gradient where its parameters ask for one: for its training.</summary>
    /// <param name="pixels">(B, 3, H, W) float32 in [-1, 1], H and W multiples of the latent factor.</param>
    /// <param name="posterior">Draws the latents from the posterior.</param>
    /// <returns>The caller disposes it.</returns>
    Reconstruction Reconstruct(Tensor pixels, Generator posterior);
}

/// <summary>What an autoencoder made of pictures. Owns its tensors.</summary>
public sealed class Reconstruction : IDisposable
{
    internal Reconstruction(Tensor pixels, Tensor klDivergence) => (Pixels, KlDivergence) = (pixels, klDivergence);

    /// <summary>(B, 3, H, W) float32, about [-1, 1], not clipped.</summary>
    public Tensor Pixels { get; }

    /// <summary>(B) float32: of the posterior from the normal distribution, summed over all latent numbers.</summary>
    public Tensor KlDivergence { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Pixels.Dispose();
        KlDivergence.Dispose();
    }
}

/// <summary>A made-up word and what text encoders read for it.</summary>
/// <param name="text">The word, such as <c>&lt;my-style&gt;</c>; found anywhere in a lower-cased prompt.</param>
/// <param name="vectors">By component name (text_encoder, text_encoder_2) its vectors (n, C), any float type; a word without vectors for an encoder is plain text to it.</param>
public sealed class LearnedToken(string text, IReadOnlyDictionary<string, Tensor> vectors)
{
    /// <summary>The word.</summary>
    public string Text { get; } = text;

    /// <summary>By component name its vectors, (n, C) each; they stay their owner's.</summary>
    public IReadOnlyDictionary<string, Tensor> Vectors { get; } = vectors;
}

/// <summary>How prompts are encoded, where not in the usual way.</summary>
public sealed class PromptOptions
{
    /// <summary>One prompt for each picture to give to the second text encoder; null gives it the same ones. An error in families with one text encoder.</summary>
    public IReadOnlyList<string>? SecondPrompts { get; init; }

    /// <summary>
    /// Last layers of the text encoder that are left out before the final norm: 0 for none; 1 takes hidden state −2, which diffusers calls
    /// clip_skip 1, trainers and web UIs clip skip 2.
    /// </summary>
    public int SkippedLayers { get; init; }

    /// <summary>
    /// Whether brackets weigh words, and prompts of any length are read in chunks of the model's window, side by side, by the rules of AUTOMATIC1111's web UI:
    /// <c>(word)</c>, <c>(word:1.3)</c>, <c>[word]</c>, <c>BREAK</c>. T is then a multiple of the window. False takes prompts as they stand, and cuts them.
    /// </summary>
    public bool Weighted { get; init; }
}

/// <summary>SDXL's size conditions of one picture, in pixels.</summary>
/// <param name="originalHeight">Of the picture before it was resized and cropped.</param>
/// <param name="originalWidth">Of the same.</param>
/// <param name="cropTop">Rows of the resized picture above the part that is shown.</param>
/// <param name="cropLeft">Columns left of it.</param>
/// <param name="targetHeight">Of the part.</param>
/// <param name="targetWidth">Of the part.</param>
public readonly struct SizeCondition(int originalHeight, int originalWidth, int cropTop, int cropLeft, int targetHeight, int targetWidth)
{
    /// <summary>As the model takes them.</summary>
    internal int[] Values => [originalHeight, originalWidth, cropTop, cropLeft, targetHeight, targetWidth];
}
