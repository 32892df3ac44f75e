using System.Text.RegularExpressions;
using LowRank.Testing;

namespace LowRank.Tests.Architecture;

/// <summary>
/// Which room of the library may use which (ARCHITECTURE.md, "Which room may look into which"). A namespace equals its folder
/// (IDE0130 is an error), so names in the text of a file tell where it looks: its <c>using</c> lines and full names.
/// </summary>
public partial class RoomDirectionTests
{
    private static readonly string[] AllButRecipes =
        ["Foundation", "Hub", "Images", "Data", "Text", "Models", "Diffusion", "Adapters", "Families", "Evaluation", "Preparation", "Training"];

    /// <summary>The table: a room, and the rooms it may use beside itself.</summary>
    private static readonly Dictionary<string, string[]> MayUse = new()
    {
        ["Foundation"] = [],
        ["Hub"] = ["Foundation"],
        ["Images"] = ["Foundation"],
        ["Data"] = ["Foundation", "Images"],
        ["Text"] = ["Foundation"],
        ["Models"] = ["Foundation"],
        ["Diffusion"] = ["Foundation"],
        ["Adapters"] = ["Foundation"],
        ["Families"] = ["Foundation", "Hub", "Text", "Models", "Diffusion"],
        ["Evaluation"] = ["Foundation", "Images", "Text", "Models", "Diffusion"],
        ["Preparation"] = ["Foundation", "Images", "Data", "Text"],
        ["Training"] = ["Foundation", "Data", "Diffusion", "Adapters"],
        ["Recipes"] = AllButRecipes,
    };

    /// <summary>Libraries that only some rooms may use.</summary>
    private static readonly Dictionary<string, Regex> Forbidden = new()
    {
        ["Images"] = TorchModules(),
    };

