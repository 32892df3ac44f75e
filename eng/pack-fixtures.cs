#:property PublishAot=false
#:property RestorePackagesWithLockFile=false
// Packs the fixtures that shrink much, so that the repository stays small: dotnet run eng/pack-fixtures.cs
// JSON from 12 kB on, and tensors of cases that have few distinct values (dense deltas); tests read NAME.gz where NAME is asked for (tests/LowRank.Testing/PackedFixture.cs).
using System.IO.Compression;

const long LeastJson = 12_000, LeastTensors = 60_000;
string[] folders = ["adapters", "diffusion", "images", "training", "evaluation", "models", "models/manifests"];

var root = Directory.GetCurrentDirectory();
while (!File.Exists(Path.Combine(root, "LowRank.slnx"))) root = Path.GetDirectoryName(root) ?? throw new InvalidOperationException("run it inside the repository");
var saved = 0L;
foreach (var folder in folders.Select(name => Path.Combine(root, "tests", "fixtures", name)))
{
    var files = Directory.GetFiles(folder, "*.json").Where(path => new FileInfo(path).Length >= LeastJson)
        .Concat(Directory.GetFiles(folder, "*.safetensors").Where(path => new FileInfo(path).Length >= LeastTensors && IsCase(path)));
    foreach (var path in files.Order(StringComparer.Ordinal).ToList())
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.SmallestSize, leaveOpen: true)) gzip.Write(File.ReadAllBytes(path));
        var (before, after) = (new FileInfo(path).Length, packed.Length);
        if (after > before * (path.EndsWith(".json", StringComparison.Ordinal) ? 0.5 : 0.8)) continue;
        File.WriteAllBytes(path + ".gz", packed.ToArray());
        File.Delete(path);
        saved += before - after;
        Console.WriteLine($"{before,9} -> {after,8}  {Path.GetRelativePath(root, path)}");
    }
}
Console.WriteLine($"{saved / 1000} kB saved");

// what stands by itself is a file that a test hands to the library as it is
static bool IsCase(string path) => File.Exists(Path.ChangeExtension(path, ".json")) || File.Exists(Path.ChangeExtension(path, ".json.gz"));
