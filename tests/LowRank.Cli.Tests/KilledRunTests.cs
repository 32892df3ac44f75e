using System.Diagnostics;

namespace LowRank.Cli.Tests;

/// <summary>The program as a process of its own, killed without a word (as kill -9 does), and resumed.</summary>
public sealed class KilledRunTests : IDisposable
{
    private readonly Shell shell = new();

    public void Dispose() => shell.Dispose();

    [Fact]
    public async Task A_killed_run_resumes_to_the_bytes_of_an_uninterrupted_one()
    {
        var recipe = shell.TinyRecipe();
        string[] settings = ["--set", "training.steps=60", "--set", "training.save_every=10", "--set", "data[0].crop=random", "--set", "adapter.dropout=0.1"];
        // both in processes of their own: the number of threads, and so the last bits, are the same
        Assert.Equal(0, await Finish(Start(["train", recipe, .. settings, "--output", shell.Path("whole")])));

        using (var killed = Start(["train", recipe, .. settings]))
        {
            while (!Directory.Exists(shell.Path("run", "state", "step-000020")))
            {
                Assert.False(killed.HasExited, "the run ended before it could be killed");
                await Task.Delay(5, TestContext.Current.CancellationToken);
            }
            killed.Kill();
            await killed.WaitForExitAsync(TestContext.Current.CancellationToken);
        }
        Assert.False(File.Exists(shell.Path("run", "adapter.safetensors")), "the run was over before it was killed");

        Assert.Equal(0, await Finish(Start(["train", recipe, .. settings, "--resume"])));
        Assert.Equal(File.ReadAllBytes(shell.Path("whole", "adapter.safetensors")), File.ReadAllBytes(shell.Path("run", "adapter.safetensors")));
    }

    private static Process Start(string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add(typeof(CommandLine).Assembly.Location);
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        return Process.Start(start)!;
    }

    private static async Task<int> Finish(Process process)
    {
        using (process)
        {
            var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.Equal("", await errors);
            await output;
            return process.ExitCode;
        }
    }
}
