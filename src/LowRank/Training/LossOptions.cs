using System.Globalization;
using LowRank.Adapters;
using LowRank.Diffusion;
using static TorchSharp.torch;

namespace LowRank.Training;

/// <summary>How far off a prediction is, and how much each picture and timestep counts: the recipe's <c>[loss]</c>.</summary>
public sealed record LossOptions
{
    /// <summary>What is made of the difference between prediction and target, element by element.</summary>
    public LossType Type { get; init; } = LossType.L2;

    /// <summary><c>huber</c> and <c>smooth-l1</c>: how the threshold c changes with the timestep.</summary>
    public HuberSchedule HuberSchedule { get; init; } = HuberSchedule.Snr;

    /// <summary><c>huber</c> and <c>smooth-l1</c>: the threshold c between square and straight, at the noisiest timestep where it changes; above 0.</summary>
    public double HuberC { get; init; } = 0.1;

    /// <summary><c>huber</c> and <c>smooth-l1</c> with the schedules constant and exponential: factor on c; above 0.</summary>
    public double HuberScale { get; init; } = 1;

    /// <summary>Caps the weight of nearly clean timesteps (Hang et al. 2023); 5 is usual, 0 is off.</summary>
    public double MinSnrGamma { get; init; }

    /// <summary>The same without the bend (Crowson et al. 2024); 5 is usual, 0 is off.</summary>
    public double SoftMinSnrGamma { get; init; }

    /// <summary>The cap for models that predict v: weight min(snr + 1, this)/(snr + 1), which leaves noisy timesteps whole; 6 is usual, 0 is off.</summary>
    public double VSnrGamma { get; init; }

    /// <summary>Weight 1/√snr for noise prediction, 1/(snr + 1) for v prediction (Yu et al. 2023).</summary>
    public bool DebiasedEstimation { get; init; }

    /// <summary>P2 weight 1/(p2_k + snr)^gamma (Choi et al. 2022), for models that predict noise; 1 is usual, 0 is off.</summary>
    public double P2Gamma { get; init; }

    /// <summary>k of P2; above 0.</summary>
    public double P2K { get; init; } = 1;

    /// <summary>Scales the loss of a model that predicts v to the size of a noise loss: snr/(snr + 1).</summary>
    public bool ScaleVPredLossLikeNoisePred { get; init; }

    /// <summary>Adds the loss divided by snr/(snr + 1), with this weight; 0 is off.</summary>
    public double VPredLikeLoss { get; init; }

    /// <summary>How much prior pictures count against the others; above 0. Only with a data set that has <c>prior = true</c>.</summary>
    public double PriorLossWeight { get; init; } = 1;

    /// <summary>How losses of prior pictures and of the others come together.</summary>
    public PriorRule PriorRule { get; init; } = PriorRule.PerSample;

    /// <summary>Adds this times the mean squared difference from what the base predicts for the same noisy picture: preservation without prior pictures. 0 is off.</summary>
    public double TeacherWeight { get; init; }

    /// <summary>
    /// What the base, and the adapted model for that difference, are asked with: <c>same</c> for each picture's caption, <c>without-tokens</c> for the caption without
    /// the learned tokens, any other text in place of all captions (the class in plain words, or nothing). All but <c>same</c> take another pass with gradient.
    /// </summary>
    public string TeacherCaption { get; init; } = SameCaption;

    /// <summary>What <see cref="TeacherCaption"/> says for the pictures' own captions.</summary>
    internal const string SameCaption = "same";

    /// <summary>What it says for the captions without the learned tokens.</summary>
    internal const string WithoutTokens = "without-tokens";

    /// <summary>What counts of a picture where its mask is black, 0 to 1. Above 0 the model still learns that there is a surrounding.</summary>
    public double UnmaskedWeight { get; init; } = 0.1;

    /// <summary>Whether each masked picture's loss is divided by the mean of its mask, so that small masks count as much as large ones.</summary>
    public bool NormalizeMaskedAreaLoss { get; init; }

