namespace LowRank.Families;

/// <summary>A part of a model that is loaded when first asked for and can be let go. Owns it.</summary>
internal sealed class LazyPart<T>(Func<T> load) : IDisposable where T : class, IDisposable
{
    private T? value;

    /// <summary>The part, loaded now if it is not there.</summary>
    public T Value => value ??= load();

    /// <summary>Puts another in its place.</summary>
    public void Replace(T other)
    {
        value?.Dispose();
        value = other;
    }

    /// <summary>Whether it is in memory.</summary>
    public bool IsLoaded => value is not null;

    /// <summary>Lets it go; asking again loads it again.</summary>
    public void Release()
    {
        value?.Dispose();
        value = null;
    }

    /// <inheritdoc/>
    public void Dispose() => Release();
}
