using System.Globalization;
using System.Text;
using LowRank.Families;
using LowRank.Foundation;

namespace LowRank.Recipes;

/// <summary>Forms that a model is written in.</summary>
public enum ModelForm
{
    /// <summary>A folder in the layout of diffusers.</summary>
    Diffusers,

    /// <summary>One <c>.safetensors</c> file in the original layout.</summary>
    SingleFile,
}

/// <summary>What to convert, and how.</summary>
public sealed record ConvertModelOptions
{
    /// <summary>The model: a folder in the diffusers layout, a checkpoint of one file, or <c>icons-64</c>. It is never changed.</summary>
    public required string Input { get; init; }

    /// <summary>The folder or file to write; whole or absent. A file is replaced; a folder must be empty or not be there.</summary>
    public required string Output { get; init; }

    /// <summary>What is written. Unset: the other form than that of <see cref="Input"/>.</summary>
    public ModelForm? To { get; init; }

    /// <summary>Element type of all weights. Unset: every tensor keeps its own. Numbers that do not fit are refused.</summary>
    public SavePrecision? Precision { get; init; }

    /// <summary>How the model's files are read. Unset: as usual.</summary>
    public ModelFileOptions? ModelFile { get; init; }
}

/// <summary>How far a conversion is.</summary>
public sealed class ConvertModelProgress
{
    internal ConvertModelProgress(int done, int all) => (Done, All) = (done, all);

    /// <summary>Tensors that are written.</summary>
    public int Done { get; }

    /// <summary>Tensors of the model.</summary>
    public int All { get; }
}

/// <summary>What was converted.</summary>
public sealed class ConvertModelReport
{
    internal ConvertModelReport() { }

    /// <summary>The folder or file that was written, in full.</summary>
    public required string Output { get; init; }

    /// <summary>What it is.</summary>
    public required ModelForm Form { get; init; }

    /// <summary>How the input was understood, one a line; empty for folders, which say everything.</summary>
    public required IReadOnlyList<string> Findings { get; init; }

    /// <summary>Parts of the input that the output has no place for.</summary>
    public required IReadOnlyList<string> Lost { get; init; }

    /// <summary>Tensors of the output.</summary>
    public required int Tensors { get; init; }

    /// <summary>Bytes of the output.</summary>
    public required long Bytes { get; init; }

    /// <summary>The report as lines to read.</summary>
    public override string ToString()
    {
        var text = new StringBuilder(Output);
        for (var i = 0; i < Findings.Count; i++) Line(i == 0 ? "found" : "", Findings[i]);
        Line("written", string.Create(CultureInfo.InvariantCulture, $"{(Form == ModelForm.SingleFile ? "one file in the original layout" : "a folder in the layout of diffusers")}, {Tensors} tensors, {Bytes / 1e6:F1} MB"));
        if (Lost.Count > 0) Line("left out", string.Join(", ", Lost));
        return text.ToString();

        void Line(string word, string content) => text.Append(CultureInfo.InvariantCulture, $"\n{word,-9} {content}");
    }
}

/// <summary>Converts a model between a folder and one file, tensor by tensor.</summary>
public static class ConvertModel
{
    /// <summary>Reads and writes. No more than a few tensors are in memory at a time.</summary>
    /// <param name="options">Everything about it.</param>
    /// <param name="progress">Hears of tensors, on this thread.</param>
    /// <param name="cancellation">Stops between tensors; nothing is left behind then.</param>
    /// <exception cref="OptionsException">The output does not fit what is written, or would replace something else.</exception>
    /// <exception cref="CheckpointException">The input is damaged, lacks a part, or has numbers that the type does not hold; or the output cannot be written.</exception>
    public static ConvertModelReport Run(ConvertModelOptions options, IProgress<ConvertModelProgress>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(options.Input);
        ArgumentException.ThrowIfNullOrWhiteSpace(options.Output);
        var from = ModelFiles.At(FamilyDetector.Find(options.Input), options.ModelFile);
        var form = options.To ?? (from is SingleFile ? ModelForm.Diffusers : ModelForm.SingleFile);
        var output = Path.GetFullPath(options.Output);
        if (ProblemOf(from, form, output) is { } problem) throw new OptionsException($"output: {problem}");
        if (form == ModelForm.Diffusers) FamilyDetector.RequireFit(from);   // a folder is opened as it is; a file may lack its tokenizer
        StoredType? type = options.Precision is { } precision ? AdapterFacts.TypeOf(precision) : null;
        var tensors = form == ModelForm.SingleFile ? SingleFileWriter.Write(from, output, type, Tell, cancellation) : DiffusersFolderWriter.Write(from, output, type, Tell, cancellation);
        return new ConvertModelReport
        {
            Output = output,
            Form = form,
            Findings = from.Findings,
            Lost = form == ModelForm.SingleFile ? [.. from.PartNames.Except(SingleFileWriter.Parts(from))] : [],
            Tensors = tensors,
            Bytes = form == ModelForm.SingleFile ? new FileInfo(output).Length : Directory.GetFiles(output, "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length),
        };

        void Tell(int done, int all) => progress?.Report(new ConvertModelProgress(done, all));
    }

    private static string? ProblemOf(ModelFiles from, ModelForm form, string output)
    {
        var (place, own) = (OutputFile.PlaceOf(output), OutputFile.PlaceOf(from.Path));
        if (place == own) return $"{output}; is the model itself, which is never changed";
        if (form == ModelForm.Diffusers)
        {
            if (File.Exists(output)) return $"{output}; is a file, and a folder is written: name a folder, or take --to single";
            if (from is DiffusersFolder && place.StartsWith(own + Path.DirectorySeparatorChar, StringComparison.Ordinal)) return $"{output}; lies in the model's folder, which is never changed";
            return Directory.Exists(output) && Directory.EnumerateFileSystemEntries(output).Any() ? $"{output}; the folder holds something already: name another" : null;
        }
        if (Directory.Exists(output)) return $"{output}; is a folder, and a file is written: name a .safetensors file, or take --to diffusers";
        if (from is DiffusersFolder && place.StartsWith(own + Path.DirectorySeparatorChar, StringComparison.Ordinal)) return $"{output}; lies in the model's folder, which is never changed";
        return output.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase) ? null : $"{output}; a checkpoint is written as .safetensors, which can hold no code: name it so";
    }
}
