import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.turns.words import PhraseSet, words_of


PHRASES = PhraseSet(["yeah", "mm-hmm", "I see", "okay"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mm-hmm.", ("mm", "hmm")),
        ("No, WAIT!", ("no", "wait")),
        ("don\u2019t", ("don\u2019t",)),
        ("[cough] stop <unk>", ("stop",)),
        ("STRASSE 12", ("strasse", "12")),
        ("\u00bfQu\u00e9?", ("qu\u00e9",)),
        ("_ - ...", ()),
        ("(555) 010 (music) (um", ("555", "010")),
        ("*67", ("67",)),
        ("* 6 7 #", ("6", "7")),
        ("under <5", ("under", "5")),
    ],
)
def test_words_are_compared_without_case_and_punctuation(text: str, words: tuple[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    "text",
    [
        ".",
        "...",
        "\u2026",
        "[BLANK_AUDIO]",
        "[ Silence ]",
        "(silence)",
        "(speaking in a foreign language).",
        "<unk>",
        "<|nospeech|>",
        "{noise}",
        "*coughs*",
        "\u266a la la la \u266a",
        "\u266a\u266a",
        "\uff08\u7b11\u58f0\uff09",
        "\u3010\u97f3\u697d\u3011",
        "\u3014\u7b11\u3015",
        "\uff1c\u7b11\uff1e",
        "\U0001f3b5 la la \U0001f3b5",
        "[2 seconds of silence]",
        "[BLANK_AUDIO] [BLANK_AUDIO]",
        "- (typing) - [music]",
    ],
)
def test_marks_of_sounds_are_not_words(text: str) -> None:
    assert words_of(text) == ()
    # A partial transcript may end anywhere.
    assert all(words_of(text[:length]) == () for length in range(len(text)))
    assert words_of(f"{text} yes") == words_of(f"yes {text}") == ("yes",)


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ("", True),
        ("okay", True),
        ("I see, yeah", True),
        ("mm hmm mm hmm", True),
        ("see", False),
        ("okay stop", False),
        ("i see you", False),
    ],
)
def test_only_phrases(text: str, only: bool) -> None:
    assert PHRASES.only(words_of(text)) is only


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("", True),
        ("I", True),
        ("okay i s", True),
        ("yea", True),
        ("okay st", False),
        ("see", False),
    ],
)
def test_what_may_become_a_phrase(text: str, may: bool) -> None:
    assert PHRASES.may_become(words_of(text)) is may


def test_no_phrases() -> None:
    assert PhraseSet([]).only([])
    assert not PhraseSet([]).only(["okay"])
    assert not PhraseSet([]).may_become(["okay"])


@given(st.lists(st.sampled_from(["yeah", "mm-hmm", "I see", "okay"])), st.data())
def test_phrases_may_become_themselves_at_every_letter(
    phrases: list[str], data: st.DataObject
) -> None:
    text = " ".join(phrases)
    cut = data.draw(st.integers(0, len(text)))

    assert PHRASES.only(words_of(text))
    assert PHRASES.may_become(words_of(text[:cut]))


@given(st.text())
def test_any_text_has_words_or_none(text: str) -> None:
    assert all(words_of(text))
