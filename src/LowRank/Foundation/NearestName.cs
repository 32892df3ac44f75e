namespace LowRank.Foundation;

/// <summary>The known name that was probably meant.</summary>
internal static class NearestName
{
    /// <summary>
    /// The known name with the fewest edits (insert, delete, replace, swap of neighbours; case is ignored),
    /// or null when every one needs more than a third of the letters changed. Of equals the first.
    /// </summary>
    public static string? Of(string name, IEnumerable<string> known)
    {
        string? nearest = null;
        var fewest = Math.Max(1, name.Length / 3) + 1;
        foreach (var candidate in known)
        {
            if (Math.Abs(candidate.Length - name.Length) >= fewest) continue;
            var edits = Distance(name.ToLowerInvariant(), candidate.ToLowerInvariant());
            if (edits >= fewest) continue;
            fewest = edits;
            nearest = candidate;
        }
        return nearest;
    }

    /// <summary>A half sentence to put behind an error: <c> (did you mean "x"?)</c>, or nothing when no known name is near.</summary>
    public static string Hint(string name, IEnumerable<string> known) => Of(name, known) is { } nearest ? $" (did you mean \"{nearest}\"?)" : "";

    /// <summary>Optimal string alignment distance (Damerau 1964; each part edited at most once).</summary>
    public static int Distance(string a, string b)
    {
        int[] before = [], last = new int[b.Length + 1];
        for (var j = 0; j <= b.Length; j++) last[j] = j;
        for (var i = 1; i <= a.Length; i++)
        {
            var row = new int[b.Length + 1];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var same = a[i - 1] == b[j - 1];
                row[j] = Math.Min(Math.Min(row[j - 1], last[j]) + 1, last[j - 1] + (same ? 0 : 1));
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = Math.Min(row[j], before[j - 2] + 1);
            }
            (before, last) = (last, row);
        }
        return last[b.Length];
    }
}
