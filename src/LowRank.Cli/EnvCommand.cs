using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using LowRank.Recipes;

namespace LowRank.Cli;

/// <summary><c>lora env</c>: what this machine has, for choosing options and for bug reports.</summary>
internal static class EnvCommand
{
    public static Command Create(Screen screen)
    {
        var command = new Command("env", "Say what this machine has: versions, processor, memory, GPUs, whether the engine loads.");
        command.SetAction(_ =>
        {
            var machine = InspectMachine.Run();
            screen.Row("lora", machine.Version);
            screen.Row("system", $"{RuntimeInformation.OSDescription} {RuntimeInformation.OSArchitecture}, .NET {Environment.Version}");
            screen.Row("processor", string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessorCount} cores; {machine.ProcessorFeatures}"));
            screen.Row("memory", string.Create(CultureInfo.InvariantCulture, $"{machine.MemoryBytes / 1e9:F1} GB for this process"));
            screen.Row("engine", machine.Engine);
            screen.Row("gpus", machine.Gpus);
            screen.Row("pictures", machine.Pictures);
            return machine.EngineLoads ? CommandLine.Done : CommandLine.Failed;
        });
        return command;
    }
}
