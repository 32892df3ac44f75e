using LowRank.Diffusion;
using LowRank.Families;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>A real family whose posterior draws come from a case instead of a generator.</summary>
internal sealed class FedFamily(UnetFamily family, Func<long[], Tensor> draw) : IDiffusionFamily
{
    public string Name => family.Name;
    public string Description => family.Description;
    public string BaseVersion => family.BaseVersion;
    public NoiseSchedule Schedule => family.Schedule;
    public PredictionType PredictionType => family.PredictionType;
    public int LatentFactor => family.LatentFactor;
    public int LatentChannels => family.LatentChannels;
    public int DenoiserChannels => family.DenoiserChannels;
    public int DefaultSize => family.DefaultSize;
    public long ParameterCount => family.ParameterCount;
    public int PromptLength => family.PromptLength;
    public IReadOnlyList<string> ComponentNames => family.ComponentNames;

    /// <summary>Latents of each picture encoded, in order; live as long as the test's scope.</summary>
    public List<Tensor> Encoded { get; } = [];

    public nn.Module Component(string name) => family.Component(name);
    public void Write(string target, ScalarType type, IReadOnlyDictionary<string, string> facts, LatentStatistics? latents = null) => family.Write(target, type, facts, latents);
    public void DrawWeights(string component, Generator generator) => family.DrawWeights(component, generator);
    public void Release(string component) => family.Release(component);

    public void Place(IReadOnlyList<LearnedToken> tokens) => family.Place(tokens);
    public Tensor TokenVectors(string component, string text) => family.TokenVectors(component, text);
    public double MeanTokenNorm(string component) => family.MeanTokenNorm(component);

    public Tensor EncodeImages(Tensor pixels, Generator? posterior)
    {
        using var scope = NewDisposeScope();
        using var latents = family.Pictures.Posterior(pixels);
        var sample = family.Pictures.Model.Scale(latents.Sample(draw(latents.Mean.shape)));
        Encoded.Add(sample.clone().DetachFromDisposeScope());
        return sample.MoveToOuterDisposeScope();
    }

    public Conditioning EncodePrompts(IReadOnlyList<string> prompts, PromptOptions? options = null) => family.EncodePrompts(prompts, options);
    public Conditioning EncodeNoPrompt(PromptOptions? options = null) => family.EncodeNoPrompt(options);
    public Conditioning WithSizes(Conditioning conditioning, IReadOnlyList<SizeCondition> sizes) => family.WithSizes(conditioning, sizes);
    public string? CutText(string prompt) => family.CutText(prompt);
    public Tensor Predict(Tensor latents, Tensor timesteps, Conditioning conditioning) => family.Predict(latents, timesteps, conditioning);
    public Tensor DecodeLatents(Tensor latents) => family.DecodeLatents(latents);

    public Reconstruction Reconstruct(Tensor pixels, Generator posterior) => family.Reconstruct(pixels, posterior);

    public void Dispose()
    {
        foreach (var tensor in Encoded) tensor.Dispose();
    }
}
