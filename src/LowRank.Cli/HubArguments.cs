using System.CommandLine;
using LowRank.Families;
using LowRank.Hub;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary>The options of commands that take a model, for models by name; and the download.</summary>
internal sealed class HubArguments
{
    private readonly Option<bool> offline = new("--offline") { Description = "Download nothing: a model by name must be in the cache. [default: HF_HUB_OFFLINE]" };
    private readonly Option<string?> endpoint = new("--endpoint") { HelpName = "URL", Description = "Hub, or mirror of it, that models by name come from. [default: HF_ENDPOINT, else https://huggingface.co]" };
    private readonly Option<string?> cache = new("--hub-cache") { HelpName = "FOLDER", Description = "Cache that models by name are looked for in and downloaded to. [default: HF_HUB_CACHE, HF_HOME/hub, else ~/.cache/huggingface/hub]" };

    /// <summary>Adds the options to a command.</summary>
    public HubArguments(Command command)
    {
        foreach (var option in (Option[])[offline, endpoint, cache]) command.Options.Add(option);
    }

    /// <summary>What was given, and what the environment says of the rest.</summary>
    public HubOptions Of(ParseResult arguments)
    {
        var environment = HubOptions.FromEnvironment();
        return environment with
        {
            Offline = environment.Offline || arguments.GetValue(offline),
            Endpoint = arguments.GetValue(endpoint) ?? environment.Endpoint,
            Cache = arguments.GetValue(cache) is { } folder ? Path.GetFullPath(folder) : environment.Cache,
        };
    }

    /// <summary>Brings a model by name onto this machine. A path, or the name of an embedded model, stays as it is.</summary>
    /// <param name="screen">Where it is told of.</param>
    /// <param name="arguments">As parsed.</param>
    /// <param name="model">As given; null stays null.</param>
    /// <param name="files">How its files are read.</param>
    /// <returns>What the recipe takes: the name at its commit, or for a cache that only this command line names the places in it.</returns>
    public (string? Model, ModelFileOptions? Files) Fetch(Screen screen, ParseResult arguments, string? model, ModelFileOptions? files = null)
    {
        if (string.IsNullOrWhiteSpace(model)) return (model, files);   // told of where it is used
        var fetched = Fetch(screen, Of(arguments), model, files, update: false);
        if (arguments.GetValue(cache) is null) return (fetched.Name, files);
        return (fetched.Place, fetched.Tokenizer is null ? files : (files ?? new ModelFileOptions()) with { Tokenizer = fetched.Tokenizer });
    }

    /// <summary>The same for a recipe: its settings, with the model where it is another one then.</summary>
    public IReadOnlyList<string> Settings(Screen screen, ParseResult arguments, string model, ModelFileOptions? files, IReadOnlyList<string> settings)
    {
        var (found, read) = Fetch(screen, arguments, model, files);
        if (found != model) settings = [.. settings, $"model='{found}'"];
        return read?.Tokenizer == files?.Tokenizer ? settings : [.. settings, $"model_file.tokenizer='{read!.Tokenizer}'"];
    }

    /// <summary>Fetches, and tells of it.</summary>
    public static FetchedModel Fetch(Screen screen, HubOptions hub, string model, ModelFileOptions? files, bool update)
    {
        using var interrupt = new Interrupt(screen, "stopping; what is downloaded is kept, and the same command goes on with the rest");
        try
        {
            return FetchModel.Run(model, hub, files, update, new Lines(screen), interrupt.Token);
        }
        finally
        {
            screen.EndLive();
        }
    }

    /// <summary>Notes as they come, beside the results, and one live line on a terminal.</summary>
    private sealed class Lines(Screen screen) : IProgress<HubProgress>
    {
        public void Report(HubProgress value)
        {
            if (value.Note is { } note)
            {
                screen.EndLive();
                screen.Error.WriteLine(" " + note);
            }
            else if (screen.IsTerminal && value.All > 0)
            {
                var text = $"{Words.Size(value.Done)} of {Words.Size(value.All)}   {value.File}";
                screen.Live($" {Words.Bar(value.Done, value.All, screen.LiveWidth - text.Length - 1)}{text}");
            }
        }
    }
}
