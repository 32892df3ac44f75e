namespace LowRank.Foundation;

/// <summary>An error that a user can act on. Its message says what failed, where, and what to try.</summary>
public abstract class LowRankException : Exception
{
    private protected LowRankException(string message, Exception? inner = null) : base(message, inner) { }
}

/// <summary>A file of weights (checkpoint, adapter, embedding, training state) is damaged, unsupported, or does not fit.</summary>
public sealed class CheckpointException : LowRankException
{
    internal CheckpointException(string message, Exception? inner = null) : base(message, inner) { }
}

/// <summary>Options (recipe, command line, library record) that cannot be honoured. Lists every problem, one a line.</summary>
public sealed class OptionsException : LowRankException
{
    internal OptionsException(string message, Exception? inner = null) : base(message, inner) { }
}

/// <summary>The arithmetic engine (libtorch) cannot be loaded on this machine.</summary>
public sealed class EngineException : LowRankException
{
    internal EngineException(string message, Exception? inner = null) : base(message, inner) { }
}

/// <summary>Training data that cannot be used: no pictures, no captions, nothing readable.</summary>
public sealed class DatasetException : LowRankException
{
    internal DatasetException(string message, Exception? inner = null) : base(message, inner) { }
}
