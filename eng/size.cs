// Prints how large the house is: lines a room and file, the longest functions, and what passes the limits of ARCHITECTURE.md
// (functions 60 lines, files 400, model files 600). Prints only; nothing fails.
// dotnet run eng/size.cs [-- --files]

#:property RestorePackagesWithLockFile=false

using System.Globalization;
using System.Text.RegularExpressions;

const int FunctionLimit = 60, FileLimit = 400, ModelLimit = 600;
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;

var root = Directory.GetCurrentDirectory();
while (!File.Exists(Path.Combine(root, "LowRank.slnx"))) root = Path.GetDirectoryName(root) ?? throw new InvalidOperationException("run it inside the repository");

var files = new[] { "src", "tests", "bench", "eng", "examples" }
    .Select(folder => Path.Combine(root, folder)).Where(Directory.Exists)
    .SelectMany(folder => Directory.GetFiles(folder, "*.cs", SearchOption.AllDirectories))
    .Select(path => Path.GetRelativePath(root, path).Replace('\\', '/'))
    .Where(path => !path.Contains("/bin/") && !path.Contains("/obj/"))
    .Select(path => new SourceFile(path, File.ReadAllLines(Path.Combine(root, path))))
    .OrderBy(file => file.Path, StringComparer.Ordinal)
    .ToList();

Console.WriteLine($"{"lines",7} {"files",6}  room");
foreach (var room in files.GroupBy(file => file.Room)) Console.WriteLine($"{room.Sum(file => file.Lines.Length),7} {room.Count(),6}  {room.Key}");
Console.WriteLine($"{files.Sum(file => file.Lines.Length),7} {files.Count,6}  all");
if (args.Contains("--files"))
{
    Console.WriteLine();
    foreach (var file in files) Console.WriteLine($"{file.Lines.Length,7}  {file.Path}");
}

var functions = files.SelectMany(file => file.Functions()).OrderByDescending(function => function.Length).ToList();
Console.WriteLine("\nlongest functions");
foreach (var function in functions.Where(function => function.File.Path.StartsWith("src/", StringComparison.Ordinal)).Take(10)) Console.WriteLine($"{function.Length,7}  {function.Where}");

var large = files.Where(file => file.Lines.Length > (file.Path.StartsWith("src/LowRank/Models/", StringComparison.Ordinal) ? ModelLimit : FileLimit)).Select(file => $"{file.Lines.Length,7}  {file.Path}");
var offenders = large.Concat(functions.Where(function => function.Length > FunctionLimit).Select(function => $"{function.Length,7}  {function.Where}")).ToList();
Console.WriteLine($"\npast the limits: {offenders.Count}");
foreach (var offender in offenders) Console.WriteLine(offender);

internal sealed record Function(SourceFile File, string Name, int Line, int Length)
{
    public string Where => $"{File.Path}:{Line} {Name}";
}

internal sealed partial record SourceFile(string Path, string[] Lines)
{
    /// <summary>The folder of a library room, else the project.</summary>
    public string Room
    {
        get
        {
            var parts = Path.Split('/');
            return string.Join('/', parts[..Math.Min(parts.Length - 1, parts[0] == "src" ? 3 : 2)]);
        }
    }

    /// <summary>Members with a body in braces: from the signature to the brace that closes at its indent. The formatter holds that layout.</summary>
    public IEnumerable<Function> Functions()
    {
        for (var i = 0; i + 1 < Lines.Length; i++)
        {
            var signature = Signature().Match(Lines[i]);
            if (!signature.Success) continue;
            var indent = signature.Groups["indent"].Value;
            var open = Array.FindIndex(Lines, i, line => line.StartsWith(indent + "{", StringComparison.Ordinal) || line.EndsWith(';') || line.EndsWith("{ }", StringComparison.Ordinal));
            if (open < 0 || !Lines[open].StartsWith(indent + "{", StringComparison.Ordinal)) continue;
            var close = Array.FindIndex(Lines, open, line => line.StartsWith(indent + "}", StringComparison.Ordinal));   // also }; of an expression and }}) inside a text
            if (close < 0) continue;
            yield return new Function(this, signature.Groups["name"].Value, i + 1, close - i + 1);
        }
    }

    [GeneratedRegex(@"^(?<indent> {4,8})(?!return|throw|await|using|else|if|for|while|switch|lock|new\b)(?:[\w<>\[\],.?() ]+ )?(?<name>\w+)(?:<[\w, ]+>)?\((?!.*;\s*$)")]
    private static partial Regex Signature();
}
