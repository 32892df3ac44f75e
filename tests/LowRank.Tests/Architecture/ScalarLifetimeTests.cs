using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using LowRank.Foundation;
using LowRank.Testing;
using TorchSharp;
using static TorchSharp.torch;

namespace LowRank.Tests.Architecture;

/// <summary>
/// TorchSharp keeps no reference to a <see cref="Scalar"/> during the native call that reads it, so another thread's garbage collection can free it
/// in the middle (see <see cref="TensorArithmetic"/>).
/// </summary>
public class ScalarLifetimeTests
{
    private const string Keeper = "LowRank.Foundation.TensorArithmetic::";
    private const string Comparison = "LowRank.Tests.Architecture.ScalarLifetimeTests::" + nameof(Arithmetic_with_numbers_is_that_of_TorchSharp);
    private const string Scalar = "TorchSharp.Scalar";
    private const int Numbers = 16;

    /// <summary>Fills a tensor with the sum of many numbers: all must live from the first to the call.</summary>
    private static readonly string Total = $"""
        def total(values: List[Tensor], {string.Join(", ", Enumerable.Range(0, Numbers).Select(i => $"n{i}: float"))}):
            values[0].fill_({string.Join(" + ", Enumerable.Range(0, Numbers).Select(i => $"n{i}"))})
            return len(values)

        """;

    /// <summary>
    /// The list of what is dangerous comes from TorchSharp's own code: all that makes a number, and all that calls it without keeping it.
    /// Read are the library and the tests beside it; the tests of the program and the benchmarks have eng/BannedSymbols.Numbers.txt alone.
    /// </summary>
    [Fact]
    public void Only_one_place_makes_numbers_for_native_calls()
    {
        var risky = Risky(typeof(torch).Assembly.Location);
        Assert.Contains("TorchSharp.torch/Tensor::op_Addition(TorchSharp.torch/Tensor,TorchSharp.torch/Tensor)", risky);
        Assert.Contains("TorchSharp.torch/Tensor::op_Multiply(Double,TorchSharp.torch/Tensor)", risky);
        Assert.Contains("TorchSharp.torch/Tensor::square()", risky);
        Assert.DoesNotContain("TorchSharp.torch/Tensor::op_Multiply(TorchSharp.torch/Tensor,TorchSharp.torch/Tensor)", risky);

        var calls = new[] { typeof(TensorArithmetic), typeof(TensorAssert), typeof(ScalarLifetimeTests) }.SelectMany(type => Calls(type.Assembly.Location)).ToList();
        string[] allowed = [Keeper, Comparison];
        Assert.All(allowed, place => Assert.Contains(calls, method => method.Key.StartsWith(place, StringComparison.Ordinal) && method.Value.Exists(risky.Contains)));
        Assert.Empty(calls.Where(method => !allowed.Any(place => method.Key.StartsWith(place, StringComparison.Ordinal)))
            .SelectMany(method => method.Value.Where(risky.Contains).Select(call => $"{method.Key} calls {call}: use {Keeper}")));
    }

    /// <summary>
    /// With <c>x + y</c>, <c>x * 3.0</c> and <c>script.invoke</c> here, TorchSharp throws "Expected false to be true, but got false.":
    /// on two quiet cores at one of 20,000 sums, and at one of 3,500 calls of the script.
    /// </summary>
    [Fact]
    public void Arithmetic_is_right_beside_a_thread_that_makes_garbage()
    {
        using var done = new CancellationTokenSource();
        var other = new Thread(() => MakeGarbage(done.Token));
        other.Start();
        try
        {
            using var outer = NewDisposeScope();
            using var script = jit.compile(Total);
            var (x, y) = (ones(64), ones(64));
            var counted = empty(64);
            double[] numbers = [.. Enumerable.Range(1, Numbers).Select(number => (double)number)];
            for (var watch = Stopwatch.StartNew(); watch.Elapsed.TotalSeconds < 3;)
            {
                using var inner = NewDisposeScope();
                Assert.Equal(5, x.Plus(y).Plus(x.Times(3.0)).ReadCpuSingle(0));
                script.Run("total", [[counted]], numbers);
                Assert.Equal(Numbers * (Numbers + 1) / 2, counted.ReadCpuSingle(0));
            }
        }
        finally
        {
            done.Cancel();
            other.Join();
        }
    }

