"""Audio that comes at its own pace, such as from a browser, given out in frames of 20 ms."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from audiocodecs import Samples
from mediaserver.sandbox.audio.playback import TICKS_PER_SECOND


JITTER_LIMIT: Final = 0.2
"""Seconds that a buffer holds. If there is more, the oldest audio is dropped."""

_KEPT_FRAMES: Final = 2
"""Frames that are kept when audio is dropped."""

_LEAST_WATCH: Final = 50
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

_SHORTEST_BLEND: Final = 0.001
"""Seconds."""


class JitterBuffer:
    """Evens out when audio comes, with as little delay as its jitter allows.

    If a little is missing when a frame is due, the last period of the voice is repeated, and
    blended, so that it is not heard; if more is missing, the frame is silent. All that follows is
    delayed by as much. What every frame of a while has left over is delay that is not needed, or
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
        self._least_blend = round(_SHORTEST_BLEND * rate)
        self._margin = round(_MARGIN * rate)
        self._pieces: deque[Samples] = deque()
        self._held = 0
        # Frames in a row for which there was no audio.
        self._dry = _PAUSE
        # Frames since audio came.
        self._waited = 0
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
        self._waited = 0
        surplus = self._held - _KEPT_FRAMES * self._frame
        if self._held > self._limit:
            self.dropped += surplus
            self._next(surplus)

    def take(self) -> Samples | None:
        """Return the next 20 ms, or None for silence. To be called every 20 ms."""
        if self._held < self._frame:
            if not self._dry and (frame := self._lengthened()) is not None:
                return frame
            self._dry += 1
            self._waited += 1
            return self._rest() if self._held and self._waited >= _END else None
        if self._dry:
            self._go_on()
        frame = self._shortened() if self._surplus else self._next(self._frame)
        self._least = min(self._least, self._held)
        self._watched += 1
        if self._watched >= self._watch:
            surplus = max(0, self._least - self._margin)
            self._begin_watch(self._watch)
            self._surplus = surplus
        return frame

    def clear(self) -> None:
        """Forget all audio, as after a pause."""
        self._pieces.clear()
        self._held = 0
        self._dry = _PAUSE

    def _go_on(self) -> None:
        """Begin after frames without audio."""
        if self._dry < _PAUSE:
            self.late += 1
            self._begin_watch(min(4 * self._watch, _MOST_WATCH))
        else:
            self._begin_watch(_LEAST_WATCH)
        self._dry = 0

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
        cut = self._nearest(
            samples[:blend],
            {cut: samples[cut : cut + blend] for cut in range(self._shortest, longest + 1)},
        )
        joined = _blended(samples[:blend], samples[cut : cut + blend])
        self._put_back(samples[frame + cut :])
        self._surplus -= cut
        return np.concatenate([joined, samples[cut + blend : cut + frame]])

    def _lengthened(self) -> Samples | None:
        """Return what there is, and its last period again; None if that makes no frame."""
        held = self._held
        shortest = max(self._shortest, self._frame - held)
        longest = min(self._longest, held - self._least_blend)
        if longest < shortest:
            return None
        samples = self._next(held)
        blend = min(self._shortest, held - longest)
        end = samples[held - blend :]
        # Where the audio is most like its end.
        period = self._nearest(
            end,
            {
                period: samples[held - period - blend : held - period]
                for period in range(shortest, longest + 1)
            },
        )
        before = samples[held - period - blend : held - period]
        again = np.concatenate(
            [samples[: held - blend], _blended(end, before), samples[held - period :]]
        )
        self._put_back(again[self._frame :])
        self.lengthened += 1
        self._begin_watch(min(2 * self._watch, _MOST_WATCH))
        return again[: self._frame]

    @staticmethod
    def _nearest(wanted: Samples, found: dict[int, Samples]) -> int:
        reference = wanted.astype(np.float64)
        return min(found, key=lambda place: float(np.square(found[place] - reference).sum()))

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
        pieces: list[Samples] = []
        while samples:
            piece = self._pieces.popleft()
            if len(piece) > samples:
                self._pieces.appendleft(piece[samples:])
                piece = piece[:samples]
            pieces.append(piece)
            samples -= len(piece)
        return np.concatenate(pieces)


def _blended(one: Samples, other: Samples) -> Samples:
    fade = np.linspace(0.0, 1.0, len(one))
    return np.rint((1 - fade) * one + fade * other).astype(np.int16)
