using System.Globalization;

namespace LowRank.Training;

/// <summary>How an autoencoder is trained: the recipe's <c>[vae]</c>, for <c>full.parts = ["vae"]</c>.</summary>
public sealed record AutoencoderOptions
{
    /// <summary>Weight of the mean absolute error of pixels.</summary>
    public double L1 { get; init; }

    /// <summary>Weight of the mean squared error of pixels, which are in [-1, 1].</summary>
    public double Mse { get; init; } = 1;

    /// <summary>Weight of the mean absolute error of differences between neighbours, across and down: sharp edges.</summary>
    public double Edges { get; init; }

    /// <summary>Weight of the Kullback-Leibler divergence from the normal distribution, summed over the latent numbers of a picture.</summary>
    public double Kl { get; init; } = 1e-6;

    /// <summary>Share of uses in which red, green and blue change places.</summary>
    public double PermuteChannels { get; init; }

    /// <summary>Share of uses in which brightness b in 0 to 1 becomes b to the power of a number between <see cref="GammaMin"/> and <see cref="GammaMax"/>.</summary>
    public double Gamma { get; init; }

    /// <summary>Smallest exponent; below 1 brightens.</summary>
    public double GammaMin { get; init; } = 0.6;

    /// <summary>Largest exponent; above 1 darkens.</summary>
    public double GammaMax { get; init; } = 1.6;

    /// <summary>Shifts every use by up to so many pixels in either direction; what leaves on one side comes back on the other.</summary>
    public int Roll { get; init; }

    /// <summary>
    /// Writes the autoencoder so that the latents of the training pictures have mean 0 and standard deviation 1 in every channel. Reconstructions stay as they
    /// are; a denoiser that was trained with the old latents no longer fits.
    /// </summary>
    public bool Standardize { get; init; }

    /// <summary>
    /// Only the decoder learns: the latents of pictures stay bit for bit, unless the model is saved in fewer bits than it had, and a denoiser that was trained with them still fits.
    /// </summary>
    public bool DecoderOnly { get; init; }

    /// <summary>
    /// With <see cref="DecoderOnly"/>: noise that is added to the latents before they are decoded, as a part of their standard deviation; 0.05 to 0.1 is usual, 0 is off.
    /// Latents that a denoiser draws are never as exact as encoded ones.
    /// </summary>
    public double LatentNoise { get; init; }

    internal ReconstructionLoss MakeLoss() => new() { L1 = L1, Mse = Mse, Edges = Edges, Kl = DecoderOnly ? 0 : Kl };

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var (problems, usual) = (new List<string>(), new AutoencoderOptions());
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        foreach (var (key, weight) in ((string, double)[])[("l1", L1), ("mse", Mse), ("edges", Edges), ("kl", Kl)]) Check(weight is >= 0 and < double.PositiveInfinity, $"{key}: {weight}; must be 0 or more");
        foreach (var (key, share) in ((string, double)[])[("permute_channels", PermuteChannels), ("gamma", Gamma)]) Check(share is >= 0 and <= 1, $"{key}: {share}; must be 0 to 1");
        Check(L1 > 0 || Mse > 0, $"l1, mse: both 0; nothing would ask for the picture back");
        Check(GammaMin is > 0 and < double.PositiveInfinity, $"gamma_min: {GammaMin}; must be a number above 0");
        Check(GammaMax is > 0 and < double.PositiveInfinity && GammaMax >= GammaMin, $"gamma_max: {GammaMax}; must be {GammaMin} (gamma_min) or more");
        Check(Gamma > 0 || (GammaMin, GammaMax) == (usual.GammaMin, usual.GammaMax), $"gamma_min, gamma_max: do nothing with gamma = 0");
        Check(Roll >= 0, $"roll: {Roll}; must be 0 (off) or more");
        Check(LatentNoise is >= 0 and < double.PositiveInfinity, $"latent_noise: {LatentNoise}; must be 0 (off) or more");
        Check(LatentNoise == 0 || DecoderOnly, $"latent_noise: {LatentNoise}; needs decoder_only = true: an encoder that learns would only make its latents larger than the noise");
        Check(!DecoderOnly || Kl == usual.Kl, $"kl: {Kl}; does nothing with decoder_only = true: the latents stay as they are");
        Check(!DecoderOnly || !Standardize, $"standardize: true; not with decoder_only = true: the latents stay as they are");
        return problems;
    }
}
