using LowRank.Examples.Icons;

namespace LowRank.Tests.Examples;

/// <summary>Names and captions of the base's pictures, and what is held out by them: no pictures needed.</summary>
public class IconNamesTests
{
    private static readonly string[] List =
    [
        "# group: Smileys & Emotion",
        "# subgroup: heart",
        "2764 FE0F                                              ; fully-qualified     # ❤️ E0.6 red heart",
        "2764                                                   ; unqualified         # ❤ E0.6 red heart",
        "# group: People & Body",
        "# subgroup: person",
        "1F471                                                  ; fully-qualified     # 👱 E0.6 person: blond hair",
        "1F471 1F3FB                                            ; fully-qualified     # 👱🏻 E1.0 person: light skin tone, blond hair",
        "1F471 200D 2642                                        ; minimally-qualified # 👱‍♂ E4.0 man: blond hair",
        "# subgroup: hand-fingers-open",
        "1FAF1                                                  ; fully-qualified     # 🫱 E14.0 rightwards hand",
        "# group: Symbols",
        "# subgroup: keycap",
        "0023 FE0F 20E3                                         ; fully-qualified     # #️⃣ E0.6 keycap: #",
        "# group: Flags",
        "# subgroup: country-flag",
        "1F1E8 1F1EE                                            ; fully-qualified     # 🇨🇮 E2.0 flag: Côte d’Ivoire",
    ];

    [Fact]
    public void The_list_gives_whole_names_without_tones_and_other_spellings()
    {
        var emoji = Emoji.Read(List);
        Assert.Equal(
            ["0 2764 FE0F red heart|heart|True", "1 1F471 person blond hair|person|True", "2 1FAF1 rightwards hand|hand-fingers-open|False", "3 0023 FE0F 20E3 keycap #|keycap|False", "4 1F1E8 1F1EE flag cote divoire|country-flag|False"],
            emoji.Select(one => $"{one.Index} {one.CodePoints} {one.Caption}|{one.Subgroup}|{one.MayFlip}"));
        Assert.Equal("person: light skin tone, blond hair", Emoji.Read(List, tones: true)[2].Name);
    }

    [Theory]
    [InlineData("flag: São Tomé & Príncipe", "flag sao tome and principe")]
    [InlineData("ON! arrow", "on arrow")]
    [InlineData("Japanese “free of charge” button", "japanese free of charge button")]
    [InlineData("blond-haired", "blond haired")]
    [InlineData("Mrs. Claus", "mrs claus")]
    public void Names_become_plain_words(string name, string words) => Assert.Equal(words, Emoji.PlainWords(name));

    [Theory]
    [InlineData(1515, "keycap #", "1515_keycap")]
    [InlineData(7, "flag st kitts and nevis", "0007_flag-st-kitts-and-nevis")]
    public void File_names_hold_letters_and_digits_only(int index, string caption, string name) => Assert.Equal(name, PictureFolder.FileName(index, caption));

    [Fact]
    public void A_quarter_of_the_lines_has_phrasings_that_the_recipe_draws_from()
    {
        Assert.Equal("red apple\nred apple\nred apple\n{a red apple|red apple emoji|red apple icon|an icon of red apple|a picture of red apple|one red apple}\n", PictureFolder.Lines("red apple"));
    }

    [Theory]
    [InlineData("red apple", "blue apple")]              // its own colour goes
    [InlineData("light blue heart", "blue heart")]       // the words for one colour go together
    [InlineData("dog face", "blue dog face")]
    [InlineData("white question mark", "blue question mark")]
    [InlineData("greenhouse", "blue greenhouse")]        // whole words only
    public void A_recoloured_caption_names_the_new_colour(string caption, string recoloured) =>
        Assert.Equal(recoloured, Recolouring.Caption(caption, Recolouring.Targets.Single(target => target.Word == "blue")));

    [Theory]
    [InlineData("green automobile", true)]
    [InlineData("green racing car", true)]
    [InlineData("red cat face", true)]
    [InlineData("red caterpillar", false)]
    [InlineData("blue houses", true)]
    [InlineData("green cat face", false)]
    public void Test_combinations_are_found_by_whole_words(string caption, bool held) => Assert.Equal(held, HeldOut.ColourPairs.Any(pair => pair.Holds(caption)));

    [Fact]
    public void A_colour_is_held_out_by_its_rule_or_as_a_test_combination()
    {
        var car = new Emoji(902, "x", "automobile", "automobile", "Travel & Places", "transport-ground");
        var held = Recolouring.Targets.Select((target, place) => (target.Word, Out: HeldOut.Colour(car, place, Recolouring.Caption(car.Caption, target)))).Where(colour => colour.Out).Select(colour => colour.Word);
        Assert.Equal(["yellow", "green", "brown"], held);   // 7 · 902 + 3 · (2 or 7) is a multiple of 5; green is a test combination
    }

    [Fact]
    public void Forms_for_men_and_women_share_a_name_and_so_a_side()
    {
        Assert.Equal("running", HeldOut.BaseName("woman running"));
        Assert.Equal("running", HeldOut.BaseName("man running"));
        Assert.Equal("man", HeldOut.BaseName("man"));
        var all = Enumerable.Range(0, 4000).SelectMany(name => new[] { $"man of kind {name}", $"woman of kind {name}" })
            .Select((caption, index) => new Emoji(index, "x", caption, caption, "People & Body", "person-role")).ToList();
        var held = HeldOut.Emoji(all);
        Assert.InRange(held.Count, 100, 300);   // one of 40, of 8,000
        Assert.All(held, index => Assert.Contains(index ^ 1, held));   // men and women of one kind stand side by side
        Assert.DoesNotContain(HeldOut.Recalled(all), emoji => held.Contains(emoji.Index));
    }

    [Fact]
    public void Families_and_things_of_test_combinations_are_never_held_out_whole()
    {
        var names = Enumerable.Range(0, 4000).Select(name => $"cat of kind {name}").ToList();
        Assert.Empty(HeldOut.Emoji([.. names.Select((caption, index) => new Emoji(index, "x", caption, caption, "Animals & Nature", "animal-mammal"))]));
        Assert.Empty(HeldOut.Emoji([.. names.Select((caption, index) => new Emoji(index, "x", "family", $"family {index}", "People & Body", "family"))]));
    }

    [Fact]
    public void A_hundred_captions_are_asked_for_evenly_and_without_flags_of_countries()
    {
        var all = Enumerable.Range(0, 450).Select(index => new Emoji(index, "x", $"n{index}", $"n{index}", "Objects", index >= 250 ? "country-flag" : "tool")).ToList();
        var asked = HeldOut.Recalled(all);
        Assert.Equal(100, asked.Count);
        Assert.Equal([0, 2, 5, 7, 10], asked.Take(5).Select(emoji => emoji.Index));
        Assert.Equal(247, asked[^1].Index);
    }
}
