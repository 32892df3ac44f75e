using CsCheck;
using LowRank.Foundation;
using LowRank.Testing;
using LowRank.Training;

namespace LowRank.Tests.Training;

public class TrainingStateTests
{
    /// <summary>N steps at a stretch equal k steps, a save, everything anew, a restore and the other N − k steps: the same bytes of adapter and state.</summary>
    [Fact]
    public void A_resumed_run_ends_in_the_same_bytes_as_an_uninterrupted_one() =>
        Gen.Select(Gen.Int[0, 6], Gen.Int[1, 3], Gen.Bool, Gen.Bool, Gen.Long[0, 1000]).Sample((stopped, accumulation, dropout, offset, seed) =>
            AssertResumes(stopped, new TinyOptions { Steps = 6, Accumulation = accumulation, Dropout = dropout ? 0.3 : 0, NoiseOffset = offset ? 0.1 : 0, Seed = seed }),
            iter: 12, threads: 1);

    public static TheoryData<string, bool> Optimizers => [.. TinyTraining.Optimizers.Keys.SelectMany(name => new TheoryDataRow<string, bool>[] { new(name, false), new(name, true) })];

    [Theory, MemberData(nameof(Optimizers))]
    public void Every_optimizer_goes_on_with_the_same_bytes_with_a_moving_average_and_without(string optimizer, bool average)
    {
        foreach (var stopped in new[] { 0, 1, 4 }) AssertResumes(stopped, new TinyOptions { Steps = 6, Optimizer = optimizer, Average = average });
    }

    private static void AssertResumes(int stopped, TinyOptions options)
    {
        using var folder = new TemporaryFolder();
        using var straight = new TinyTraining(options);
        straight.StepTo(6);
        using var straightState = straight.State();
        straightState.Save(folder.Path("straight"));

        using (var first = new TinyTraining(options))
        {
            first.StepTo(stopped);
            using var saved = first.State();
            saved.Save(folder.Path("resumed"));
        }
        using var second = new TinyTraining(options);
        using var found = TrainingState.OpenNewest(folder.Path("resumed"))!;
        Assert.Equal((stopped, stopped * options.Accumulation), (found.Position.Step, found.Position.MicroBatches));
        found.Restore(second.Loop, second.Streams);
        second.StepTo(6);
        using var secondState = second.State();
        secondState.Save(folder.Path("resumed"));

        TensorAssert.Equal(straight.Loop.Parameters.Values, second.Loop.Parameters.Values);
        foreach (var name in new[] { "tensors.safetensors", "state.json" })
        {
            Assert.Equal(File.ReadAllBytes(Path.Combine(folder.Path("straight"), "step-000006", name)), File.ReadAllBytes(Path.Combine(folder.Path("resumed"), "step-000006", name)));
        }
    }

