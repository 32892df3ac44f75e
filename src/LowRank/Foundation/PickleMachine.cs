using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using static System.FormattableString;

namespace LowRank.Foundation;

/// <summary>A class or function that a pickle names. Naming is all: nothing of it is ever looked up or run.</summary>
internal sealed record PickleGlobal(string Module, string Name)
{
    public override string ToString() => $"{Module}.{Name}";
}

/// <summary>An object of a class we know the state of, or one that plays no part (then without state).</summary>
internal sealed class PickleObject(PickleGlobal type)
{
    public PickleGlobal Type { get; } = type;
    public object? State { get; set; }
}

/// <summary>
/// Reads Python's pickle format as data. What the format calls classes and functions are only names here: those on the list of
/// <see cref="TorchGlobals"/> have a meaning that this program gives them, any other ends the reading.
/// Results: null, bool, long, double, string, byte[], <c>List&lt;object?&gt;</c>, <c>object?[]</c> (tuple), <c>Dictionary&lt;object, object?&gt;</c>,
/// <see cref="PickleTensor"/>, <see cref="PickleStorage"/>, <see cref="PickleObject"/>, <see cref="PickleGlobal"/>.
/// Opcodes: Python's Lib/pickletools.py.
/// </summary>
internal sealed class PickleMachine(byte[] code, string path)
{
    private readonly List<object?> stack = [];
    private readonly Stack<int> marks = [];
    private readonly Dictionary<long, object?> memo = [];
    private int at;

    /// <summary>Runs to the end and returns the one result.</summary>
    /// <exception cref="CheckpointException">Damaged, or names something that tensors do not need.</exception>
    public object? Run()
    {
        while (true)
        {
            var operation = (char)Byte();
            if (operation == '.') return Pop();
            if (!Scalar(operation) && !Text(operation) && !Container(operation) && !Memory(operation) && !Object(operation))
            {
                throw Damaged(Invariant($"operation 0x{(int)operation:x2} at byte {at - 1}, which tensor files do not have"));
            }
        }
    }

    private bool Scalar(char operation)
    {
        switch (operation)
        {
            case '\x80': if (Byte() > 5) throw Damaged("a version above 5"); return true;
            case '\x95': Take(8); return true;
            case 'N': stack.Add(null); return true;
            case '\x88': stack.Add(true); return true;
            case '\x89': stack.Add(false); return true;
            case 'K': stack.Add((long)Byte()); return true;
            case 'M': stack.Add((long)BinaryPrimitives.ReadUInt16LittleEndian(Take(2))); return true;
            case 'J': stack.Add((long)BinaryPrimitives.ReadInt32LittleEndian(Take(4))); return true;
            case 'G': stack.Add(BinaryPrimitives.ReadDoubleBigEndian(Take(8))); return true;
            case 'I': stack.Add(Line() switch { "00" => false, "01" => true, var text => (object)Integer(text) }); return true;
            case 'L': stack.Add(Integer(Line().TrimEnd('L'))); return true;
            case 'F': stack.Add(double.TryParse(Line(), CultureInfo.InvariantCulture, out var number) ? number : throw Damaged("a number that is none")); return true;
            case '\x8a': stack.Add(Long(Byte())); return true;
            case '\x8b': stack.Add(Long(Length(4))); return true;
            default: return false;
        }
    }

    private bool Text(char operation)
    {
        switch (operation)
        {
            case 'X': stack.Add(Unicode(Length(4))); return true;
            case '\x8c': stack.Add(Unicode(Byte())); return true;
            case '\x8d': stack.Add(Unicode(Length(8))); return true;
            case 'V': stack.Add(Line()); return true;
            case 'T': stack.Add(Encoding.Latin1.GetString(Take(Length(4)))); return true;
            case 'U': stack.Add(Encoding.Latin1.GetString(Take(Byte()))); return true;
            case 'S': stack.Add(Line().Trim('\'', '"')); return true;
            case 'B': stack.Add(Take(Length(4)).ToArray()); return true;
            case 'C': stack.Add(Take(Byte()).ToArray()); return true;
            case '\x8e' or '\x96': stack.Add(Take(Length(8)).ToArray()); return true;
            default: return false;
        }
    }

    private bool Container(char operation)
    {
        switch (operation)
        {
            case '(': marks.Push(stack.Count); return true;
            case ')': stack.Add(Array.Empty<object?>()); return true;
            case 't': stack.Add(PopToMark()); return true;
            case '\x85' or '\x86' or '\x87': stack.Add(PopMany(operation - '\x84')); return true;
            case ']': stack.Add(new List<object?>()); return true;
            case 'l': stack.Add(new List<object?>(PopToMark())); return true;
            case 'a': Append([Pop()]); return true;
            case 'e': Append(PopToMark()); return true;
            case '}': stack.Add(new Dictionary<object, object?>()); return true;
            case 'd': stack.Add(Fill([], PopToMark())); return true;
            case 's': SetItems(PopMany(2)); return true;
            case 'u': SetItems(PopToMark()); return true;
            case '\x8f': stack.Add(new List<object?>()); return true;           // sets are lists here: only what is in them counts
            case '\x90': Append(PopToMark()); return true;
            case '\x91': stack.Add(PopToMark()); return true;
            default: return false;
        }
    }

