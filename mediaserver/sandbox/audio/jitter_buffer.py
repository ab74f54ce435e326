"""Audio that comes at its own pace, such as from a browser, given out in frames of 20 ms."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt

from audiocodecs import Samples
from mediaserver.sandbox.audio.playback import TICKS_PER_SECOND


JITTER_LIMIT: Final = 0.2
"""Seconds that a buffer holds. If there is more, the oldest audio is dropped."""

_KEPT_FRAMES: Final = 2
"""Frames that are kept when audio is dropped."""

_LEAST_WATCH: Final = 25
_MOST_WATCH: Final = 3_200
"""Frames in a row that leave something over before it is taken out."""

_MARGIN: Final = 0.002
"""Seconds that are left over for good: a clock's jitter."""

_PAUSE: Final = 25
"""Frames without audio after which the source was silent, rather than late."""

_END: Final = 3
"""Frames since the last audio came after which less than a frame is given out: it was the end."""

_SHORTEST_PERIOD: Final = 0.0025
_LONGEST_PERIOD: Final = 0.01
"""Seconds that are cut out, or repeated: a period of a voice of 400 Hz, and of 100 Hz."""

_BLEND: Final = 0.0025
"""Seconds in which the audio before a repetition turns into it."""


_NOTHING: Final[Samples] = np.empty(0, np.int16)


