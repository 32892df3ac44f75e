// Measures a base model that draws icons, with the pictures that prepare.cs makes. Run it from the repository's folder:
//
//   dotnet run -c Release examples/icons-64/measure.cs -- icons-64
//   dotnet run -c Release examples/icons-64/measure.cs -- runs/base/model --output measured.json
//
// --data FOLDER     the prepared pictures; data/icons-64 when it is left out
// --output FILE     where the numbers go as JSON; beside it, as FILE-recall.png and FILE-colours.png, what was drawn

#:project ../../src/LowRank/LowRank.csproj
#:property PublishAot=false

using System.Text.Json;
using LowRank.Examples.Icons;
using LowRank.Families;
using LowRank.Foundation;
using LowRank.Images;

string? model = null, output = null;
var data = "data/icons-64";
for (var at = 0; at < args.Length; at++)
{
    if (args[at] == "--data" && at + 1 < args.Length) data = args[++at];
    else if (args[at] == "--output" && at + 1 < args.Length) output = args[++at];
    else if (model is null && !args[at].StartsWith('-')) model = args[at];
    else
    {
        Console.Error.WriteLine($"not an option, or without its value: {args[at]}; there are --data FOLDER and --output FILE");
        return 2;
    }
}
if (model is null)
{
    Console.Error.WriteLine("name a model: dotnet run -c Release examples/icons-64/measure.cs -- MODEL [--data FOLDER] [--output FILE]");
    return 2;
}
try
{
    var set = IconSet.Read(data);
    using var family = FamilyDetector.Open(model);
    var measures = new BaseMeasures(family, set);
    var start = System.Diagnostics.Stopwatch.StartNew();
    var measured = measures.Run(model);
    foreach (var line in MeasuredTable.Lines(measured)) Console.WriteLine(line);
    Console.Error.WriteLine(FormattableString.Invariant($"{start.Elapsed.TotalSeconds:F0} s"));
    if (output is null) return 0;
    File.WriteAllText(output, JsonSerializer.Serialize(measured, MeasuredJson.Default.MeasuredBase) + "\n");
    var sheets = Path.ChangeExtension(output, null);
    ImageFile.WritePng(sheets + "-recall.png", CaptionSheet.Of(measures.Drawn, set.Recalled, across: 10));
    ImageFile.WritePng(sheets + "-colours.png", CaptionSheet.Of(measures.DrawnColours, [.. HeldOut.ColourPairs.SelectMany(pair => Enumerable.Repeat(ColourCheck.Prompt(pair), 4))], across: 8));
    return 0;
}
catch (Exception problem) when (problem is IconDataException or LowRankException)   // pictures or a model that cannot be used: the message says what, where and what to try
{
    Console.Error.WriteLine(problem.Message);
    return 1;
}
