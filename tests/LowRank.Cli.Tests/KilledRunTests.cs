using System.Diagnostics;

namespace LowRank.Cli.Tests;

/// <summary>The program as a process of its own, killed without a word (as kill -9 does) or asked to end (as kill does), and resumed.</summary>
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

    /// <summary>Nothing but the signal saves here: there is no save between the first step and the last.</summary>
    [Fact]
    public async Task A_run_that_gets_SIGTERM_finishes_its_step_saves_and_says_so()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no SIGTERM");
        string[] line = ["train", shell.TinyRecipe(), "--set", "training.steps=60", "--set", "training.save_every=0"];
        Assert.Equal(0, await Finish(Start([.. line, "--output", shell.Path("whole")])));

        string output, errors, step;
        using (var asked = Start(line))
        {
            var (read, told) = (new List<string>(), asked.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken));
            while (!read.Exists(text => text.StartsWith(" step 3/60 ", StringComparison.Ordinal))) read.Add(Assert.IsType<string>(await asked.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken)));
            using (var kill = Process.Start("sh", ["-c", $"kill -TERM {asked.Id}"])) await kill.WaitForExitAsync(TestContext.Current.CancellationToken);
            output = await asked.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            errors = await told;
            await asked.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.Equal(CommandLine.Interrupted, asked.ExitCode);
        }
        Assert.Equal(" asked to end (SIGTERM): finishing this step, then saving\n", errors);
        step = Path.GetFileName(Assert.Single(Directory.GetDirectories(shell.Path("run", "state"))))["step-".Length..].TrimStart('0');
        Assert.Contains($" stopped   adapter and state are saved as of step {step}\n go on     lora train ", output, StringComparison.Ordinal);
        Assert.InRange(int.Parse(step, System.Globalization.CultureInfo.InvariantCulture), 3, 59);
        Assert.True(File.Exists(shell.Path("run", $"adapter-{step.PadLeft(6, '0')}.safetensors")));

        Assert.Equal(0, await Finish(Start([.. line, "--resume"])));
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
