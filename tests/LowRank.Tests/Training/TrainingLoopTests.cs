using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;

namespace LowRank.Tests.Training;

public class TrainingLoopTests
{
    [Fact]
    public void A_step_leaves_no_tensor_behind_and_the_gradients_at_zero()
    {
        using var training = new TinyTraining(new TinyOptions { Accumulation = 2, Dropout = 0.2, NoiseOffset = 0.1 });
        LeakGuard.AssertNothingLeft(() => training.Loop.Step(training.Score));
        Assert.Equal(0, training.Loop.Parameters.Gradients.abs().sum().item<float>());
    }

    [Fact]
    public void A_run_makes_all_its_steps_and_reports_each_before_the_work_between_steps()
    {
        using var training = new TinyTraining(new TinyOptions { Steps = 4, Accumulation = 3 });
        var seen = new List<string>();
        var events = new Listener(item => seen.Add($"event {((StepFinished)item).Step}"));
        Assert.True(training.Loop.Run(training.Score, step => seen.Add($"between {step}"), events, CancellationToken.None));
        Assert.Equal(["event 1", "between 1", "event 2", "between 2", "event 3", "between 3", "event 4", "between 4"], seen);
        Assert.Equal((4, 12), (training.Loop.Position.Step, training.Loop.Position.MicroBatches));
        var steps = events.All.Cast<StepFinished>().ToList();
        Assert.Equal([0, 0.5e-2, 1e-2, 0.5e-2], steps.Select(step => Math.Round(step.LearningRate, 12)));
        Assert.All(steps, step => Assert.True(step is { Steps: 4, Loss: > 0, GradientNorm: > 0, Seconds: > 0, MemoryBytes: > 1_000_000 }));
        Assert.Equal(steps[0].Loss, steps[0].SmoothedLoss, 1e-9);
        Assert.InRange(steps[3].SmoothedLoss, steps.Min(step => step.Loss), steps.Max(step => step.Loss));
    }

    [Fact]
    public void A_stop_ends_the_run_between_two_steps_and_it_can_go_on()
    {
        using var training = new TinyTraining(new TinyOptions { Steps = 5 });
        using var stop = new CancellationTokenSource();
        var events = new Listener();
        Assert.False(training.Loop.Run(training.Score, step => { if (step == 2) stop.Cancel(); }, events, stop.Token));
        Assert.Equal(2, training.Loop.Position.Step);
        Assert.True(training.Loop.Run(training.Score, _ => { }, events, CancellationToken.None));
        Assert.Equal([1, 2, 3, 4, 5], events.All.Cast<StepFinished>().Select(step => step.Step));
    }

    [Fact]
    public void A_stop_during_the_last_step_is_a_finished_run()
    {
        using var training = new TinyTraining(new TinyOptions { Steps = 2 });
        using var stop = new CancellationTokenSource();
        Assert.True(training.Loop.Run(training.Score, step => { if (step == 2) stop.Cancel(); }, new Listener(), stop.Token));
    }

    [Fact]
    public void The_first_loss_that_is_no_number_ends_the_run_with_step_items_and_norm_and_changes_nothing()
    {
        using var training = new TinyTraining(new TinyOptions { Accumulation = 2 }) { BrokenMicroBatch = 5 };
        training.StepTo(2);
        using var before = training.Loop.Parameters.Values.clone();
        var problem = Assert.Throws<TrainingDivergedException>(() => training.StepTo(3));
        Assert.Equal(3, problem.Step);
        var item = Assert.Single(problem.Items);
        Assert.Equal(
            $"""
            training diverged at step 3: loss NaN, gradient norm NaN
              items     {item}
              kept      the adapter of step 2; nothing of step 3 was applied
              try       a lower learning rate (it was 0.01), gradient clipping, or a look at these items
            """, problem.Message);
        TensorAssert.Equal(before, training.Loop.Parameters.Values);
        Assert.Equal(2, training.Loop.Position.Step);
        Assert.Equal(0, training.Loop.Parameters.Gradients.abs().sum().item<float>());
    }

    [Fact]
    public void With_a_loss_scale_a_step_that_is_no_number_is_left_out_and_told_of()
    {
        using var training = new TinyTraining(new TinyOptions { Steps = 3, LossScale = new LossScaleRule(4, 2) }) { BrokenMicroBatch = 1 };
        var events = new Listener();
        Assert.True(training.Loop.Run(training.Score, _ => { }, events, CancellationToken.None));
        Assert.Equal((3, 4), (training.Loop.Position.Step, training.Loop.Position.MicroBatches));
        Assert.Equal(["the gradient of step 2 is no number with the loss times 4: these pictures are left out, and the factor is 2 from here"], events.All.OfType<RunWarning>().Select(warning => warning.Text));
        Assert.Equal(new LossScale(4), training.Loop.Position.Scale);
        Assert.Equal([1, 2, 3], events.All.OfType<StepFinished>().Select(step => step.Step));
    }

    [Fact]
    public void A_loss_scale_that_cannot_get_smaller_is_not_the_cause_and_the_run_ends()
    {
        using var training = new TinyTraining(new TinyOptions { LossScale = new LossScaleRule(1, 1) }) { BrokenMicroBatch = 0 };
        Assert.Equal(1, Assert.Throws<TrainingDivergedException>(() => training.StepTo(1)).Step);
    }

    [Fact]
    public void A_gradient_that_is_no_number_ends_the_run_too_and_names_all_items_of_the_step()
    {
        using var training = new TinyTraining(new TinyOptions { Accumulation = 2 }) { SteepMicroBatch = 1 };
        using var before = training.Loop.Parameters.Values.clone();
        var problem = Assert.Throws<TrainingDivergedException>(() => training.StepTo(1));
        Assert.Equal(4, problem.Items.Count);
        Assert.StartsWith("training diverged at step 1: loss 0.", problem.Message, StringComparison.Ordinal);
        Assert.Contains("gradient norm NaN", problem.Message, StringComparison.Ordinal);
        TensorAssert.Equal(before, training.Loop.Parameters.Values);
    }

    [Fact]
    public void The_gradient_is_the_mean_over_micro_batches_and_the_logged_loss_is_not_divided()
    {
        using var single = new TinyTraining(new TinyOptions { MaxGradientNorm = 0 });
        using var triple = new TinyTraining(new TinyOptions { MaxGradientNorm = 0, Accumulation = 3 });
        var one = single.Loop.Step(_ => Fixed(single));
        var three = triple.Loop.Step(_ => Fixed(triple));
        Assert.Equal(one.GradientNorm, three.GradientNorm, 1e-5 * one.GradientNorm);
        Assert.Equal([one.Losses[0], one.Losses[0], one.Losses[0]], three.Losses);

        // every call draws the same items, noise and timesteps
        static MicroBatchLoss Fixed(TinyTraining training)
        {
            using var fresh = new RandomStreams(seed: 7);
            _ = (fresh["picture"], fresh["noise"], fresh["timestep"]);
            training.Streams.Restore(fresh.Save());
            return training.Score(0);
        }
    }
}
