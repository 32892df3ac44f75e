using System.Globalization;
using System.Text;
using LowRank.Adapters.Formats;
using LowRank.Foundation;

namespace LowRank.Adapters;

/// <summary>Which module of an adapter file belongs to which layer of a model, and what stands against it.</summary>
internal sealed class AdapterFit
{
    private const int MostLines = 10;

    private readonly AdapterFile file;
    private readonly ModuleNames names;
    private readonly List<(FileModule Module, ModelLayer Layer)> matched = [];
    private readonly List<FileModule> unmatched = [];
    private readonly List<(FileModule Module, string What)> misfits = [];
    private readonly List<AdapterProblem> problems;

    public AdapterFit(AdapterFile file, ModuleNames names)
    {
        this.file = file;
        this.names = names;
        problems = [.. file.FullProblems];
        var usable = file.Modules.Where(module => module.IsUsable).ToList();
        MatchPlaces(usable.Where(module => module.Convention == AdapterConvention.Package2022).ToList());
        foreach (var module in usable.Where(module => module.Convention != AdapterConvention.Package2022)) MatchName(module);
        foreach (var twice in matched.GroupBy(item => item.Layer).Where(group => group.Count() > 1))
        {
            problems.Add(AdapterProblem.Broken(twice.First().Module.Name, $"names the same layer as {twice.Skip(1).First().Module.Name}"));
        }
        var order = names.LayersAndNorms.Select((layer, place) => (layer, place)).ToDictionary(item => item.layer, item => item.place);
        matched.Sort((a, b) => order[a.Layer].CompareTo(order[b.Layer]));
        if (usable.Count == 0 && problems.Count == 0) problems.Add(Nothing());
    }

    /// <summary>In module order.</summary>
    public IReadOnlyList<(FileModule Module, ModelLayer Layer)> Matched => matched;

    /// <summary>Whether every module of the file has its layer, and nothing stands against it.</summary>
    public bool IsWhole => problems.Count + unmatched.Count + misfits.Count == 0;

    /// <summary>Whether what stands against it lies in the file, whatever the model.</summary>
    public bool IsDamaged => problems.Exists(problem => !problem.IsOfBase);

    /// <summary>What stands against it beside the problems that the file has by itself.</summary>
    public IEnumerable<AdapterProblem> AgainstLayers => problems.Skip(file.FullProblems.Count)
        .Concat(misfits.Select(item => AdapterProblem.OtherBase($"{item.Module.Name}: {item.What}")))
        .Concat(unmatched.Select(module => AdapterProblem.OtherBase($"{module.Name}: the model has no such layer")));

    /// <summary>Refuses what cannot be used.</summary>
    /// <returns>What loading does that one may not expect.</returns>
    /// <exception cref="CheckpointException">With every problem; see the class.</exception>
    public IReadOnlyList<string> Require(AdapterLoadOptions options)
    {
        if (problems.Count > 0) throw Refuse(string.Create(CultureInfo.InvariantCulture, $"adapter cannot be used: {Count(problems.Count, "problem")}"), "problem", problems.Select(problem => problem.What), problems.Select(problem => problem.Try), options);
        if (unmatched.Count > 0 && (!options.AllowUnmatched || matched.Count + misfits.Count == 0)) throw RefuseUnmatched(options);
        if (misfits.Count > 0) throw RefuseMisfits(options);
        var warnings = file.Warnings.ToList();
        if (unmatched.Count > 0) warnings.Add(string.Create(CultureInfo.InvariantCulture, $"{Count(unmatched.Count, "module")} of the adapter left out, the model has no such layer: {AdapterFile.Some(unmatched.Select(module => module.Name).ToList())}"));
        if (file.Embeddings.Count > 0 && !options.EmbeddingsAreUsed) warnings.Add($"the file also holds embeddings, which are not applied: {AdapterFile.Some(file.Embeddings.Select(item => item.Name).Distinct().ToList())}");
        if (options.BaseVersion is { } version && file.Metadata.TryGetValue("ss_base_model_version", out var own) && (BaseGuess.NameOf(own) ?? own) != (BaseGuess.NameOf(version) ?? version))
        {
            warnings.Add($"the adapter says it was made for {BaseGuess.NameOf(own) ?? own} (ss_base_model_version {own}), this model is {BaseGuess.NameOf(version) ?? version} ({version}); the shapes fit, the pictures may not");
        }
        return warnings;
    }

    /// <summary>Refuses numbers that are none.</summary>
    public CheckpointException RefuseNotFinite(AdapterLoadOptions options)
    {
        var found = matched.Select(item => (item.Module.Name, What: item.Module.NotFinite())).Where(item => item.What is not null).Select(item => AdapterProblem.NotFinite(item.Name, item.What!)).ToList();
        return Refuse($"adapter cannot be used: {Count(found.Count, "module")} not finite", "module", found.Select(problem => problem.What), found.Select(problem => problem.Try), options);
    }

    private void MatchName(FileModule module)
    {
        var found = names.Find(module.Lookup);
        var fitting = found.Where(layer => module.Misfit(layer.Shape) is null).ToList();
        if (fitting.Count == 1) matched.Add((module, fitting[0]));
        else if (fitting.Count > 1) problems.Add(AdapterProblem.Broken(module.Name, $"may mean {string.Join(" or ", fitting.Select(layer => $"{layer.Component}.{layer.Path}"))}"));
        else if (found.Count > 0) misfits.Add((module, module.Misfit(found[0].Shape)!));
        else unmatched.Add(module);
    }