    private bool Memory(char operation)
    {
        switch (operation)
        {
            case '0': Pop(); return true;
            case '1': PopToMark(); return true;
            case '2': stack.Add(Peek()); return true;
            case 'q': memo[Byte()] = Peek(); return true;
            case 'r': memo[BinaryPrimitives.ReadUInt32LittleEndian(Take(4))] = Peek(); return true;
            case 'p': memo[Integer(Line())] = Peek(); return true;
            case '\x94': memo[memo.Count] = Peek(); return true;
            case 'h': stack.Add(Recall(Byte())); return true;
            case 'j': stack.Add(Recall(BinaryPrimitives.ReadUInt32LittleEndian(Take(4)))); return true;
            case 'g': stack.Add(Recall(Integer(Line()))); return true;
            default: return false;
        }
    }

    private bool Object(char operation)
    {
        switch (operation)
        {
            case 'c': stack.Add(TorchGlobals.Allow(new PickleGlobal(Line(), Line()), path)); return true;
            case '\x93':
                if (PopMany(2) is not [string module, string name]) throw Damaged("a global whose name is no text");
                stack.Add(TorchGlobals.Allow(new PickleGlobal(module, name), path));
                return true;
            case 'R' or '\x81':
                if (PopMany(2) is not [PickleGlobal callee, object?[] arguments]) throw Damaged("a call of something that is no global");
                stack.Add(TorchGlobals.Call(callee, arguments, path));
                return true;
            case 'Q': stack.Add(TorchGlobals.Storage(Pop(), path)); return true;
            case 'b':
                var state = Pop();
                if (Peek() is PickleObject target) target.State = state;    // of others (metadata of a dictionary, hooks) nothing is needed
                return true;
            default: return false;
        }
    }

    private byte Byte() => at < code.Length ? code[at++] : throw Damaged("it is cut short");

    private ReadOnlySpan<byte> Take(int length)
    {
        if (length > code.Length - at) throw Damaged("it is cut short");
        at += length;
        return code.AsSpan(at - length, length);
    }

    private int Length(int width)
    {
        var value = width == 4 ? BinaryPrimitives.ReadUInt32LittleEndian(Take(4)) : BinaryPrimitives.ReadUInt64LittleEndian(Take(8));
        return value <= (ulong)(code.Length - at) ? (int)value : throw Damaged("it is cut short");
    }

    private string Line()
    {
        var end = Array.IndexOf(code, (byte)'\n', at);
        if (end < 0) throw Damaged("it is cut short");
        var text = Encoding.UTF8.GetString(code, at, end - at);
        at = end + 1;
        return text.TrimEnd('\r');
    }

    private string Unicode(int length) => Encoding.UTF8.GetString(Take(length));

    private long Integer(string text) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) ? value : throw Damaged("a number that is none, or too large");

    /// <summary>Two's complement, little-endian; above 8 bytes it is no number we could need, and is kept as bytes.</summary>
    private object Long(int length)
    {
        var bytes = Take(length);
        if (length > 8) return bytes.ToArray();
        var value = length > 0 && bytes[^1] >= 0x80 ? -1L : 0L;
        for (var i = length - 1; i >= 0; i--) value = (value << 8) | bytes[i];
        return value;
    }

    private object? Pop()
    {
        var value = Peek();
        stack.RemoveAt(stack.Count - 1);
        return value;
    }

    private object? Peek() => stack.Count > 0 ? stack[^1] : throw Damaged("its stack is empty where a value is needed");

    private object?[] PopMany(int count)
    {
        if (stack.Count < count) throw Damaged("its stack is empty where a value is needed");
        var values = stack.GetRange(stack.Count - count, count).ToArray();
        stack.RemoveRange(stack.Count - count, count);
        return values;
    }

    private object?[] PopToMark()
    {
        if (!marks.TryPop(out var mark) || mark > stack.Count) throw Damaged("a mark is missing");
        return PopMany(stack.Count - mark);
    }

    private object? Recall(long index) => memo.TryGetValue(index, out var value) ? value : throw Damaged(Invariant($"nothing was memorised under {index}"));

    private void Append(object?[] values)
    {
        if (Peek() is not List<object?> list) throw Damaged("items for something that is no list");
        list.AddRange(values);
    }

    private void SetItems(object?[] pairs)
    {
        switch (Peek())
        {
            case Dictionary<object, object?> dictionary: Fill(dictionary, pairs); break;
            case PickleObject: break;       // an object without a part in tensors
            default: throw Damaged("items for something that is no dictionary");
        }
    }

    private Dictionary<object, object?> Fill(Dictionary<object, object?> dictionary, object?[] pairs)
    {
        if (pairs.Length % 2 != 0) throw Damaged("a key without a value");
        for (var i = 0; i < pairs.Length; i += 2) dictionary[pairs[i] ?? "None"] = pairs[i + 1];
        return dictionary;
    }

    private CheckpointException Damaged(string why) => TensorFile.Refuse(path, $"the pickle is damaged: {why}");
}
