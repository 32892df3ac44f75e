// Keeps a model open and draws with two adapters at changing strengths: nothing is read twice. Run it from the repository's folder:
//
//   dotnet run -c Release examples/studio.cs -- "red heart" runs/studio

#:project ../src/LowRank/LowRank.csproj
#:property PublishAot=false

using LowRank.Foundation;
using LowRank.Recipes;

if (args.Length != 2)
{
    Console.Error.WriteLine("name a prompt and a folder: dotnet run -c Release examples/studio.cs -- PROMPT FOLDER");
    return 2;
}
try
{
    Directory.CreateDirectory(args[1]);
    using var studio = Studio.Open("icons-64");
    var tango = studio.Load("icons-tango");
    var pixel = studio.Load("icons-pixel");
    var picture = new PictureOptions { Prompt = args[0], Seed = 7 };

    Write("both");                                                           // their changes add up
    studio.Switch("icons-tango");
    foreach (var strength in new[] { 0, 0.5, 1 })
    {
        tango.Strength = strength;
        Write($"tango-{strength:0.0}");
    }
    tango.Blocks = [.. studio.BlockNames.Select(block => block.StartsWith("OUT", StringComparison.Ordinal) ? 1.0 : 0)];   // the way up alone
    Write("tango-way-up");
    pixel.Parts = new Dictionary<string, double> { ["unet"] = 0.7 };
    studio.Switch("icons-pixel");
    Write("pixel");
    studio.Switch();
    Write("base");
    return 0;

    void Write(string name)
    {
        var path = Path.Combine(args[1], FormattableString.Invariant($"{name}.png"));
        File.WriteAllBytes(path, studio.Draw(picture));
        Console.WriteLine(path);
    }
}
catch (LowRankException problem)   // the message says what, where and what to try
{
    Console.Error.WriteLine(problem.Message);
    return 3;
}
