"""Which of the words that a recogniser understood belong to which utterance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from mediaserver.agents.services import RecognizedWord, RecognizedWords


_SLACK: Final = 0.5
"""Seconds by which a word may lie outside of an utterance: a recogniser and a voice detector do not
hear the same beginnings and ends."""

_INSTANT: Final = 1e-6


class Span:
    """Where an utterance lies, in seconds of the audio that the recogniser is given.

    Attributes:
        begin: where it begins.
        end: where it ends; infinite while the caller speaks.
        through: up to where its words are final.

    """

    __slots__ = ("begin", "end", "through")

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.end = math.inf
        self.through = -math.inf

    def has(self, position: float) -> bool:
        """Whether a position lies within it."""
        return self.begin <= position < self.end

    def overlaps(self, start: float, end: float) -> bool:
        """Whether some of a stretch lies within it."""
        return start < self.end and end > self.begin

    def distance(self, position: float) -> float:
        """Return how far a position lies outside of it."""
        return max(self.begin - position, position - self.end, 0.0)


class AttributedWords:
    """Attributes words to utterances by their times.

    A word belongs to the utterance in which its middle lies, and to several of them where they
    overlap, because one takes up another. A word outside of all belongs to the nearest, if that is
    near enough. Words whose times are not known stay together, with the utterance that has most of
    them.

    Recognisers tell words again and again until they are final. Final words are looked at once for
    each utterance, so that an event costs no more the longer somebody has spoken.

    Attributes:
        through: up to where the words are final.

    """

    def __init__(self) -> None:
        self.through = 0.0
        self._spans: list[Span] = []
        # Words in the order in which they were told. The first of them are all final.
        self._pieces: list[RecognizedWords] = []
        self._settled = 0
        # The settled words of each utterance, how many pieces they are from, and under which
        # circumstances: with others, the same words may belong to another utterance.
        self._read: dict[Span, tuple[tuple[float, ...], int, str]] = {}
        self._changes = 0
        # Words before this are not looked for any more.
        self._over = 0.0

    def begin(self, position: float) -> Span:
        """Begin an utterance; its `Span.end` is set when it ends."""
        span = Span(position)
        self._spans.append(span)
        self._changes += 1
        return span

    def over(self, span: Span) -> None:
        """Forget an utterance, and the words up to its end."""
        self._spans.remove(span)
        self._read.pop(span, None)
        self._over = max(self._over, min(span.end, self.through))
        begin = min((each.begin for each in self._spans), default=self._over)
        self._keep([piece for piece in self._pieces if piece.end > begin or not piece.final])

    def take(self, words: RecognizedWords) -> None:
        """Take an event whose times are positions. It replaces the words that were not final."""
        self._pieces[self._settled :] = [
            piece
            for piece in self._pieces[self._settled :]
            if piece.final or piece.end <= words.start + _INSTANT or piece.start >= words.end
        ]
        if words.text.strip():
            self._pieces.append(words)
        self._settle()
        if words.final:
            for span in self._spans:
                if span.overlaps(words.start, words.end):
                    span.through = max(span.through, words.end)
            self.through = max(self.through, words.end)

    def restart(self, position: float) -> None:
        """Forget the words that are not final, and those after a position.

        Another session is given the audio from there on, and will tell them.
        """
        kept = [_before(piece, position) for piece in self._pieces if piece.final]
        self._keep([piece for piece in kept if piece.text])
        self.through = min(self.through, position)
        for span in self._spans:
            span.through = min(span.through, position)

    def text(self, span: Span) -> str:
        """Return the words of an utterance so far."""
        circumstances = (self._changes, *(each.end for each in self._spans))
        before, count, text = self._read.get(span, (circumstances, 0, ""))
        if before != circumstances:
            count, text = 0, ""
        text = self._joined(text, span, self._pieces[count : self._settled])
        self._read[span] = circumstances, self._settled, text
        return self._joined(text, span, self._pieces[self._settled :])

    def unclaimed(self) -> float | None:
        """Return where the first word begins that belongs to no utterance; None if each does."""
        return min(
            (word.start for piece in self._pieces for word in self._free(piece)), default=None
        )

    def forget(self, before: float) -> None:
        """Forget the words before a position that belong to no utterance."""
        self._over = max(self._over, before)
        self._changes += 1
        if self._pieces and not self._spans:
            self._keep([piece for piece in self._pieces if piece.end > before])

    def _keep(self, pieces: list[RecognizedWords]) -> None:
        self._pieces = pieces
        self._settled = 0
        self._changes += 1
        self._settle()

    def _settle(self) -> None:
        while self._settled < len(self._pieces) and self._pieces[self._settled].final:
            self._settled += 1

    def _joined(self, text: str, span: Span, pieces: Sequence[RecognizedWords]) -> str:
        """Return a text and the words of an utterance that follow it."""
        parts = (text, *(self._part(piece, span) for piece in pieces))
        return " ".join(part for part in parts if part)

    def _part(self, piece: RecognizedWords, span: Span) -> str:
        if not piece.words:
            return piece.text.strip() if self._is_in(piece.start, piece.end, span) else ""
        mine = [word for word in piece.words if self._belongs(_middle(word), span)]
        return self._text(piece, mine)

    def _free(self, piece: RecognizedWords) -> Sequence[RecognizedWord]:
        whole = RecognizedWord(piece.text.strip(), piece.start, piece.end)
        return [
            word
            for word in piece.words or (whole,)
            if _middle(word) >= self._over
            and not any(self._belongs(_middle(word), span) for span in self._spans)
        ]

    @staticmethod
    def _text(piece: RecognizedWords, words: Sequence[RecognizedWord]) -> str:
        if len(words) == len(piece.words) and words:
            return piece.text.strip()  # not every language has spaces between words
        return " ".join(word.text for word in words)

    def _belongs(self, middle: float, span: Span) -> bool:
        if span.has(middle):
            return True
        if middle < self._over or span.distance(middle) > _SLACK:
            return False
        return not any(
            other.has(middle) or other.distance(middle) < span.distance(middle)
            for other in self._spans
        )

    def _is_in(self, start: float, end: float, span: Span) -> bool:
        most = max(_overlap(start, end, other) for other in self._spans)
        if most <= _INSTANT:
            return self._belongs((start + end) / 2, span)
        return _overlap(start, end, span) >= most - _INSTANT


def _before(piece: RecognizedWords, position: float) -> RecognizedWords:
    """Return what was said before a position."""
    if not piece.words:
        return piece if _middle(piece) < position else replace(piece, text="")
    words = tuple(word for word in piece.words if _middle(word) < position)
    if len(words) == len(piece.words):
        return piece
    return replace(piece, text=" ".join(word.text for word in words), words=words)


def _middle(word: RecognizedWord | RecognizedWords) -> float:
    return (word.start + word.end) / 2


def _overlap(start: float, end: float, span: Span) -> float:
    return min(end, span.end) - max(start, span.begin)