    /// <summary>The 2022 package's rule in place of the two before: prediction and target times ((mask + 0.51)^temperature, divided by the batch's largest). 0 is off.</summary>
    public double MaskTemperature { get; init; }

    /// <summary>All problems of these options, each as <c>key: what is wrong</c>; empty when there is none.</summary>
    public IReadOnlyList<string> Validate()
    {
        var problems = new List<string>();
        void Check(bool good, FormattableString problem)
        {
            if (!good) problems.Add(problem.ToString(CultureInfo.InvariantCulture));
        }
        Check(HuberC is > 0 and < double.PositiveInfinity, $"huber_c: {HuberC}; must be a number above 0");
        Check(HuberScale is > 0 and < double.PositiveInfinity, $"huber_scale: {HuberScale}; must be a number above 0");
        Check(MinSnrGamma is >= 0 and < double.PositiveInfinity, $"min_snr_gamma: {MinSnrGamma}; must be 0 (off) or more");
        Check(SoftMinSnrGamma is >= 0 and < double.PositiveInfinity, $"soft_min_snr_gamma: {SoftMinSnrGamma}; must be 0 (off) or more");
        Check(VSnrGamma is >= 0 and < double.PositiveInfinity, $"v_snr_gamma: {VSnrGamma}; must be 0 (off) or more");
        Check(P2Gamma is >= 0 and < double.PositiveInfinity, $"p2_gamma: {P2Gamma}; must be 0 (off) or more");
        Check(P2K is > 0 and < double.PositiveInfinity, $"p2_k: {P2K}; must be a number above 0");
        Check(VPredLikeLoss is >= 0 and < double.PositiveInfinity, $"v_pred_like_loss: {VPredLikeLoss}; must be 0 (off) or more");
        Check(PriorLossWeight is > 0 and < double.PositiveInfinity, $"prior_loss_weight: {PriorLossWeight}; must be a number above 0");
        Check(TeacherWeight is >= 0 and < double.PositiveInfinity, $"teacher_weight: {TeacherWeight}; must be 0 (off) or more");
        Check(TeacherWeight > 0 || TeacherCaption == SameCaption, $"teacher_caption: {TeacherCaption}; does nothing without teacher_weight");
        Check(UnmaskedWeight is >= 0 and <= 1, $"unmasked_weight: {UnmaskedWeight}; must be from 0 to 1");
        Check(MaskTemperature is >= 0 and < double.PositiveInfinity, $"mask_temperature: {MaskTemperature}; must be 0 (off) or more");

        var (usual, huber) = (new LossOptions(), Type is LossType.Huber or LossType.SmoothL1);
        Check(huber || (HuberSchedule, HuberC, HuberScale) == (usual.HuberSchedule, usual.HuberC, usual.HuberScale),
            $"huber_schedule, huber_c, huber_scale: do nothing without type = \"huber\" or \"smooth-l1\"");
        Check(!huber || HuberSchedule != HuberSchedule.Snr || HuberScale == usual.HuberScale, $"huber_scale: {HuberScale}; does nothing with huber_schedule = \"snr\"");
        Check(MinSnrGamma == 0 || SoftMinSnrGamma == 0, $"soft_min_snr_gamma: {SoftMinSnrGamma}; is another form of min_snr_gamma: {MinSnrGamma}; set one of them");
        Check(VSnrGamma == 0 || MinSnrGamma == 0 && SoftMinSnrGamma == 0, $"v_snr_gamma: {VSnrGamma}; is another form of min_snr_gamma and soft_min_snr_gamma; set one of them");
        Check(P2Gamma > 0 || P2K == usual.P2K, $"p2_k: {P2K}; does nothing without p2_gamma");
        Check(MaskTemperature == 0 || (UnmaskedWeight, NormalizeMaskedAreaLoss) == (usual.UnmaskedWeight, usual.NormalizeMaskedAreaLoss),
            $"unmasked_weight, normalize_masked_area_loss: do nothing with mask_temperature");
        return problems;
    }

