using System;
using System.IO;
using System.Text;
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

/// <summary>
/// Copies an ELF library with one symbol-version requirement marked weak (VER_FLG_WEAK in .gnu.version_r).
/// Compiled by MSBuild at build time (see NativeLibraries.targets). Layout: Linux Standard Base, "Symbol Versioning".
/// </summary>
public sealed class WeakenSymbolVersion : Task
{
    private const uint VersionNeededSection = 0x6ffffffe;   // SHT_GNU_verneed
    private const byte Weak = 2;                            // VER_FLG_WEAK

    [Required] public string Source { get; set; }
    [Required] public string Destination { get; set; }
    [Required] public string Version { get; set; }

    public override bool Execute()
    {
        var stamp = File.GetLastWriteTimeUtc(Source);
        if (File.Exists(Destination) && File.GetLastWriteTimeUtc(Destination) == stamp) return true;

        var elf = File.ReadAllBytes(Source);
        if (elf.Length < 64 || elf[0] != 0x7f || elf[1] != 'E' || elf[2] != 'L' || elf[3] != 'F' || elf[4] != 2)
        {
            Log.LogError("{0} is not a 64-bit ELF library", Source);
            return false;
        }
        Mark(elf);
        Directory.CreateDirectory(Path.GetDirectoryName(Destination));
        var temporary = Destination + "." + Guid.NewGuid().ToString("N");
        File.WriteAllBytes(temporary, elf);
        File.SetLastWriteTimeUtc(temporary, stamp);
        if (File.Exists(Destination)) File.Delete(Destination);
        File.Move(temporary, Destination);
        return true;
    }

    private void Mark(byte[] elf)
    {
        var sections = BitConverter.ToInt64(elf, 0x28);
        int size = BitConverter.ToUInt16(elf, 0x3A), count = BitConverter.ToUInt16(elf, 0x3C);
        for (var i = 0; i < count; i++)
        {
            var section = (int)(sections + (long)i * size);
            if (BitConverter.ToUInt32(elf, section + 4) != VersionNeededSection) continue;
            var strings = (int)(sections + (long)BitConverter.ToUInt32(elf, section + 0x28) * size);
            MarkSection(elf, (int)BitConverter.ToInt64(elf, section + 0x18), (int)BitConverter.ToInt64(elf, strings + 0x18));
        }
    }

    private void MarkSection(byte[] elf, int needed, int strings)
    {
        while (true)
        {
            int entries = BitConverter.ToUInt16(elf, needed + 2);
            var entry = needed + (int)BitConverter.ToUInt32(elf, needed + 8);
            for (var k = 0; k < entries; k++)
            {
                var name = strings + (int)BitConverter.ToUInt32(elf, entry + 8);
                var end = Array.IndexOf(elf, (byte)0, name);
                if (Encoding.ASCII.GetString(elf, name, end - name) == Version) elf[entry + 4] |= Weak;
                entry += (int)BitConverter.ToUInt32(elf, entry + 12);
            }
            var next = (int)BitConverter.ToUInt32(elf, needed + 12);
            if (next == 0) return;
            needed += next;
        }
    }
}
