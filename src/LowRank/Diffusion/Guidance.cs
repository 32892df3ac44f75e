using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Diffusion;

/// <summary>Classifier-free guidance (Ho and Salimans 2022): away from the prediction without the prompt, towards the one with it.</summary>
/// <param name="Scale">1 follows the prompt as trained and needs no second prediction; 5 to 8 is usual.</param>
/// <param name="Rescale">0 to 1: how far the contrast that guidance adds is taken back (Lin et al. 2023, section 3.4).</param>
internal sealed record Guidance(double Scale, double Rescale = 0)
{
    /// <summary>Share of the steps, 0 to 1, before which the prompted prediction is used as it is.</summary>
    public double Start { get; init; }

    /// <summary>Share of the steps, 0 to 1, from which on the prompted prediction is used as it is.</summary>
    public double Stop { get; init; } = 1;

    /// <summary>Whether a prediction without prompt is needed at all.</summary>
    public bool IsNeeded => Scale > 1;

    /// <summary>Whether this step, counted from 0, is guided.</summary>
    public bool Covers(int step, int steps) => step >= (int)(Start * steps) && step < (int)(Stop * steps);

    /// <summary>Combines the two predictions.</summary>
    /// <param name="without">Prediction without the prompt, or with the negative one, (B, …).</param>
    /// <param name="with">Prediction with the prompt, alike.</param>
    public Tensor Combine(Tensor without, Tensor with)
    {
        using var scope = NewDisposeScope();
        var guided = without.Plus((with - without).Times(Scale));
        if (Rescale > 0)
        {
            var ratio = Deviation(with) / Deviation(guided);   // (B, 1, …)
            guided = (guided * ratio).Times(Rescale).Plus(guided.Times(1 - Rescale));
        }
        return guided.MoveToOuterDisposeScope();
    }

    /// <summary>Standard deviation (n − 1) of each item over all its values, (B, 1, …).</summary>
    private static Tensor Deviation(Tensor values) =>
        values.std([.. Enumerable.Range(1, (int)values.dim() - 1)], unbiased: true, keepdim: true);
}
