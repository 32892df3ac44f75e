using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace LowRank.Cli;

/// <summary>What <c>lora generate</c> attaches to the model: adapters, embeddings, and at which strengths.</summary>
internal sealed class AdapterArguments
{
    public Option<string[]> Adapters { get; } = new("--adapter", "-a") { HelpName = "FILE[=STRENGTH]", Description = "Adapter to attach, FILE or FILE=STRENGTH (1 as trained, 0 not at all), with factors for parts and blocks behind it: FILE=0.8,text_encoder:0.5,blocks:1/0/... May be repeated. icons-line, icons-pixel and icons-tango come with the program, for icons-64." };

    public Option<string?> AdapterFolder { get; } = new("--adapter-folder") { HelpName = "FOLDER", Description = "Where adapters are looked for that the prompt names: <lora:NAME:0.8>." };

    public Option<string[]> Embeddings { get; } = new("--embedding", "-e") { HelpName = "FILE[=TOKEN]", Description = "Embedding file (textual inversion) that the prompt may name, FILE or FILE=TOKEN (what to call it); may be repeated." };

    public Option<string?> EmbeddingFolder { get; } = new("--embedding-folder") { HelpName = "FOLDER", Description = "Where embeddings are looked for that prompts name: by file name, or embedding:NAME." };

    public Option<double[]> Sweep { get; } = new("--sweep") { HelpName = "X,X,...", Description = "Draw every picture at each of these strengths of one adapter, and a sheet of them: 0,0.25,0.5,0.75,1.", CustomParser = Numbers };

    public Option<string?> SweepAdapter { get; } = new("--sweep-adapter") { HelpName = "NAME", Description = "Adapter that --sweep changes: its file name without ending, or its name in the prompt; unset: the first." };

    public Option<bool> AllowUnmatched { get; } = new("--allow-unmatched") { Description = "Attach what fits of an adapter whose other keys find no module, instead of refusing it." };

    /// <summary>Numbers with commas between, in one word.</summary>
    private static double[] Numbers(ArgumentResult result)
    {
        var items = result.Tokens.SelectMany(token => token.Value.Split(',')).ToList();
        var numbers = items.Select(item => double.TryParse(item, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) ? number : (double?)null).ToList();
        if (numbers.IndexOf(null) is var wrong and >= 0) result.AddError($"{items[wrong]}; must be a number");
        return [.. numbers.OfType<double>()];
    }
}
