using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary>What commands show that compute an adapter layer by layer.</summary>
internal static class WrittenScreen
{
    /// <summary>Letters of the words in front of the report's lines.</summary>
    private const int LabelWidth = 9;

    public static void Print(Screen screen, WrittenAdapter result, bool json)
    {
        screen.EndLive();
        if (json)
        {
            screen.Line(result.ToJson());
            return;
        }
        var lines = result.ToString().Split('\n');
        screen.Line(" " + lines[0]);
        foreach (var line in lines[1..])
        {
            var (word, text) = (line[..LabelWidth].TrimEnd(), line[(LabelWidth + 1)..]);
            if (word is "blocks" or "worst" or "") screen.Line($" {word,-10}{text}");   // columns stay columns
            else screen.Row(word, text);
        }
    }

    /// <summary>One live line on a terminal.</summary>
    internal sealed class Live(Screen screen) : IProgress<LayerProgress>
    {
        public void Report(LayerProgress value)
        {
            if (screen.IsTerminal) screen.Live($" layer {value.Done}/{value.Layers}   {value.Layer}");
        }
    }
}
