using LowRank.Diffusion;
using LowRank.Diffusion.Samplers;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Diffusion;

public class SamplerTests
{
    private static readonly NoiseScheduleOptions StableDiffusion = new()
    {
        BetaSchedule = "scaled_linear",
        BetaStart = 0.00085,
        BetaEnd = 0.012,
        StepsOffset = 1,
        SetAlphaToOne = false,
        ClipSample = false,
    };

    private static readonly NoiseSchedule Schedule = new(StableDiffusion);

    public static IEnumerable<TheoryDataRow<string>> Names() => SamplerCatalog.Names.Select(name => new TheoryDataRow<string>(name));

    /// <summary>The noise that latents of one known value would have: the best any denoiser could say.</summary>
    private static Tensor Ideal(Tensor x, double timestep, Tensor latents)
    {
        var sigma = Schedule.SigmaOfTimestep(timestep);
        var level = NoiseLevel.OfSigma(sigma);
        return (x - latents.Times(level.Alpha)).Over(level.Sigma);
    }

    private static SamplerRun Run(Tensor latents, Action<int>? onCall = null, CancellationTokenSource? stop = null) => new()
    {
        Predict = (x, timestep) => Ideal(x, timestep, latents),
        Noise = () => Formula.Noise("draw", latents.shape, 5),
        AfterCall = (call, x) =>
        {
            onCall?.Invoke(call);
            return x;
        },
        Cancellation = stop?.Token ?? default,
    };

    [Theory, MemberData(nameof(Names))]
    public void Every_sampler_finds_the_picture_that_a_perfect_denoiser_knows(string name)
    {
        using var scope = NewDisposeScope();
        var latents = Formula.Noise("latents", [1, 4, 4, 4], 1, 0.5);
        var sampler = SamplerCatalog.Create(name, Schedule);
        var plan = sampler.Plan(20);
        var found = sampler.Run(plan, Formula.Noise("noise", [1, 4, 4, 4], 2).Times(plan.InitialScale), Run(latents));
        TensorAssert.Close(latents, found, 0, 0.15, name);   // DDIM, PNDM and TCD end at timestep 0, which is not quite clean
    }

    [Theory, MemberData(nameof(Names))]
    public void A_run_leaves_no_tensor_behind_and_repeats_itself(string name)
    {
        using var scope = NewDisposeScope();
        var latents = Formula.Noise("latents", [1, 4, 4, 4], 1);
        var start = Formula.Noise("noise", [1, 4, 4, 4], 2);
        var sampler = SamplerCatalog.Create(name, Schedule);
        var plan = sampler.Plan(6);
        using var first = sampler.Run(plan, start, Run(latents));
        LeakGuard.AssertNothingLeft(() =>
        {
            using var again = sampler.Run(plan, start, Run(latents));
            TensorAssert.Equal(first, again);
        });
    }

    [Fact]
    public void An_unknown_name_is_refused_with_the_nearest()
    {
        var error = Assert.Throws<OptionsException>(() => SamplerCatalog.Create("eulr", Schedule));
        Assert.Equal("no sampler is named \"eulr\" (did you mean \"euler\"?); there are ddim, ddpm, euler, euler-a, heun, dpmpp-2m, dpmpp-2m-karras, unipc, lcm, pndm, " +
            "dpm2, dpm2-a, dpmpp-sde, dpmpp-2m-sde, lms, tcd, deis, dpmpp-2s", error.Message);
    }

    [Fact]
    public void What_a_models_authors_ask_of_samplers_is_honoured()
    {
        Assert.Equal(951, SamplerCatalog.Create("ddim", Schedule).Plan(20).Timesteps[0]);
        var trailing = new NoiseSchedule(StableDiffusion with { TimestepSpacing = "trailing" });
        Assert.Equal(999, SamplerCatalog.Create("ddim", trailing).Plan(20).Timesteps[0]);
        Assert.Equal(999, SamplerCatalog.Create("euler", Schedule).Plan(20).Timesteps[0]);
    }

    [Fact]
    public void A_run_stops_between_calls_when_asked_to()
    {
        using var scope = NewDisposeScope();
        using var source = new CancellationTokenSource();
        var latents = zeros(1, 4, 4, 4);
        var sampler = SamplerCatalog.Create("euler", Schedule);
        var plan = sampler.Plan(10);
        var last = 0;
        Assert.Throws<OperationCanceledException>(() => sampler.Run(plan, latents, Run(latents, call =>
        {
            last = call;
            if (call == 3) source.Cancel();
        }, source)));
        Assert.Equal(3, last);
    }

