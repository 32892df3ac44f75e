using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>Everything an evaluation found: what evaluation.json holds.</summary>
internal sealed record EvaluationReport
{
    /// <summary>The pictures that the generated ones should be like.</summary>
    public required EvaluatedPictures Real { get; init; }

    /// <summary>The pictures that were measured.</summary>
    public required EvaluatedPictures Generated { get; init; }

    /// <summary>What drew them; null where they came from a folder.</summary>
    public EvaluatedDrawing? Drawing { get; init; }

    /// <summary>What turned pictures into features.</summary>
    public required EvaluatedFeatures Features { get; init; }

    /// <summary>Kernel inception distance.</summary>
    public required EvaluatedKid Kid { get; init; }

    /// <summary>Fréchet inception distance; comparable only between as many pictures of both kinds.</summary>
    public required double Fid { get; init; }

    /// <summary>Precision, recall, density, coverage.</summary>
    public required EvaluatedOverlap Overlap { get; init; }

    /// <summary>Vendi score: how many different pictures there seem to be.</summary>
    public required EvaluatedDiversity Diversity { get; init; }

    /// <summary>What a CLIP model says; null without one.</summary>
    public EvaluatedClip? Clip { get; init; }

    /// <summary>Generated pictures that repeat what was trained on.</summary>
    public required EvaluatedDuplicates Duplicates { get; init; }

    /// <summary>What to know before the numbers are trusted.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>The JSON of evaluation.json: UTF-8, keys in snake_case.</summary>
    public byte[] ToJson() => HubJson.WriteOwn(this);

    /// <summary>Reads an evaluation.json.</summary>
    /// <exception cref="DatasetException">There is none, or it is no evaluation.</exception>
    public static EvaluationReport Read(string path)
    {
        if (!File.Exists(path)) throw new DatasetException($"no such evaluation: {path}\n  try         the evaluation.json in the output folder of an earlier one");
        try
        {
            return HubJson.ReadOwn<EvaluationReport>(path);
        }
        catch (OptionsException problem)
        {
            throw new DatasetException($"not an evaluation of this version: {path}\n  {problem.Message.Split("; in ")[0]}\n  try         the evaluation.json in the output folder of an earlier one, or evaluate those pictures again", problem);
        }
    }
}

/// <summary>One set of pictures.</summary>
/// <param name="Folder">Where they are, as it was given.</param>
/// <param name="Count">How many.</param>
/// <param name="Sha256">Of all their files, in their order; names do not count.</param>
internal sealed record EvaluatedPictures(string Folder, int Count, string Sha256);

/// <summary>What drew pictures.</summary>
/// <param name="Model">The base, as it was given.</param>
/// <param name="Adapters">File names with strengths.</param>
/// <param name="Embeddings">File names with tokens.</param>
/// <param name="Prompts">How many.</param>
/// <param name="Count">Pictures of each.</param>
/// <param name="NegativePrompt">Null: the family's empty prompt.</param>
/// <param name="Sampler">Its name.</param>
/// <param name="Steps">Of the sampler.</param>
/// <param name="Guidance">The scale.</param>
/// <param name="Precision">fp32 or bf16.</param>
/// <param name="FirstSeed">The next ones count up.</param>
internal sealed record EvaluatedDrawing(string Model, IReadOnlyList<string> Adapters, IReadOnlyList<string> Embeddings, int Prompts, int Count, string? NegativePrompt, string Sampler, int Steps, double Guidance, string Precision, long FirstSeed);

/// <summary>A network of features.</summary>
/// <param name="Name">icons, inception-v3 or clip.</param>
/// <param name="Identity">Name, preprocessing and hash of the weights: numbers may be compared only where this is equal.</param>
/// <param name="Dimension">Numbers to a picture.</param>
internal sealed record EvaluatedFeatures(string Name, string Identity, int Dimension);

