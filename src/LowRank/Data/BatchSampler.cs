using LowRank.Foundation;
using static TorchSharp.torch;

namespace LowRank.Data;

/// <summary>Where a sampler stands: enough to go on with the very same draws.</summary>
/// <param name="Epoch">From 1; 0 before the first batch.</param>
/// <param name="Position">Batches drawn of this epoch.</param>
/// <param name="Drawn">Batches drawn in all.</param>
/// <param name="EpochStart">State of the stream <c>shuffle</c> before this epoch's order was drawn.</param>
/// <param name="Crop">State of the stream <c>crop</c>.</param>
/// <param name="Caption">State of the stream <c>caption</c>.</param>
internal sealed record SamplerState(int Epoch, int Position, long Drawn, byte[] EpochStart, byte[] Crop, byte[] Caption);

/// <summary>How micro-batches are drawn.</summary>
internal sealed record SamplerOptions
{
    /// <summary>Pictures in a micro-batch; 1 or more.</summary>
    public required int BatchSize { get; init; }

    /// <summary>Micro-batches to a step; 1 or more. Only tells captions which step they are used in.</summary>
    public int Accumulation { get; init; } = 1;

    /// <summary>Whether each batch is half pictures to learn, half prior ones; <see cref="BatchSize"/> is even then, and every bucket has prior pictures.</summary>
    public bool PairPriors { get; init; }

    /// <summary>Steps of the run; only for caption warm-up given as a share.</summary>
    public required int MaxSteps { get; init; }
}

/// <summary>
/// Draws micro-batches without end. An epoch uses every picture as often as it is repeated, in an order drawn from the stream <c>shuffle</c>; a batch never mixes buckets,
/// so the last one of a bucket may be smaller. Cuts and mirroring come from the stream <c>crop</c>, captions from <c>caption</c>; all on the calling thread,
/// so results do not depend on how fast files are read.
/// </summary>
internal sealed class BatchSampler
{
    private readonly IReadOnlyList<TrainingImage> images;
    private readonly SamplerOptions options;
    private readonly RandomStreams streams;
    private readonly StreamDraws cropDraws;
    private readonly StreamDraws captionDraws;
    private IReadOnlyList<int[]> order = [];
    private byte[] epochStart;
    private int epoch;
    private int position;
    private long drawn;

    /// <summary>A sampler at the start of the first epoch.</summary>
    /// <param name="images">At least one.</param>
    /// <param name="options">Sizes.</param>
    /// <param name="streams">The run's streams; not disposed here.</param>
    public BatchSampler(IReadOnlyList<TrainingImage> images, SamplerOptions options, RandomStreams streams)
    {
        (this.images, this.options, this.streams) = (images, options, streams);
        cropDraws = new StreamDraws(streams["crop"]);
        captionDraws = new StreamDraws(streams["caption"]);
        epochStart = StateOf("shuffle");
        var (counted, size) = options.PairPriors ? (images.Where(image => !image.Options.Prior), options.BatchSize / 2) : (images, options.BatchSize);
        BatchesPerEpoch = counted.GroupBy(image => image.Choice.Bucket).Sum(bucket => (bucket.Sum(image => image.Repeats) + size - 1) / size);
    }

    /// <summary>Micro-batches in every epoch.</summary>
    public int BatchesPerEpoch { get; }

    /// <summary>The next micro-batch, with every random decision made.</summary>
    public PlannedBatch Next()
    {
        if (position == order.Count) StartEpoch();
        var moment = new CaptionMoment(epoch, (int)(drawn / options.Accumulation), options.MaxSteps);
        var samples = Array.ConvertAll(order[position], index => Draw(images[index], moment));
        position++;
        drawn++;
        return new PlannedBatch(samples, Save());
    }

    /// <summary>Where the sampler stands.</summary>
    public SamplerState Save() => new(epoch, position, drawn, epochStart, StateOf("crop"), StateOf("caption"));

    /// <summary>Goes on where another sampler over the same pictures stood.</summary>
    public void Restore(SamplerState state)
    {
        SetState("shuffle", state.EpochStart);
        SetState("crop", state.Crop);
        SetState("caption", state.Caption);
        (epoch, position, drawn, order) = (state.Epoch - 1, 0, state.Drawn, []);
        if (state.Epoch == 0)
        {
            (epoch, epochStart) = (0, state.EpochStart);
            return;
        }
        StartEpoch();
        position = state.Position;
    }

    private void StartEpoch()
    {
        epochStart = StateOf("shuffle");
        order = DrawOrder(new StreamDraws(streams["shuffle"]));
        epoch++;
        position = 0;
    }

    /// <summary>Indices of pictures, batch by batch: shuffled within buckets, then the batches of all buckets among each other.</summary>
    private IReadOnlyList<int[]> DrawOrder(StreamDraws draws)
    {
        var uses = images.SelectMany((image, index) => Enumerable.Repeat(index, image.Repeats)).ToArray();
        var batches = draws.Permutation(uses.Length).Select(at => uses[at])
            .GroupBy(index => images[index].Choice.Bucket)
            .OrderBy(bucket => bucket.Key.Width).ThenBy(bucket => bucket.Key.Height)
            .SelectMany(bucket => options.PairPriors ? Paired([.. bucket]) : bucket.Chunk(options.BatchSize))
            .ToList();
        return [.. draws.Permutation(batches.Count).Select(at => batches[at])];
    }

    /// <summary>Batches of one bucket that hold as many prior pictures, behind, as others; prior pictures go round.</summary>
    private IEnumerable<int[]> Paired(int[] bucket)
    {
        var priors = Array.FindAll(bucket, index => images[index].Options.Prior);
        var next = 0;
        return Array.FindAll(bucket, index => !images[index].Options.Prior).Chunk(options.BatchSize / 2)
            .Select(chunk => (int[])[.. chunk, .. chunk.Select(_ => priors[next++ % priors.Length])]);
    }

    private Sample Draw(TrainingImage image, CaptionMoment moment)
    {
        var flip = image.Options.Flip && cropDraws.Uniform() < 0.5;
        var placement = image.Centre(flip);
        if (image.Options.Crop == CropMode.Random)
        {
            var (resized, size) = (placement.Resized, placement.Size);
            placement = placement with { Left = cropDraws.Choice(resized.Width - size.Width + 1), Top = cropDraws.Choice(resized.Height - size.Height + 1) };
        }
        return new Sample(image, placement, Captions.Draw(image.Caption, image.Options.CaptionRules, moment, captionDraws));
    }

    private byte[] StateOf(string stream)
    {
        using var state = streams[stream].get_state();
        return state.data<byte>().ToArray();
    }

    private void SetState(string stream, byte[] bytes)
    {
        using var state = tensor(bytes);
        streams[stream].set_state(state);
    }
}
