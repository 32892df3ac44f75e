using System.Text.Json.Serialization;

namespace LowRank.Examples.Icons;

/// <summary>What measure.cs finds out about a base.</summary>
/// <param name="Model">As it was named.</param>
/// <param name="Description">What kind of model it is.</param>
/// <param name="PsnrPlain">Decibels, mean over every tenth emoji: the autoencoder alone.</param>
/// <param name="PsnrTango">The same over the Tango icons.</param>
/// <param name="LatentMeans">Of the scaled latents of all emoji, by channel: near 0.</param>
/// <param name="LatentDeviations">The same: near 1.</param>
/// <param name="RecallByPixels">100 captions drawn and looked for among all emoji, as 16 × 16 pixels.</param>
/// <param name="RecallByLatents">The same by the scaled latents of the drawn pictures.</param>
/// <param name="Colours">Drawings of unseen combinations with the right colour.</param>
/// <param name="ColoursAsked">How many were drawn.</param>
/// <param name="ColoursByPrompt">How many of each prompt's drawings.</param>
/// <param name="HeldOutEmoji">How far off the denoiser is on emoji that were not trained.</param>
/// <param name="HeldOutColours">The same on unseen combinations of things and colours.</param>
internal sealed record MeasuredBase(
    string Model, string Description, double PsnrPlain, double PsnrTango, IReadOnlyList<double> LatentMeans, IReadOnlyList<double> LatentDeviations,
    Ranks RecallByPixels, Ranks RecallByLatents, int Colours, int ColoursAsked, IReadOnlyDictionary<string, int> ColoursByPrompt, HeldOutErrors HeldOutEmoji, HeldOutErrors HeldOutColours);

/// <summary>Mean squared errors on held-out pictures with fixed noise.</summary>
/// <param name="Pictures">How many.</param>
/// <param name="Loss">Of what the denoiser predicts (noise or velocity), mean over timesteps.</param>
/// <param name="PictureLoss">Of the clean latents that follow from the prediction, mean over timesteps: comparable between kinds of prediction.</param>
/// <param name="Timesteps">At which it was asked.</param>
/// <param name="LossByTimestep">In their order.</param>
/// <param name="PictureLossByTimestep">In their order.</param>
internal sealed record HeldOutErrors(int Pictures, double Loss, double PictureLoss, IReadOnlyList<int> Timesteps, IReadOnlyList<double> LossByTimestep, IReadOnlyList<double> PictureLossByTimestep);

/// <summary>How it is written.</summary>
[JsonSerializable(typeof(MeasuredBase))]
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
internal sealed partial class MeasuredJson : JsonSerializerContext;
