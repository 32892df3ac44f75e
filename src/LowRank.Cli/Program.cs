using System.Globalization;
using LowRank.Cli;

// numbers are written and read the same way on every machine
CultureInfo.DefaultThreadCurrentCulture = CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
return CommandLine.Run(args, Screen.Standard());
