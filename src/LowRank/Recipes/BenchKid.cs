using System.Diagnostics;
using System.Text;
using System.Text.Json;
using LowRank.Evaluation;
using LowRank.Foundation;
using LowRank.Training;

namespace LowRank.Recipes;

/// <summary>Makes a part of the experiment, and returns when it is made: in a process of its own, on another machine.</summary>
/// <param name="part">Its name, as <see cref="BenchKid.RunPart"/> takes it.</param>
/// <param name="alone">Whether no other part is made meanwhile: it may take all cores.</param>
/// <param name="cancellation">Asks it to stop and keep what it has.</param>
public delegate void BenchKidWorker(string part, bool alone, CancellationToken cancellation);

/// <summary>
/// The experiment behind LoRA: base, full fine-tuning, LoRA at several ranks and textual inversion on one set, the same data order, noise and timesteps,
/// judged on pictures that none of them saw, by KID, held-out loss, what is forgotten, time and size. The design is in docs/kid-experiment.md.
/// </summary>
public static class BenchKid
{
    /// <summary>What the experiment would do and take, without writing anything.</summary>
    /// <exception cref="LowRankException">Options, model or pictures that cannot be used.</exception>
    public static BenchKidPlan Plan(BenchKidOptions options)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var data = BenchKidData.Read(options);
        Identities(options, Features);
        return BenchKidPlan.Of(options, data);
    }

    /// <summary>Makes all parts that are not made yet, and puts them together.</summary>
    /// <param name="options">Everything about the experiment.</param>
    /// <param name="progress">Hears of every part that is made, from one thread at a time.</param>
    /// <param name="resume">Goes on with the experiment in the output folder.</param>
    /// <param name="worker">Makes a part; null: here, one after the other, where peak memory is that of the whole process.</param>
    /// <param name="cancellation">Stops; what is made, and what trainings saved, stays.</param>
    /// <exception cref="LowRankException">Options, model or pictures that cannot be used, another program that makes the experiment, or a training that diverged with the chosen rate.</exception>
    /// <exception cref="OperationCanceledException">Stopped.</exception>
    public static BenchKidResult Run(BenchKidOptions options, IProgress<BenchKidProgress>? progress = null, bool resume = false, BenchKidWorker? worker = null, CancellationToken cancellation = default) =>
        Make(options, progress, resume, worker, Features, cancellation);

    /// <summary>Makes one part of an experiment that <see cref="Run"/> has begun.</summary>
    /// <param name="options">The same as the experiment's.</param>
    /// <param name="part">Its name, such as <c>judge/lora-4/fold-0/seed-0</c>.</param>
    /// <param name="progress">Hears the events of its training.</param>
    /// <param name="cancellation">Stops after the running step; what was saved stays.</param>
    /// <exception cref="LowRankException">Options, model or pictures that cannot be used, no such part, or one that another program makes.</exception>
    /// <exception cref="OperationCanceledException">Stopped.</exception>
    public static void RunPart(BenchKidOptions options, string part, IProgress<TrainingEvent>? progress = null, CancellationToken cancellation = default)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var parts = BenchKidPart.All(options);
        var wanted = parts.FirstOrDefault(item => item.Name == part) ?? throw new OptionsException($"the experiment has no part {part}{NearestName.Hint(part, parts.Select(item => item.Name))}; its parts are {parts[0].Name} to {parts[^1].Name}");
        var data = BenchKidData.Read(options, cancellation);
        BenchKidExperiment.Open(options, data, null, resume: true);
        new BenchKidWork(options, data, Features, progress, cancellation).Make(wanted);
    }

    /// <summary>The same with a way to open networks of features.</summary>
    internal static BenchKidResult Make(BenchKidOptions options, IProgress<BenchKidProgress>? progress, bool resume, BenchKidWorker? worker, Func<string, IFeatureNetwork> openFeatures, CancellationToken cancellation)
    {
        RunOptions.ThrowIfAny(options.Validate(), "the options");
        var watch = Stopwatch.StartNew();

        // look at everything that could be wrong before hours of work
        var data = BenchKidData.Read(options, cancellation);
        var folder = BenchKidExperiment.Open(options, data, Identities(options, openFeatures), resume);
        using var held = folder.Begin();
        data.Write(cancellation);

        // make the parts: times alone and first, choices before what waits for them
        var parts = BenchKidPart.All(options);
        var work = new BenchKidWork(options, data, openFeatures, null, cancellation);
        var crew = new BenchKidCrew(worker ?? ((name, _, _) => work.Make(parts.First(part => part.Name == name))), progress, parts.Count, cancellation);
        foreach (var stage in parts.GroupBy(part => part.Purpose))
        {
            var alone = stage.Key == BenchKidPurpose.Time;
            crew.Make([.. stage], options, alone, worker is null || alone ? 1 : options.Workers);
        }

        // put them together
        var summary = BenchKidSummary.Of(options, data.Pictures.Count);
        var table = BenchKidTable.Of(summary, options);
        WholeFile.Write(folder.Results, JsonSerializer.SerializeToUtf8Bytes(summary, HubJson.Own));
        WholeFile.Write(folder.Table, Encoding.UTF8.GetBytes(table));
        BenchKidPlot.Write(folder.Plot, summary);
        BenchKidReport.Write(folder, options, data, summary);
        return new BenchKidResult(table, folder, watch.Elapsed.TotalSeconds);
    }

    /// <summary>Opens every network once, so that a wrong file is told of before the first training.</summary>
    private static Dictionary<string, string> Identities(BenchKidOptions options, Func<string, IFeatureNetwork> openFeatures)
    {
        var found = new Dictionary<string, string>();
        foreach (var name in options.Features)
        {
            using var network = openFeatures(name);
            if (!found.TryAdd(network.Name, network.Identity)) throw new OptionsException($"features: two of them are {network.Name}, and KIDs are told apart by that name; leave one of them out: {string.Join(", ", options.Features)}");
        }
        return found;
    }

    private static IFeatureNetwork Features(string name) => FeatureNetworks.Open(name);
}
