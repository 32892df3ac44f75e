using System.Runtime.CompilerServices;
using TorchSharp;

namespace LowRank.Testing;

/// <summary>
/// Test classes run side by side: with an engine thread for every core in each of them, the threads wait for each other and the tests take
/// nearly twice as long. The program itself is left as it is.
/// </summary>
internal static class OneThread
{
#pragma warning disable CA2255 // meant for applications: tests are one
    [ModuleInitializer]
    internal static void Set() => torch.set_num_threads(1);
#pragma warning restore CA2255
}
