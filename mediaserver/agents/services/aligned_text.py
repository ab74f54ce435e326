"""Finds, in the text that a service was given, the words that it says it speaks; without I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final


_REACH: Final = 16
"""Letters and digits that may be skipped to find a word, for each word that was not found."""
_FARTHEST: Final = 96


def words_of_characters(characters: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return the words of characters with the time at which each ends, and when each word ends.

    The last may be the beginning of a word, and the first the rest of one.
    """
    words = []
    word, word_end = "", 0.0
    for character, end in characters:
        if not character.isspace():
            word, word_end = word + character, end
        elif word:
            words.append((word, word_end))
            word = ""
    return [*words, (word, word_end)] if word else words


class AlignedText:
    """A text that grows, and how much of it has been spoken.

    Services repeat a text with other spaces, without punctuation, or with numbers as words. So only
    letters and digits are compared, whatever their case and accents. A word that is not found
    moves nothing; the next one may then be further on.
    """

    def __init__(self) -> None:
        self._text = ""
        self._folded = ""
        self._places: list[int] = []  # of each folded letter in the text
        self._spoken = 0  # folded letters
        self._missed = 0  # words

    def add(self, text: str) -> None:
        """Go on with the text."""
        for index, char in enumerate(text, len(self._text)):
            folded = _folded(char)
            self._folded += folded
            self._places += [index] * len(folded)
        self._text += text

    def reach(self, word: str) -> int | None:
        """Note that a word, or the next part of one, was spoken.

        Returns:
            The number of characters of the text that have been spoken with it, with the punctuation
            after it; None if it was not found. It never falls.

        """
        folded = _folded(word)
        if not folded:
            return None
        found = self._find(folded)
        if found is None:
            self._missed += 1
            return None
        self._missed = 0
        self._spoken = found + len(folded)
        end = self._places[self._spoken - 1] + 1
        limit = self._places[self._spoken] if self._spoken < len(self._places) else len(self._text)
        while end < limit and not self._text[end].isspace():
            end += 1
        return end

    def _find(self, folded: str) -> int | None:
        here = self._folded.startswith(folded, self._spoken)
        if here and not self._missed:
            return self._spoken
        farthest = self._spoken + min(_FARTHEST, _REACH * (1 + self._missed)) + len(folded)
        found = self._folded.find(folded, self._spoken, farthest)
        while found >= 0 and not self._is_word(found, found + len(folded)):
            found = self._folded.find(folded, found + 1, farthest)
        if found >= 0:
            return found
        return self._spoken if here else None

    def _is_word(self, start: int, end: int) -> bool:
        """Return whether these letters are a word, or of a script without spaces between words."""
        places = self._places
        begins = start == 0 or places[start] - places[start - 1] > 1
        ends = end == len(places) or places[end] - places[end - 1] > 1
        return (begins and ends) or unicodedata.category(self._folded[start]) == "Lo"


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(char for char in plain if char.isalnum())