class JitterBuffer:
    """Evens out when audio comes, with as little delay as its jitter allows.

    If audio is missing when a frame is due, the last period of the voice is repeated, and blended,
    so that it is hardly heard; if more than a frame is missing, there is silence. All that follows
    is delayed by as much. What every frame of a while has left over is delay that is not needed, or
    comes from a source whose clock is fast. It is cut out, a period at a time. Each piece that
    comes too late makes that while longer, up to a minute.

    Args:
        rate: Sample rate in Hz.

    Attributes:
        late: Times that audio came so late that there was a frame of silence, or several.
        lengthened: Frames in which a period was repeated.
        dropped: Samples dropped because more than `JITTER_LIMIT` seconds were held.

    """

    def __init__(self, rate: int) -> None:
        self.late = 0
        self.lengthened = 0
        self.dropped = 0
        self._frame = rate // TICKS_PER_SECOND
        self._limit = round(JITTER_LIMIT * rate)
        self._shortest = round(_SHORTEST_PERIOD * rate)
        self._longest = round(_LONGEST_PERIOD * rate)
        self._blend = round(_BLEND * rate)
        self._margin = round(_MARGIN * rate)
        self._pieces: deque[Samples] = deque()
        self._held = 0
        # Frames in a row for which there was no audio.
        self._dry = _PAUSE
        # Frames since audio came.
        self._waited = 0
        # The frame given out last, and samples that were repeated since audio came.
        self._last: Samples = np.zeros(self._frame, np.int16)
        self._repeated = 0
        # Whole frames given out since the last pause.
        self._given = 0
        # The least that frames have left over in this watch, and what is to be cut since the last.
        self._watch = _LEAST_WATCH
        self._watched = 0
        self._least = self._limit
        self._surplus = 0

    @property
    def held(self) -> int:
        """Samples that wait."""
        return self._held

    def put(self, samples: Samples) -> None:
        """Add audio, `int16[n]` of any length."""
        if not len(samples):
            return
        self._pieces.append(samples)
        self._held += len(samples)
        self._waited = self._repeated = 0
        surplus = self._held - _KEPT_FRAMES * self._frame
        if self._held > self._limit:
            self.dropped += surplus
            self._next(surplus)

    def take(self) -> Samples | None:
        """Return the next 20 ms, or None for silence. To be called every 20 ms."""
        if self._held >= self._frame:
            self._last = self._whole()
            return self._last
        if not self._dry and (frame := self._lengthened()) is not None:
            self._last = frame
            return frame
        self._dry += 1
        self._waited += 1
        return self._rest() if self._held and self._waited >= _END else None

    def clear(self) -> None:
        """Forget all audio, as after a pause."""
        self._pieces.clear()
        self._held = 0
        self._dry = _PAUSE

    def _whole(self) -> Samples:
        if self._dry:
            self._go_on()
        frame = self._shortened() if self._surplus else self._next(self._frame)
        self._given += 1
        self._least = min(self._least, self._held)
        self._watched += 1
        if self._watched >= self._watch:
            surplus = max(0, self._least - self._margin)
            self._begin_watch(self._watch)
            self._surplus = surplus
        return frame

    def _go_on(self) -> None:
        """Begin after frames without audio."""
        if self._dry < _PAUSE:
            self.late += 1
            self._watch_longer()
        else:
            self._given = 0
            self._begin_watch(_LEAST_WATCH)
        self._dry = 0

    def _watch_longer(self) -> None:
        """Something was missing; what is missing at the beginning says nothing about the rest."""
        settled = self._given > _LEAST_WATCH
        self._begin_watch(min(2 * self._watch, _MOST_WATCH) if settled else _LEAST_WATCH)

    def _begin_watch(self, frames: int) -> None:
        self._watch, self._watched = frames, 0
        self._least = self._limit
        self._surplus = 0

    def _shortened(self) -> Samples:
        """Return a frame out of which a period was cut."""
        frame, blend = self._frame, self._frame // 2
        longest = min(self._longest, self._surplus, self._held - frame)
        if longest < self._shortest:
            self._surplus = 0
            return self._next(frame)
        samples = self._next(frame + longest)
        # Where the audio is most like its beginning.
        distances = _distances(samples[:blend], samples[self._shortest : longest + blend])
        cut = self._shortest + int(distances.argmin())
        joined = _blended(samples[:blend], samples[cut : cut + blend])
        self._put_back(samples[frame + cut :])
        self._surplus -= cut
        return np.concatenate([joined, samples[cut + blend : cut + frame]])

    def _lengthened(self) -> Samples | None:
        """Return what there is, and its last period again; None if too much is missing."""
        held, missing = self._held, self._frame - self._held
        if self._repeated + missing > self._frame:
            return None
        samples = self._next(held)
        known = np.concatenate([self._last, samples])
        end, blend = len(known), self._blend
        # Where the audio is most like its end; of several places, the nearest to it.
        before = known[end - self._longest - blend : end - self._shortest]
        distances = _distances(known[end - blend :], before)[::-1]
        period = self._shortest + int(distances.argmin())
        again = np.tile(known[end - period :], -(-missing // period))
        # What was given out cannot be blended any more.
        blend = min(blend, held)
        before = known[end - period - blend : end - period]
        joined = _blended(samples[held - blend :], before)
        longer = np.concatenate([samples[: held - blend], joined, again])
        self._put_back(longer[self._frame :])
        self._repeated += len(again)
        self.lengthened += 1
        self._watch_longer()
        return longer[: self._frame]

    def _put_back(self, samples: Samples) -> None:
        if len(samples):
            self._pieces.appendleft(samples)
            self._held += len(samples)

    def _rest(self) -> Samples:
        """Return the end of the audio, filled up with silence."""
        rest = self._next(self._held)
        return np.concatenate([rest, np.zeros(self._frame - len(rest), np.int16)])

    def _next(self, samples: int) -> Samples:
        self._held -= samples
        pieces: list[Samples] = [_NOTHING]
        while samples:
            piece = self._pieces.popleft()
            if len(piece) > samples:
                self._pieces.appendleft(piece[samples:])
                piece = piece[:samples]
            pieces.append(piece)
            samples -= len(piece)
        return np.concatenate(pieces)


def _distances(piece: Samples, audio: Samples) -> npt.NDArray[np.float64]:
    """Return how much a piece differs from the audio, at each place where it fits."""
    windows = np.lib.stride_tricks.sliding_window_view(audio.astype(np.float64), len(piece))
    distances: npt.NDArray[np.float64] = np.square(windows - piece).sum(axis=1)
    return distances


def _blended(one: Samples, other: Samples) -> Samples:
    fade = np.linspace(0.0, 1.0, len(one))
    return np.rint((1 - fade) * one + fade * other).astype(np.int16)