    [Theory]
    [InlineData("linspace")]
    [InlineData("leading")]
    [InlineData("trailing")]
    public void A_grid_has_as_many_timesteps_as_steps(string spacing)
    {
        foreach (var steps in new[] { 1, 2, 7, 50, 61, 103, 121, 1000 })
        {
            var grid = TimeGrid.Spread(spacing, 1000, steps, 0);
            Assert.Equal(steps, grid.Length);
            Assert.All(grid, time => Assert.InRange(time, 0, 999));
            if (steps < 1000) Assert.Equal(steps, TimeGrid.Spread(spacing, 1000, steps, 0, oneMore: true).Length);
        }
    }

    [Fact]
    public void Values_that_no_sampler_knows_are_refused_by_name()
    {
        static string Refusal(Action action) => Assert.Throws<OptionsException>(action).Message;
        Assert.Equal("timestep_spacing is \"random\" in the scheduler configuration, which is not supported. Supported: linspace, leading, trailing.",
            Refusal(() => TimeGrid.Spread("random", 1000, 5, 0)));
        Assert.Equal("algorithm_type is \"deis\" in the scheduler configuration, which is not supported. Supported: dpmsolver++, sde-dpmsolver++, dpmsolver, sde-dpmsolver.",
            Refusal(() => _ = new DpmSolverMultistep(Schedule, new() { AlgorithmType = "deis" })));
        Assert.Equal("algorithm_type dpmsolver cannot end at no noise; set final_sigmas_type to sigma_min.", Refusal(() => _ = new DpmSolverMultistep(Schedule, new() { AlgorithmType = "dpmsolver" })));
        Assert.Equal("solver_type is \"bh3\" in the scheduler configuration, which is not supported. Supported: bh1, bh2.", Refusal(() => _ = new UniPc(Schedule, new() { SolverType = "bh3" })));
        Assert.Equal("algorithm_type is \"dpmsolver\" in the scheduler configuration, which is not supported. Supported: dpmsolver++, sde-dpmsolver++.", Refusal(() => _ = new DpmSolverSinglestep(Schedule, new() { AlgorithmType = "dpmsolver" })));
        Assert.Equal("solver_type is \"bh2\" in the scheduler configuration, which is not supported. Supported: midpoint, heun.", Refusal(() => _ = new DpmSolverSinglestep(Schedule, new() { SolverType = "bh2" })));
        Assert.Equal("sigma_schedule is \"linear\" in the scheduler configuration, which is not supported. Supported: karras, exponential.", Refusal(() => new EdmEuler(Schedule, new() { SigmaSchedule = "linear" }).Plan(3)));
        Assert.Equal("use_dynamic_shifting and mu go together; give both or neither", Refusal(() => new FlowMatchEuler(Schedule, new() { UseDynamicShifting = true }).Plan(3)));
        Assert.Equal("time_shift_type is \"cubic\" in the scheduler configuration, which is not supported. Supported: exponential, linear.", Refusal(() => new FlowMatchEuler(Schedule, new() { UseDynamicShifting = true, Mu = 1, TimeShiftType = "cubic" }).Plan(3)));
        Assert.Equal("60 steps are more than the 50 this kind of model was distilled on (original_inference_steps); use fewer steps.", Refusal(() => new Lcm(Schedule, new()).Plan(60)));
        Assert.Equal("PNDM with Runge-Kutta steps (skip_prk_steps false) needs 4 steps or more.", Refusal(() => new Pndm(Schedule, new()).Plan(3)));
        Assert.Equal("the scheduler configuration asks for more than one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas; give one.",
            Refusal(() => new Heun(Schedule, new() { UseKarrasSigmas = true, UseBetaSigmas = true }).Plan(3)));
    }

    [Fact]
    public void The_laplace_schedule_is_the_published_one()
    {
        var schedule = new NoiseSchedule(new() { BetaSchedule = "laplace" });
        Assert.Equal(1000, schedule.Timesteps);
        Assert.Equal(0.5, Math.Pow(schedule.AlphasCumprod[499], 2), 0.01);   // the signal-to-noise ratio is 1 in the middle
        Assert.All(schedule.Betas.ToArray(), beta => Assert.InRange(beta, 0, 0.999f));
    }
}
