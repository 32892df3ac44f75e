using System.Runtime.CompilerServices;

namespace LowRank.Testing;

/// <summary>
/// Tests see neither the models that this machine's user has downloaded nor the hub: what a test gets without naming its own server and cache is an empty
/// cache and an address where nobody listens.
/// </summary>
internal static class NoHub
{
#pragma warning disable CA2255 // a library's initializer, for the test programs that it is made for
    [ModuleInitializer]
#pragma warning restore CA2255
    internal static void Set()
    {
        Environment.SetEnvironmentVariable("HF_HUB_CACHE", Path.Combine(AppContext.BaseDirectory, "no-hub"));
        Environment.SetEnvironmentVariable("HF_ENDPOINT", "http://127.0.0.1:9");
        foreach (var name in (string[])["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]) Environment.SetEnvironmentVariable(name, null);
        Environment.SetEnvironmentVariable("HF_HOME", Path.Combine(AppContext.BaseDirectory, "no-hub"));
    }
}
