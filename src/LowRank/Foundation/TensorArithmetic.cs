using System.Diagnostics.CodeAnalysis;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>
/// Arithmetic of tensors with numbers, and the sum of two tensors, safe while other threads collect garbage.
/// <para>
/// TorchSharp 0.107 hands a number to libtorch as a <see cref="Scalar"/>, a heap object with a finalizer, and keeps no reference to it during the native call.
/// This is so for every number beside a tensor, and for the hidden factor 1 of <c>a + b</c>.
/// When any thread's garbage collection falls into the call, the finalizer frees the number while libtorch reads it:
/// the call fails with "Expected false to be true", or goes on with another number (on two cores one of 20,000 sums failed beside a thread that only allocates arrays).
/// Here each <see cref="Scalar"/> lives until the call is over and is freed at once, so nothing waits for a finalizer either.
/// </para>
/// <para>eng/BannedSymbols.Numbers.txt bans the operators that do not, in the library, its tests and its benchmarks, and <c>ScalarLifetimeTests</c> looks for them in what was built.</para>
/// <para>
/// Results are new tensors in the current dispose scope, and gradients flow as through the operators; methods that end in InPlace change their first tensor and return it.
/// Whole numbers leave an integer tensor's dtype, as in PyTorch.
/// </para>
/// </summary>
[SuppressMessage("ApiDesign", "RS0030:Do not use banned APIs", Justification = "the one place where a Scalar is made; each is held until the native call is over")]
internal static class TensorArithmetic
{
    /// <summary>a + b.</summary>
    public static Tensor Plus(this Tensor a, Tensor b)
    {
        using Scalar one = 1;
        return a.add(b, one);
    }

    /// <summary>a + factor · b.</summary>
    public static Tensor Plus(this Tensor a, Tensor b, double factor)
    {
        using Scalar scalar = factor;
        return a.add(b, scalar);
    }

    /// <summary>a + number.</summary>
    public static Tensor Plus(this Tensor a, double number)
    {
        using Scalar scalar = number;
        using Scalar one = 1;
        return a.add(scalar, one);
    }

    /// <summary>a + number.</summary>
    public static Tensor Plus(this Tensor a, long number)
    {
        using Scalar scalar = number;
        using Scalar one = 1;
        return a.add(scalar, one);
    }

    /// <summary>a − number.</summary>
    public static Tensor Minus(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.sub(scalar);
    }

    /// <summary>a − number.</summary>
    public static Tensor Minus(this Tensor a, long number)
    {
        using Scalar scalar = number;
        return a.sub(scalar);
    }

    /// <summary>number − a.</summary>
    public static Tensor SubtractedFrom(this Tensor a, double number)
    {
        using Scalar scalar = number;
        using Scalar one = 1;
        return a.negative().add(scalar, one);
    }

    /// <summary>number − a.</summary>
    public static Tensor SubtractedFrom(this Tensor a, long number)
    {
        using Scalar scalar = number;
        using Scalar one = 1;
        return a.negative().add(scalar, one);
    }

    /// <summary>a · number.</summary>
    public static Tensor Times(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.mul(scalar);
    }

    /// <summary>a · number.</summary>
    public static Tensor Times(this Tensor a, long number)
    {
        using Scalar scalar = number;
        return a.mul(scalar);
    }

    /// <summary>a / number.</summary>
    public static Tensor Over(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.div(scalar);
    }

    /// <summary>a / number.</summary>
    public static Tensor Over(this Tensor a, long number)
    {
        using Scalar scalar = number;
        return a.div(scalar);
    }

    /// <summary>a to the power of number.</summary>
    public static Tensor Power(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.pow(scalar);
    }

    /// <summary>a · a.</summary>
    public static Tensor Squared(this Tensor a)
    {
        using Scalar two = 2;
        return a.pow(two);
    }

    /// <summary>The larger of a and number.</summary>
    public static Tensor AtLeast(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.clamp_min(scalar);
    }

    /// <summary>The larger of a and number.</summary>
    public static Tensor AtLeast(this Tensor a, long number)
    {
        using Scalar scalar = number;
        return a.clamp_min(scalar);
    }

    /// <summary>The smaller of a and number.</summary>
    public static Tensor AtMost(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.clamp_max(scalar);
    }

