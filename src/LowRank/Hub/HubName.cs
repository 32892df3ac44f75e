using System.Text.RegularExpressions;

namespace LowRank.Hub;

/// <summary>A model by name: <c>org/name</c>, <c>org/name@revision</c>, and with a file in it <c>org/name/file.safetensors</c>, <c>org/name@revision/folder/file.safetensors</c>.</summary>
/// <param name="Repository"><c>org/name</c>.</param>
/// <param name="Revision">Branch, tag or commit.</param>
/// <param name="File">Path of a single file in it, with slashes; null for the whole pipeline.</param>
internal sealed partial record HubName(string Repository, string Revision = HubName.Main, string? File = null)
{
    /// <summary>The branch that a name without a revision means.</summary>
    public const string Main = "main";

    private const int LongestRepository = 96;   // the hub's own limit

    /// <summary>As it is written; without the branch main.</summary>
    public override string ToString() => Repository + (Revision == Main ? "" : "@" + Revision) + (File is null ? "" : "/" + File);

    /// <summary>The same with a commit short enough to be read.</summary>
    public string Short => IsCommit(Revision) ? (this with { Revision = Revision[..7] }).ToString() : ToString();

    /// <summary>The same at one commit, whatever becomes of the branch.</summary>
    public HubName At(string commit) => this with { Revision = commit };

    /// <summary>A text that may be a name; null for what can only be a path.</summary>
    public static HubName? Of(string text)
    {
        if (Form().Match(text) is not { Success: true } match) return null;
        var (repository, file) = (match.Groups["repository"].Value, match.Groups["file"].Value);
        if (repository.Length > LongestRepository || repository.Contains("--", StringComparison.Ordinal) || repository.Contains("..", StringComparison.Ordinal)) return null;
        if (match.Groups["revision"].Value.Contains("..", StringComparison.Ordinal) || (file.Length > 0 && !IsSafe(file))) return null;
        return new HubName(repository, match.Groups["revision"] is { Success: true, Value: var revision } ? revision : Main, file.Length > 0 ? file : null);
    }

    /// <summary>Whether it is a whole commit hash, which never means anything else.</summary>
    public static bool IsCommit(string revision) => Commit().IsMatch(revision);

    /// <summary>
    /// Whether a path that a server names stays inside the folder it is put into, on every system: parts between single slashes, none of them <c>.</c> or <c>..</c>,
    /// no backslash, colon or control character.
    /// </summary>
    public static bool IsSafe(string path) =>
        path.Length is > 0 and < 1024 && !path.Any(letter => letter is '\\' or ':' or '*' or '?' or '"' or '<' or '>' or '|' || char.IsControl(letter))
        && path.Split('/').All(part => part.Length is > 0 and < 256 && part is not ("." or "..") && !part.EndsWith('.') && !part.EndsWith(' '));

    // a revision with slashes is refs/pr/N or refs/convert/NAME; no other branch with a slash can be named
    [GeneratedRegex(@"^(?<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*?)(?:@(?<revision>refs/(?:pr|convert)/[\w.-]+|[\w][\w.-]*))?(?:/(?<file>.+\.(?:safetensors|ckpt|pt|pth|bin)))?$", RegexOptions.ECMAScript)]
    private static partial Regex Form();

    [GeneratedRegex("^[0-9a-f]{40}$")]
    private static partial Regex Commit();
}
