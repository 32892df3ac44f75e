using LowRank.Testing;

namespace LowRank.Tests.Golden;

public class FormulaTests
{
    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("formula");

    [Theory, MemberData(nameof(Cases))]
    public void Hashes_numbers_and_tensors_by_formula_are_the_same_bits(string id)
    {
        using var golden = GoldenCase.Open(id);
        var seed = golden.Json.GetProperty("seed").GetInt64();
        foreach (var item in golden.Json.GetProperty("fnv1a64").EnumerateObject())
        {
            Assert.Equal(item.Value.GetString(), Formula.Fnv1a64(item.Name).ToString(System.Globalization.CultureInfo.InvariantCulture));
        }
        foreach (var item in golden.Json.GetProperty("first_uniform").EnumerateObject())
        {
            var expected = item.Value.EnumerateArray().Select(value => (float)value.GetDouble());
            Assert.Equal(expected, Formula.Uniform(item.Name, item.Value.GetArrayLength(), seed));
        }
        foreach (var (name, info) in golden.TensorInfos)
        {
            using var expected = golden.Tensor(name);
            using var actual = name == "sample" ? Formula.Noise(name, info.Shape, seed) : Formula.Weight(name, info.Shape, seed);
            TensorAssert.Equal(expected, actual, name);
        }
    }
}
