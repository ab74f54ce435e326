"""Finds out which words of a text the caller heard before an interruption."""

from __future__ import annotations

import numpy as np

from mediaserver.agents.conversing.word_estimate import (
    SECONDS_PER_LETTER,
    Voiced,
    letters_spoken,
    spoken_words,
)
from mediaserver.agents.services import WordMark
from mediaserver.call import Frame


class Spoken:
    """A text and its audio, while the audio is synthesised and after.

    The audio is kept, and examined only when `heard` is called.

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
        self._all_heard = False
        self._pace = seconds_per_letter
        self._frames: list[Frame] = []
        self._marks: list[WordMark] = []

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

    def was_heard(self) -> None:
        """Note that the caller heard all of it: its audio is no longer kept."""
        self._all_heard = True
        self._frames.clear()
        self._marks.clear()

    @property
    def seconds_per_letter(self) -> float:
        """Seconds that a letter took; the value given at first until all audio has come."""
        words = spoken_words(self.text)
        spoken = Voiced.of(self._frames).seconds if self.complete and words else 0.0
        return spoken / (words[-1].begins + words[-1].letters) if spoken else self._pace

    def heard(self, seconds: float) -> str:
        """Return the beginning of the text, up to the last word that the caller heard.

        A word counts as heard if more than half of it was. The places of words are taken from
        marks if there are any, and estimated otherwise.

        Args:
            seconds: the seconds of audio that the caller heard, from its first sample on.

        """
        if self._all_heard:
            return self.text
        if seconds <= 0:
            return ""
        words = spoken_words(self.text)
        if not words or (self.complete and seconds >= self.seconds):
            return self.text
        spoken = self._letters_by_marks(seconds) if self._marks else self._letters(seconds)
        ends = [word.end for word in words if word.begins + word.letters / 2 < spoken]
        if len(ends) == len(words):
            return self.text
        return self.text[: ends[-1]] if ends else ""

    def _letters(self, seconds: float) -> float:
        """Return an estimate of the number of letters that were spoken."""
        voiced = Voiced.of(self._frames)
        pace = None if self.complete else self._pace
        return letters_spoken(spoken_words(self.text), voiced, seconds, pace)

    def _letters_by_marks(self, seconds: float) -> float:
        """Return the number of letters that were spoken, by the marks."""
        words = spoken_words(self.text)
        places = [place for word in words for place in (word.start, word.spoken_end)]
        letters = np.cumsum([each for word in words for each in (0.0, word.letters)])
        times = np.maximum.accumulate([0.0, *(mark.seconds for mark in self._marks)])
        reached = np.interp([0, *(mark.end for mark in self._marks)], places, letters)
        reached = np.maximum.accumulate(reached)
        last, said = float(times[-1]), float(reached[-1])
        if seconds <= last:
            return float(np.interp(seconds, times, reached))
        stretches = Voiced.of(self._frames).stretches if self.complete else ()
        if stretches and stretches[-1][1] > last:
            ends = last, stretches[-1][1]
            return float(np.interp(seconds, ends, (said, letters[-1])))
        return said + (seconds - last) / self._pace