    /// <summary>a, with what lies outside of the two numbers moved to the nearer of them.</summary>
    public static Tensor Within(this Tensor a, double least, double most)
    {
        using Scalar low = least;
        using Scalar high = most;
        return a.clamp(low, high);
    }

    /// <summary>Where a ≥ number: bool.</summary>
    public static Tensor IsAtLeast(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.ge(scalar);
    }

    /// <summary>Where a ≥ number: bool.</summary>
    public static Tensor IsAtLeast(this Tensor a, long number)
    {
        using Scalar scalar = number;
        return a.ge(scalar);
    }

    /// <summary>Where a &gt; number: bool.</summary>
    public static Tensor IsAbove(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.gt(scalar);
    }

    /// <summary>Where a = number: bool.</summary>
    public static Tensor IsEqualTo(this Tensor a, long number)
    {
        using Scalar scalar = number;
        return a.eq(scalar);
    }

    /// <summary>Where a ≠ number: bool.</summary>
    public static Tensor IsNotEqualTo(this Tensor a, long number)
    {
        using Scalar scalar = number;
        return a.ne(scalar);
    }

    /// <summary>a, with number where the mask (bool, spread over a) is true.</summary>
    public static Tensor FilledWhere(this Tensor a, Tensor mask, long number)
    {
        using Scalar scalar = number;
        return a.masked_fill(mask, scalar);
    }

    /// <summary>a becomes a + b.</summary>
    public static Tensor AddInPlace(this Tensor a, Tensor b)
    {
        using Scalar one = 1;
        return a.add_(b, one);
    }

    /// <summary>a becomes a + factor · b.</summary>
    public static Tensor AddInPlace(this Tensor a, Tensor b, double factor)
    {
        using Scalar scalar = factor;
        return a.add_(b, scalar);
    }

    /// <summary>a becomes a + number.</summary>
    public static Tensor AddInPlace(this Tensor a, double number)
    {
        using Scalar scalar = number;
        using Scalar one = 1;
        return a.add_(scalar, one);
    }

    /// <summary>a becomes a + factor · b · c.</summary>
    public static Tensor AddProductInPlace(this Tensor a, Tensor b, Tensor c, double factor)
    {
        using Scalar scalar = factor;
        return a.addcmul_(b, c, scalar);
    }

    /// <summary>a becomes a + factor · b / c.</summary>
    public static Tensor AddQuotientInPlace(this Tensor a, Tensor b, Tensor c, double factor)
    {
        using Scalar scalar = factor;
        return a.addcdiv_(b, c, scalar);
    }

    /// <summary>a becomes a − number.</summary>
    public static Tensor SubtractInPlace(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.sub_(scalar);
    }

    /// <summary>a becomes a · number.</summary>
    public static Tensor MultiplyInPlace(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.mul_(scalar);
    }

    /// <summary>a becomes a / number.</summary>
    public static Tensor DivideInPlace(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.div_(scalar);
    }

    /// <summary>a becomes a to the power of number.</summary>
    public static Tensor PowerInPlace(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.pow_(scalar);
    }

    /// <summary>a becomes the larger of a and number.</summary>
    public static Tensor AtLeastInPlace(this Tensor a, double number)
    {
        using Scalar scalar = number;
        return a.clamp_min_(scalar);
    }

    /// <summary>A new tensor of one number.</summary>
    public static Tensor Filled(ReadOnlySpan<long> shape, double number, ScalarType type = ScalarType.Float32)
    {
        using Scalar scalar = number;
        return full(shape, scalar, type);
    }

    /// <summary>0, 1, … up to <paramref name="count"/>, without it: (count).</summary>
    public static Tensor Counting(long count, ScalarType type, Device? device = null)
    {
        using Scalar first = 0, end = count, step = 1;
        return arange(first, end, step, type, device);
    }

    /// <summary>Runs a function of a script on lists of tensors and then numbers, in the order of its parameters.</summary>
    public static void Run(this jit.CompilationUnit script, string function, Tensor[][] tensors, params ReadOnlySpan<double> numbers)
    {
        var scalars = new Scalar[numbers.Length];
        for (var i = 0; i < numbers.Length; i++) scalars[i] = numbers[i];
        script.invoke(function, [.. tensors, .. scalars]);
        foreach (var scalar in scalars) scalar.Dispose();
        GC.KeepAlive(tensors);
    }
}