    [Fact]
    public void No_room_looks_into_one_that_its_row_does_not_name()
    {
        var library = Path.Combine(Repository.Root, "src", "LowRank");
        var files = Directory.GetFiles(library, "*.cs", SearchOption.AllDirectories)
            .Select(path => Path.GetRelativePath(library, path).Replace('\\', '/'))
            .Where(path => !path.StartsWith("bin/", StringComparison.Ordinal) && !path.StartsWith("obj/", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal);
        var violations = files.SelectMany(path => Violations(path, File.ReadAllLines(Path.Combine(library, path)))).ToList();
        Assert.True(violations.Count == 0, string.Join('\n', violations));
    }

    [Fact]
    public void Only_Preparation_uses_ONNX_Runtime()
    {
        var library = Path.Combine(Repository.Root, "src", "LowRank");
        var users = Directory.GetFiles(library, "*.cs", SearchOption.AllDirectories).Where(path => File.ReadAllText(path).Contains("Microsoft.ML.OnnxRuntime;", StringComparison.Ordinal))
            .Select(path => Path.GetRelativePath(library, path).Replace('\\', '/').Split('/')[0]).Distinct();
        Assert.Equal(["Preparation"], users);
    }

    [Fact]
    public void Only_Hub_uses_the_network()
    {
        var library = Path.Combine(Repository.Root, "src", "LowRank");
        var users = Directory.GetFiles(library, "*.cs", SearchOption.AllDirectories).Where(path => File.ReadAllText(path) is var text && (text.Contains("System.Net.Sockets", StringComparison.Ordinal) || text.Contains("HttpClient", StringComparison.Ordinal)))
            .Select(path => Path.GetRelativePath(library, path).Replace('\\', '/').Split('/')[0]).Distinct();
        Assert.Equal(["Hub"], users);
    }

    [Fact]
    public void Every_room_that_is_built_has_a_row()
    {
        var library = Path.Combine(Repository.Root, "src", "LowRank");
        var rooms = Directory.GetDirectories(library).Select(path => Path.GetFileName(path)!).Except(["bin", "obj"]).Except(MayUse.Keys);
        Assert.Empty(rooms);
    }

    [Theory]
    [InlineData("using LowRank.Models;")]
    [InlineData("using static LowRank.Models.Layers.Attention;")]
    [InlineData("global using LowRank.Models.Layers;")]
    [InlineData("using Net = LowRank.Models.UNet2DConditionModel;")]
    [InlineData("    var net = new LowRank.Models.UNet2DConditionModel(config);")]
    [InlineData("    var net = new global::LowRank.Models.UNet2DConditionModel(config);")]
    [InlineData("    var net = new Models.UNet2DConditionModel(config);")]
    public void A_look_into_a_forbidden_room_is_caught(string line) =>
        Assert.Equal(["src/LowRank/Training/TrainingLoop.cs:2 uses Models, but Training may use only: Foundation, Data, Diffusion, Adapters"],
            Violations("Training/TrainingLoop.cs", ["namespace LowRank.Training;", line]));

    [Theory]
    [InlineData("Training/Loop.cs", "using LowRank.Adapters;")]
    [InlineData("Training/Deep/Loop.cs", "using LowRank.Training;")]
    [InlineData("Recipes/TrainLora.cs", "using LowRank.Models;")]
    [InlineData("Training/Loop.cs", "// Models.UNet knows")]
    [InlineData("Training/Loop.cs", "/// <summary>See LowRank.Models.</summary>")]
    [InlineData("Training/Loop.cs", "var text = batch.Models.Count;")]
    [InlineData("Training/Loop.cs", "return Text;")]
    [InlineData("Foundation/Checkpoint.cs", "using System.Text.Json;")]
    [InlineData("Foundation/Checkpoint.cs", "using System.Data.Common;")]
    [InlineData("Families/StableDiffusion.cs", "using TorchSharp.Modules;")]
    public void What_is_allowed_is_not(string path, string line) => Assert.Empty(Violations(path, [line]));

    [Theory]
    [InlineData("using TorchSharp.Modules;")]
    [InlineData("using static TorchSharp.torch.nn;")]
    [InlineData("    var layer = torch.nn.Linear(1, 2);")]
    public void Pictures_know_no_networks(string line) =>
        Assert.Equal(["src/LowRank/Images/ResizeCrop.cs:1 uses TorchSharp modules, but Images may use only: Foundation"], Violations("Images/ResizeCrop.cs", [line]));

    [Fact]
    public void A_file_outside_every_room_is_caught() =>
        Assert.Equal(["src/LowRank/Extras.cs:1 lies in no room of the table"], Violations("Extras.cs", ["namespace LowRank;"]));

    /// <param name="path">Relative to <c>src/LowRank</c>, with slashes.</param>
    /// <param name="lines">The file.</param>
    private static List<string> Violations(string path, string[] lines)
    {
        var room = path.Contains('/') ? path[..path.IndexOf('/')] : "";
        if (!MayUse.TryGetValue(room, out var allowed)) return [$"src/LowRank/{path}:1 lies in no room of the table"];
        var found = new List<string>();
        for (var i = 0; i < lines.Length; i++)
        {
            var code = Comment().Replace(lines[i], "");
            var used = Mention().Matches(code).Select(match => match.Groups[1].Value + match.Groups[2].Value)
                .Where(name => MayUse.ContainsKey(name) && name != room && !allowed.Contains(name)).ToList();
            if (Forbidden.TryGetValue(room, out var library) && library.IsMatch(code)) used.Add("TorchSharp modules");
            var only = allowed.Length == 0 ? "no other" : string.Join(", ", allowed);
            found.AddRange(used.Distinct().Select(name => $"src/LowRank/{path}:{i + 1} uses {name}, but {room} may use only: {only}"));
        }
        return found;
    }

    [GeneratedRegex(@"//.*$")]
    private static partial Regex Comment();

    // a room's name as the first part of a name, behind LowRank or alone (from inside the namespace LowRank the rest is enough)
    [GeneratedRegex(@"(?<![\w.""])(?:LowRank\.([A-Z]\w+)|([A-Z]\w+)(?=\.[A-Z]))")]
    private static partial Regex Mention();

    [GeneratedRegex(@"TorchSharp\.Modules|\bnn\b")]
    private static partial Regex TorchModules();
}
