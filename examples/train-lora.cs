// Trains an adapter on the Tango icons and draws with it: the library from end to end, with nothing to download.
// Run it from the repository's folder:
//
//   dotnet run -c Release examples/train-lora.cs                    200 steps
//   dotnet run -c Release examples/train-lora.cs -- 10 runs/quick   a quick look, into another folder

#:project ../src/LowRank/LowRank.csproj
#:property PublishAot=false

using System.Globalization;
using LowRank.Data;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Training;

var steps = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : 200;
var output = args.Length > 1 ? args[1] : "runs/library";

using var stop = new CancellationTokenSource();
Console.CancelKeyPress += (_, key) =>
{
    key.Cancel = true;
    stop.Cancel();   // finishes the running step and saves; a later run with resume: true goes on from there
};

try
{
    #region README
    var options = new TrainLoraOptions
    {
        Model = "icons-64",                                                    // embedded, or a diffusers folder of yours
        Data = [new DataSetOptions { Folder = "examples/tango/pictures" }],    // captions from the .txt beside each picture
        Output = output,
        Training = new TrainingOptions { Steps = steps, BatchSize = 4, LearningRate = 3e-3 },
    };
    var plan = TrainLora.Plan(options);                                        // sizes, memory and time, before anything is written
    Console.WriteLine($"{plan.Modules} layers, {plan.Parameters:N0} numbers to train, about {plan.Steps * plan.SecondsPerStep:F0} s");

    var trained = await TrainLora.RunAsync(options, new StepLines(), cancellation: stop.Token);

    var drawn = Generate.Run(new GenerateOptions
    {
        Model = options.Model,
        Adapters = [new AdapterUse(trained.Adapter, Strength: 0.8)],
        Prompt = "red heart",
        Output = output,
    });
    Console.WriteLine($"{trained.Steps} steps in {trained.Seconds:F0} s: {trained.Adapter}, {drawn.Pictures[0]}");
    #endregion
    return 0;
}
catch (LowRankException problem)   // options, model or data that cannot be used: the message says what, where and what to try
{
    Console.Error.WriteLine(problem.Message);
    return 1;
}

/// <summary>What the library tells while it goes; it writes no console itself.</summary>
internal sealed class StepLines : IProgress<TrainingEvent>
{
    public void Report(TrainingEvent value)
    {
        switch (value)
        {
            case StepFinished step when step.Step % 10 == 0:
                Console.WriteLine($"step {step.Step}/{step.Steps}   loss {step.SmoothedLoss:F4}   {step.Seconds:F2} s");
                break;
            case RunWarning warning:
                Console.Error.WriteLine("warning: " + warning.Text);
                break;
        }
    }
}
