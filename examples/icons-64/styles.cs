// Makes the pictures from which the adapters "line" and "pixel" are trained, by stated filters from emoji. Run it from the repository's folder:
//
//   dotnet run -c Release examples/icons-64/styles.cs
//
// --output FOLDER   holds the folders line/pictures and pixel/pictures; examples/adapters when it is left out. Pictures there are replaced
// --root FOLDER     where the packages are unpacked (dpkg -x), when they are not installed

#:project ../../src/LowRank/LowRank.csproj
#:property PublishAot=false

using LowRank.Examples.Icons;

var (output, root) = ("examples/adapters", "/");
for (var at = 0; at < args.Length; at++)
{
    if (args[at] == "--output" && at + 1 < args.Length) output = args[++at];
    else if (args[at] == "--root" && at + 1 < args.Length) root = args[++at];
    else
    {
        Console.Error.WriteLine($"not an option, or without its value: {args[at]}; there are --output FOLDER and --root FOLDER");
        return 2;
    }
}
try
{
    var sources = Sources.Under(root);
    sources.Require(anyVersion: false);
    var font = new EmojiFont(sources.Font);
    var emoji = Emoji.Read(File.ReadLines(sources.Names)).ToDictionary(one => one.Caption);
    using var line = new PictureFolder(output, "line/pictures");
    using var pixel = new PictureFolder(output, "pixel/pictures");
    foreach (var subject in Styles.Subjects.Select(caption => emoji[caption]))
    {
        var name = subject.Caption.Replace(' ', '-');
        line.Add(name, Styles.Line(font.OnWhite(subject)), subject.Caption, phrased: false);
        pixel.Add(name, Styles.Pixel(font.Bitmap(subject.Sequence, subject.Name)), subject.Caption, phrased: false);
    }
    foreach (var folder in new[] { line, pixel }) Console.WriteLine($"{folder.Count,4}  {Path.Combine(output, folder.Name)}");
    return 0;
}
catch (IconDataException problem)   // packages that cannot be used: the message says what, where and what to try
{
    Console.Error.WriteLine(problem.Message);
    return 1;
}
