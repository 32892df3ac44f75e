using LowRank.Adapters.Formats;
using LowRank.Testing;

namespace LowRank.Tests.Documents;

/// <summary>The page's table of who loads what is the one that <c>lora inspect</c> answers by.</summary>
public sealed class ReadersPageTests
{
    [Fact]
    public void The_page_has_every_form_in_order_with_its_answers()
    {
        var lines = File.ReadAllLines(Path.Combine(Repository.Root, "docs", "adapter-formats.md"));
        var head = Array.FindIndex(lines, line => line == $"| keys | {string.Join(" | ", Readers.Names)} |");
        Assert.True(head > 0, "the page has no table with the readers in its head");
        foreach (var form in Enum.GetValues<FileForm>())
        {
            var cells = lines[head + 2 + Array.IndexOf(Rows, form)].Trim('|', ' ').Split(" | ");
            Assert.Equal(1 + Readers.Names.Count, cells.Length);
            var answers = Readers.Of(form).Zip(cells[1..], (answer, cell) => (answer, Cell: cell.Split(',')[0] switch { "?" => Readers.Unknown, "attention processors" => Readers.Yes, var word => word }));
            Assert.All(answers, item => Assert.True(item.answer == item.Cell, $"{form}: the page says {item.Cell}, the code {item.answer}"));
        }
    }

    /// <summary>The order of the page.</summary>
    private static readonly FileForm[] Rows = [FileForm.Kohya, FileForm.Lycoris, FileForm.Peft, FileForm.Diffusers, FileForm.LoraLayers, FileForm.AttentionProcessors, FileForm.Bare, FileForm.Package2022];
}
