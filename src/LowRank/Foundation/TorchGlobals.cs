using static System.FormattableString;

namespace LowRank.Foundation;

/// <summary>A storage that a pickle points to.</summary>
/// <param name="Key">Its record is <c>data/Key</c>.</param>
/// <param name="Type">Element type; null when it is plain bytes.</param>
/// <param name="Count">Elements; bytes when it has no type.</param>
internal sealed record PickleStorage(string Key, StoredType? Type, long Count);

/// <summary>A tensor that a pickle describes: a strided view of a storage, checked to lie inside it.</summary>
internal sealed record PickleTensor(PickleStorage Storage, StoredType Type, long Offset, long[] Shape, long[] Strides)
{
    /// <summary>Elements.</summary>
    public long Count => Shape.Aggregate(1L, (product, size) => product * size);

    /// <summary>Whether its elements lie one after the other, outermost axis first.</summary>
    public bool IsContiguous
    {
        get
        {
            var expected = 1L;
            for (var axis = Shape.Length - 1; axis >= 0; axis--)
            {
                if (Shape[axis] != 1 && Strides[axis] != expected) return false;
                expected *= Shape[axis];
            }
            return true;
        }
    }
}

/// <summary>
/// The names that a pickle of tensors may use, and what each means here. Any other is refused.
/// Arguments as torch/_utils.py, torch/_tensor.py and torch/serialization.py write them.
/// </summary>
internal static class TorchGlobals
{
    private static readonly Dictionary<string, StoredType> StorageTypes = new()
    {
        ["torch.DoubleStorage"] = StoredType.F64,
        ["torch.FloatStorage"] = StoredType.F32,
        ["torch.HalfStorage"] = StoredType.F16,
        ["torch.BFloat16Storage"] = StoredType.BF16,
        ["torch.LongStorage"] = StoredType.I64,
        ["torch.IntStorage"] = StoredType.I32,
        ["torch.ShortStorage"] = StoredType.I16,
        ["torch.CharStorage"] = StoredType.I8,
        ["torch.ByteStorage"] = StoredType.U8,
        ["torch.BoolStorage"] = StoredType.BOOL,
    };

    private static readonly Dictionary<string, StoredType> ElementTypes = new()
    {
        ["torch.float64"] = StoredType.F64,
        ["torch.float32"] = StoredType.F32,
        ["torch.float16"] = StoredType.F16,
        ["torch.bfloat16"] = StoredType.BF16,
        ["torch.float8_e4m3fn"] = StoredType.F8_E4M3,
        ["torch.float8_e5m2"] = StoredType.F8_E5M2,
        ["torch.int64"] = StoredType.I64,
        ["torch.int32"] = StoredType.I32,
        ["torch.int16"] = StoredType.I16,
        ["torch.int8"] = StoredType.I8,
        ["torch.uint8"] = StoredType.U8,
        ["torch.bool"] = StoredType.BOOL,
    };

    private static readonly HashSet<string> UntypedStorages = ["torch.storage.UntypedStorage", "torch.storage._UntypedStorage"];

    private const string ParameterDict = "torch.nn.modules.container.ParameterDict";

    // described, not needed: kept as objects without content
    private static readonly HashSet<string> Passive =
    [
        ParameterDict, "torch.device", "builtins.set", "__builtin__.set", "builtins.frozenset", "__builtin__.frozenset", "_codecs.encode",
        "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "torch.nn.parameter.Parameter", "torch.Tensor",
    ];

    private static readonly HashSet<string> Functions =
    [
        "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3", "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state", "torch._tensor._rebuild_from_type_v2", "collections.OrderedDict", "torch.Size",
    ];

    // checkpoints of whole trainings use these classes as keys, and never call them
    private static readonly string[] NamedOnly = ["pytorch_lightning.callbacks.", "lightning.pytorch.callbacks."];

    /// <summary>The name itself, if it is on the list.</summary>
    public static PickleGlobal Allow(PickleGlobal global, string path)
    {
        var name = global.ToString();
        var known = Functions.Contains(name) || Passive.Contains(name) || StorageTypes.ContainsKey(name) || ElementTypes.ContainsKey(name)
            || UntypedStorages.Contains(name) || NamedOnly.Any(start => name.StartsWith(start, StringComparison.Ordinal));
        return known ? global : throw Refuse(name, path);
    }