    /// <summary>The weights of timesteps.</summary>
    internal LossWeighting Weighting => new()
    {
        MinSnrGamma = MinSnrGamma > 0 ? MinSnrGamma : null,
        SoftMinSnrGamma = SoftMinSnrGamma > 0 ? SoftMinSnrGamma : null,
        VSnrGamma = VSnrGamma > 0 ? VSnrGamma : null,
        P2Gamma = P2Gamma > 0 ? P2Gamma : null,
        P2K = P2K,
        ScaleVLikeNoise = ScaleVPredLossLikeNoisePred,
        VPredictionLikeLoss = VPredLikeLoss,
        DebiasedEstimation = DebiasedEstimation,
    };

    /// <summary>
    /// How much each item of a micro-batch counts. The mean over all of them, so weighed, is the mean over all for <see cref="PriorRule.PerSample"/>,
    /// the sum of the two groups' means for <see cref="PriorRule.TwoMeans"/>; a group that is alone is one mean either way.
    /// </summary>
    /// <param name="own">The weight of each item's data set.</param>
    /// <param name="prior">Which items are prior pictures.</param>
    internal float[] ItemWeights(IReadOnlyList<double> own, IReadOnlyList<bool> prior)
    {
        var priors = prior.Count(item => item);
        var weights = new float[own.Count];
        for (var item = 0; item < weights.Length; item++)
        {
            var weight = prior[item] ? own[item] * PriorLossWeight : own[item];
            if (PriorRule == PriorRule.TwoMeans) weight *= (double)own.Count / (prior[item] ? priors : own.Count - priors);
            weights[item] = (float)weight;
        }
        return weights;
    }

    /// <summary>The loss of these options.</summary>
    /// <param name="schedule">The noise that is trained with.</param>
    /// <param name="type">What the denoiser predicts.</param>
    /// <param name="predict">The denoiser.</param>
    /// <param name="adapter">Taken off to ask the teacher; null where there is nothing to take off, and no teacher.</param>
    /// <param name="weightSchedule">Whose signal-to-noise ratios weigh the timesteps, where not <paramref name="schedule"/>'s.</param>
    internal DenoisingLoss Make(NoiseSchedule schedule, PredictionType type, Func<Tensor, Tensor, Conditioning, Tensor> predict, AdapterSet? adapter = null, NoiseSchedule? weightSchedule = null) =>
        new(schedule, type, Weighting, predict) { Error = new ElementLoss(Type, HuberSchedule, HuberC, HuberScale), WeightSchedule = weightSchedule, Masking = new MaskRule(UnmaskedWeight, NormalizeMaskedAreaLoss, MaskTemperature), Teacher = adapter is null || TeacherWeight == 0 ? null : new Teacher(adapter, TeacherWeight) };
}

/// <summary>What is made of the difference d between prediction and target.</summary>
public enum LossType
{
    /// <summary>d².</summary>
    L2,
    /// <summary>|d|.</summary>
    L1,
    /// <summary>Pseudo-Huber, 2c(√(d² + c²) − c): square below c, straight above it.</summary>
    Huber,
    /// <summary>2(√(d² + c²) − c): the same shape, not scaled by c.</summary>
    SmoothL1,
    /// <summary>log cosh d: square below 1, straight above it.</summary>
    LogCosh,
}

/// <summary>How losses of prior pictures and of the others come together.</summary>
public enum PriorRule
{
    /// <summary>One mean over the micro-batch, prior pictures weighed; they are shuffled among the others (kohya's scripts).</summary>
    PerSample,
    /// <summary>Mean of the others plus the weighed mean of the prior pictures; each micro-batch is half of either (Ruiz et al. 2023, diffusers).</summary>
    TwoMeans,
}

/// <summary>How the threshold of <see cref="LossType.Huber"/> and <see cref="LossType.SmoothL1"/> changes with the timestep t.</summary>
public enum HuberSchedule
{
    /// <summary>(1 − c)/(1 + sigma)² + c: 1 at clean timesteps, c at noisy ones.</summary>
    Snr,
    /// <summary>c^(t/T) times the scale.</summary>
    Exponential,
    /// <summary>c times the scale.</summary>
    Constant,
}
