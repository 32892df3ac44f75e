// Makes the pictures and captions from which the base model icons-64 is trained. Run it from the repository's folder:
//
//   apt-get install fonts-noto-color-emoji unicode-data tango-icon-theme
//   dotnet run -c Release examples/icons-64/prepare.cs -- --output data/icons-64
//
// --root FOLDER     where the packages are unpacked (dpkg -x), when they are not installed
// --any-version     takes other versions of the packages than those that are written down

#:project ../../src/LowRank/LowRank.csproj
#:property PublishAot=false

using LowRank.Examples.Icons;

string? output = null;
var root = "/";
var anyVersion = false;
for (var at = 0; at < args.Length; at++)
{
    if (args[at] == "--any-version") anyVersion = true;
    else if (args[at] == "--output" && at + 1 < args.Length) output = args[++at];
    else if (args[at] == "--root" && at + 1 < args.Length) root = args[++at];
    else
    {
        Console.Error.WriteLine($"not an option, or without its value: {args[at]}; there are --output FOLDER, --root FOLDER and --any-version");
        return 2;
    }
}
if (output is null)
{
    Console.Error.WriteLine("name a folder for the pictures: dotnet run -c Release examples/icons-64/prepare.cs -- --output FOLDER");
    return 2;
}
try
{
    var folders = IconData.Write(Sources.Under(root), output, anyVersion);
    foreach (var folder in folders) Console.WriteLine($"{folder.Pictures,6}  {folder.Folder}");
    Console.WriteLine($"{folders.Sum(folder => folder.Pictures),6}  in {output}, with data.json, recalled.txt, LICENSE-NOTE.md, sheet-plain.png and sheet-variants.png");
    return 0;
}
catch (IconDataException problem)   // packages or files that cannot be used: the message says what, where and what to try
{
    Console.Error.WriteLine(problem.Message);
    return 1;
}