    /// <summary>The layout whose layers have the number and the shapes of the file's places.</summary>
    private void MatchPlaces(IReadOnlyList<FileModule> modules)
    {
        foreach (var group in modules.GroupBy(module => module.Lookup[..module.Lookup.IndexOf(':', StringComparison.Ordinal)]))
        {
            var places = group.OrderBy(module => int.Parse(module.Lookup.AsSpan(group.Key.Length + 1), CultureInfo.InvariantCulture)).ToList();
            var gap = places.FindIndex(module => module.Lookup != AdapterKey.PlaceName(group.Key, places.IndexOf(module)));
            if (gap >= 0) problems.Add(AdapterProblem.Broken(AdapterKey.PlaceName(group.Key, gap), "missing, and modules are told apart by their number alone"));
            else if (!names.Components.Contains(group.Key)) unmatched.AddRange(places);
            else
            {
                var layouts = names.Layouts(group.Key).ToList();
                var fit = layouts.Find(layout => layout.Layers.Count == places.Count && layout.Layers.Zip(places).All(pair => pair.Second.Misfit(pair.First.Shape) is null));
                if (fit.Layers is not null) matched.AddRange(places.Zip(fit.Layers));
                else
                {
                    var counts = string.Join(", ", layouts.Select(layout => string.Create(CultureInfo.InvariantCulture, $"{layout.Layers.Count} ({layout.Layout})")));
                    problems.Add(AdapterProblem.OtherBase(string.Create(CultureInfo.InvariantCulture, $"{group.Key}: {places.Count} modules by number, whose count and shapes fit none of this model's orders: {counts}")));
                }
            }
        }
    }

    private AdapterProblem Nothing() => file.Embeddings.Count > 0
        ? new AdapterProblem($"it holds embeddings only: {AdapterFile.Some(file.Embeddings.Select(item => item.Name).ToList())}", "an adapter file")
        : AdapterProblem.Empty();

    private CheckpointException RefuseUnmatched(AdapterLoadOptions options)
    {
        var (keys, all) = (unmatched.Sum(module => module.Keys.Count()), file.Modules.Sum(module => module.Keys.Count()));
        var tries = new List<string>();
        if (BaseGuess.Of(file) is { } guess && guess.Name != BaseGuess.NameOf(options.BaseVersion ?? "")) tries.Add($"a base model of the adapter's kind: {guess.Name}");
        if (unmatched.Exists(module => module.Convention == AdapterConvention.Kohya)) tries.Add($"keys of this model begin with {string.Join(", ", names.Layers.Select(layer => layer.Component).Distinct().Select(component => names.KohyaPrefix(component)))}");
        if (matched.Count > 0 && misfits.Count == 0) tries.Add("allow unmatched modules, to use the rest");
        return Refuse(
            string.Create(CultureInfo.InvariantCulture, $"adapter does not fit this model: {keys} of {all} keys ({unmatched.Count} of {Count(file.Modules.Count, "module")}) find no module"),
            "keys", unmatched.Select(module => module.Name), tries, options);
    }

    private CheckpointException RefuseMisfits(AdapterLoadOptions options)
    {
        var tries = new List<string> { "a base model of the kind the adapter was made for" };
        var (own, wanted) = (BaseGuess.TextWidths(misfits.Select(item => item.Module)), TextWidthOfModel());
        var why = own.Count > 0 && wanted is not null && !own.Contains(wanted.Value)
            ? string.Create(CultureInfo.InvariantCulture, $"; it was made for another base: its cross-attention takes text of width {string.Join(" and ", own)}, this model's {wanted} (768 is Stable Diffusion 1, 1024 is 2, 2048 is XL)")
            : "";
        return Refuse(
            string.Create(CultureInfo.InvariantCulture, $"adapter does not fit this model: {misfits.Count} of {Count(file.Modules.Count, "module")} of other shapes{why}"),
            "shapes", misfits.Select(item => $"{item.Module.Name}: {item.What}"), tries, options);
    }

    private long? TextWidthOfModel() => names.Layers.FirstOrDefault(layer => BaseGuess.TakesText(layer.Path))?.Shape.Inputs;

    private CheckpointException Refuse(string head, string word, IEnumerable<string> lines, IEnumerable<string> tries, AdapterLoadOptions options)
    {
        var guess = BaseGuess.Of(file);
        var made = guess is null ? "" : $"; made for {guess.Name}: {guess.Because}";
        var name = System.IO.Path.GetFileName(file.Path);
        var text = new StringBuilder(head).Append(CultureInfo.InvariantCulture, $"\n  file    {name} ({file.Looks()}{made})");
        text.Append(CultureInfo.InvariantCulture, $"\n  model   {options.Model ?? string.Join(", ", names.Components)}");
        var all = lines.ToList();
        for (var i = 0; i < Math.Min(all.Count, MostLines); i++) text.Append(CultureInfo.InvariantCulture, $"\n  {(i == 0 ? word : ""),-7} {all[i]}");
        if (all.Count > MostLines) text.Append(CultureInfo.InvariantCulture, $"\n          and {all.Count - MostLines} more");
        foreach (var (advice, i) in tries.Append($"`lora inspect {name}`").Distinct().Select((advice, i) => (advice, i))) text.Append(CultureInfo.InvariantCulture, $"\n  {(i == 0 ? "try" : ""),-7} {advice}");
        return new CheckpointException(text.ToString());
    }

    private static string Count(int count, string what) => string.Create(CultureInfo.InvariantCulture, $"{count} {what}{(count == 1 ? "" : "s")}");
}
