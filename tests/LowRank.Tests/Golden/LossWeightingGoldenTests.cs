using System.Globalization;
using System.Text.RegularExpressions;
using LowRank.Diffusion;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

public partial class LossWeightingGoldenTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("loss_weights");

    [Theory, MemberData(nameof(Cases))]
    public void Weights_are_those_of_the_trainers(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var timesteps = golden.Json.GetProperty("timesteps").EnumerateArray().Select(value => value.GetInt64()).ToArray();
        var tolerance = golden.Json.GetProperty("tolerance");
        var formulas = golden.Json.GetProperty("kinds").EnumerateArray().Select(kind => (Name: kind.GetProperty("tensor").GetString()!, Formula: kind.GetProperty("formula").GetString()!))
            .DistinctBy(kind => kind.Name).ToDictionary(kind => kind.Name, kind => kind.Formula);
        formulas["trainer_all_v"] = golden.Json.GetProperty("trainer_all_v").GetString()!;
        var compared = 0;
        foreach (var entry in golden.Json.GetProperty("schedules").EnumerateArray())
        {
            var name = entry.GetProperty("name").GetString()!;
            var options = SchedulerJson.Read<NoiseScheduleOptions>(entry.GetProperty("config"));
            if (name.EndsWith("trainer_fix", StringComparison.Ordinal)) options = options with { RescaleBetasZeroSnr = true };
            var schedule = new NoiseSchedule(options);
            Compare("snr", timesteps.Select(schedule.Snr));
            foreach (var (kind, formula) in formulas)
            {
                var (weighting, type) = Weighting(kind, formula);
                Assert.Empty(weighting.Problems(type));
                var weights = timesteps.Select(timestep => weighting.Weight(schedule.Snr(timestep), type));
                if (kind == "trainer_all_v")
                {
                    var losses = Formula.Noise("loss_per_sample", [timesteps.Length], golden.Json.GetProperty("seed").GetInt64()).abs().data<float>().ToArray();
                    weights = weights.Zip(losses, (weight, loss) => weight * loss);
                }
                Compare(kind, weights);
            }

            void Compare(string kind, IEnumerable<float> actual)
            {
                TensorAssert.Close(golden.Tensor($"{name}.{kind}"), tensor(actual.ToArray()), tolerance.GetProperty("rtol").GetDouble(),
                    tolerance.GetProperty("atol").GetDouble(), $"{name}.{kind}", tolerance.GetProperty("nan_equal").GetBoolean());
                compared++;
            }
        }
        Assert.Equal(golden.TensorInfos.Count, compared);
    }

    private static (LossWeighting, PredictionType) Weighting(string kind, string formula)
    {
        var dot = kind.IndexOf('.', StringComparison.Ordinal);
        var rule = dot < 0 ? kind : kind[..dot];
        var numbers = dot < 0 ? [] : kind[(dot + 1)..].Split('_').Select(Number).ToArray();
        return rule switch
        {
            "trainer_min_snr_eps" or "library_min_snr_eps" => (new() { MinSnrGamma = numbers[0] }, PredictionType.Epsilon),
            "trainer_min_snr_v" or "library_min_snr_v" => (new() { MinSnrGamma = numbers[0] }, PredictionType.VPrediction),
            "library_min_snr_v_base_plus_one" => (new() { MinSnrGamma = numbers[0], MinSnrPlusOneForV = true }, PredictionType.VPrediction),
            "soft_min_snr_eps" => (new() { SoftMinSnrGamma = numbers[0] }, PredictionType.Epsilon),
            "soft_min_snr_v" => (new() { SoftMinSnrGamma = numbers[0] }, PredictionType.VPrediction),
            "p2_eps" => (new() { P2K = numbers[0], P2Gamma = numbers[1] }, PredictionType.Epsilon),
            "trainer_debiased_eps" => (new() { DebiasedEstimation = true }, PredictionType.Epsilon),
            "trainer_debiased_v" => (new() { DebiasedEstimation = true }, PredictionType.VPrediction),
            "trainer_scale_v_like_noise" => (new() { ScaleVLikeNoise = true }, PredictionType.VPrediction),
            "trainer_v_pred_like" => (new() { VPredictionLikeLoss = Number(LikeLoss().Match(formula).Groups[1].Value) }, PredictionType.Epsilon),
            "trainer_all_v" => (new()
            {
                MinSnrGamma = Number(Gamma().Match(formula).Groups[1].Value),
                ScaleVLikeNoise = true,
                VPredictionLikeLoss = Number(AllLikeLoss().Match(formula).Groups[1].Value),
                DebiasedEstimation = true,
            }, PredictionType.VPrediction),
            _ => throw new InvalidOperationException($"loss weight {kind} ({formula}) is not built"),
        };
    }

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^1 \+ (\S+) \(c \+ 1\)")]
    private static partial Regex LikeLoss();

    [GeneratedRegex(@"gamma (\S+),")]
    private static partial Regex Gamma();

    [GeneratedRegex(@"plus v_pred_like (\S+),")]
    private static partial Regex AllLikeLoss();
}
