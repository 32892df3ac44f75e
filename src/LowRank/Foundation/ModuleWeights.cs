using System.Reflection;
using TorchSharp;
using TorchSharp.Modules;
using static System.FormattableString;
using static TorchSharp.torch;

namespace LowRank.Foundation;

/// <summary>One weight for a module.</summary>
/// <param name="Key">The module's key.</param>
/// <param name="Name">The name in the file, for messages.</param>
/// <param name="Shape">Shape of what <paramref name="Read"/> returns.</param>
/// <param name="Read">Gives a fresh tensor, which the module comes to own.</param>
internal sealed record WeightSource(string Key, string Name, IReadOnlyList<long> Shape, Func<Tensor> Read);

/// <summary>Puts tensors in the place of a module's parameters and buffers.</summary>
internal static class ModuleWeights
{
    private const BindingFlags Hidden = BindingFlags.Instance | BindingFlags.NonPublic;
    private static readonly MethodInfo RegisterParameter = typeof(nn.Module).GetMethod("ConditionallyRegisterParameter", Hidden, [typeof(string), typeof(Parameter)])!;
    private static readonly MethodInfo RegisterBuffer = typeof(nn.Module).GetMethod("ConditionallyRegisterBuffer", Hidden, [typeof(string), typeof(Tensor), typeof(bool)])!;

    /// <param name="Owner">The module that has it as its own.</param>
    /// <param name="Name">Its name there.</param>
    /// <param name="Value">What is there now.</param>
    private sealed record Slot(nn.Module Owner, string Name, Tensor Value);

    /// <summary>Checks that sources and module fit one to one, then assigns. <paramref name="path"/> is for messages.</summary>
    public static void Assign(nn.Module module, IReadOnlyList<WeightSource> sources, ScalarType type, Device device, string path)
    {
        var slots = Slots(module);
        Check(slots, sources, path);
        using var scope = NewDisposeScope();
        using var quiet = no_grad();
        foreach (var source in sources)
        {
            var slot = slots[source.Key];
            var wanted = slot.Value.is_floating_point() ? type : slot.Value.dtype;
            var value = source.Read();
            if (value.dtype != wanted || value.device_type != device.type) value = value.to(wanted, device);
            else if (!value.is_contiguous()) value = value.contiguous();
            Put(slot, value.DetachFromDisposeScope());
        }
    }

    /// <summary>
    /// Puts another tensor in the place of every parameter, with the same values, to be trained: so that all of them can lie in one flat tensor.
    /// </summary>
    /// <param name="module">Its buffers stay.</param>
    /// <param name="place">Gives, for a parameter's key and present value, where it shall lie: a view that the module comes to own, and one for its gradient.</param>
    public static void Move(nn.Module module, Func<string, Tensor, (Tensor Value, Tensor Gradient)> place)
    {
        using var quiet = no_grad();
        foreach (var (key, slot) in Slots(module).Where(item => item.Value.Value is Parameter))
        {
            var (value, gradient) = place(key, slot.Value);
            value.copy_(slot.Value);
            Put(slot, value, train: true).grad = gradient;   // backward adds to it in place
        }
    }

    /// <summary>Checks that sources and module fit one to one.</summary>
    /// <exception cref="CheckpointException">What is missing, unexpected or mis-shaped: the first ten of each.</exception>
    public static void RequireFit(nn.Module module, IReadOnlyList<WeightSource> sources, string path) => Check(Slots(module), sources, path);

    private static Dictionary<string, Slot> Slots(nn.Module module)
    {
        var slots = new Dictionary<string, Slot>();
        Add(module, "");
        return slots;

        void Add(nn.Module owner, string prefix)
        {
            foreach (var (name, value) in owner.named_parameters(recurse: false)) slots[prefix + name] = new Slot(owner, name, value);
            foreach (var (name, value) in owner.named_buffers(recurse: false, include_nonpersistent: false)) slots[prefix + name] = new Slot(owner, name, value);
            foreach (var (name, child) in owner.named_children()) Add(child, prefix + name + ".");
        }
    }

    private static void Check(Dictionary<string, Slot> slots, IReadOnlyList<WeightSource> sources, string path)
    {
        var twice = sources.GroupBy(source => source.Key).FirstOrDefault(group => group.Count() > 1);
        if (twice is not null)
        {
            throw TensorFile.Refuse(path, $"{string.Join(" and ", twice.Select(source => $"\"{source.Name}\""))} are both the weight \"{twice.Key}\"");
        }
        var given = sources.ToDictionary(source => source.Key);
        var missing = slots.Keys.Where(key => !given.ContainsKey(key)).ToList();
        var unexpected = sources.Where(source => !slots.ContainsKey(source.Key)).ToList();
        var misshaped = sources.Where(source => slots.TryGetValue(source.Key, out var slot) && !slot.Value.shape.SequenceEqual(source.Shape)).ToList();
        if (missing.Count + unexpected.Count + misshaped.Count == 0) return;

        var lines = new List<string>
        {
            Invariant($"the weights do not fit the model: {missing.Count} missing, {unexpected.Count} unexpected, {misshaped.Count} mis-shaped of {slots.Count}; in {path}"),
        };
        List("missing", missing, key => key);
        List("unexpected", unexpected, source => Named(source) + NearestName.Hint(source.Key, missing));
        List("mis-shaped", misshaped, source => $"{Named(source)} is {Shapes.Show(source.Shape)}, the model has {Shapes.Show(slots[source.Key].Value.shape)}");
        lines.Add("the file and the model's configuration belong to different models, or to different versions of one: use the pair as published");
        throw new CheckpointException(string.Join('\n', lines));

        void List<T>(string what, List<T> items, Func<T, string> show)
        {
            if (items.Count == 0) return;
            lines.Add($"  {what}: {string.Join(", ", items.Take(10).Select(show))}{(items.Count > 10 ? Invariant($", and {items.Count - 10} more") : "")}");
        }

        static string Named(WeightSource source) => source.Key == source.Name ? source.Key : $"{source.Key} (\"{source.Name}\" in the file)";
    }

    /// <summary>
    /// As TorchSharp's own <c>Module.to</c> does it (src/TorchSharp/NN/Module.cs, _toEpilog): through the property of TorchSharp's own layers,
    /// else in the registry and in the field. Disposes what was there.
    /// </summary>
    private static Tensor Put(Slot slot, Tensor value, bool train = false)
    {
        if (slot.Value is Parameter) value = new Parameter(value, requires_grad: train);
        var property = slot.Owner.GetType().GetProperty(slot.Name, BindingFlags.Instance | BindingFlags.Public);
        var known = property?.SetMethod is not null && property.DeclaringType!.Assembly == typeof(torch).Assembly && property.PropertyType.IsInstanceOfType(value);
        if (known) property!.SetValue(slot.Owner, value);
        else Register(slot, value);
        slot.Value.Dispose();   // most setters did, Embedding's did not
        return value;
    }

    private static void Register(Slot slot, Tensor value)
    {
        if (value is Parameter) RegisterParameter.Invoke(slot.Owner, [slot.Name, value]);
        else RegisterBuffer.Invoke(slot.Owner, [slot.Name, value, true]);
        for (var level = slot.Owner.GetType(); level is not null && level != typeof(nn.Module); level = level.BaseType)
        {
            foreach (var field in level.GetFields(Hidden | BindingFlags.Public | BindingFlags.DeclaredOnly))
            {
                if (ReferenceEquals(field.GetValue(slot.Owner), slot.Value)) field.SetValue(slot.Owner, value);
            }
        }
    }
}