    /// <summary>What a call of one of the names gives.</summary>
    public static object? Call(PickleGlobal callee, object?[] arguments, string path)
    {
        var name = callee.ToString();
        switch (name)
        {
            case "torch._utils._rebuild_tensor" or "torch._utils._rebuild_tensor_v2" or "torch._utils._rebuild_tensor_v3":
                return Tensor(arguments, path);
            case "torch._utils._rebuild_parameter" or "torch._utils._rebuild_parameter_with_state":
                return arguments is [PickleTensor data, ..] ? data : throw Damaged("a parameter without its tensor", path);
            case "torch._tensor._rebuild_from_type_v2":
                return arguments is [PickleGlobal function, PickleGlobal, object?[] inner, ..] && function.ToString() != name
                    ? Call(function, inner, path)
                    : throw Damaged("a tensor of a class of its own, without its content", path);
            case "collections.OrderedDict":
                return Dictionary(arguments, path);
            case "torch.Size":
                return arguments is [object?[] sizes] ? sizes : throw Damaged("a size that is none", path);
            default:
                // classes that may be named must not be called either
                return Passive.Contains(name) ? new PickleObject(callee) : throw Refuse(name, path);
        }
    }

    /// <summary>A storage from its persistent id: ("storage", class, key, location, count). The location (a device) does not matter.</summary>
    public static PickleStorage Storage(object? id, string path)
    {
        var parts = id as object?[] ?? [];
        if (parts is not ["storage", PickleGlobal type, string key, _, long count, ..] || count < 0)
        {
            throw Damaged("a storage that is none", path);
        }
        var name = type.ToString();
        if (UntypedStorages.Contains(name)) return new PickleStorage(key, null, count);
        return StorageTypes.TryGetValue(name, out var stored) ? new PickleStorage(key, stored, count) : throw Damaged($"a storage of the class {name}", path);
    }

    /// <summary>The tensors inside an object: those of a <c>ParameterDict</c>, else none.</summary>
    public static object? Content(PickleObject item) =>
        item.Type.ToString() == ParameterDict && item.State is Dictionary<object, object?> state ? state.GetValueOrDefault("_parameters") : null;

    private static PickleTensor Tensor(object?[] arguments, string path)
    {
        if (arguments is not [PickleStorage storage, long offset, object?[] sizes, object?[] steps, ..]) throw Damaged("a tensor without storage, offset, size or strides", path);
        var type = arguments.Length > 6 && arguments[6] is PickleGlobal dtype
            ? ElementTypes.TryGetValue(dtype.ToString(), out var element) ? element : throw Damaged($"a tensor of the type {dtype}", path)
            : storage.Type ?? throw Damaged("a tensor without a type", path);
        var (shape, strides) = (Longs(sizes, path), Longs(steps, path));
        if (shape.Length != strides.Length || offset < 0) throw Damaged("a tensor whose size and strides differ in length, or with an offset below 0", path);

        // in elements; the sums cannot pass 128 bits as every factor is below 2^63 and they end at the first that is too large
        var held = (UInt128)(storage.Type is null ? storage.Count / type.Size() : storage.Count);
        UInt128 last = (UInt128)offset, count = 1;
        for (var axis = 0; axis < shape.Length; axis++)
        {
            count *= (UInt128)shape[axis];
            last += (UInt128)Math.Max(0, shape[axis] - 1) * (UInt128)strides[axis];
            if (last > long.MaxValue || count > long.MaxValue) break;
        }
        if (count > 0 && (last >= held || count > held))
        {
            throw Damaged(Invariant($"a tensor of shape {Shapes.Show(shape)}, strides {Shapes.Show(strides)}, offset {offset} does not fit its storage of {held} elements"), path);
        }
        return new PickleTensor(storage, type, offset, shape, strides);
    }

    private static long[] Longs(object?[] numbers, string path) =>
        Array.ConvertAll(numbers, number => number is long value && value >= 0 ? value : throw Damaged("a size or stride that is no number from 0 up", path));

    private static Dictionary<object, object?> Dictionary(object?[] arguments, string path)
    {
        var result = new Dictionary<object, object?>();
        if (arguments.Length == 0) return result;
        if (arguments is not [List<object?> pairs]) throw Damaged("a dictionary from something that is no list", path);
        foreach (var pair in pairs)
        {
            var (key, value) = pair switch
            {
                object?[] { Length: 2 } tuple => (tuple[0], tuple[1]),
                List<object?> { Count: 2 } list => (list[0], list[1]),
                _ => throw Damaged("a dictionary from something that is no list of pairs", path),
            };
            result[key ?? "None"] = value;
        }
        return result;
    }

    private static CheckpointException Refuse(string name, string path) => TensorFile.Refuse(path,
        $"the pickle wants {name}, which no tensor needs; nothing of it was run", "the file may be hostile: get it as .safetensors, or from somebody you trust");

    private static CheckpointException Damaged(string why, string path) => TensorFile.Refuse(path, $"the pickle is damaged: {why}");
}
