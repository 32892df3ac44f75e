using LowRank.Adapters;
using LowRank.Adapters.Formats;
using LowRank.Foundation;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>
/// Files of learned tokens in another form: kohya's is that of A1111, ComfyUI and sd-scripts (<c>.safetensors</c> with <c>emb_params</c> or <c>clip_l</c> and
/// <c>clip_g</c>, or A1111's own <c>.pt</c>), diffusers' has the word as key, the package of 2022 keeps several words in one file.
/// </summary>
internal static class ConvertedTokens
{
    /// <summary>Writes all tokens of a file that holds nothing else.</summary>
    /// <returns>What was written and what is not as it was.</returns>
    /// <exception cref="OptionsException">The output's name does not fit, or would replace the input.</exception>
    /// <exception cref="CheckpointException">The form has no place for a token, or its numbers are not finite in the type.</exception>
    public static ConvertReport Convert(ConvertOptions options, AdapterFile file)
    {
        RequireForm(options, file);
        var (changes, rounding) = (new List<string>(), new RoundedTensors());
        StoredType? wanted = options.Precision is { } precision ? AdapterFacts.TypeOf(precision) : null;
        var tokens = file.Embeddings.GroupBy(item => item.Name).Select(group =>
            (Embedding: new Embedding(group.Key, group.ToDictionary(item => item.Component, item => Rows(item, options.To))), Type: wanted ?? StoredAs(group.First()))).ToList();
        var written = options.To == WrittenConvention.Legacy ? [WriteTogether()] : tokens.Select(token => WriteAlone(token.Embedding, token.Type)).ToList();
        if (options.To == WrittenConvention.Kohya) changes.Add($"A1111 and ComfyUI call a token by its file: {string.Join(", ", tokens.Zip(written, (token, path) => $"{token.Embedding.Token} is {Path.GetFileNameWithoutExtension(path)} there"))}");
        if (rounding.Report() is { } report) changes.Add(report);
        return new ConvertReport { Input = options.Input, From = file.Looks(), Convention = options.To, Base = null, Files = written, Changes = changes };

        Tensor Rows(AdapterEmbedding item, WrittenConvention to)
        {
            var values = file.Read(item);
            if (!values.isfinite().all().item<bool>()) throw new CheckpointException($"the embedding {item.Name} has numbers that are not finite; in {file.Path}; take another save of it");
            return rounding.Store(to == WrittenConvention.Diffusers ? values : values.view(-1, values.shape[^1]), (wanted ?? StoredAs(item)).ToScalarType(), item.Name);
        }

        StoredType StoredAs(AdapterEmbedding item) => file.Tensors.First(info => info.Name == item.Key).Type;

        string WriteAlone(Embedding token, StoredType type)
        {
            var isPt = options.Output.EndsWith(".pt", StringComparison.OrdinalIgnoreCase);
            var path = tokens.Count == 1 ? options.Output : $"{Path.ChangeExtension(options.Output, null)}-{EmbeddingWriter.FileName(token.Token)}{Path.GetExtension(options.Output)}";
            Folder(path);
            EmbeddingWriter.Write(path, token, isPt ? EmbeddingFormat.A1111Pt : options.To == WrittenConvention.Diffusers ? EmbeddingFormat.Diffusers : EmbeddingFormat.A1111, type, About(file, tokens.Count == 1, token));
            return path;
        }

        string WriteTogether()
        {
            Folder(options.Output);
            var tensors = tokens.Select(token => KeyValuePair.Create(token.Embedding.Token, token.Embedding.Vectors["text_encoder"].view(-1))).ToList();
            if (options.Output.EndsWith(".pt", StringComparison.OrdinalIgnoreCase)) TorchFileWriter.WriteDictionary(options.Output, tensors);
            else SafetensorsWriter.Write(options.Output, tensors, tokens.ToDictionary(token => token.Embedding.Token, _ => "<embed>"));
            return options.Output;
        }
    }

    private static void Folder(string path) => Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);

    /// <summary>What the source says, and what it is, where its widths tell the base.</summary>
    private static Dictionary<string, string> About(AdapterFile file, bool alone, Embedding token)
    {
        var metadata = alone ? file.Metadata.Where(item => item.Key is not ("format" or AdapterEmbedding.TokenMetadata) && !item.Key.StartsWith("sshs_", StringComparison.Ordinal) && item.Value != "<embed>").ToDictionary() : [];
        var version = token.Vectors.ContainsKey("text_encoder_2") && token.Vectors.Count == 2 ? "sdxl_base_v1-0" : token.Vectors.Count == 1 && token.Vectors.First().Value.shape[^1] == 768 ? "sd_v1" : null;
        if (version is not null && !metadata.ContainsKey("modelspec.architecture")) AdapterMetadata.AddArchitecture(metadata, version, "textual-inversion", token.Token);
        return metadata;
    }

    private static void RequireForm(ConvertOptions options, AdapterFile file)
    {
        var endings = options.To switch
        {
            WrittenConvention.Kohya or WrittenConvention.Legacy => new[] { ".safetensors", ".pt" },
            WrittenConvention.Diffusers => [".safetensors"],
            _ => throw new OptionsException($"a file of learned tokens has no {options.To.InWords()} form: {file.Path}\n  try     --to kohya (A1111, ComfyUI, sd-scripts), --to diffusers, or --to legacy"),
        };
        if (!endings.Any(ending => options.Output.EndsWith(ending, StringComparison.OrdinalIgnoreCase))) throw new OptionsException($"the output must end with {string.Join(" or ", endings)}: {options.Output}\n  try     give it that ending");
        if (Path.GetFullPath(options.Output) == Path.GetFullPath(file.Path)) throw new OptionsException($"the output would replace the input: {options.Output}\n  try     name another file");
        if (options.To != WrittenConvention.Legacy) return;
        var wide = file.Embeddings.Where(item => item.Component != "text_encoder" || (item.Shape.Count == 2 && item.Shape[0] != 1)).Select(item => Invariant($"{item.Name} {Shapes.Show(item.Shape)} for {item.Component}")).ToList();
        if (wide.Count > 0) throw new CheckpointException($"the tokens are not converted: the 2022 package has one vector of one text encoder for each: {AdapterFile.Some(wide)}; in {file.Path}; --to kohya or --to diffusers holds them");
    }
}
