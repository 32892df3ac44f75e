using LowRank.Families;
using LowRank.Foundation;
using LowRank.Hub;
using LowRank.Recipes;
using LowRank.Testing;

namespace LowRank.Tests.Hub;

public sealed class FetchModelTests : IDisposable
{
    private readonly Downloads at = new();

    public void Dispose() => at.Dispose();

    [Fact]
    public void A_model_by_name_is_downloaded_whole_into_the_layout_of_the_hubs_own_client_and_not_asked_for_again()
    {
        var fetched = at.Fetch();
        Assert.Equal($"studio/tiny@{HubServer.Commit}", fetched.Name);
        Assert.Equal(Path.Combine(at.Options.Cache, "models--studio--tiny", "snapshots", HubServer.Commit), fetched.Place);
        Assert.Equal(at.Tiny.Files.Values.Sum(file => (long)file.Length), fetched.Received);
        at.RequireWhole(fetched.Place);

        // as its docs/source/en/guides/manage-cache.md shows it
        Assert.Equal(HubServer.Commit, File.ReadAllText(at.Path("hub", "models--studio--tiny", "refs", "main")));
        foreach (var (path, contents) in at.Tiny.Files)
        {
            var depth = path.Count(letter => letter == '/') + 2;
            var link = new FileInfo(Path.Combine(fetched.Place, path)).LinkTarget!.Replace('\\', '/');
            Assert.Equal(string.Concat(Enumerable.Repeat("../", depth)) + "blobs/" + HubServer.HashOf(path, contents), link);
        }
        Assert.Equal(["downloading studio/tiny@0123456 to CACHE: 11 files, 559 kB"], at.Notes);
        Assert.Equal((at.Moves[^1].All, at.Moves[^1].All), (at.Moves[^1].Done, fetched.Received - at.Tiny.Files["model_index.json"].Length));

        var asked = at.Server.Requests.Count;
        var again = at.Fetch();
        Assert.Equal((fetched.Name, fetched.Place, 0L), (again.Name, again.Place, again.Received));
        Assert.Equal(asked, at.Server.Requests.Count);
    }

    [Fact]
    public void A_downloaded_model_opens_by_its_place_and_verifies_as_whole_though_the_safety_checker_was_left_out()
    {
        at.Tiny.Files["safety_checker/model.safetensors"] = [1, 2, 3];
        at.Tiny.Files["safety_checker/config.json"] = "{}"u8.ToArray();
        at.Tiny.Files["feature_extractor/preprocessor_config.json"] = "{}"u8.ToArray();
        var index = System.Text.Json.Nodes.JsonNode.Parse(at.Tiny.Files["model_index.json"])!;
        index["safety_checker"] = new System.Text.Json.Nodes.JsonArray("stable_diffusion", "StableDiffusionSafetyChecker");
        index["feature_extractor"] = new System.Text.Json.Nodes.JsonArray("transformers", "CLIPImageProcessor");
        at.Tiny.Files["model_index.json"] = System.Text.Encoding.UTF8.GetBytes(index.ToJsonString());
        var place = at.Fetch().Place;
        Assert.False(Directory.Exists(Path.Combine(place, "safety_checker")));
        using var family = FamilyDetector.Open(place);
        Assert.Equal("Stable Diffusion 1", family.Name);
        Assert.Equal("", string.Join('\n', VerifyModel.Run(place).Trouble));

        // a model that is made of it names no part that it lacks
        var copy = Path.GetDirectoryName(at.Path("copy", "model_index.json"))!;
        ModelFiles.At(place).CopyIndexTo(copy, null);
        Assert.Equal(["scheduler", "text_encoder", "tokenizer", "unet", "vae"], ModelFiles.At(copy).Named.Select(part => part.Name).Order(StringComparer.Ordinal));
        Assert.Equal("[null,null]", System.Text.Json.Nodes.JsonNode.Parse(File.ReadAllText(Path.Combine(copy, "model_index.json")))!["safety_checker"]!.ToJsonString());
    }

    [Fact]
    public void Of_a_repository_only_what_a_pipeline_needs_is_downloaded()
    {
        foreach (var other in (string[])["README.md", "sd-v1-4.ckpt", "unet/diffusion_pytorch_model.bin", "unet/diffusion_flax_model.msgpack", "unet/diffusion_pytorch_model.fp16.safetensors", "unet/deep/config.json", "vae/model.onnx", "other/config.json", ".gitattributes"])
        {
            at.Tiny.Files[other] = [1];
        }
        var place = at.Fetch().Place;
        Assert.Equal(Directory.GetFiles(Downloads.Sd1, "*", SearchOption.AllDirectories).Length, Directory.GetFiles(place, "*", SearchOption.AllDirectories).Length);
        Assert.DoesNotContain(at.Server.Requests, request => request.Path.Contains("fp16", StringComparison.Ordinal) || request.Path.Contains(".bin", StringComparison.Ordinal));
    }

