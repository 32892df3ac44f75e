using LowRank.Adapters;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>Writes an adapter file in another convention, with the same change of every weight, and says what is not as it was; a file of learned tokens in another form.</summary>
public static class ConvertAdapter
{
    /// <summary>Reads, converts and writes. The input is never changed; what is written is there whole or not at all.</summary>
    /// <exception cref="OptionsException">The output's name does not fit what is written, or would replace the input or something else.</exception>
    /// <exception cref="CheckpointException">No adapter, one with problems, one that fits no known model or not the named one, or one with modules that the convention cannot hold: they are named.</exception>
    public static ConvertReport Run(ConvertOptions options)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        using var file = AdapterFile.Open(options.Input);
        if (file.Modules.Count == 0 && file.Embeddings.Count > 0) return ConvertedTokens.Convert(options, file);
        AdapterBase? found = null;
        try
        {
            StoredType? type = options.Precision is { } precision ? AdapterFacts.TypeOf(precision) : null;
            var output = ConvertedOutput.For(options, file);
            var conversion = new AdapterConversion(file, options.To, type, options.StripCaptions);
            var adapter = conversion.Run(() => (found = AdapterBase.Find(file, options.Model)).Names, rename: options.Model is not null, output.IsLists);
            return new ConvertReport
            {
                Input = options.Input,
                From = file.Looks(),
                Convention = options.To,
                Base = found?.Title,
                Files = output.Write(adapter, file),
                Changes = adapter.Changes,
            };
        }
        finally
        {
            found?.Dispose();
        }
    }
}
