"""What a local recogniser hears: that somebody speaks, and the words of a script."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from audiocodecs import AudioFormat


WORD: Final = 0.3
"""Seconds of speech in which a word is said."""

PAUSE: Final = 0.2
"""Seconds of silence after which all of the words have been said."""

_LOUD: Final = 200.0


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word, and when it was said, in seconds of the audio."""

    text: str
    start: float
    end: float


class HeardSpeech:
    """Follows the audio of one connection.

    Args:
        format: the audio's format.
        texts: what callers will say, shared by all connections.

    Attributes:
        seconds: of audio so far.
        quiet: seconds of silence since the last speech; infinite before the first.

    """

    def __init__(self, format: AudioFormat, texts: deque[str]) -> None:
        self._format = format
        self._texts = texts
        self._words: list[str] = []
        self._text = ""
        self._spoken: list[tuple[float, float]] = []
        self._told = 0
        self._odd = b""
        self.seconds = 0.0
        self.quiet = float("inf")

    @property
    def speaking(self) -> bool:
        """Whether a text has begun and was not taken."""
        return bool(self._words)

    def add(self, audio: bytes) -> None:
        """Hear a piece of audio, 20 ms at a time."""
        audio = self._odd + audio
        step = self._format.bytes_per_second // 50
        whole = len(audio) - len(audio) % self._format.sample_bytes
        self._odd = audio[whole:]
        for at in range(0, whole, step):
            self._hear(audio[at : min(at + step, whole)])

    def words(self) -> list[TimedWord]:
        """Return the words of the present text that have been said."""
        said = sum(end - start for start, end in self._spoken)
        count = (
            len(self._words)
            if self.quiet >= PAUSE
            else min(len(self._words), max(1, int(said / WORD + 1e-6)))
        )
        begin = self._spoken[0][0] if self._spoken else self.seconds
        last = self._spoken[-1][1] if self._spoken else self.seconds
        each = min(WORD, (last - begin) / count) if count else 0.0
        return [
            TimedWord(text, begin + each * n, begin + each * (n + 1))
            for n, text in enumerate(self._words[:count])
        ][self._told :]

    def take(self) -> list[TimedWord]:
        """Return the words that have been said, which are told by that."""
        words = self.words() if self._words else []
        self._told += len(words)
        if self._told >= len(self._words):
            self._words, self._spoken, self._told = [], [], 0
        return words

    def give_back(self) -> None:
        """Have the present text said again on another connection, because this one was lost."""
        if self._words:
            self._texts.appendleft(" ".join(self._words[self._told :]))
            self._words = []

    def _hear(self, piece: bytes) -> None:
        seconds = len(piece) / self._format.bytes_per_second
        loudness = float(np.abs(self._format.decode(piece).astype(np.float32)).mean())
        start, self.seconds = self.seconds, self.seconds + seconds
        if loudness < _LOUD:
            self.quiet += seconds
            return
        self.quiet = 0.0
        if not self._words and self._texts:
            self._words = self._texts.popleft().split()
        if self._spoken and start - self._spoken[-1][1] < 1e-6:
            self._spoken[-1] = (self._spoken[-1][0], self.seconds)
        else:
            self._spoken.append((start, self.seconds))