    /// <summary>Sums stand as differences, which have no hidden factor: x + y = x - (-y) to the last bit.</summary>
    [Fact, SuppressMessage("ApiDesign", "RS0030:Do not use banned APIs", Justification = "every Scalar here lives until the comparison is over")]
    public void Arithmetic_with_numbers_is_that_of_TorchSharp()
    {
        using var scope = NewDisposeScope();
        var (x, y, n) = (tensor([-1.5f, 0.25f, 2, 700]), tensor([3f, -0.1f, 5, 2]), tensor([1L, -4, 7, 0]));
        using Scalar part = 0.3, quarter = 0.25, low = -1, zero = 0, one = 1, two = 2, three = 3, seven = 7, nine = 9;
        (Tensor Ours, Tensor Theirs)[] pairs =
        [
            (x.Plus(y), x - -y), (x.Plus(y, 0.3), x.add(y, part)), (x.Plus(0.3), x - tensor(-0.3f)), (n.Plus(3), n - tensor(-3L)), (x.Minus(0.3), x.sub(part)), (n.Minus(3), n.sub(three)),
            (x.SubtractedFrom(0.3), tensor(0.3f) - x), (n.SubtractedFrom(3), tensor(3L) - n), (x.Times(0.3), x.mul(part)), (n.Times(3), n.mul(three)), (x.Over(0.3), x.div(part)), (n.Over(3), n.div(three)),
            (y.abs().Power(0.3), y.abs().pow(part)), (x.Squared(), x * x), (x.AtLeast(0.3), x.clamp_min(part)), (n.AtLeast(2), n.clamp_min(two)), (x.AtMost(0.3), x.clamp_max(part)),
            (x.Within(-1, 1), x.clamp(low, one)), (x.IsAtLeast(0.25), x.ge(quarter)), (n.IsAtLeast(1), n.ge(one)), (x.IsAbove(0.25), x.gt(quarter)),
            (n.IsEqualTo(7), n.eq(seven)), (n.IsNotEqualTo(7), n.ne(seven)), (n.FilledWhere(n.gt(zero), 9), n.masked_fill(n.gt(zero), nine)),
            (x.clone().AddInPlace(y), x - -y), (x.clone().AddInPlace(y, 0.3), x.add(y, part)), (x.clone().AddInPlace(0.3), x - tensor(-0.3f)), (x.clone().SubtractInPlace(0.3), x.sub(part)),
            (x.clone().AddProductInPlace(x, y, 0.3), x.addcmul(x, y, part)), (x.clone().AddQuotientInPlace(x, y, 0.3), x.addcdiv(x, y, part)),
            (x.clone().MultiplyInPlace(0.3), x.mul(part)), (x.clone().DivideInPlace(0.3), x.div(part)), (y.abs().PowerInPlace(0.3), y.abs().pow(part)), (x.clone().AtLeastInPlace(0.3), x.clamp_min(part)),
            (TensorArithmetic.Filled([2, 3], 0.3), full([2, 3], part, ScalarType.Float32)), (TensorArithmetic.Counting(5, ScalarType.Int64), tensor([0L, 1, 2, 3, 4])),
        ];
        Assert.All(pairs, pair =>
        {
            Assert.Equal(pair.Theirs.dtype, pair.Ours.dtype);
            Assert.Equal(pair.Theirs.shape, pair.Ours.shape);
            Assert.True(pair.Ours.equal(pair.Theirs).all().item<bool>());
        });
    }

    private static void MakeGarbage(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested) GC.KeepAlive(new byte[40_000]);
    }

    private static Dictionary<string, List<string>> Calls(string path)
    {
        using var code = new CallReader(path);
        return code.Calls();
    }

    private static HashSet<string> Risky(string path)
    {
        var calls = Calls(path);
        var risky = calls.Keys.Where(method => method.StartsWith(Scalar + "::op_Implicit", StringComparison.Ordinal) || method.StartsWith(Scalar + "::.ctor", StringComparison.Ordinal)).ToHashSet();
        for (var before = 0; before < risky.Count;)
        {
            before = risky.Count;
            risky.UnionWith(calls.Where(method => method.Value.Exists(risky.Contains)).Select(method => method.Key).ToList());
        }
        return risky;
    }
}
