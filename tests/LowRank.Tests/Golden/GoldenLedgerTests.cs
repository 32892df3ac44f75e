using LowRank.Testing;

namespace LowRank.Tests.Golden;

public class GoldenLedgerTests
{
    private static readonly (string, string)[] All =
    [
        ("a/fine", "unet"), ("a/wrong", "unet"), ("a/half", "sampler"), ("a/later", "optimizer"), ("b/kind", "kid"), ("b/large", "unet_full"), ("b/missed", "unet"), ("b/no-data", "real_files"),
    ];

    [Fact]
    public void Every_case_is_counted_once_and_named_unless_it_passed_whole()
    {
        var ledger = new GoldenLedger();
        void Test(string id, TestResult result)
        {
            ledger.Opened(id + result, id);
            ledger.Ended(id + result, result);
        }
        Test("a/fine", TestResult.Passed);
        Test("a/wrong", TestResult.Passed);
        Test("a/wrong", TestResult.Failed);
        Test("a/half", TestResult.Passed);
        Test("a/half", TestResult.Skipped);
        ledger.NotBuilt("a/half", "the sampler Y");
        ledger.NotBuilt("a/half", "the sampler X");
        Test("a/later", TestResult.Skipped);
        ledger.NotBuilt("a/later", "the optimizer Z");
        Test("b/no-data", TestResult.Skipped);

        Assert.Equal(
            """
            area           cases    passed   in part not built full size   skipped   not run    failed
            a                  4         1         1         1         0         0         0         1
            b                  4         0         0         1         1         1         1         0
            all                8         1         1         2         1         1         1         1
              in part: a/half (not built: the sampler X; the sampler Y)
              not built: a/later (the optimizer Z)
              not built: b/kind (kind kid)
              full size: b/large (only with LOWRANK_FULL=1)
              skipped: b/no-data (see the skipped tests)
              not run: b/missed
              failed: a/wrong
            """, string.Join('\n', ledger.Report(All, ["b/kid"])));
    }

    [Fact]
    public void A_run_that_looks_at_no_case_reports_none() => Assert.Empty(new GoldenLedger().Report(All, []));
}