    [Fact]
    public void A_variant_is_downloaded_in_place_of_the_plain_weights_and_one_that_a_part_lacks_is_refused()
    {
        foreach (var path in at.Tiny.Files.Keys.Where(path => path.EndsWith(".safetensors", StringComparison.Ordinal)).ToList())
        {
            at.Tiny.Files[path.Replace(".safetensors", ".fp16.safetensors", StringComparison.Ordinal)] = at.Tiny.Files[path];
        }
        Assert.Equal(
            """
            the model studio/tiny has no variant ema of its text_encoder
              has       the plain weights, fp16
              try       --variant fp16, or none; SERVER/studio/tiny
            """, at.Refusal(variant: "ema"));
        var place = at.Fetch(variant: "fp16").Place;
        Assert.Equal(["config.json", "diffusion_pytorch_model.fp16.safetensors"], Directory.GetFiles(Path.Combine(place, "unet")).Select(Path.GetFileName).Order());
        using (var family = FamilyDetector.Open(place)) Assert.Equal("Stable Diffusion 1", family.Name);

        // whoever wants no variant is served with what is there
        Assert.Equal(0, at.Fetch().Received);
        at.Tiny.Files.Remove("vae/diffusion_pytorch_model.fp16.safetensors");
        Directory.Delete(at.Options.Cache, recursive: true);
        Assert.StartsWith("the model studio/tiny has no variant fp16 of its vae\n  has       the plain weights\n  try       it without --variant; ", at.Refusal(variant: "fp16"), StringComparison.Ordinal);
    }

    [Fact]
    public void Weights_in_parts_come_with_their_index_and_a_part_that_lacks_is_noticed()
    {
        var whole = at.Tiny.Files[Downloads.Weights];
        at.Tiny.Files.Remove(Downloads.Weights);
        at.Tiny.Files["unet/diffusion_pytorch_model-00001-of-00002.safetensors"] = whole;
        at.Tiny.Files["unet/diffusion_pytorch_model-00002-of-00002.safetensors"] = [.. whole, 1];
        at.Tiny.Files["unet/diffusion_pytorch_model.safetensors.index.json"] = """{"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors", "b": "diffusion_pytorch_model-00002-of-00002.safetensors"}}"""u8.ToArray();
        var place = at.Fetch().Place;
        at.RequireWhole(place);
        File.Delete(Path.Combine(place, "unet", "diffusion_pytorch_model-00002-of-00002.safetensors"));
        Assert.Equal((null, "it without unet/diffusion_pytorch_model-00002-of-00002.safetensors"), at.Cache.Find(HubName.Of(Downloads.Model)!));
        Assert.Equal(0, at.Fetch().Received);   // its contents are there: only the link was gone
        at.RequireWhole(place);
    }

    [Theory]
    [InlineData("v1.0", "v1.0")]
    [InlineData("refs/pr/4", "refs%2Fpr%2F4")]
    [InlineData("fp16", "fp16")]
    public void A_branch_or_tag_is_what_the_server_says_it_is(string revision, string asked)
    {
        const string Other = "00000000000000000000000000000000000000aa";
        at.Tiny.Revisions[revision] = Other;
        Assert.Equal($"studio/tiny@{Other}", at.Fetch($"studio/tiny@{revision}").Name);
        Assert.Equal($"/api/models/studio/tiny/revision/{asked}", at.Server.Requests[0].Path);
        Assert.Equal(Other, File.ReadAllText(Path.Combine([at.Options.Cache, "models--studio--tiny", "refs", .. revision.Split('/')])));
        Assert.Equal(0, at.Fetch($"studio/tiny@{Other}").Received);
        Assert.Equal(0, at.Fetch($"studio/tiny@{revision}").Received);
    }

    [Fact]
    public void An_update_asks_where_the_branch_is_now_and_brings_only_what_changed()
    {
        var old = at.Fetch().Place;
        const string Newer = "00000000000000000000000000000000000000bb";
        at.Tiny.Revisions["main"] = Newer;
        at.Tiny.Files["scheduler/scheduler_config.json"] = [.. at.Tiny.Files["scheduler/scheduler_config.json"], (byte)'\n'];
        Assert.Equal(old, at.Fetch().Place);
        var updated = at.Fetch(update: true);
        Assert.Equal(($"studio/tiny@{Newer}", (long)at.Tiny.Files["scheduler/scheduler_config.json"].Length), (updated.Name, updated.Received));
        at.RequireWhole(updated.Place);
        Assert.Equal(Newer, File.ReadAllText(at.Path("hub", "models--studio--tiny", "refs", "main")));
        Assert.True(Directory.Exists(old));
    }

