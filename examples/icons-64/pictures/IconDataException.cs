namespace LowRank.Examples.Icons;

/// <summary>Files that the data cannot be made from: the message says what, where and what to try.</summary>
internal sealed class IconDataException(string message) : Exception(message);
