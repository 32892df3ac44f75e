using System.CommandLine;
using LowRank.Families;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora models</c>: what the cache of the hub holds, and downloads by name.</summary>
internal static class ModelsCommand
{
    public static Command Create(Screen screen)
    {
        var name = new Argument<string?>("NAME") { Arity = ArgumentArity.ZeroOrOne, Description = "A model to download, or to bring up to date: org/name, org/name@revision, org/name/file.safetensors. Without: lists what the cache holds." };
        var variant = new Option<string?>("--variant") { HelpName = "NAME", Description = "Weights of a pipeline: fp16 for model.fp16.safetensors; unset: full precision, else fp16." };
        var command = new Command("models", "Models by name: list those in the cache of the Hugging Face hub, or download one; train, generate and the others do so by themselves.") { name, variant };
        var hub = new HubArguments(command);
        command.SetAction(arguments => arguments.GetValue(name) is { } wanted
            ? Fetch(screen, HubArguments.Fetch(screen, hub.Of(arguments), wanted, arguments.GetValue(variant) is { } kind ? new ModelFileOptions { Variant = kind } : null, update: true))
            : List(screen, hub.Of(arguments)));
        return command;
    }

    private static int Fetch(Screen screen, FetchedModel model)
    {
        screen.Row("model", model.Name);
        screen.Row("place", Words.Place(model.Place));
        screen.Row("received", model.Received == 0 ? "nothing: all was there" : Words.Size(model.Received));
        return CommandLine.Done;
    }

    private static int List(Screen screen, Hub.HubOptions hub)
    {
        var models = ListModels.Run(hub);
        if (models.Count == 0) screen.Row("empty", $"no model is in {hub.Cache}; lora models org/name downloads one");
        foreach (var model in models)
        {
            var revisions = model.Revisions.Count == 0 ? "" : $"   {string.Join(", ", model.Revisions)}";
            screen.Line($" {model.Name}@{model.Commit[..7]}{revisions}   {Words.Size(model.Bytes)}   {(model.Lacking is null ? "whole pipeline" : model.Lacking)}");
        }
        if (models.Count > 0) screen.Row("cache", hub.Cache);
        return CommandLine.Done;
    }
}
