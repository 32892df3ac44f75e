using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

/// <summary>A file that cannot be used is refused in the same words by everything that would use it, and nothing is written.</summary>
public sealed class BadAdaptersTests : IDisposable
{
    private const string Model = "icons-64", Path = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
        Q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", K = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k";

    private const string Again = "download or save the adapter again", Kinds = "a LoRA version of the adapter; applying the rest alone would give other pictures", Plain = "a plain LoRA version of the adapter; ignoring them would change the result",
        Other = "a base model of the kind the adapter was made for", NotFinite = "an earlier save of the adapter: the training diverged, or half precision overflowed";

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static Tensor Down(params long[] shape) => Formula.Noise("down", shape.Length > 0 ? shape : [2, 64], 1);

    private static Tensor Up(params long[] shape) => Formula.Noise("up", shape.Length > 0 ? shape : [64, 2], 1);

    /// <summary>A fault: the tensors of one layer, the looks of the file beside a good layer, what is said, and what to try.</summary>
    private sealed record Fault(Func<Dictionary<string, Tensor>> Tensors, string Looks, string[] Lines, string Try);

    /// <summary>Faults that lie in the file, whatever the model.</summary>
    private static readonly Dictionary<string, Fault> Faults = new()
    {
        ["up without down"] = new(() => new() { [$"{Q}.lora_up.weight"] = Up() }, "kohya", [$"{Q}: lora_up without lora_down"], Again),
        ["down without up"] = new(() => new() { [$"{Q}.lora_down.weight"] = Down() }, "kohya", [$"{Q}: lora_down without lora_up"], Again),
        ["halves in two conventions"] = new(() => new() { [$"{Q}.lora_down.weight"] = Down(), [$"{Path}.lora_B.weight"] = Up() }, "kohya and PEFT", [$"{Q}: lora_down without lora_up", $"{Path}: lora_B without lora_A"], Again),
        ["ranks"] = new(() => new() { [$"{Q}.lora_down.weight"] = Down(3, 64), [$"{Q}.lora_up.weight"] = Up() }, "kohya", [$"{Q}: rank 3 in lora_down, 2 in lora_up"], Again),
        ["shape"] = new(() => new() { [$"{Q}.lora_down.weight"] = Down(), [$"{Q}.lora_up.weight"] = Up(1, 64, 2) }, "kohya", [$"{Q}: lora_up has the shape [1,64,2]; (out, rank) or (out, rank, 1, 1) is read"], Again),
        ["unknown kind"] = new(() => new() { [$"{Q}.vera_lambda_b"] = ones(64), [$"{Q}.vera_lambda_d"] = ones(2) }, "kohya", [$"{Q}: unknown parameters: vera_lambda_b, vera_lambda_d"], Plain),
        ["unknown parameter beside factors"] = new(() => new() { [$"{Q}.lora_down.weight"] = Down(), [$"{Q}.lora_up.weight"] = Up(), [$"{Q}.gate"] = ones(1) }, "kohya", [$"{Q}: unknown parameters: gate"], Plain),
        ["kind that is not read"] = new(() => new() { [$"{Path}.oft_R.weight"] = ones(4, 6) }, "kohya and PEFT", [$"{Path}: OFT (oft_R.weight) is not read by this version"], Kinds),
        ["a layer in two conventions"] = new(() => new() { [$"{Q}.lora_down.weight"] = Down(), [$"{Q}.lora_up.weight"] = Up(), [$"{Path}.lora_A.weight"] = Down(), [$"{Path}.lora_B.weight"] = Up() },
            "kohya and PEFT", [$"{Q}: names the same layer as {Path}"], Again),
        ["a layer in two generations"] = new(() => new() { [$"{Path}.lora.down.weight"] = Down(), [$"{Path}.lora.up.weight"] = Up(), [$"{Path}.lora_A.weight"] = Down(), [$"{Path}.lora_B.weight"] = Up() },
            "kohya and diffusers 2023", [$"{Path}: several keys for lora.down: {Path}.lora.down.weight, {Path}.lora_A.weight", $"{Path}: several keys for lora.up: {Path}.lora.up.weight, {Path}.lora_B.weight"], Again),
        ["a factor in two spellings"] = new(() => new() { [$"{Q}.lora_down.weight"] = Down(), [$"{Q}.lora_up.weight"] = Up(), [$"{Q}.lora_A.weight"] = Down() },
            "kohya", [$"{Q}: several keys for lora_down: {Q}.lora_A.weight, {Q}.lora_down.weight"], Again),
        ["integers"] = new(() => new() { [$"{Q}.lora_down.weight"] = Down(), [$"{Q}.lora_up.weight"] = ones(64, 2).to(ScalarType.Int8) }, "kohya", [$"{Q}: lora_up is I8: integers without a scale are no factors"], Again),
        ["alpha that is none"] = new(() => new() { [$"{Q}.lora_down.weight"] = Down(), [$"{Q}.lora_up.weight"] = Up(), [$"{Q}.alpha"] = tensor(float.NaN) }, "kohya", [$"{Q}: not finite: alpha"], NotFinite),
    };

