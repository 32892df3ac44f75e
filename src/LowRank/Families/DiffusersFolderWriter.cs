using LowRank.Foundation;

namespace LowRank.Families;

/// <summary>Writes a model as a folder in the layout of diffusers, tensor by tensor.</summary>
internal static class DiffusersFolderWriter
{
    /// <summary>Writes the folder: index, configurations, scheduler, tokenizers, weights.</summary>
    /// <param name="from">The model.</param>
    /// <param name="target">Whole or absent.</param>
    /// <param name="type">Element type of all weights; null: every tensor keeps its own.</param>
    /// <param name="progress">Hears how many tensors of how many are written.</param>
    /// <param name="cancellation">Stops between tensors.</param>
    /// <returns>How many tensors were written.</returns>
    /// <exception cref="CheckpointException">A part is missing, weights that do not fit, numbers that the type does not hold, or a folder that cannot be written.</exception>
    public static int Write(ModelFiles from, string target, StoredType? type, Action<int, int> progress, CancellationToken cancellation)
    {
        var parts = from.Named.Where(part => ModelCheck.HasNetwork(part.Class)).ToList();
        foreach (var tokenizer in from.Named.Where(part => part.Name.StartsWith("tokenizer", StringComparison.Ordinal))) from.OpenTokenizer(tokenizer.Name);   // before anything is written
        var opened = new List<(string Name, string Class, PartWeights Weights)>();
        try
        {
            foreach (var (name, kind) in parts) opened.Add((name, kind, PartWeights.Open(from, name)));
            var (done, all) = (0, opened.Sum(part => part.Weights.Keys.Count));
            WholeFolder.Write(target, folder =>
            {
                from.CopyIndexTo(folder, null);
                foreach (var name in from.PartNames) from.CopyTo(name, Path.Combine(folder, name), weights: !parts.Exists(part => part.Name == name));
                foreach (var (name, kind, weights) in opened)
                {
                    var file = Path.Combine(folder, name, kind.StartsWith("CLIP", StringComparison.Ordinal) ? WeighedPart.TransformersFile : WeighedPart.DiffusersFile);
                    SafetensorsWriter.Write(file, [.. weights.Keys.Select(key => Streamed(weights, key))], [new("format", "pt")], workers: 1, cancellation);   // transformers reads no file without it
                }
            });
            return all;

            StreamedTensor Streamed(PartWeights weights, string key)
            {
                var stored = type ?? weights.TypeOf(key);
                var tensor = weights.TypeOf(key) == stored ? weights.Copy(key, key) : StreamedTensor.Made(key, stored, weights.ShapeOf(key), () => weights.Read(key, stored));
                return tensor with
                {
                    Visit = visit =>
                    {
                        tensor.Visit(visit);
                        progress(++done, all);
                    },
                };
            }
        }
        finally
        {
            foreach (var (_, _, weights) in opened) weights.Dispose();
        }
    }
}
