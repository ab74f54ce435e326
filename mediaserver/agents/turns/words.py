"""Finds the words of a transcript, and whether they only show that someone listens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final


# How recognisers write sounds that are not words: [cough], (typing), <unk>, *sighs*, ♪ la la ♪. A
# partial transcript may end within one. Words are (555), the keys *67, and 5 < 6.
_BRACKETS: Final = (
    "[]",
    "()",
    "{}",
    "\uff08\uff09",
    "\uff3b\uff3d",
    "\u3010\u3011",
    "\u3014\u3015",
)
_SIGNS: Final = ("<>", "**", "\uff1c\uff1e")
_NOTES: Final = "♩♪♫♬\U0001f3b5\U0001f3b6"
_SOUND: Final = re.compile(
    "|".join(
        [
            *(
                rf"\{begin}(?![\W\d_]{{0,40}}\{end})[^\{end}]*(?:\{end}|\Z)"
                for begin, end in _BRACKETS
            ),
            *(rf"\{begin}(?!\s?\d)[^\{end}]*(?:\{end}|\Z)" for begin, end in _SIGNS),
            rf"[{_NOTES}][^{_NOTES}]*(?:[{_NOTES}]|\Z)",
        ]
    )
)
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of `text` without case and punctuation; hyphens part words."""
    return tuple(_WORD.findall(_SOUND.sub(" ", text).casefold()))


class PhraseSet:
    """A set of short phrases, to ask whether a text consists of nothing else."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = frozenset(map(words_of, phrases))
        self._longest = max(map(len, self._phrases), default=0)

    def only(self, words: Sequence[str]) -> bool:
        """Whether `words` are phrases of the set, one after another; so is no word at all."""
        reached = {0}
        for start in range(len(words)):
            if start in reached:
                ends = range(start + 1, min(start + self._longest, len(words)) + 1)
                reached.update(end for end in ends if tuple(words[start:end]) in self._phrases)
        return len(words) in reached

    def may_become(self, words: Sequence[str]) -> bool:
        """Whether `words`, of which the last may be cut off, can still turn out to be `only`."""
        for start in range(len(words) - 1, -1, -1):
            rest = " ".join(words[start:])
            begun = any(" ".join(phrase).startswith(rest) for phrase in self._phrases)
            if begun and self.only(words[:start]):
                return True
        return not words
