using LowRank.Families;
using LowRank.Foundation;
using LowRank.Hub;
using LowRank.Recipes;
using LowRank.Testing;

namespace LowRank.Tests.Hub;

/// <summary>Caches that other programs made: built by hand, as the guide of the hub's own client draws them.</summary>
public sealed class HubCacheTests : IDisposable
{
    private const string Commit = HubServer.Commit, Newer = "00000000000000000000000000000000000000bb";
    private readonly TemporaryFolder folder = new();

    private HubOptions Options => new() { Cache = folder.Path("hub"), Endpoint = "http://127.0.0.1:1", Offline = true };

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_model_that_another_program_downloaded_is_opened_without_a_network()
    {
        var snapshot = Put("studio/tiny", Commit, Downloads.Sd1);
        Refer("studio/tiny", "main", Commit);
        Assert.Equal(snapshot, FetchModel.Run("studio/tiny", Options).Place);
        Assert.Equal(snapshot, ModelStore.Find("studio/tiny", Options));
        Assert.Equal(snapshot, ModelStore.Find($"studio/tiny@{Commit}", Options));
        Assert.Equal(Path.Combine(snapshot, Downloads.Weights), ModelStore.Find($"studio/tiny/{Downloads.Weights}", Options));
        using var family = FamilyDetector.Open(snapshot);
        Assert.Equal("Stable Diffusion 1", family.Name);
    }

    [Fact]
    public void Revisions_are_found_by_branch_by_tag_and_by_commit()
    {
        var (old, current) = (Put("studio/tiny", Commit, Downloads.Sd1), Put("studio/tiny", Newer, Downloads.Sd1));
        Refer("studio/tiny", "main", Newer + "\n");
        Refer("studio/tiny", "v1", Commit);
        Refer("studio/tiny", "refs/pr/3", Commit);
        Assert.Equal([current, old, old, old, current], new[] { "", "@v1", "@refs/pr/3", "@" + Commit, "@" + Newer }.Select(revision => ModelStore.Find("studio/tiny" + revision, Options)));
    }

    [Theory]
    [InlineData("unet/diffusion_pytorch_model.safetensors", "it without the weights of unet")]
    [InlineData("unet/config.json", "it without unet/config.json")]
    [InlineData("scheduler/scheduler_config.json", "it without scheduler")]
    [InlineData("model_index.json", "it without model_index.json")]
    public void A_model_of_which_a_part_lacks_is_not_taken(string path, string lacking)
    {
        var snapshot = Put("studio/tiny", Commit, Downloads.Sd1);
        Refer("studio/tiny", "main", Commit);
        File.Delete(Path.Combine(snapshot, path));
        Assert.Equal(
            $"""
            no model is there: studio/tiny
              here      there is no folder and no file of this name
              cache     {Options.Cache} holds {lacking}
              try       to download it first: lora models studio/tiny; or the path of a model's folder or file
            """, Assert.Throws<CheckpointException>(() => ModelStore.Find("studio/tiny", Options)).Message);
    }

    [Fact]
    public void What_the_cache_holds_is_listed()
    {
        Assert.Empty(ListModels.Run(Options));
        var snapshot = Put("studio/tiny", Commit, Downloads.Sd1);
        Put("studio/tiny", Newer, Downloads.Sd1);
        Refer("studio/tiny", "main", Newer);
        Refer("studio/tiny", "refs/pr/3", Newer);
        File.Delete(Path.Combine(snapshot, Downloads.Weights));
        Put("words/large", Commit, Path.Combine(Downloads.Sd1, "text_encoder"));
        Directory.CreateDirectory(folder.Path("hub", "datasets--words--many", "x"));
        var whole = Directory.GetFiles(Downloads.Sd1, "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length);
        Assert.Equal(
        [
            $"studio/tiny {Newer} [main refs/pr/3] {whole} -",
            $"studio/tiny {Commit} [] {whole - new FileInfo(Path.Combine(Downloads.Sd1, Downloads.Weights)).Length} it without the weights of unet",
            $"words/large {Commit} [] {59197} it without model_index.json",
        ], ListModels.Run(Options).Select(model => $"{model.Name} {model.Commit} [{string.Join(' ', model.Revisions)}] {model.Bytes} {model.Lacking ?? "-"}"));
    }

    /// <summary>Contents in blobs, and links to them.</summary>
    private string Put(string repository, string commit, string from)
    {
        var place = Path.Combine(Options.Cache, "models--" + repository.Replace("/", "--", StringComparison.Ordinal));
        Directory.CreateDirectory(Path.Combine(place, "blobs"));
        foreach (var file in Directory.GetFiles(from, "*", SearchOption.AllDirectories))
        {
            var path = Path.GetRelativePath(from, file);
            var blob = Path.Combine(place, "blobs", HubServer.HashOf(path, File.ReadAllBytes(file)));
            if (!File.Exists(blob)) File.Copy(file, blob);
            var link = Path.Combine(place, "snapshots", commit, path);
            Directory.CreateDirectory(Path.GetDirectoryName(link)!);
            File.CreateSymbolicLink(link, Path.GetRelativePath(Path.GetDirectoryName(link)!, blob));
        }
        return Path.Combine(place, "snapshots", commit);
    }

    private void Refer(string repository, string revision, string commit)
    {
        var file = Path.Combine([Options.Cache, "models--" + repository.Replace("/", "--", StringComparison.Ordinal), "refs", .. revision.Split('/')]);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, commit);
    }
}
