import pytest

from mediaserver.agents.conversing.sentence_ends import Mark, ends_sentence


def ends(text: str, *, capitals: bool = True, final: bool = False) -> bool | None:
    """Ask about the mark before the first `|`, where the rest of the text has come."""
    before, after = text.split("|")
    bare = before.rstrip("\"'”’»)*")
    marked = len(bare)
    at = len(bare.rstrip(".!?…。．！？"))
    mark = Mark(before + after, at, marked, len(before))
    return ends_sentence(mark, capitals=capitals, final=final)


ENDS = [
    "Come in.| We",
    "It is 4711.| Keep",
    "We close at 5 p.m.| Before",
    "Bring visas, etc.| We ",
    "It is on Main St.| You can",
    "Go to Main St.| Maria waits",
    "The answer is no.| I can",
    "You need vitamin C.| Ours",
    "So do I.| But",
    "Cuesta 15 €.| ¿Paga",
    "I live in the U.S.| It is",
    "Es kostet 5.| Möchten",
    "一。|二",
    "好.|请",
    "Is it?| yes",
    "One moment.| ",
    'He said "Yes."| Then',
    "I use Yahoo!| Press one",
    "(We are open today.)| Come",
    "你看《好！》吗？|好",
]
GOES_ON = [
    "on Oak Ave.| Suite 4",
    "near Elm Rd.| and",
    "La Sra.| López",
    "on Thurs.| at",
    "at 2 p.m.| Wednesday ",
    "am 3.| Oktober ",
    "vom 24.| bis",
    "im 2.| Stock der",
    "call Dr.| Smith",
    "Hr. Dr.| Weber",
    "ул.| Ленина",
    "डॉ.| शर्मा",
    "د.| أحمد",
    "J. R. R.| Tolkien",
    "an unknown abbr.| of it",
    "read No.| 5",
    "2025. 3.| 10. ",
    "1.| Billing",
    "We do: 2.| Support",
    "2.|5",
    "１．|５",
    "Well...| maybe",
    '"Is it?"| she',
    "ธ.ค.| แล้ว",
    "嗯……|让",
    "Yahoo!| is a company",
    "Yahoo!| Mail ",
    "He teaches (he was an engineer.)| at the",
    "你看《走吧！|爸爸》吗",
    "Did you see Albert I.| Jones ",
    "ad es.| Roma",
    "Dr. med.| Meyer",
    "• 2.| The second",
    "a.| The first",
    "«К чему ты готовишься?| – спросила",
    "hoy a las 5 con el Excmo.| Sr.",
    "5 mb.| 3",
]
UNDECIDED = [
    "Come in.| ",
    "Come in.|",
    "on Oak Ave.| S",
    "at 2 p.m.| W",
    "am 3.| O",
    "on Main St.| Maria ",
    "Yahoo!| ",
    "(he was an engineer.)| ",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, True) for text in ENDS),
        *((text, False) for text in GOES_ON),
        *((text, None) for text in UNDECIDED),
    ],
)
def test_a_sentence_ends_goes_on_or_more_is_needed(text: str, expected: bool | None) -> None:
    assert ends(text) is expected


def test_at_the_end_of_a_text_a_sentence_ends() -> None:
    assert ends("Oak Ave.|", final=True) is True
    assert ends("Oak Ave.| ", final=True) is True


def test_before_a_small_letter_a_sentence_ends_only_where_none_begins_with_a_capital() -> None:
    assert ends("come in.| we", capitals=False) is True
    assert ends("Come in.| we", capitals=True) is False
    assert ends("on oak ave.| near", capitals=False) is False


def test_a_new_line_ends_a_sentence() -> None:
    assert ends("Oak Ave.|\nSuite") is True
