using LowRank.Data;
using LowRank.Diffusion;
using LowRank.Foundation;
using LowRank.Training;
using static TorchSharp.torch;

namespace LowRank.Recipes;

/// <summary>What one forward pass of training receives. The tensors belong to the dispose scope they were made in.</summary>
/// <param name="Plan">The samples, and where the sampler stood.</param>
/// <param name="Latents">(B, C, h, w) float32, scaled.</param>
/// <param name="Conditioning">For B pictures, sizes included.</param>
/// <param name="Masks">(B, 2, h, w) float32, as <see cref="BatchExtras.Masks"/>; null where no masks weigh the loss.</param>
/// <param name="Beside">(B, 1 + C, h, w) float32, as <see cref="BatchExtras.Beside"/>; null where nothing is inpainted.</param>
internal sealed record EncodedBatch(PlannedBatch Plan, Tensor Latents, Conditioning Conditioning, Tensor? Masks, Tensor? Beside)
{
    /// <summary>As <see cref="BatchExtras.TeacherConditioning"/>; null where no other text is asked for.</summary>
    public Conditioning? Teacher { get; init; }

    public IEnumerable<DataSetOptions> Sets => Plan.Samples.Select(sample => sample.Image.Options);

    public IReadOnlyList<string> Names => [.. Plan.Samples.Select(sample => sample.Image.Path)];
}

/// <summary>How the holes of an inpainting training are made.</summary>
/// <param name="Drawn">Draws them; null where the masks of the data are the holes.</param>
internal sealed record HoleMaking(RandomHoles? Drawn)
{
    /// <summary>As the recipe says; null where it trains no inpainting.</summary>
    public static HoleMaking? Of(IRunOptions options, RandomStreams streams) => options.Inpainting is not { } inpainting ? null
        : new HoleMaking(inpainting.Holes == HoleSource.Random ? new RandomHoles(inpainting, new StreamDraws(streams["inpainting"])) : null);
}

/// <summary>
/// Latents and text states of the training data. What is the same in every use is encoded once, before training, each picture and text by itself so
/// that its numbers depend on nothing else; then autoencoder and text encoders are let go. Pictures that are cut at random, and captions whose
/// tags or words change, are encoded in their step; so are all captions while text encoders learn, and what drawn holes leave of pictures.
/// Latents are the posterior's mean.
/// </summary>
/// <param name="family">The model; stays the caller's.</param>
/// <param name="data">The pictures.</param>
/// <param name="cache">Keeps what is encoded ahead; stays the caller's.</param>
/// <param name="model">Names the weights of autoencoder and text encoders.</param>
/// <param name="texts">How captions are encoded, and whether their encoders learn.</param>
/// <param name="events">Hears of captions that are too long and of progress.</param>
internal sealed class EncodedData(IDiffusionFamily family, TrainingData data, LatentCache cache, ModelIdentity model, TextUse texts, IProgress<TrainingEvent> events) : IDisposable
{
    private const string LatentsName = "latents", MasksName = "masks", BesideName = "beside";

    private readonly bool cutAtRandom = data.Images.Any(image => image.Options.Crop == CropMode.Random);
    private readonly IReadOnlyList<string>? ahead = texts.AreTrained ? null : EveryText(data, texts.Teacher);
    private BatchLoader? loader;

    /// <summary>Pictures that are only measured, each in its one use.</summary>
    public IReadOnlyList<Sample> HeldOut { get; } = [.. data.HeldOut.Select(image => image.Settled())];

    /// <summary>How holes are made for a denoiser that inpaints; null for others.</summary>
    public HoleMaking? Holes { get; init; }

    private RandomHoles? DrawnHoles => Holes?.Drawn;

    private bool MasksAreHoles => Holes is { Drawn: null };

    private bool MasksWeigh => data.HasMasks && !MasksAreHoles;