    [Fact]
    public void One_file_of_a_repository_is_downloaded_alone()
    {
        var contents = at.Tiny.Files["checkpoints/tiny v2.safetensors"] = File.ReadAllBytes(Path.Combine(Downloads.Sd1, "..", "single-file", "sd1.safetensors"));
        at.Server.Add(TokenizerSearch.ClipVocabulary, Path.Combine(Downloads.Sd1, "tokenizer"));
        var fetched = at.Fetch("studio/tiny/checkpoints/tiny v2.safetensors");
        Assert.Equal($"studio/tiny@{HubServer.Commit}/checkpoints/tiny v2.safetensors", fetched.Name);
        Assert.Equal(contents, File.ReadAllBytes(fetched.Place));
        Assert.Equal($"downloading studio/tiny@0123456/checkpoints/tiny v2.safetensors to CACHE: 1 file, {contents.Length / 1000} kB", at.Notes[0]);
        Assert.Equal(fetched.Place, at.Fetch(fetched.Name).Place);
        Assert.Equal(["GET /api", "HEAD /studio", "GET /studio", "GET /studio"], at.Server.Requests.Where(request => request.Path.Contains("studio", StringComparison.Ordinal)).Select(request => $"{request.Method} /{request.Path.Split('/')[1]}"));
    }

    [Fact]
    public async Task Single_files_that_belong_together_come_as_a_folder_and_from_the_cache_without_a_network()
    {
        var fetch = new HubFetch(at.Options, null, at.Transport);
        string[] files = ["tokenizer/vocab.json", "tokenizer/merges.txt"];
        var folder = await fetch.FilesAsync(HubName.Of(Downloads.Model)!, files, default);
        Assert.Equal(["merges.txt", "vocab.json"], Directory.GetFiles(Path.Combine(folder, "tokenizer")).Select(Path.GetFileName).Order());
        var offline = new HubFetch(at.Options with { Offline = true });
        Assert.Equal(folder, await offline.FilesAsync(HubName.Of(Downloads.Model)!, files, default));
        Assert.Equal(
            """
            no model is there: studio/tiny
              here      there is no folder and no file of this name
              cache     CACHE holds it without tokenizer_2/vocab.json
              try       without --offline and HF_HUB_OFFLINE, which forbid to download it; or another cache: --hub-cache FOLDER or HF_HUB_CACHE
            """, at.Refusal<CheckpointException>(() => offline.FilesAsync(HubName.Of(Downloads.Model)!, ["tokenizer_2/vocab.json"], default).GetAwaiter().GetResult()));
    }

    [Theory]
    [InlineData("a/b/c")]
    [InlineData("icons-64")]
    [InlineData("./studio/tiny")]
    [InlineData("/studio/tiny")]
    public void What_cannot_be_a_name_stays_as_it_is(string model)
    {
        Assert.Equal((model, model), (at.Fetch(model).Name, at.Fetch(model).Place));
        Assert.Empty(at.Server.Requests);
    }

    [Fact]
    public void A_path_that_is_there_wins_over_a_name()
    {
        var here = Path.GetRelativePath(Directory.GetCurrentDirectory(), Path.Combine(Repository.Root, "tests", "fixtures")).Replace('\\', '/');
        Assert.Equal(here, at.Fetch(here).Place);
        Assert.Empty(at.Server.Requests);
    }

    [Fact]
    public void Where_the_system_makes_no_links_files_are_copies()
    {
        at.Transport = at.Transport with { Link = (_, _) => throw new UnauthorizedAccessException("A required privilege is not held by the client.") };
        var place = at.Fetch().Place;
        at.RequireWhole(place);
        Assert.Null(new FileInfo(Path.Combine(place, Downloads.Weights)).LinkTarget);
        Assert.Equal(0, at.Fetch().Received);
    }

    [Fact]
    public void A_link_without_its_contents_is_mended()
    {
        var place = at.Fetch().Place;
        File.Delete(at.Blob(Downloads.Weights));
        Assert.Equal("it without the weights of unet", at.Cache.Find(HubName.Of(Downloads.Model)!).Lacking);
        Assert.Equal(at.Tiny.Files[Downloads.Weights].Length, at.Fetch().Received);
        at.RequireWhole(place);
    }

    [Fact]
    public void A_model_of_an_unknown_kind_is_refused_before_its_weights_come()
    {
        at.Tiny.Files["model_index.json"] = """{"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}"""u8.ToArray();
        Assert.StartsWith("unsupported value: _class_name is \"FluxPipeline\"; in ", at.Refusal(), StringComparison.Ordinal);
        Assert.Equal(3, at.Server.Requests.Count);
    }
}
