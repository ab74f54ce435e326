"""Which words of a spoken text were heard when it was interrupted."""

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
    """A text and its audio, while the one is made from the other, and after.

    Frames are kept, and looked at only when it is asked what was heard.

    Args:
        text: what is said; more of it may be added as it becomes known.
        seconds_per_letter: how fast the voice is, as an earlier `Spoken.seconds_per_letter` has
            it. Needed only while there is audio still to come.

    """

    def __init__(self, text: str = "", *, seconds_per_letter: float = SECONDS_PER_LETTER) -> None:
        self.text = text
        self.complete = False
        """Whether neither text nor audio will follow."""
        self.seconds = 0.0
        """How much audio there is so far."""
        self._all_heard = False
        self._pace = seconds_per_letter
        self._frames: list[Frame] = []
        self._marks: list[WordMark] = []

    def add(self, text: str) -> None:
        """Add a further piece of the text, from services that tell it while they speak."""
        self.text += text

    def take(self, item: Frame | WordMark) -> None:
        """Take a piece of the audio, or where a word ends; keeps it and does no more."""
        if isinstance(item, Frame):
            self._frames.append(item)
            self.seconds += item.seconds
        else:
            self._marks.append(item)

    def finish(self) -> None:
        """Say that neither text nor audio will follow."""
        self.complete = True

    def was_heard(self) -> None:
        """Say that all of it was heard, so that the audio need not be kept."""
        self._all_heard = True
        self._frames.clear()
        self._marks.clear()

    @property
    def seconds_per_letter(self) -> float:
        """How fast this was spoken; as it was given, as long as the audio is not complete."""
        words = spoken_words(self.text)
        spoken = Voiced.of(self._frames).seconds if self.complete and words else 0.0
        return spoken / (words[-1].begins + words[-1].letters) if spoken else self._pace

    def heard(self, seconds: float) -> str:
        """Return the beginning of the text, up to the last word that was heard.

        A word was heard if more than half of it was. Where the words are is known from marks, and
        estimated otherwise.

        Args:
            seconds: how much of the audio was heard, from its first sample.

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
        """Return how many letters' worth of the text was spoken, as estimated."""
        voiced = Voiced.of(self._frames)
        pace = None if self.complete else self._pace
        return letters_spoken(spoken_words(self.text), voiced, seconds, pace)

    def _letters_by_marks(self, seconds: float) -> float:
        """Return how many letters' worth of the text was spoken, as the marks say."""
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