    public static TheoryData<string> Names => [.. Faults.Keys];

    private string Write(Dictionary<string, Tensor> tensors) =>
        MadeAdapter.Write(folder.Path("bad.safetensors"), new(tensors) { [$"{K}.lora_down.weight"] = Down(), [$"{K}.lora_up.weight"] = Up() });

    [Theory, MemberData(nameof(Names))]
    public void A_broken_file_is_refused_in_the_same_words_wherever_it_is_used(string name)
    {
        using var scope = NewDisposeScope();
        var fault = Faults[name];
        var path = Write(fault.Tensors());
        string Message(string model) => $"""
            adapter cannot be used: {fault.Lines.Length} problem{(fault.Lines.Length == 1 ? "" : "s")}
              file    bad.safetensors ({fault.Looks} keys, rank 2)
              model   {model}
              problem {string.Join("\n          ", fault.Lines)}
              try     {fault.Try}
                      `lora inspect bad.safetensors`
            """.ReplaceLineEndings("\n");

        var verified = VerifyAdapter.Run(path, Model);
        Assert.Equal((AdapterVerdict.Unusable, Message("icons-64 (Stable Diffusion 1)")), (verified.Verdict, Assert.Single(verified.Trouble)));
        Assert.Empty(verified.FitsInstead);
        Assert.Equal(Message(Model), Assert.Throws<CheckpointException>(() => MergeAdapters.Run(new() { Model = Model, Adapters = [new(path)], Output = folder.Path("merged") })).Message);
        Assert.Equal(Message("text_encoder, unet"), Assert.Throws<CheckpointException>(() => ConvertAdapter.Run(new() { Input = path, Output = folder.Path("out.safetensors"), To = WrittenConvention.Kohya, Model = Model })).Message);
        Assert.StartsWith("adapter cannot be used: ", Assert.Throws<CheckpointException>(() => Generate.Run(new() { Model = Model, Adapters = [new(path)], Prompt = "a red heart", Output = folder.Path("pictures"), Steps = 1 })).Message, StringComparison.Ordinal);
        Assert.Equal([path], Directory.GetFiles(System.IO.Path.GetDirectoryName(path)!, "*", SearchOption.AllDirectories));

        if (name != "a layer in two conventions") Assert.Equal(fault.Lines, InspectAdapter.Run(path).Trouble.Take(fault.Lines.Length));   // which of the names mean one layer only a model tells
        var doctor = DoctorAdapter.Run(new() { File = path, Model = Model });
        foreach (var line in fault.Lines) Assert.Contains(doctor.Troubles, trouble => trouble.Cure is null && trouble.What.EndsWith(line, StringComparison.Ordinal));
    }

    [Fact]
    public void Conventions_that_are_mixed_are_read_key_by_key_and_told_of()
    {
        using var scope = NewDisposeScope();
        var path = Write(new() { [$"{Path}.lora_A.weight"] = Down(), [$"{Path}.lora_B.weight"] = Up() });
        const string mixed = "conventions are mixed: kohya, PEFT; readers that go by the first key lose the others in silence";
        Assert.Equal([mixed], InspectAdapter.Run(path).Trouble.Where(line => !line.Contains("alpha", StringComparison.Ordinal)));
        var verified = VerifyAdapter.Run(path, Model);
        Assert.Equal((AdapterVerdict.Good, 2), (verified.Verdict, verified.Modules.Values.Sum()));
        Assert.Equal([mixed], verified.Warnings);
    }

    [Fact]
    public void What_fits_no_layer_is_no_healthy_file_of_the_model()
    {
        using var scope = NewDisposeScope();
        const string none = "lora_unet_down_blocks_9_attentions_0_proj_in";
        var path = Write(new() { [$"{none}.lora_down.weight"] = Down(), [$"{none}.lora_up.weight"] = Up(), [$"{Q}.lora_down.weight"] = Down(), [$"{Q}.lora_up.weight"] = Up(63, 2) });
        var trouble = Assert.Single(DoctorAdapter.Run(new() { File = path, Model = Model }).Troubles, trouble => trouble.Cure is null);
        Assert.Equal(($"2 of 3 modules do not fit the model: {Q}: lora_up has 63 output rows, the layer has 64, {none}: the model has no such layer", Other), (trouble.What, trouble.Remains));
    }

    [Fact]
    public void A_file_without_tensors_holds_no_adapter()
    {
        const string nothing = "it holds no factors of any kind that is read";
        var path = MadeAdapter.Write(folder.Path("bad.safetensors"), []);
        Assert.Equal([nothing], InspectAdapter.Run(path).Trouble);
        Assert.Equal([nothing], DoctorAdapter.Run(new() { File = path }).Troubles.Select(trouble => trouble.What));
        Assert.Equal(AdapterVerdict.Unusable, VerifyAdapter.Run(path, Model).Verdict);
    }
}