    [Fact]
    public void Only_the_newest_states_are_kept()
    {
        using var folder = new TemporaryFolder();
        using var training = new TinyTraining(new TinyOptions());
        for (var step = 1; step <= 4; step++)
        {
            training.StepTo(step);
            using var state = training.State();
            state.Save(folder.Path("state"), keep: 2);
        }
        Assert.Equal(["step-000003", "step-000004"], Directory.GetDirectories(folder.Path("state")).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void What_a_killed_process_left_half_written_is_no_state_and_is_cleared_by_the_next_save()
    {
        using var folder = new TemporaryFolder();
        using var training = new TinyTraining(new TinyOptions());
        training.StepTo(1);
        using (var state = training.State()) state.Save(folder.Path("state"));
        // killed while the next state was being written: its folder has not got its name yet
        Directory.CreateDirectory(Path.Combine(folder.Path("state"), ".step-000002"));
        File.WriteAllText(Path.Combine(folder.Path("state"), ".step-000002", "tensors.safetensors"), "half");

        using (var found = TrainingState.OpenNewest(folder.Path("state"))!) Assert.Equal(1, found.Position.Step);
        training.StepTo(3);
        using (var state = training.State()) state.Save(folder.Path("state"));
        Assert.Equal(["step-000003"], Directory.GetDirectories(folder.Path("state")).Select(Path.GetFileName));
    }

    [Fact]
    public void A_state_knows_its_place_in_the_data_and_a_folder_without_one_gives_none()
    {
        using var folder = new TemporaryFolder();
        Assert.Null(TrainingState.OpenNewest(folder.Path("nowhere")));
        Assert.Null(TrainingState.OpenNewest(folder.FullName));
        using var training = new TinyTraining(new TinyOptions { Accumulation = 2 });
        training.StepTo(2);
        using (var state = training.State()) state.Save(folder.Path("state"));
        using var found = TrainingState.OpenNewest(folder.Path("state"))!;
        Assert.Equal((1, 2, 4L), (found.Data.Epoch, found.Data.Position, found.Data.Drawn));
        Assert.Equal([1, 2, 3], [.. found.Data.EpochStart, .. found.Data.Crop, .. found.Data.Caption]);
    }

    [Fact]
    public void The_streams_of_the_sampler_are_left_to_it_because_batches_are_drawn_ahead()
    {
        using var folder = new TemporaryFolder();
        using var training = new TinyTraining(new TinyOptions());
        _ = (training.Streams["shuffle"], training.Streams["crop"], training.Streams["caption"]);
        training.StepTo(1);
        using (var state = training.State()) state.Save(folder.Path("state"));
        using var reader = SafetensorsReader.Open(Path.Combine(folder.Path("state"), "step-000001", "tensors.safetensors"));
        Assert.Equal(["stream.dropout", "stream.init", "stream.noise", "stream.picture", "stream.timestep"],
            reader.Tensors.Keys.Where(name => name.StartsWith("stream.", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Changed_options_are_refused_and_named_with_both_values()
    {
        using var training = new TinyTraining(new TinyOptions());
        using var state = training.State(new Dictionary<string, string> { ["adapter.rank"] = "8", ["seed"] = "7", ["training.batch_size"] = "4" });
        state.RequireSameOptions(new Dictionary<string, string> { ["adapter.rank"] = "8", ["seed"] = "7", ["training.batch_size"] = "4" });
        var problem = Assert.Throws<OptionsException>(() => state.RequireSameOptions(
            new Dictionary<string, string> { ["adapter.rank"] = "16", ["training.batch_size"] = "4", ["training.min_snr_gamma"] = "5" }));
        Assert.Equal(
            """
            a resumed run keeps its options, and 3 changed:
              adapter.rank: 16; the run began with 8
              seed: not set; the run began with 7
              training.min_snr_gamma: 5; the run began with nothing
              try       the old values, or a new run in another output folder
            """, problem.Message);
    }

    [Fact]
    public void The_state_of_another_adapter_is_refused()
    {
        using var folder = new TemporaryFolder();
        using var training = new TinyTraining(new TinyOptions());
        using (var state = training.State()) state.Save(folder.Path("state"));
        var path = Path.Combine(folder.Path("state"), "step-000000", "state.json");
        File.WriteAllText(path, File.ReadAllText(path).Replace("unet.mid.up (12)", "unet.mid.up (24)", StringComparison.Ordinal));
        using var other = TrainingState.OpenNewest(folder.Path("state"))!;
        var problem = Assert.Throws<CheckpointException>(() => other.Restore(training.Loop, training.Streams));
        Assert.Equal(
            """
            the saved training state is of another adapter
              saved     6 tensors, such as unet.mid.up (24)
              now       6 tensors, such as unet.mid.up (12)
              try       the adapter options that the run began with
            """, problem.Message);
    }

    [Fact]
    public void A_state_of_another_version_and_a_damaged_one_are_refused()
    {
        using var folder = new TemporaryFolder();
        using var training = new TinyTraining(new TinyOptions());
        using (var state = training.State()) state.Save(folder.Path("state"));
        var path = Path.Combine(folder.Path("state"), "step-000000", "state.json");
        File.WriteAllText(path, File.ReadAllText(path).Replace("\"version\":1", "\"version\":2", StringComparison.Ordinal));
        Assert.Equal($"the training state {path} has version 2; this program reads version 1. Resume with the program that wrote it.",
            Assert.Throws<CheckpointException>(() => { TrainingState.OpenNewest(folder.Path("state")); }).Message);
        File.WriteAllText(path, "{");
        Assert.StartsWith($"the training state {path} cannot be read: ", Assert.Throws<CheckpointException>(() => { TrainingState.OpenNewest(folder.Path("state")); }).Message, StringComparison.Ordinal);
    }
}
