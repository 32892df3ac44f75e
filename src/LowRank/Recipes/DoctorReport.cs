using System.Globalization;
using System.Text;

namespace LowRank.Recipes;

/// <summary>One thing that is wrong with an adapter file.</summary>
public sealed class DoctorTrouble
{
    internal DoctorTrouble(string what, string? cure, string? remains = null) => (What, Cure, Remains) = (what, cure, remains);

    /// <summary>What, and where.</summary>
    public string What { get; }

    /// <summary>What repairing does about it; null where it cannot be repaired without guessing.</summary>
    public string? Cure { get; }

    /// <summary>What helps where repairing does not; null for nothing that is known.</summary>
    public string? Remains { get; }
}

/// <summary>What is wrong with an adapter file, and what was repaired.</summary>
public sealed class DoctorReport
{
    internal DoctorReport()
    {
    }

    /// <summary>What was looked at, as it was named.</summary>
    public required string File { get; init; }

    /// <summary>What it looks like: conventions and ranks.</summary>
    public required string Looks { get; init; }

    /// <summary>The model whose names and shapes it was held against; null where none was known.</summary>
    public required string? Base { get; init; }

    /// <summary>All that is wrong.</summary>
    public required IReadOnlyList<DoctorTrouble> Troubles { get; init; }

    /// <summary>The repaired file; null where none was written.</summary>
    public required string? Repaired { get; init; }

    /// <summary>Where the file is kept as it was; null where it was not replaced.</summary>
    public required string? Backup { get; init; }

    /// <summary>Whether nothing is wrong, or what was wrong is repaired in the file that was written.</summary>
    public bool IsHealthy => Troubles.Count == 0 || (Repaired is not null && Troubles.All(trouble => trouble.Cure is not null));

    /// <summary>The report as lines to read.</summary>
    public override string ToString()
    {
        var text = new StringBuilder($"{File} ({Looks})");
        Line("base", Base ?? "none of those that are known; names and axes are not held against a model (--model names one)");
        for (var i = 0; i < Troubles.Count; i++)
        {
            Line(i == 0 ? "trouble" : "", Troubles[i].What);
            Line("", Troubles[i].Cure is { } cure ? (Repaired is null ? "can be repaired: " : "repaired: ") + cure : "not repaired: " + (Troubles[i].Remains ?? "that would be guessing"));
        }
        if (Repaired is not null) Line("written", Repaired + (Backup is null ? "" : $"; as it was in {Backup}"));
        Line("verdict", Verdict());
        return text.ToString();

        void Line(string word, string content) => text.Append(CultureInfo.InvariantCulture, $"\n{word,-9} {content}");
    }

    private string Verdict()
    {
        var curable = Troubles.Count(trouble => trouble.Cure is not null);
        var count = string.Create(CultureInfo.InvariantCulture, $"{Troubles.Count} {(Troubles.Count == 1 ? "trouble" : "troubles")}");
        if (Troubles.Count == 0) return "healthy";
        if (Repaired is not null) return curable == Troubles.Count ? $"{count}, all repaired" : string.Create(CultureInfo.InvariantCulture, $"{count}, {curable} repaired");
        return curable == 0 ? $"{count}, none that can be repaired without guessing" : string.Create(CultureInfo.InvariantCulture, $"{count}, {curable} can be repaired: --fix");
    }
}