/// <summary>Kernel inception distance, unbiased: 0 in the mean where both sets are of one kind, and then as often negative as positive.</summary>
/// <param name="Mean">Over the subsets.</param>
/// <param name="Deviation">Population standard deviation over the subsets.</param>
/// <param name="AllPictures">Of all pictures at once.</param>
/// <param name="Subsets">How many.</param>
/// <param name="SubsetSize">Pictures of each set in one.</param>
/// <param name="Seed">Of the subsets.</param>
/// <param name="PerSubset">Each one's value.</param>
internal sealed record EvaluatedKid(double Mean, double Deviation, double AllPictures, int Subsets, int SubsetSize, long Seed, IReadOnlyList<double> PerSubset);

/// <summary>How generated and real pictures overlap; shares of 0 to 1, but for the density.</summary>
/// <param name="Neighbours">How many neighbours reach the edge of a picture's ball.</param>
/// <param name="Precision">Generated pictures inside the real ones.</param>
/// <param name="Recall">Real pictures inside the generated ones.</param>
/// <param name="Density">How crowded with real pictures the places of the generated ones are; 1 is as among the real ones.</param>
/// <param name="Coverage">Real pictures with a generated one near.</param>
internal sealed record EvaluatedOverlap(int Neighbours, double Precision, double Recall, double Density, double Coverage);

/// <summary>Vendi scores.</summary>
/// <param name="Generated">1 to the number of generated pictures.</param>
/// <param name="Real">The same of the real ones, as a yardstick.</param>
internal sealed record EvaluatedDiversity(double Generated, double Real);

/// <summary>What a CLIP model says.</summary>
/// <param name="Identity">Its preprocessing and the hash of its picture encoder's weights.</param>
/// <param name="Cmmd">CLIP maximum mean discrepancy.</param>
/// <param name="ImageAlignment">Mean cosine of generated pictures with the mean of the real ones, as the 2022 package measures it.</param>
/// <param name="Score">CLIP score, 0 to 100; null without captions of the generated pictures.</param>
/// <param name="TextAlignment">The same as a mean cosine, -1 to 1; null likewise.</param>
/// <param name="TextIdentity">How much of a text it reads, and the hash of the text encoder's weights: scores may be compared only where this is equal too; null likewise.</param>
internal sealed record EvaluatedClip(string Identity, double Cmmd, double ImageAlignment, double? Score, double? TextAlignment, string? TextIdentity);

/// <summary>Generated pictures and the training pictures nearest to them, by hashes of 64 bits; mirrored ones count.</summary>
/// <param name="Training">The folder that was searched.</param>
/// <param name="Count">Training pictures.</param>
/// <param name="Sha256">Of their files, as <see cref="EvaluatedPictures.Sha256"/>.</param>
/// <param name="Limit">Up to so many differing bits two pictures are near-duplicates.</param>
/// <param name="Near">Generated pictures with a near-duplicate in training.</param>
/// <param name="NearInTraining">Training pictures with a near-duplicate among the others: what to expect of such pictures.</param>
/// <param name="Distances">How many generated pictures are 0, 1, … 64 bits from the nearest training picture.</param>
/// <param name="DistancesInTraining">The same of the training pictures among themselves.</param>
/// <param name="Pairs">All near-duplicates, and more up to the number that the sheet shows; nearest first.</param>
internal sealed record EvaluatedDuplicates(string Training, int Count, string Sha256, int Limit, int Near, int NearInTraining, IReadOnlyList<int> Distances, IReadOnlyList<int> DistancesInTraining, IReadOnlyList<EvaluatedPair> Pairs);

/// <summary>A generated picture and the nearest one of training.</summary>
/// <param name="Generated">From its folder on.</param>
/// <param name="Training">From its folder on.</param>
/// <param name="Distance">Differing bits: the larger of two hashes.</param>
/// <param name="Mirrored">Whether it is the mirrored picture that is near.</param>
internal sealed record EvaluatedPair(string Generated, string Training, int Distance, bool Mirrored);
