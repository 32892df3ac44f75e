using System.Collections.Immutable;
using System.Reflection;
using System.Reflection.Emit;
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;

namespace LowRank.Tests.Architecture;

/// <summary>Who calls whom in a built library, read from its code: methods by name, as in <c>Type::Method(Parameter,Parameter)</c>.</summary>
internal sealed class CallReader : ISignatureTypeProvider<string, object?>, IDisposable
{
    private static readonly Dictionary<int, OpCode> Codes = typeof(OpCodes).GetFields(BindingFlags.Public | BindingFlags.Static)
        .Select(field => (OpCode)field.GetValue(null)!).ToDictionary(code => (int)(ushort)code.Value);

    private readonly PEReader file;
    private readonly MetadataReader reader;

    /// <param name="path">A managed library.</param>
    public CallReader(string path)
    {
        file = new PEReader(File.OpenRead(path));
        reader = file.GetMetadataReader();
    }

    public void Dispose() => file.Dispose();

    /// <summary>Every method with what its body calls or takes the address of. Methods that differ in generic arguments only count as one.</summary>
    public Dictionary<string, List<string>> Calls()
    {
        var calls = new Dictionary<string, List<string>>();
        foreach (var handle in reader.MethodDefinitions)
        {
            var name = Name(handle)!;
            if (!calls.TryGetValue(name, out var called)) calls[name] = called = [];
            var address = reader.GetMethodDefinition(handle).RelativeVirtualAddress;
            if (address != 0) called.AddRange(Called(file.GetMethodBody(address).GetILBytes()!));
        }
        return calls;
    }

    private IEnumerable<string> Called(byte[] code)
    {
        for (var at = 0; at < code.Length;)
        {
            int number = code[at++];
            if (number == 0xfe) number = 0xfe00 | code[at++];
            var operand = Codes[number].OperandType;
            if (operand is OperandType.InlineMethod or OperandType.InlineTok
                && Name(MetadataTokens.EntityHandle(BitConverter.ToInt32(code, at))) is { } name) yield return name;
            at += operand switch
            {
                OperandType.InlineNone => 0,
                OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar => 1,
                OperandType.InlineVar => 2,
                OperandType.InlineI8 or OperandType.InlineR => 8,
                OperandType.InlineSwitch => 4 + 4 * BitConverter.ToInt32(code, at),
                _ => 4,
            };
        }
    }

    private string? Name(EntityHandle handle)
    {
        switch (handle.Kind)
        {
            case HandleKind.MethodDefinition:
                var method = reader.GetMethodDefinition((MethodDefinitionHandle)handle);
                return Text(GetTypeFromDefinition(reader, method.GetDeclaringType(), 0), reader.GetString(method.Name), method.DecodeSignature(this, null));
            case HandleKind.MemberReference:
                var member = reader.GetMemberReference((MemberReferenceHandle)handle);
                return member.GetKind() == MemberReferenceKind.Field ? null : Text(Type(member.Parent), reader.GetString(member.Name), member.DecodeMethodSignature(this, null));
            case HandleKind.MethodSpecification:
                return Name(reader.GetMethodSpecification((MethodSpecificationHandle)handle).Method);
            default:
                return null;
        }
    }

    private string Type(EntityHandle handle) => handle.Kind switch
    {
        HandleKind.TypeReference => GetTypeFromReference(reader, (TypeReferenceHandle)handle, 0),
        HandleKind.TypeDefinition => GetTypeFromDefinition(reader, (TypeDefinitionHandle)handle, 0),
        HandleKind.TypeSpecification => GetTypeFromSpecification(reader, null, (TypeSpecificationHandle)handle, 0),
        _ => "?",
    };

    private static string Text(string type, string name, MethodSignature<string> signature) => $"{type}::{name}({string.Join(",", signature.ParameterTypes)})";

    public string GetTypeFromDefinition(MetadataReader reader, TypeDefinitionHandle handle, byte rawTypeKind)
    {
        var type = reader.GetTypeDefinition(handle);
        var outer = type.GetDeclaringType();
        return outer.IsNil ? $"{reader.GetString(type.Namespace)}.{reader.GetString(type.Name)}" : $"{GetTypeFromDefinition(reader, outer, 0)}/{reader.GetString(type.Name)}";
    }

    public string GetTypeFromReference(MetadataReader reader, TypeReferenceHandle handle, byte rawTypeKind)
    {
        var type = reader.GetTypeReference(handle);
        return type.ResolutionScope.Kind == HandleKind.TypeReference
            ? $"{GetTypeFromReference(reader, (TypeReferenceHandle)type.ResolutionScope, 0)}/{reader.GetString(type.Name)}"
            : $"{reader.GetString(type.Namespace)}.{reader.GetString(type.Name)}";
    }

    public string GetTypeFromSpecification(MetadataReader reader, object? genericContext, TypeSpecificationHandle handle, byte rawTypeKind) =>
        reader.GetTypeSpecification(handle).DecodeSignature(this, genericContext);

    public string GetArrayType(string elementType, ArrayShape shape) => elementType + "[,]";
    public string GetByReferenceType(string elementType) => elementType + "&";
    public string GetFunctionPointerType(MethodSignature<string> signature) => "function";
    public string GetGenericInstantiation(string genericType, ImmutableArray<string> typeArguments) => genericType;
    public string GetGenericMethodParameter(object? genericContext, int index) => "!!" + index;
    public string GetGenericTypeParameter(object? genericContext, int index) => "!" + index;
    public string GetModifiedType(string modifier, string unmodifiedType, bool isRequired) => unmodifiedType;
    public string GetPinnedType(string elementType) => elementType;
    public string GetPointerType(string elementType) => elementType + "*";
    public string GetPrimitiveType(PrimitiveTypeCode typeCode) => typeCode.ToString();
    public string GetSZArrayType(string elementType) => elementType + "[]";
}
