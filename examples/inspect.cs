// Says what adapter files hold, which model they were made for, who can load them and what is wrong with them. No model is needed.
//
//   dotnet run -c Release examples/inspect.cs -- runs/tango/adapter.safetensors

#:project ../src/LowRank/LowRank.csproj
#:property PublishAot=false

using LowRank.Foundation;
using LowRank.Recipes;

if (args.Length == 0)
{
    Console.Error.WriteLine("name adapter files: dotnet run -c Release examples/inspect.cs -- FILE ...");
    return 2;
}
try
{
    foreach (var file in args) Console.WriteLine(InspectAdapter.Run(file) + Environment.NewLine);
    return 0;
}
catch (LowRankException problem)   // no adapter, no such file, a damaged one: the message says what to try
{
    Console.Error.WriteLine(problem.Message);
    return 3;
}
