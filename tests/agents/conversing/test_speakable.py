import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.conversing.speakable import speakable


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("**Bold** and *thin*, __both__ _too_.", "Bold and thin, both too."),
        ("***all*** of **it *here* too**", "all of it here too"),
        ("**第三**天，*好了*。", "第三天，好了。"),
        ("**Total: $5**", "Total: $5"),
        ("## The heading", "The heading"),
        ("- one thing", "one thing"),
        ("* one thing", "one thing"),
        ("- [x] done", "done"),
        ("> quoted", "quoted"),
        ("---", ""),
        ("| a | b |", "a b"),
        ("Use `code` ~~now~~.", "Use code now."),
        ('See [the page](https://a.example/b_(c)?d=1 "x y").', "See the page."),
        ("See [the page](https://a.example/b_(c)?d=1).", "See the page."),
        ("See [**the** page](a.html)[^1].", "See the page."),
        ("See ![a cat](cat.png) here.", "See a cat here."),
        ("It is at https://www.example.com/a now.", "It is at www.example.com/a now."),
        ("Done \U0001f600\U0001f3fd now \u2764\ufe0f!", "Done now!"),
        ("Press 1\ufe0f\u20e32\ufe0f\u20e3, * or #.", "Press 1 2, * or #."),
        ("one<br>two <b>three</b>", "one two three"),
        ('See <a href="https://a.example/b.html">our page</a>.', "See our page."),
        ("Wait <break time='1s'/> here", "Wait here"),
        ('<say-as interpret-as="digits">123</say-as>', "123"),
        ("if a <b and c> d", "if a <b and c> d"),
        ("Press [Enter] now", "Press Enter now"),
    ],
)
def test_what_is_only_to_be_seen_is_not_said(text: str, said: str) -> None:
    assert speakable(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "2**8 is 256, and 3**4 is 81.",
        "3*4 or 3 * 4 or a*b*c",
        "Dial *67 or #5, then press *.",
        "a 5* hotel",
        "もう一度聞くには*を押してください。",
        "a snake_case name, jane_doe@example.com",
        "if a<b and c>d",
        ">5 of a[0]",
        "~5 minutes, -3 degrees, +1 415",
        "C# and C♯ and R&B",
    ],
)
def test_what_is_no_markdown_stays(text: str) -> None:
    assert speakable(text) == text


def test_code_is_said_as_it_is_written() -> None:
    assert speakable("Type `2**8` or `__init__`.") == "Type 2**8 or __init__."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[laugh] No [link](https://a.example)!", "[laugh] No link!"),
        ("It is [pause] *here*.[laugh]", "It is [pause] here.[laugh]"),
        ("<em>So [sigh]</em> [laughs] it ends.", "<em>So sigh</em> laughs it ends."),
        ("[1] and [a b]", "1 and a b"),
    ],
)
def test_tags_for_the_voice_stay(text: str, said: str) -> None:
    assert speakable(text, tags=["[laugh]", "[pause]", "<em>", "</em>"]) == said


def test_what_is_escaped_is_said() -> None:
    assert speakable("It costs \\$5 \\* 2") == "It costs $5 * 2"


def test_marks_within_a_line_begin_none() -> None:
    assert speakable("# is the key", line_begins=False) == "# is the key"


@given(st.text("ab1 *_`~]#>-|.:é你ก\U0001f600", max_size=60), st.booleans())
def test_no_letter_is_lost_or_added(text: str, line_begins: bool) -> None:
    said = speakable(text, line_begins=line_begins)
    assert [*filter(str.isalnum, said)] == [*filter(str.isalnum, text)]


@given(st.text("12*_`~|", max_size=40))
def test_numbers_are_not_joined(text: str) -> None:
    numbers = "".join(letter if letter.isdigit() else " " for letter in text).split()
    assert "".join(c if c.isdigit() else " " for c in speakable(text)).split() == numbers


@pytest.mark.parametrize("part", ["*", "**a", "[", "![", "](", "[a](", "`", "``a", "<b", "_", "\\"])
def test_a_long_text_takes_no_longer_than_its_length(part: str) -> None:
    speakable(part * (20_000 // len(part)))
