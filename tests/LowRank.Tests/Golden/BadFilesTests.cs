using System.Text.RegularExpressions;
using LowRank.Foundation;
using LowRank.Testing;
using static TorchSharp.torch;

namespace LowRank.Tests.Golden;

/// <summary>
/// Damaged and hostile files: those whose container is at fault are refused by the readers, in the case's words.
/// Those whose content is at fault (keys, shapes, ranks) must come through here; the adapter reader deals with them.
/// </summary>
public class BadFilesTests
{
    private const string Again = "download or copy the file again";

    /// <summary>Container faults by file name: the message, with numbers and names as the file has them.</summary>
    private static readonly Dictionary<string, string> Refusals = new()
    {
        ["truncated_data.safetensors"] = @"the file is cut short: tensor ""[^""]+"" ends at byte (?<end>\d+), the file has (?<length>\d+) bytes; in {0}; " + Again,
        ["truncated_header.safetensors"] = @"the file is cut short: its header has (?<end>\d+) bytes and starts at byte 8, the file has (?<length>\d+) bytes; in {0}; " + Again,
        ["short.safetensors"] = @"no safetensors file: (?<length>\d+) bytes, the shortest has 10; in {0}; " + Again,
        ["empty.safetensors"] = "the file is empty; in {0}; " + Again,
        ["header_huge.safetensors"] = @"no safetensors file: the first 8 bytes give a header of \d{10,} bytes, the limit is 100000000; in {0}; " + Again,
        ["overlap.safetensors"] = @"tensors ""[^""]+"" and ""[^""]+"" share \d+ bytes; in {0}; " + Again,
        ["shape_bytes.safetensors"] = @"tensor ""[^""]+"" is damaged: its shape \[[\d,]*\] in \w+ needs \d+ bytes, its data_offsets give \d+; in {0}; " + Again,
        ["dtype.safetensors"] = @"tensor ""[^""]+"" has the unknown dtype F33; in {0}; known are F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32, I16, I8, U8, BOOL",
        ["evil.pt"] = @"the pickle wants (builtins|__builtin__)\.print, which no tensor needs; nothing of it was run; in {0}; the file may be hostile: get it as \.safetensors, or from somebody you trust",
        ["legacy_tar.pt"] = @"a torch file of before version 1\.6 \(2020\), which is no zip archive and is not read; in {0}; load and save it once with a later torch",
        ["html.safetensors"] = "a web page, not a file of weights: the download failed; in {0}; download it again; the site may want you to log in first",
        ["lfs.safetensors"] = "a Git LFS pointer, not the file it stands for; in {0}; run: git lfs pull",
    };

    /// <summary>Faults of content, which only somebody who knows adapters can see.</summary>
    private static readonly HashSet<string> AdapterFaults =
    [
        "no_match", "some_unmatched", "wrong_shape_in", "wrong_shape_out", "rank_mismatch", "rank_one_up", "nan", "missing_up", "orphan_alpha", "unknown_suffix",
        "dora_scale_unexpected", "other_base_by_shape", "other_base_by_metadata", "alpha_zero", "alpha_vector",
    ];

    public static IEnumerable<TheoryDataRow<string>> Cases() => GoldenCase.OfKind("bad_files");

    public static IEnumerable<TheoryDataRow<string, string, string>> Files()
    {
        foreach (var row in Cases())
        {
            using var golden = GoldenCase.Open(row.Data);
            foreach (var file in golden.Json.GetProperty("files").EnumerateArray())
            {
                yield return new(row.Data, file.GetProperty("file").GetString()!, file.GetProperty("level").GetString()!);
            }
        }
    }

    [Theory, MemberData(nameof(Files))]
    public void A_fault_of_the_container_is_refused_and_no_other(string id, string file, string level)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var path = Path.Combine(golden.Folder, file);
        if (Refusals.TryGetValue(Path.GetFileName(file), out var pattern))
        {
            Assert.Equal("error", level);
            var message = Assert.Throws<CheckpointException>(() => ReadAll(path)).Message;
            var match = Regex.Match(message, "^" + pattern.Replace("{0}", Regex.Escape(path), StringComparison.Ordinal) + "$");
            Assert.True(match.Success, message);
            if (match.Groups["length"].Success) Assert.Equal($"{new FileInfo(path).Length}", match.Groups["length"].Value);
            return;
        }
        Assert.True(level == "good" || AdapterFaults.Contains(Path.GetFileNameWithoutExtension(file)), $"{file}: a fault that no test here knows");
        Assert.NotEmpty(ReadAll(path));
    }

    [Theory, MemberData(nameof(Cases))]
    public void Good_files_read_alike_however_their_header_is_aligned(string id)
    {
        using var golden = GoldenCase.Open(id);
        using var scope = NewDisposeScope();
        var good = golden.Json.GetProperty("files").EnumerateArray().Where(file => file.GetProperty("level").GetString() == "good")
            .Select(file => ReadAll(Path.Combine(golden.Folder, file.GetProperty("file").GetString()!))).ToList();
        Assert.True(good.Count > 1);
        foreach (var other in good.Skip(1))
        {
            Assert.Equal(good[0].Keys, other.Keys);
            foreach (var (name, value) in good[0]) TensorAssert.Equal(value, other[name], name);
        }
    }

    private static Dictionary<string, Tensor> ReadAll(string path)
    {
        using var checkpoint = Checkpoint.Open(path);
        return checkpoint.Names.ToDictionary(name => name, checkpoint.Read);
    }
}
