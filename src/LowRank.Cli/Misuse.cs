using System.CommandLine;
using System.CommandLine.Parsing;
using LowRank.Foundation;

namespace LowRank.Cli;

/// <summary>What is wrong with a command line, one line a problem: shorter to read than the whole help with the problem above it.</summary>
internal static class Misuse
{
    /// <summary>Whether a command line is wrong. An unknown option in an argument's place is taken for its value when parsed, and is none: <c>lora inspect --jsn</c>.</summary>
    public static bool Is(ParseResult parsed) => parsed.Errors.Count > 0 || OptionsAsArguments(parsed).Any();

    public static string Explain(ParseResult parsed)
    {
        var command = parsed.CommandResult.Command;
        var name = NameOf(command);
        var problems = Unknown([.. OptionsAsArguments(parsed), .. parsed.UnmatchedTokens], parsed, command).Concat(Unreadable(parsed)).Concat(Missing(parsed, command)).ToList();
        if (problems.Count == 0) problems.AddRange(parsed.Errors.Select(error => ("", error.Message)));
        var width = problems.Select(problem => problem.Where).Append("try").Max(where => where.Length) + 2;
        var lines = problems.Select(problem => problem.Where.PadRight(width) + problem.What);
        return $"{problems.Count} problem{(problems.Count == 1 ? "" : "s")} in the arguments of {name}\n\n{string.Join('\n', lines)}\n\n{"try".PadRight(width)}{name} --help";
    }

    /// <summary>As in <c>lora prepare tag</c>.</summary>
    private static string NameOf(Command command) => command is RootCommand ? "lora" : $"{NameOf(command.Parents.OfType<Command>().First())} {command.Name}";

    /// <summary>Words that mean nothing here. A word after an unknown option is its value, and not told of.</summary>
    private static IEnumerable<(string Where, string What)> Unknown(IReadOnlyList<string> words, ParseResult parsed, Command command)
    {
        var afterOption = false;
        foreach (var word in words)
        {
            var isOption = IsOption(word);
            if (isOption)
            {
                var options = command.Options.Concat(parsed.RootCommandResult.Command.Options.Where(option => option.Recursive));
                yield return (word, "there is no such option" + Meant(word, options.SelectMany(option => option.Aliases.Append(option.Name)).Where(known => known.StartsWith("--", StringComparison.Ordinal))));
            }
            else if (!afterOption)
            {
                var commands = command.Subcommands.Select(known => known.Name).ToList();
                yield return (word, commands.Count == 0 ? "one word too many; put quotes around a value with spaces in it" : $"there is no such command{Meant(word, commands)}; there are {string.Join(", ", commands)}");
                if (commands.Count > 0) yield break;   // what follows belonged to that command
            }
            afterOption = isOption;
        }
    }

    private static bool IsOption(string word) => word.StartsWith('-') && word.Length > 1 && !double.TryParse(word, out _);

    /// <summary>Words that look like options and were taken for an argument; none behind <c>--</c>, which says that no option follows.</summary>
    private static IEnumerable<string> OptionsAsArguments(ParseResult parsed) => parsed.Tokens.Any(token => token.Type == TokenType.DoubleDash)
        ? []
        : parsed.CommandResult.Children.OfType<ArgumentResult>().SelectMany(result => result.Tokens).Select(token => token.Value).Where(IsOption);

    private static string Meant(string word, IEnumerable<string> known) => NearestName.Of(word, known) is { } nearest ? $"; did you mean {nearest}?" : "";

    /// <summary>Options with a value that cannot be read, or without one.</summary>
    private static IEnumerable<(string Where, string What)> Unreadable(ParseResult parsed)
    {
        foreach (var result in parsed.CommandResult.Children.OfType<OptionResult>())
        {
            if (!parsed.Errors.Any(error => error.SymbolResult == result || error.SymbolResult?.Parent == result)) continue;
            var given = string.Join(' ', result.Tokens.Select(token => token.Value));
            if (result.Tokens.Count == 0)
            {
                if (result.IdentifierToken is not null) yield return (result.Option.Name, $"needs a value: {result.Option.HelpName}");
                continue;
            }
            yield return (result.Option.Name, result.Tokens.Count > result.Option.Arity.MaximumNumberOfValues ? $"{given}; takes one value only" : $"{given}; must be {Kind(result.Option)}");
        }
    }

    private static string Kind(Option option)
    {
        var type = Nullable.GetUnderlyingType(option.ValueType) ?? option.ValueType;
        return type == typeof(int) || type == typeof(long) ? "a whole number" : type == typeof(double) ? "a number" : option.HelpName!.Replace("|", " or ", StringComparison.Ordinal);
    }

    private static IEnumerable<(string Where, string What)> Missing(ParseResult parsed, Command command)
    {
        // a word that is left over may be the argument whose place an unknown option took
        var given = parsed.UnmatchedTokens.Any(word => !IsOption(word)) && OptionsAsArguments(parsed).Any();
        foreach (var argument in command.Arguments.Where(argument => !given && argument.Arity.MinimumNumberOfValues > 0 && (parsed.GetResult(argument)?.Tokens.Count(token => !IsOption(token.Value)) ?? 0) < argument.Arity.MinimumNumberOfValues))
        {
            yield return (argument.Name, "missing: " + argument.Description);
        }
        foreach (var option in command.Options.Where(option => option.Required && parsed.GetResult(option) is not { IdentifierToken: not null }))
        {
            yield return (option.Name, "missing: " + option.Description);
        }
        if (command.Subcommands.Count > 0 && parsed.UnmatchedTokens.Count == 0) yield return ("COMMAND", $"missing: {string.Join(", ", command.Subcommands.Select(known => known.Name))}");
    }
}
