namespace LowRank.Adapters;

/// <summary>What forbids the use of an adapter file.</summary>
/// <param name="What">The module or key, and what is wrong with it.</param>
/// <param name="Try">What may help.</param>
internal readonly record struct AdapterProblem(string What, string Try)
{
    private const string Again = "download or save the adapter again";

    private const string Other = "a base model of the kind the adapter was made for";

    /// <summary>Whether it lies in the model that the file is put on, not in the file.</summary>
    public bool IsOfBase => Try == Other;

    public static AdapterProblem OtherBase(string what) => new(what, Other);

    public static AdapterProblem Empty() => new("it holds no factors of any kind that is read", "an adapter file");

    public static AdapterProblem Broken(string module, string what) => new($"{module}: {what}", Again);

    public static AdapterProblem NotFinite(string module, string what) =>
        new($"{module}: not finite: {what}", "an earlier save of the adapter: the training diverged, or half precision overflowed");

    public static AdapterProblem Algorithm(string module, string algorithm, IEnumerable<string> parameters) =>
        new($"{module}: {algorithm} ({string.Join(", ", parameters)}) is not read by this version", "a LoRA version of the adapter; applying the rest alone would give other pictures");

    public static AdapterProblem UnknownParameters(string module, IEnumerable<string> parameters) =>
        new($"{module}: unknown parameters: {string.Join(", ", parameters)}", "a plain LoRA version of the adapter; ignoring them would change the result");
}
