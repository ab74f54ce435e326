"""What the world's writing systems have: marks that end a sentence, and words without spaces."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final


def _characters(*ranges: tuple[int, int]) -> Iterable[str]:
    return (chr(code) for first, last in ranges for code in range(first, last + 1))


IDEOGRAPHS: Final = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af"
"""Characters that each count as a word, as the inside of a regular expression's set: Chinese,
Japanese and Korean."""

_UNSPACED: Final = (
    (0x0E01, 0x0E7F),  # Thai
    (0x0E80, 0x0EFF),  # Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0xA980, 0xA9DF),  # Javanese
    (0xA9E0, 0xA9FF),  # Burmese
    (0xAA60, 0xAA7F),  # Burmese
)
_LETTERS: Final = "".join(
    letter for letter in _characters(*_UNSPACED) if unicodedata.category(letter)[0] == "L"
)
_MARKS: Final = "".join(
    mark for mark in _characters(*_UNSPACED) if unicodedata.category(mark)[0] == "M"
)
UNSPACED: Final = _LETTERS + _MARKS
"""Letters and vowel signs of scripts without spaces between words, as the inside of a set."""

STOPLESS: Final = (
    "\u0e01-\u0e2e\u0e30-\u0e3a\u0e40-\u0e45\u0e47-\u0e4e\u0e80-\u0ec5\u0ec8-\u0ecd\u0edc-\u0edf"
)
"""Letters and vowel signs of Thai and Lao, which have no full stop, as the inside of a set. The
signs for repetition and abbreviation are not among them."""

POLITE: Final = "ครับ|คับ|ค่ะ|คะ|จ้ะ|จ๊ะ|จ้า|ฮะ|ຄ່ະ|ຄະ|ຈ້າ|ເດີ້|ເດີ"
"""Words that end a sentence of Thai or Lao, with a space after them."""

# A consonant with all that is written around it: vowels before it, signs on it, what is stacked
# below it, and in Burmese the consonants that close the syllable. It is at most a syllable.
CLUSTER: Final = (
    rf"[เ-ไເ-ໄ]*[{_LETTERS}][{_MARKS}]*"
    rf"(?:(?<=[\u1039\u17d2\u1a60\u1b44\ua9c0])[{_LETTERS}][{_MARKS}]*)*"
    rf"[ะาๅະາ]*(?:[\u1000-\u1021][\u1037]?\u103a[{_MARKS}]*)*"
)

STOPS: Final = (
    "\u0589\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u0f0d\u0f0e"
    "\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1aa8\u1aa9\u1aaa"
    "\u1aab\u1b5a\u1b5b\u1b5e\u1b5f\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047\u2048\u2049\u2cf9\u2cfa"
    "\u2cfb\u2e2e\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d"
    "\uaa5e\uaa5f\uaaf0\uaaf1\uabeb\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61"
)
"""Marks that end a sentence whatever follows them, but for a digit: Unicode's Sentence_Terminal
without ASCII and without the Burmese comma, and the marks of Tibetan."""


def whole_letters(text: str, end: int) -> int:
    """Return the place at or before `end` where a text may be cut without tearing a letter."""
    at = end
    while 0 < at < len(text) and (
        unicodedata.category(text[at])[0] == "M" or text[at - 1] in "\u200d\u1039\u17d2"
    ):
        at -= 1
    return at or end
