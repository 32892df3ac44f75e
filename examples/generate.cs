// Draws pictures with the embedded model, and with an adapter where one is given. Run it from the repository's folder:
//
//   dotnet run -c Release examples/generate.cs -- "red heart" runs/pictures
//   dotnet run -c Release examples/generate.cs -- "red heart" runs/pictures runs/tango/adapter.safetensors=0.8

#:project ../src/LowRank/LowRank.csproj
#:property PublishAot=false

using LowRank.Foundation;
using LowRank.Recipes;

if (args.Length < 2)
{
    Console.Error.WriteLine("name a prompt and a folder: dotnet run -c Release examples/generate.cs -- PROMPT FOLDER [ADAPTER[=STRENGTH] ...]");
    return 2;
}
try
{
    var result = Generate.Run(new GenerateOptions
    {
        Model = "icons-64",
        Prompt = args[0],
        Output = args[1],
        Adapters = [.. args[2..].Select(AdapterUse.Parse)],
        Count = 4,          // seeds 7, 8, 9 and 10
        Seed = 7,
    }, new Warnings());
    Console.WriteLine(string.Join(Environment.NewLine, result.Pictures.Append(result.Grid)));
    return 0;
}
catch (LowRankException problem)   // options, model or adapter that cannot be used: the message says what, where and what to try
{
    Console.Error.WriteLine(problem.Message);
    return 3;
}

/// <summary>Hears of every sampler step; shows only what a user should know.</summary>
internal sealed class Warnings : IProgress<GenerateProgress>
{
    public void Report(GenerateProgress value)
    {
        if (value.Warning is { } warning) Console.Error.WriteLine("warning: " + warning);
    }
}