    /// <summary>Encodes what can be encoded before the first step, and says what of captions is cut.</summary>
    /// <param name="cancellation">Stops between pictures and texts.</param>
    /// <param name="warn">Whether captions that are cut are told of; false where they were before.</param>
    public void EncodeAhead(CancellationToken cancellation, bool warn = true)
    {
        if (warn) WarnOfCutCaptions();
        IReadOnlyList<Sample> samples = [.. cutAtRandom ? [] : data.FixedSamples(), .. HeldOut];
        for (var i = 0; i < samples.Count; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            if (cache.Find(KeyOf(samples[i])) is not null) continue;
            Encode(samples[i]);
            events.Report(new PictureEncoded(i + 1, samples.Count));
        }
        if (!cutAtRandom && DrawnHoles is null) family.Release("vae");
        if (texts.AreTrained) return;
        foreach (var text in (ahead ?? []).Concat(HeldOut.Select(sample => sample.Caption)))
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            if (cache.Find(KeyOf(text)) is null) cache.Add(KeyOf(text), Encode(text));
        }
        if (ahead is null) return;
        foreach (var encoder in family.ComponentNames.Skip(1)) family.Release(encoder);
    }

    /// <summary>Batches as a sampler draws them, read ahead where pictures are still to be read.</summary>
    /// <param name="sampler">Says which.</param>
    /// <param name="textLearns">Whether gradients go back into the text encoders now.</param>
    public Func<EncodedBatch> Batches(BatchSampler sampler, Func<bool> textLearns)
    {
        if (!cutAtRandom && DrawnHoles is null)
        {
            return () =>
            {
                var plan = sampler.Next();
                return With(plan, Kept(plan), textLearns);
            };
        }
        loader?.Dispose();
        loader = new BatchLoader(sampler.Next);
        return () =>
        {
            var batch = loader.Next()!;
            var made = cutAtRandom ? Encode(batch) : Kept(batch.Plan);
            if (DrawnHoles is { } drawn) made[BesideName] = EncodeHoled(drawn.Holed(batch));
            return With(batch.Plan, made, textLearns);
        };
    }

    /// <summary>A held-out picture by itself, its caption by the text encoders as they are now; no gradients go back into them.</summary>
    /// <param name="heldOut">One of <see cref="HeldOut"/>.</param>
    /// <param name="holes">Where holes are drawn: draws this picture's, by the usual rules whatever the recipe says of them.</param>
    public EncodedBatch EncodedAlone(Sample heldOut, IDraws holes)
    {
        var plan = new PlannedBatch([heldOut], null);
        var made = Kept(plan);
        if (DrawnHoles is not null) made[BesideName] = EncodeHoled(new RandomHoles(new InpaintingOptions(), holes).Holed(BatchLoader.Load(plan)));
        return With(plan, made, () => false);
    }

    /// <summary>The latents of one picture that is not cut at random: (1, C, h, w) float32, scaled.</summary>
    public Tensor LatentsOf(Sample sample) => Kept(new PlannedBatch([sample], null))[LatentsName];

    /// <inheritdoc/>
    public void Dispose() => loader?.Dispose();

    /// <summary>One warning for each text, with the first picture that has it.</summary>
    private void WarnOfCutCaptions()
    {
        var told = new HashSet<string>();
        if (texts.Teacher is { } teacher && family.CutText(teacher("")) is { } cutOfTeacher) events.Report(new RunWarning($"loss.teacher_caption is longer than the model's {family.PromptLength} tokens; cut away: {cutOfTeacher}"));
        foreach (var image in data.Images)
        {
            var caption = Captions.Plain(image.Caption, image.Options.CaptionRules);
            if (!told.Add(caption) || family.CutText(caption) is not { } cut) continue;
            events.Report(new RunWarning($"a caption is longer than the model's {family.PromptLength} tokens; cut away: {cut}; of {image.Path}") { OfCaption = true });
        }
    }

    private EncodedBatch With(PlannedBatch plan, Dictionary<string, Tensor> made, Func<bool> textLearns)
    {
        var captions = Condition(plan, [.. plan.Samples.Select(sample => sample.Caption)], textLearns);
        return new EncodedBatch(plan, made[LatentsName], captions, made.GetValueOrDefault(MasksName), made.GetValueOrDefault(BesideName))
        {
            Teacher = texts.Teacher is { } teacher ? Condition(plan, [.. plan.Samples.Select(sample => teacher(sample.Caption))], textLearns) : null,
        };
    }

    /// <summary>A text for each picture, sizes included.</summary>
    private Conditioning Condition(PlannedBatch plan, IReadOnlyList<string> captions, Func<bool> textLearns)
    {
        using var conditioning = texts.AreTrained ? EncodeNow(captions, textLearns())
            : ConditioningEntries.Stack([.. captions.Select(caption => cache.Find(KeyOf(caption)) ?? Encode(caption))]);
        return family.WithSizes(conditioning, [.. plan.Samples.Select(sample => SizesOf(sample.SizeConditioning))]);
    }

    private static SizeCondition SizesOf(long[] six) => new((int)six[0], (int)six[1], (int)six[2], (int)six[3], (int)six[4], (int)six[5]);

    /// <summary>What the cache holds of a batch, by name; what it does not hold any more is made again.</summary>
    private Dictionary<string, Tensor> Kept(PlannedBatch plan)
    {
        var entries = plan.Samples.Select(sample => cache.Find(KeyOf(sample)) ?? Encode(sample)).ToList();
        return entries[0].Keys.ToDictionary(name => name, name => cat([.. entries.Select(entry => entry[name])]));
    }

    private Dictionary<string, Tensor> Encode(Sample sample)
    {
        var made = Encode(BatchLoader.Load(new PlannedBatch([sample], null)));
        cache.Add(KeyOf(sample), made);
        return made;
    }

    /// <summary>What pictures and masks become, by name; masks are there for all or none, all of them white where a picture has none.</summary>
    private Dictionary<string, Tensor> Encode(Batch batch)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var made = new Dictionary<string, Tensor> { [LatentsName] = family.EncodeImages(batch.ToTensor(), null) };
        if (MasksAreHoles) made[BesideName] = EncodeHoled(batch);
        if (MasksWeigh)
        {
            var (height, width) = (made[LatentsName].size(2), made[LatentsName].size(3));
            var masks = batch.MasksToTensor() ?? ones(batch.Samples.Count, 1, height, width);
            made[MasksName] = cat([LossMask.Area(masks, height, width), LossMask.Corner(masks, height, width)], 1);
        }
        foreach (var tensor in made.Values) tensor.MoveToOuterDisposeScope();
        return made;
    }

    /// <summary>Pictures without their holes, which are the masks of the batch, or all of it where it has none: (B, 1 + C, h, w).</summary>
    private Tensor EncodeHoled(Batch holed)
    {
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        var pixels = holed.ToTensor();
        var hole = holed.MasksToTensor() is { } masks ? InpaintingInput.Hole(masks) : ones_like(pixels[.., ..1]);
        return InpaintingInput.Of(family, pixels, hole, null).MoveToOuterDisposeScope();
    }

    private IReadOnlyDictionary<string, Tensor> Encode(string text)
    {
        using var quiet = no_grad();
        using var conditioning = family.EncodePrompts([text], texts.Prompts);
        return ConditioningEntries.Split(conditioning)[0];
    }

    /// <summary>Texts by the text encoders as they are in this step.</summary>
    private Conditioning EncodeNow(IReadOnlyList<string> captions, bool learns)
    {
        using var mode = set_grad_enabled(learns);
        return family.EncodePrompts(captions, texts.Prompts);
    }

    private CacheKey KeyOf(Sample sample) => MasksAreHoles || MasksWeigh
        ? CacheKey.Of(LatentsName, model.Pictures, sample.Key, MasksAreHoles ? BesideName : MasksName, sample.MaskKey)
        : CacheKey.Of(LatentsName, model.Pictures, sample.Key);

    private CacheKey KeyOf(string text) => CacheKey.Of("text", model.Texts, text);

    /// <summary>Every text that training can meet; null when some captions have too many forms to list.</summary>
    private static List<string>? EveryText(TrainingData data, Func<string, string>? teacher)
    {
        var forms = data.Images.Select(image => (image.Caption, Rules: image.Options.CaptionRules)).Distinct().Select(use => Captions.Forms(use.Caption, use.Rules)).ToList();
        if (forms.Exists(form => form is null)) return null;
        var captions = forms.SelectMany(form => form!).ToList();
        return [.. captions.Concat(teacher is null ? [] : captions.Select(teacher)).Distinct()];
    }
}
