import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.services.aligned_text import AlignedText, words_of_characters


_WORDS = st.lists(st.text("abcxyzäß字5", min_size=1, max_size=6), min_size=1, max_size=8)


def aligned(text: str) -> AlignedText:
    aligned = AlignedText()
    aligned.add(text)
    return aligned


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  ", []),
        ("Hi, y", [("Hi,", 3), ("y", 5)]),
        ("ou\n two ", [("ou", 2), ("two", 7)]),
    ],
)
def test_the_times_of_characters_become_those_of_words(
    text: str, words: list[tuple[str, int]]
) -> None:
    assert words_of_characters(zip(text, range(1, 99), strict=False)) == words


@given(_WORDS, st.sampled_from([" ", "  ", ", ", " - ", "... \n"]), st.integers(1, 5))
def test_a_text_that_is_spoken_as_it_is_is_found_to_the_character(
    words: list[str], between: str, size: int
) -> None:
    text = between.join(words)
    found = AlignedText()
    for start in range(0, len(text), size):
        found.add(text[start : start + size])
    ends = [match.end() for match in re.finditer(r"\S+", text) if match[0] != "-"]
    assert [found.reach(word) for word in words] == ends


@given(_WORDS, st.lists(st.text(max_size=6), max_size=12))
def test_whatever_is_spoken_the_place_never_falls_and_stays_in_the_text(
    words: list[str], spoken: list[str]
) -> None:
    text = " ".join(words)
    found = aligned(text)
    reached = [end for end in map(found.reach, spoken) if end is not None]
    assert reached == sorted(reached)
    assert all(0 < end <= len(text) for end in reached)


@given(_WORDS)
def test_parts_of_words_are_found_one_after_another(words: list[str]) -> None:
    text = " ".join(words)
    found = aligned(text)
    parts = [char for word in words for char in word]
    assert [found.reach(part) for part in parts][-1] == len(text)


@pytest.mark.parametrize(
    ("text", "spoken", "ends"),
    [
        ("It costs $5 now.", "It costs five dollars now", [2, 8, None, None, 16]),
        ("Call 555-0100, please!", "call five five five oh please", [4, *[None] * 4, 22]),
        ("**Hello**, Zoë.", "HELLO zoe", [10, 15]),
        ("one two", "um one two", [None, 3, 7]),
        ("a cat and a dog", "a cat plus a dog", [1, 5, None, 11, 15]),
    ],
)
def test_what_is_spoken_otherwise_moves_nothing_and_the_next_word_is_found(
    text: str, spoken: str, ends: list[int | None]
) -> None:
    found = aligned(text)
    assert [found.reach(word) for word in spoken.split()] == ends


def test_a_part_of_a_later_word_is_not_taken_for_the_word() -> None:
    assert aligned("Uncategorised cats").reach("cat") is None


def test_a_word_far_ahead_is_not_taken_for_one_that_is_spoken_now() -> None:
    found = aligned(f"Yes {'so ' * 20} end")
    assert found.reach("end") is None
    assert found.reach("Yes") == 3


def test_punctuation_alone_is_no_word() -> None:
    assert aligned("Hi - you").reach("-") is None
