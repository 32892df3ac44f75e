// Makes the trainings of docs/choosing.md (rank, learning rate and steps; numbers of pictures; layers; alpha), and their tables and plots. Run it from
// the repository's folder:
//
//   dotnet run -c Release examples/choosing/sweep.cs
//   dotnet run -c Release examples/choosing/sweep.cs -- --page docs/choosing.md
//
// --model MODEL     icons-64 when it is left out, or a model's folder
// --output FOLDER   runs/choosing when it is left out; what is made there is not made again, so a sweep that was stopped goes on
// --workers N       trainings at a time, each in a process with one thread; as many as there are cores when it is left out
// --cell NAME       makes one training alone, in this process: rank-4/rate-0.001
// --page FILE       puts the tables between the page's marks, and the plots into the folder pictures beside it

#:project ../../src/LowRank/LowRank.csproj
#:property PublishAot=false

using System.Globalization;
using LowRank.Examples.Choosing;
using LowRank.Foundation;

var (model, output, cell, page, workers) = ("icons-64", "runs/choosing", (string?)null, (string?)null, Environment.ProcessorCount);
for (var at = 0; at < args.Length; at++)
{
    var more = at + 1 < args.Length;
    if (args[at] == "--model" && more) model = args[++at];
    else if (args[at] == "--output" && more) output = args[++at];
    else if (args[at] == "--cell" && more) cell = args[++at];
    else if (args[at] == "--page" && more) page = args[++at];
    else if (args[at] == "--workers" && more && int.TryParse(args[at + 1], NumberStyles.None, CultureInfo.InvariantCulture, out workers) && workers > 0) at++;
    else
    {
        Console.Error.WriteLine($"not an option, or without its value: {args[at]}; there are --model MODEL, --output FOLDER, --workers N, --cell NAME and --page FILE");
        return 2;
    }
}
try
{
    var workshop = new Workshop(model, output);
    if (cell is not null)
    {
        Console.WriteLine(workshop.Make(Cell.Named(cell)).Line());
        return 0;
    }
    var watch = System.Diagnostics.Stopwatch.StartNew();
    var crew = new Crew(model, output, workers);
    if (workshop.Made(Cell.Usual) is null) crew.Make([Cell.Usual]);   // its log says which pictures are held out
    crew.Make([.. Cell.All.Where(each => workshop.Made(each) is null)]);
    var results = Results.Of([.. Cell.All.Select(each => workshop.Made(each)!)]);
    results.Write(output);
    if (page is not null) Page.Fill(page, results, output);
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{results.Cells.Count} trainings, {watch.Elapsed.TotalMinutes:F1} min: {Path.Combine(output, Results.TablesFile)}"));
    return 0;
}
catch (Exception problem) when (problem is SweepException or LowRankException)   // a model, pictures or a folder that cannot be used: the message says what, where and what to try
{
    Console.Error.WriteLine(problem.Message);
    return 1;
}
