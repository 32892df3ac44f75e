using LowRank.Adapters;
using LowRank.Foundation;
using LowRank.Recipes;
using LowRank.Testing;
using static LowRank.Tests.Recipes.AdapterSamples;
using static TorchSharp.torch;

namespace LowRank.Tests.Recipes;

public sealed class CombineAdaptersTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly AdapterSamples samples;

    public CombineAdaptersTests() => samples = new(folder);

    private string Output => folder.Path("out.safetensors");

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(CombineMethod.Concat, 1.0, 1.0)]
    [InlineData(CombineMethod.Concat, 0.8, -0.5)]
    [InlineData(CombineMethod.Concat, -1.25, 3.0)]
    [InlineData(CombineMethod.Linear, 0.8, -0.5)]
    public void A_sum_is_exact_in_float32_whatever_conventions_ranks_and_alphas(CombineMethod method, double first, double second)
    {
        using var scope = NewDisposeScope();
        string[] files = [samples.Kohya("a", 3, 1.5, Key, Query, Convolution), samples.Peft("b", 5, Query, Convolution)];
        var result = Combine(new() { Inputs = [new(files[0], first), new(files[1], second)], Output = Output, Method = method });
        var (wanted, found) = (Sum((files[0], first), (files[1], second)), Deltas(Output));
        Assert.Equal(wanted.Keys.Order(), found.Keys.Order());
        foreach (var (layer, delta) in found) Assert.InRange(Distance(delta, wanted[layer]), 0, 1e-6);
        Assert.Equal([8, 8, 3], result.Modules.OrderBy(module => module.Module.EndsWith("to_k", StringComparison.Ordinal)).Select(module => module.Rank));
        Assert.Equal("Stable Diffusion 1", result.Base);
    }

    [Fact]
    public void Concat_writes_the_factors_beside_each_other_with_the_sum_of_ranks_as_alpha()
    {
        using var scope = NewDisposeScope();
        Combine(new() { Inputs = [new(samples.Kohya("a", 3, 1.5, Query), 2), new(samples.Kohya("b", 2, null, Query), -1)], Output = Output });
        using var file = SafetensorsReader.Open(Output);
        Assert.Equal(5f, file.Read(Flat(Query) + ".alpha").item<float>());
        TensorAssert.Close(cat([Down("a", Query, 3), Down("b", Query, 2)]), file.Read(Flat(Query) + ".lora_down.weight"), 0, 0);
        TensorAssert.Close(cat([Up("a", Query, 3).Times(1.5 / 3 * 2), Up("b", Query, 2).neg()], 1), file.Read(Flat(Query) + ".lora_up.weight"), 0, 0);
        Assert.Equal("combine: concat of a × 2 + b × -1", file.Metadata["lowrank.options"]);
    }

    [Fact]
    public void A_weight_of_0_leaves_an_adapter_out_and_its_opposite_takes_it_away()
    {
        using var scope = NewDisposeScope();
        var (a, b) = (samples.Kohya("a", 3, 3, Query), samples.Kohya("b", 2, 2, Query, Key));
        var result = Combine(new() { Inputs = [new(a, 1), new(b, 0)], Output = Output });
        Assert.Equal(["unet." + Query], result.Modules.Select(module => module.Module));
        Assert.InRange(Distance(Deltas(Output)[Query], Deltas(a)[Query]), 0, 1e-7);

        result = Combine(new() { Inputs = [new(a, 1), new(b, 1), new(a, -1)], Output = Output, Method = CombineMethod.Linear });
        Assert.All(result.Modules, module => Assert.Equal(2, module.Rank));   // what goes to nothing needs no ranks
        Assert.InRange(Distance(Deltas(Output)[Query], Deltas(b)[Query]), 0, 1e-5);
    }

    [Fact]
    public void Svd_at_full_rank_is_exact_and_below_it_says_the_error_that_is_there()
    {
        using var scope = NewDisposeScope();
        string[] files = [samples.Kohya("a", 4, 2, Query, Convolution), samples.Peft("b", 4, Query, Convolution)];
        var (inputs, wanted) = (new AdapterUse[] { new(files[0], 0.7), new(files[1], -1.5) }, Sum((files[0], 0.7), (files[1], -1.5)));
        Combine(new() { Inputs = inputs, Output = Output, Method = CombineMethod.Svd, Rank = 8 });
        foreach (var (layer, delta) in Deltas(Output)) Assert.InRange(Distance(delta, wanted[layer]), 0, 1e-6);

        foreach (var precision in new[] { SavePrecision.Fp32, SavePrecision.Fp16, SavePrecision.Bf16 })
        {
            var result = Combine(new() { Inputs = inputs, Output = Output, Method = CombineMethod.Svd, Rank = 5, Precision = precision });
            var (square, whole) = (0.0, 0.0);
            foreach (var (layer, delta) in Deltas(Output))
            {
                var module = result.Modules.Single(module => module.Module == "unet." + layer);
                Assert.Equal(Distance(delta, wanted[layer]), module.Error, 1e-6);
                Assert.Equal(1 - module.Error * module.Error, module.Energy, 1e-4);
                square += Math.Pow(delta.sub(wanted[layer]).norm().item<double>(), 2);
                whole += Math.Pow(wanted[layer].norm().item<double>(), 2);
            }
            Assert.Equal(Math.Sqrt(square / whole), result.Error, 1e-6);
        }
    }

    [Theory]
    [InlineData(0.5)]
    [InlineData(0.1)]
    public void An_error_is_kept_by_the_least_rank_that_keeps_it(double error)
    {
        using var scope = NewDisposeScope();
        var inputs = new AdapterUse[] { new(samples.Kohya("a", 6, 6, Query)), new(samples.Kohya("b", 6, 6, Query)) };
        var module = Combine(new() { Inputs = inputs, Output = Output, Method = CombineMethod.Svd, Error = error }).Modules.Single();
        Assert.InRange(module.Error, 0, error);
        var less = Combine(new() { Inputs = inputs, Output = Output, Method = CombineMethod.Svd, Rank = module.Rank - 1 }).Modules.Single();
        Assert.True(less.Error > error);
    }

    [Fact]
    public void What_is_no_product_enters_a_sum_by_its_change_and_is_refused_by_name_where_factors_are_put_together()
    {
        using var scope = NewDisposeScope();
        var (lora, loha) = (samples.Kohya("a", 2, 2, Query), samples.Loha("b", 2, Query));
        Combine(new() { Inputs = [new(lora, 0.5), new(loha, 2)], Output = Output, Method = CombineMethod.Svd, Rank = 6 });   // a LoHa of rank 2 has rank 4
        Assert.InRange(Distance(Deltas(Output)[Query], Sum((lora, 0.5), (loha, 2))[Query]), 0, 1e-5);
        var error = Assert.Throws<CheckpointException>(() => Combine(new() { Inputs = [new(lora), new(loha)], Output = folder.Path("never.safetensors") }));
        Assert.Equal($"{Flat(Query)}: LoHa has no down and up to put beside others; in {loha}; a method that works on what they change: svd, linear, ties, dare or magnitude without --factors", error.Message);
        Assert.False(File.Exists(folder.Path("never.safetensors")));
    }

    [Fact]
    public void A_full_difference_enters_by_itself_and_what_is_no_matrix_is_refused_by_name()
    {
        using var scope = NewDisposeScope();
        var difference = Formula.Noise("difference", [320, 320], 1, 0.01);
        var (lora, full) = (samples.Kohya("a", 2, 2, Query), samples.Write("full.safetensors", [(Flat(Query) + ".diff", difference)]));
        Combine(new() { Inputs = [new(lora), new(full, -2)], Output = Output, Method = CombineMethod.Linear });
        Assert.InRange(Distance(Deltas(Output)[Query], Deltas(lora)[Query].Plus(difference.to(ScalarType.Float64), -2)), 0, 1e-5);

        var biased = samples.Write("biased.safetensors", [(Flat(Query) + ".diff", difference), (Flat(Query) + ".diff_b", ones(320))]);
        var norm = samples.Write("norm.safetensors", [("lora_unet_down_blocks_0_resnets_0_norm1.w_norm", ones(320)), ("lora_unet_down_blocks_0_resnets_0_norm1.b_norm", ones(320))]);
        foreach (var (file, module) in new[] { (biased, Flat(Query)), (norm, "lora_unet_down_blocks_0_resnets_0_norm1") })
        {
            using var opened = AdapterFile.Open(file);
            var error = Assert.Throws<CheckpointException>(() => Combine(new() { Inputs = [new(lora), new(file)], Output = folder.Path("never.safetensors"), Method = CombineMethod.Linear }));
            Assert.Equal($"{module}: {opened.Modules.Single().Kind!.Name} cannot be combined; in {file}; LoRA, DoRA, LoHa, LoKr and full differences of weights can; not biases and norms", error.Message);
        }
        Assert.False(File.Exists(folder.Path("never.safetensors")));
    }

    [Fact]
    public void A_DoRA_needs_its_base_and_enters_by_what_it_changes_there()
    {
        using var scope = NewDisposeScope();
        const string layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
        using var weights = LowRank.Families.ModelWeights.Open("icons-64");
        var weight = weights.Map("unet", layer + ".weight").to(ScalarType.Float32);
        var (down, up) = (Formula.Noise("down", [2, weight.shape[1]], 1, 0.1), Formula.Noise("up", [weight.shape[0], 2], 1, 0.1));
        var magnitude = weight.norm(1, keepdim: true).Times(1.1);
        var dora = samples.Write("dora.safetensors", [($"unet.{layer}.lora_A.weight", down), ($"unet.{layer}.lora_B.weight", up), ($"unet.{layer}.lora_magnitude_vector", magnitude.squeeze(1))]);
        var options = new CombineOptions { Inputs = [new(dora, 0.5)], Output = Output, Method = CombineMethod.Linear };
        Assert.Equal($"unet.{layer}: DoRA changes a layer by the base's own weights; in {dora}; name the base with --model", Assert.Throws<CheckpointException>(() => Combine(options)).Message);

        Combine(options with { Model = "icons-64" });
        var direction = weight.Plus(up.mm(down));
        var wanted = direction.mul(magnitude).div(direction.norm(1, keepdim: true)).sub(weight).Times(0.5);
        Assert.InRange(Distance(Deltas(Output, "icons-64")[layer], wanted.to(ScalarType.Float64)), 0, 1e-5);
    }

    [Fact]
    public void The_base_is_the_one_that_fits_all_files()
    {
        var text = samples.Write("text.safetensors", [("lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight", ones(1, 768)), ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight", ones(768, 1))]);
        var xl = samples.Write("xl.safetensors", [("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight", ones(1, 2048)), ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_up.weight", ones(640, 1))]);
        Assert.Equal("Stable Diffusion XL", Combine(new() { Inputs = [new(text), new(xl)], Output = Output }).Base);
        Assert.Equal("Stable Diffusion 1", Combine(new() { Inputs = [new(text), new(samples.Kohya("a", 1, 1, Key))], Output = Output }).Base);
    }

    [Fact]
    public void Adapters_for_different_bases_are_refused()
    {
        var two = samples.Write("two.safetensors", [(Flat(Key) + ".lora_down.weight", ones(1, 1024)), (Flat(Key) + ".lora_up.weight", ones(320, 1))]);
        var error = Assert.Throws<CheckpointException>(() => Combine(new() { Inputs = [new(samples.Kohya("a", 1, 1, Key)), new(two)], Output = Output }));
        Assert.Equal($"""
            adapter does not fit this model: 1 of 1 module of other shapes; it was made for another base: its cross-attention takes text of width 1024, this model's 768 (768 is Stable Diffusion 1, 1024 is 2, 2048 is XL)
              file    two.safetensors (kohya keys, rank 1; made for Stable Diffusion 2: its cross-attention takes text of width 1024)
              model   Stable Diffusion 1
              shapes  {Flat(Key)}: lora_down has 1024 input columns, the layer has 768
              try     a base model of the kind the adapter was made for
                      `lora inspect two.safetensors`
            """, error.Message, ignoreLineEndingDifferences: true);
    }

    [Fact]
    public void Tokens_of_all_are_kept_and_clashing_names_get_those_of_the_2022_join()
    {
        using var scope = NewDisposeScope();
        var (one, two, three) = (Formula.Noise("one", [768], 1), Formula.Noise("two", [768], 1), Formula.Noise("three", [2, 768], 1));
        (string, Tensor)[] factors = [(Flat(Query) + ".lora_down.weight", Down("x", Query, 1)), (Flat(Query) + ".lora_up.weight", Up("x", Query, 1))];
        var a = samples.Write("a.safetensors", [.. factors, ("<s1>", one), ("<same>", two)]);
        var b = samples.Write("b.safetensors", [.. factors, ("<a>", three), ("<s1>", two), ("<same>", two)]);
        var result = Combine(new() { Inputs = [new(a), new(b)], Output = Output });
        Assert.Equal(["<s0-0>", "<same>", "<a>", "<s1-1>"], result.Tokens);
        Assert.Equal(
        [
            "the token <s1> of a.safetensors is called <s0-0> now: other files mean other vectors by that name",
            "the token <s1> of b.safetensors is called <s1-1> now: other files mean other vectors by that name",
        ], result.Notes);
        var tokens = Embedding.Read(Output).ToDictionary(token => token.Token, token => token.Vectors["text_encoder"]);
        foreach (var (name, vectors) in new[] { ("<s0-0>", one), ("<same>", two), ("<a>", three), ("<s1-1>", two) }) TensorAssert.Close(vectors.view(-1, 768), tokens[name], 0, 0);
    }

    [Fact]
    public void The_type_of_the_file_is_the_widest_of_the_inputs_and_alpha_is_a_number_it_has()
    {
        using var scope = NewDisposeScope();
        string Of(string name, ScalarType type, int rank) => samples.Kohya(name, rank, rank, type, Query);
        StoredType TypeOf(params string[] files)
        {
            Combine(new() { Inputs = [.. files.Select(file => new AdapterUse(file))], Output = Output });
            using var file = SafetensorsReader.Open(Output);
            return file.Tensors.Values.Select(info => info.Type).Distinct().Single();
        }
        var (half, brain, single) = (Of("half", ScalarType.Float16, 1), Of("brain", ScalarType.BFloat16, 300), Of("single", ScalarType.Float32, 1));
        Assert.Equal(StoredType.F16, TypeOf(half, half));
        Assert.Equal(StoredType.F32, TypeOf(half, single));
        Assert.Equal(StoredType.F32, TypeOf(half, brain));
        Assert.Equal(StoredType.BF16, TypeOf(brain, Of("odd", ScalarType.BFloat16, 1)));   // 301 ranks: bfloat16 has 300 and 302
        using var file = AdapterFile.Open(Output);
        var module = Assert.Single(file.Modules);
        Assert.Equal((301, 300.0), (module.Rank, module.Alpha!.Value));
        Assert.InRange(Distance(Deltas(Output)[Query], Sum((brain, 1), (folder.Path("odd"), 1))[Query]), 0, 4e-3);
    }

    [Fact]
    public void DARE_draws_the_same_numbers_from_the_same_seed()
    {
        var inputs = new AdapterUse[] { new(samples.Kohya("a", 2, 2, Query)), new(samples.Kohya("b", 2, 2, Query, Key)) };
        byte[] Draw(long seed)
        {
            Combine(new() { Inputs = inputs, Output = Output, Method = CombineMethod.Dare, Density = 0.7, Rank = 4, Seed = seed });
            return File.ReadAllBytes(Output);
        }
        var first = Draw(1);
        Assert.Equal(first, Draw(1));
        Assert.NotEqual(first, Draw(2));
    }

    [Theory]
    [InlineData(CombineMethod.Concat)]
    [InlineData(CombineMethod.Linear)]
    public void Numbers_that_are_none_are_refused(CombineMethod method)
    {
        using var scope = NewDisposeScope();
        var up = Up("x", Query, 1);
        up[3, 0] = tensor(float.NaN);
        var bad = samples.Write("bad.safetensors", [(Flat(Query) + ".lora_down.weight", Down("x", Query, 1)), (Flat(Query) + ".lora_up.weight", up)]);
        var error = Assert.Throws<CheckpointException>(() => Combine(new() { Inputs = [new(samples.Kohya("a", 1, 1, Query)), new(bad)], Output = Output, Method = method }));
        Assert.StartsWith("adapter cannot be used: 1 module not finite\n  file    bad.safetensors", error.Message, StringComparison.Ordinal);
        Assert.Contains($"module  {Flat(Query)}: not finite: 1 NaN in lora_up", error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(Output));
    }

    [Fact]
    public void A_result_that_changes_nothing_is_told_of()
    {
        using var scope = NewDisposeScope();
        var (a, b) = (samples.Kohya("a", 3, 3, Query), samples.Kohya("b", 2, 2, Query));
        string[] told = ["changes nothing: all that was left is 0"];
        Assert.Equal(told, Combine(new() { Inputs = [new(a), new(b)], Output = Output, Method = CombineMethod.Ties, Density = 1e-9, Rank = 2 }).Notes);
        Assert.Empty(Combine(new() { Inputs = [new(a), new(b)], Output = Output, Method = CombineMethod.Ties, Density = 0.5, Rank = 2 }).Notes);
    }

    [Fact]
    public void Ranks_that_differ_are_refused_where_factors_are_merged()
    {
        var a = samples.Kohya("a.safetensors", 1, 1, Query);
        var error = Assert.Throws<CheckpointException>(() => Combine(new() { Inputs = [new(a), new(samples.Kohya("b.safetensors", 2, 2, Query))], Output = Output, Method = CombineMethod.Ties, Factors = true }));
        Assert.Equal($"{Flat(Query)}: ranks differ: 1 in a.safetensors, 2 in b.safetensors; in {a}; factors of one rank are merged; leave --factors away to merge what they change", error.Message);
    }

    [Fact]
    public void An_output_that_is_an_input_is_refused_whatever_it_is_called()
    {
        var a = samples.Kohya("a.safetensors", 1, 1, Query);
        var before = File.ReadAllBytes(a);
        File.CreateSymbolicLink(folder.Path("link.safetensors"), a);
        foreach (var output in new[] { a, Path.Combine(folder.Path("."), "a.safetensors"), folder.Path("link.safetensors") })
        {
            Assert.Equal($"the output would overwrite an input; {a}; give another name: inputs are never changed", Assert.Throws<OptionsException>(() => Combine(new() { Inputs = [new(a, 2)], Output = output })).Message);
        }
        Assert.Equal(before, File.ReadAllBytes(a));
    }

    [Fact]
    public void Options_that_contradict_each_other_are_all_told_of() => Assert.Equal("""
        7 problems in the options

        inputs   every weight is 0; nothing would be left
        output   "mix.pt"; must be a file that ends in .safetensors
        rank     0; must be 1 or more
        error    1.5; must be above 0 and below 1
        error    1.5; a rank is given too: give one of them
        rank     concat keeps every rank; use svd for fewer
        density  0.3; does nothing with concat; for ties, dare and magnitude
        """, Assert.Throws<OptionsException>(() => Combine(new() { Inputs = [new("a", 0)], Output = "mix.pt", Rank = 0, Error = 1.5, Density = 0.3 })).Message, ignoreLineEndingDifferences: true);

    [Theory]
    [InlineData(CombineMethod.Svd, false, "rank: svd needs a rank or an error")]
    [InlineData(CombineMethod.Ties, false, "rank: ties needs a rank or an error")]
    [InlineData(CombineMethod.Svd, true, "factors: does nothing with svd; for linear, ties, dare and magnitude")]
    [InlineData(CombineMethod.Concat, true, "factors: does nothing with concat; for linear, ties, dare and magnitude")]
    public void A_method_says_what_it_needs(CombineMethod method, bool factors, string problem) =>
        Assert.Equal([problem], new CombineOptions { Inputs = [new("a")], Output = "o.safetensors", Method = method, Factors = factors }.Validate());

    [Fact]
    public void More_problems_of_options() => Assert.Equal(
        ["inputs: a has weight NaN; must be a number", "rank: merged factors keep their rank; leave rank and error away", "density: 0; must be above 0, up to 1", "sign: does nothing with magnitude; for ties and dare"],
        new CombineOptions { Inputs = [new("a", double.NaN)], Output = "o.safetensors", Method = CombineMethod.Magnitude, Factors = true, Rank = 2, Density = 0, Sign = SignRule.Total }.Validate());

    [Fact]
    public void Nothing_is_left_in_memory()
    {
        var inputs = new AdapterUse[] { new(samples.Kohya("a", 2, 2, Query)), new(samples.Loha("b", 2, Query)) };
        LeakGuard.AssertNothingLeft(() => Combine(new() { Inputs = inputs, Output = Output, Method = CombineMethod.Svd, Rank = 2 }));
        LeakGuard.AssertNothingLeft(() => Combine(new() { Inputs = [inputs[0]], Output = Output }));
    }

    private static WrittenAdapter Combine(CombineOptions options) => CombineAdapters.Run(options);
}
