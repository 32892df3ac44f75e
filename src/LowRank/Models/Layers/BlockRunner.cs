using static TorchSharp.torch;

namespace LowRank.Models.Layers;

/// <summary>A model whose blocks can be computed again in backward instead of being kept.</summary>
internal interface ICheckpointed
{
    /// <summary>What runs its blocks.</summary>
    BlockRunner Blocks { get; }
}

/// <summary>
/// Runs the blocks of a model and, on request, keeps of each only its inputs: backward runs the block once more
/// (Chen et al. 2016, arXiv 1604.06174, section 3). Hooks run both times, so adapters inside a block learn as they would without.
/// </summary>
internal sealed class BlockRunner
{
    /// <summary>True to compute blocks again in backward. Says nothing where no gradient is recorded.</summary>
    public bool Recomputes { get; set; }

    /// <summary>What blocks may draw from, such as dropout's generator: set back for the second run, so that it draws the same. Stays the caller's.</summary>
    public Generator? Random { get; set; }

    /// <summary>A block of one tensor.</summary>
    public Tensor Call(nn.Module<Tensor, Tensor> block, Tensor x) => Call(inputs => block.call(inputs[0]), x);

    /// <summary>A block of two tensors.</summary>
    public Tensor Call(nn.Module<Tensor, Tensor, Tensor> block, Tensor x, Tensor y) => Call(inputs => block.call(inputs[0], inputs[1]), x, y);

    /// <summary>Any function whose trained tensors are leaves.</summary>
    /// <param name="block">Called with the inputs; in backward once more. Gives a fresh tensor.</param>
    /// <param name="inputs">Every tensor that it reads and that is no leaf.</param>
    /// <returns>The block's result.</returns>
    public Tensor Call(Func<IReadOnlyList<Tensor>, Tensor> block, params Tensor[] inputs)
    {
        if (!is_grad_enabled()) return block(inputs);
        using var scope = NewDisposeScope();
        // a view for each block (TorchSharp's alias is none): gradients of one input are then added up within the block first, with or without a second run, and have the same bits
        if (!Recomputes) return block([.. inputs.Select(input => input.requires_grad ? input.view(input.shape) : input)]).MoveToOuterDisposeScope();
        var start = Random is { } random ? new RandomPlace(random) : null;
        var switchOn = zeros(0).requires_grad_();   // backward must come here even where no input asks for it
        return RecomputedBlock.apply([new RecomputedWork(block, start), switchOn, .. inputs]).MoveToOuterDisposeScope();
    }
}

/// <summary>What a block computes, and where its random numbers begin.</summary>
internal sealed record RecomputedWork(Func<IReadOnlyList<Tensor>, Tensor> Block, RandomPlace? Start);

/// <summary>A place in the numbers of a generator.</summary>
internal sealed class RandomPlace
{
    private readonly Generator generator;
    private readonly byte[] state;

    /// <summary>Where the generator stands.</summary>
    public RandomPlace(Generator generator)
    {
        this.generator = generator;
        using var now = generator.get_state();
        state = now.bytes.ToArray();
    }

    /// <summary>Sets the generator to this place.</summary>
    public void Return()
    {
        using var saved = tensor(state);
        generator.set_state(saved);
    }

    /// <summary>Does something from this place, and puts the generator back to where it stood.</summary>
    public T Again<T>(Func<T> work)
    {
        var now = new RandomPlace(generator);
        Return();
        try
        {
            return work();
        }
        finally
        {
            now.Return();
        }
    }
}

/// <summary>A block without a graph; backward runs it again with one, and goes on through that one.</summary>
internal sealed class RecomputedBlock : autograd.SingleTensorFunction<RecomputedBlock>
{
    private const string Work = "work", Returned = "returned";

    /// <inheritdoc/>
    public override string Name => nameof(RecomputedBlock);

    /// <summary>The block's result.</summary>
    /// <param name="ctx">Keeps the work and the inputs.</param>
    /// <param name="vars">The <see cref="RecomputedWork"/>, a tensor that requires a gradient, the inputs.</param>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var (work, inputs) = ((RecomputedWork)vars[0], vars.Skip(2).Cast<Tensor>().ToList());
        ctx.save_data(Work, work);
        ctx.save_for_backward(inputs);
        return work.Block(inputs);
    }

    /// <summary>Gradients of the inputs. Those of trained tensors inside the block are added to where they belong by the inner backward.</summary>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad)
    {
        using var scope = NewDisposeScope();
        var work = (RecomputedWork)ctx.get_data(Work);
        var inputs = ctx.get_saved_variables();
        var caught = inputs.Select(input => input.requires_grad ? new CaughtGradient() : null).ToList();
        using (enable_grad())
        {
            inputs = [.. inputs.Zip(caught, (input, place) => place is null ? input : CatchGradient.apply(input.detach().requires_grad_(), place))];
            var output = work.Start is { } start ? start.Again(() => work.Block(inputs)) : work.Block(inputs);
            if (output.requires_grad) autograd.backward([output], [grad]);
        }
        Tensor?[] gradients = [.. caught.Select(place => place?.Value?.MoveToOuterDisposeScope())];
        ctx.save_data(Returned, gradients);   // the engine takes them by address: nothing else would keep them from the garbage collector
        grad.Dispose();                       // made for this call
        return [null!, null!, .. gradients.Select(gradient => gradient!)];
    }
}

/// <summary>The gradient of a tensor, once backward has been there.</summary>
internal sealed class CaughtGradient
{
    /// <summary>As backward made it; null where it made none. Belongs to the scope that backward ran in.</summary>
    public Tensor? Value { get; set; }
}

/// <summary>
/// The same tensor, whose gradient goes to a <see cref="CaughtGradient"/> as it is. (The <c>grad</c> of a leaf is a copy in the leaf's own layout,
/// which makes later sums round in another way.)
/// </summary>
internal sealed class CatchGradient : autograd.SingleTensorFunction<CatchGradient>
{
    private const string Place = "place";

    /// <inheritdoc/>
    public override string Name => nameof(CatchGradient);

    /// <summary>The tensor, and the place.</summary>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        ctx.save_data(Place, vars[1]);
        return ((Tensor)vars[0]).detach();
    }

    /// <summary>Nothing goes further back.</summary>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad)
    {
        ((CaughtGradient)ctx.get_data(Place)).Value = grad;
        return [null!, null!];
    }
}
