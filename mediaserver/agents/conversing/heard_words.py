"""Finds out which words of a text the caller heard before an interruption."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import floor
from typing import Final

import msgspec
import numpy as np

from mediaserver.agents.conversing.word_estimate import (
    SECONDS_PER_LETTER,
    SpokenWord,
    Voiced,
    letters_spoken,
    spoken_words,
)
from mediaserver.agents.services import WordMark
from mediaserver.call import Frame


_INSTANT: Final = 1e-6

_STEP: Final = 0.25
"""Seconds of audio between two estimates of what has been spoken."""


class Spoken:
    """A text and its audio, while the audio is synthesised and after.

    The audio is kept, and examined only when `heard` is called. Marks cut the text and the audio
    into stretches. Within a stretch of one word, speech is assumed to be even; within a longer one,
    the places of words are estimated from the pauses in its audio.

    Args:
        text: the text; more may be added as it becomes known.
        seconds_per_letter: how fast the voice speaks, from an earlier `Spoken.seconds_per_letter`.
            Used only until all audio has come.

    """

    def __init__(self, text: str = "", *, seconds_per_letter: float = SECONDS_PER_LETTER) -> None:
        self.text = text
        self.complete = False
        """Whether all of the text and of the audio has come."""
        self.seconds = 0.0
        """Seconds of audio so far."""
        self._pace = seconds_per_letter
        # The audio from the first of the marks on.
        self._frames: list[Frame] = []
        self._marks = [WordMark(0, 0.0)]

    def add(self, text: str) -> None:
        """Add a piece of the text, for services that send it while they speak."""
        self.text += text

    def take(self, item: Frame | WordMark) -> None:
        """Keep a piece of the audio, or the mark of a word."""
        if isinstance(item, Frame):
            self._frames.append(item)
            self.seconds += item.seconds
        else:
            self._marks.append(item)

    def finish(self) -> None:
        """Note that all of the text and of the audio has come."""
        self.complete = True

    def forget(self, seconds: float) -> None:
        """Note that the caller heard this much: audio before the last mark in it is not kept."""
        if self.complete and seconds >= self.seconds:
            self._marks = [WordMark(len(self.text), self.seconds)]
            self._frames.clear()
            return
        last = bisect_right(self._times, seconds) - 1
        if last > 0:
            self._frames = list(self._between(self._times[last], self.seconds))
            self._marks = [WordMark(self._ends[last], self._times[last]), *self._marks[last + 1 :]]

    @property
    def seconds_per_letter(self) -> float:
        """Seconds that a letter took; the value given at first until all audio has come."""
        words = spoken_words(self.text)
        whole = self.complete and words and not self._marks[0].seconds
        spoken = Voiced.of(self._frames).seconds if whole else 0.0
        return spoken / (words[-1].begins + words[-1].letters) if spoken else self._pace

    def heard(self, seconds: float) -> str:
        """Return the beginning of the text, up to the last word that the caller heard.

        A word counts as heard if more than half of it was. The places of words are taken from
        marks if there are any, and estimated otherwise.

        Args:
            seconds: the seconds of audio that the caller heard, from its first sample on.

        """
        if seconds <= 0:
            return ""
        words = spoken_words(self.text)
        if not words or (self.complete and seconds >= self.seconds):
            return self.text
        spoken = self._letters(words, seconds)
        ends = [word.end for word in words if word.begins + word.letters / 2 < spoken]
        if len(ends) == len(words):
            return self.text
        return self.text[: ends[-1]] if ends else ""

    @property
    def complete_until(self) -> int:
        """The place in the text after the last word whose audio has all come.

        By the marks; if there are none, it is estimated.
        """
        return self._whole_words(self.seconds)

    def word_ends(self, since: float, until: float) -> Iterator[tuple[int, float]]:
        """Yield places in the text, each with the time of the audio at which it has been spoken.

        They are the ends of words that are marked, or estimates for steps of a quarter of a second;
        and the end of the text if all of it has been spoken.

        Args:
            since: places until this time are not yielded; in seconds of the audio.
            until: nor those after this time.

        """
        until = min(until, self.seconds)
        if len(self._marks) > 1 or self._marks[0].end:
            times = [
                mark.seconds for mark in self._marks if since < mark.seconds <= until + _INSTANT
            ]
        else:
            times = [
                step * _STEP for step in range(floor(since / _STEP) + 1, floor(until / _STEP) + 1)
            ]
        for at in times:
            yield self._whole_words(at), at
        if self.complete and until >= self.seconds - _INSTANT:
            yield len(self.text), self.seconds

    def _whole_words(self, seconds: float) -> int:
        """Return the place in the text after the last word that was spoken by a time."""
        words = spoken_words(self.text)
        if len(self._marks) > 1:
            said = max(mark.end for mark in self._marks if mark.seconds <= seconds + _INSTANT)
            whole = [word.end for word in words if word.spoken_end <= said]
        elif words and self._frames:
            spoken = self._letters(words, seconds) + _INSTANT
            whole = [word.end for word in words if word.begins + word.letters <= spoken]
        else:
            whole = []
        return whole[-1] if whole else 0

    def _letters(self, words: Sequence[SpokenWord], seconds: float) -> float:
        """Return the number of letters that were spoken."""
        times, ends = self._times, self._ends
        places = [place for word in words for place in (word.start, word.spoken_end)]
        letters = np.cumsum([each for word in words for each in (0.0, word.letters)])
        reached = np.interp(ends, places, letters)
        last = bisect_right(times, seconds) - 1
        if last < 0:
            return 0.0  # this much was forgotten, which `seconds` does not go back to
        begins, said = times[last], float(reached[last])
        if last + 1 == len(times):
            rest = spoken_words(self.text[ends[last] :])
            voiced = Voiced.of(self._between(begins, self.seconds))
            pace = None if self.complete else self._pace
            return said + (letters_spoken(rest, voiced, seconds - begins, pace) if rest else 0.0)
        over, all_said = times[last + 1], float(reached[last + 1])
        stretch = spoken_words(self.text[ends[last] : ends[last + 1]])
        if len(stretch) > 1 and self.seconds >= over:
            voiced = Voiced.of(self._between(begins, over))
            within = letters_spoken(stretch, voiced, seconds - begins, None)
            part = within / (stretch[-1].begins + stretch[-1].letters)
        else:
            part = (seconds - begins) / (over - begins)
        return said + min(part, 1.0) * (all_said - said)

    @property
    def _times(self) -> list[float]:
        return list(accumulate((mark.seconds for mark in self._marks), max))

    @property
    def _ends(self) -> list[int]:
        return list(accumulate((mark.end for mark in self._marks), max))

    def _between(self, begin: float, end: float) -> Iterator[Frame]:
        """Yield the audio between two times of it."""
        at = self.seconds - sum(frame.seconds for frame in self._frames)
        for frame in self._frames:
            rate, size = frame.format.rate, frame.format.sample_bytes
            first = max(0, round((begin - at) * rate)) * size
            last = max(0, round((end - at) * rate)) * size
            at += frame.seconds
            if payload := frame.payload[first:last]:
                yield msgspec.structs.replace(frame, payload=payload)
