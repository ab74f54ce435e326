"""Both sides of a call on one time axis, although neither comes when it is heard.

The axis is the caller's: samples since the recording began, counted by the timestamps of the
frames, so that a frame that came late or never leaves the others where they belong. The agent's
audio is sent before it is heard, and told by the clock of this machine. What ties the two clocks
together is the frame that came soonest after it was spoken.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiocodecs import AudioFormat
from mediaserver.call import Frame
from mediaserver.call.converter import Wire


CONTIGUOUS = 0.005
"""Two pieces that are nearer than this follow each other: timestamps are whole milliseconds."""

LONGEST_JUMP = 10.0
"""Timestamps that jump by more than this say nothing of time."""

LATE_FRAME = 0.1
"""Without timestamps, a frame that comes so much later than it should follows a gap."""

OFFSET_WINDOW = 10.0
"""Seconds for which the frame that came soonest counts: clocks drift apart."""

LONGEST_KEPT = 60.0
"""Seconds that may wait to be taken. What comes beyond that is lost."""

CALLER, AGENT = 0, 1


@dataclass(slots=True)
class _Piece:
    at: float
    audio: Wire


class Timeline:
    """A call's last few seconds, in stereo. It is a `Tap`.

    Args:
        format: the stream's.
        began: when the recording begins, on the call's clock.

    """

    def __init__(self, format: AudioFormat, began: float) -> None:
        self.rate = format.rate
        self.lost = 0.0
        """Seconds that came when there was no room: nobody had taken what was there."""
        self._format = format
        self._began = began
        self._samples: NDArray[np.int16] = np.zeros((format.rate, 2), np.int16)
        # The index of the first sample held.
        self._taken = 0
        # The index after the last sample of each side.
        self._ends = [0, 0]
        # The agent's audio that nobody has heard yet.
        self._ahead: deque[_Piece] = deque()
        self._agent_until = began
        # The caller's timestamp, in seconds, and the index that goes with it.
        self._anchor: tuple[float, float] | None = None
        # What the clock showed at index 0, going by the frames that came soonest: in this window
        # of time, and in this one and the last.
        self._zero_now = self._zero = began
        self._window_ends = began
        self._pauses: list[tuple[float, float | None]] = []

    # What happens.

    def received(self, frame: Frame, at: float) -> None:
        """Put a frame where the caller said it."""
        if frame.track == "outbound":
            return
        samples = frame.samples
        index = self._index_of(frame, at)
        self._keep_time(at - frame.seconds - index / self.rate, at)
        if not self.paused:
            self._place(CALLER, index, samples)

    def sent(self, audio: Wire, at: float) -> None:
        """Keep audio until its time has come."""
        if self._index_at(at) - self._taken > LONGEST_KEPT * self.rate:
            self.lost += self._format.seconds(audio)
            return
        self._ahead.append(_Piece(at, audio))

    def cut(self, at: float) -> None:
        """Forget what was to be heard after a moment."""
        while self._ahead and self._ahead[-1].at >= at:
            self._ahead.pop()
        if self._ahead:
            last = self._ahead[-1]
            size = round((at - last.at) * self.rate) * self._format.sample_bytes
            last.audio = memoryview(last.audio)[:size]
        elif at < self._agent_until:
            end = self._ends[AGENT] - round((self._agent_until - at) * self.rate)
            self._samples[max(0, end - self._taken) :, AGENT] = 0
            self._ends[AGENT] = max(end, self._taken)
            self._agent_until = at

    def pause(self, at: float) -> None:
        """Have silence on both sides from a moment on."""
        if not self.paused:
            self._pauses.append((at, None))

    def resume(self, at: float) -> None:
        """End the silence."""
        if self.paused:
            self._pauses[-1] = (self._pauses[-1][0], at)

    @property
    def paused(self) -> bool:
        """Whether there is silence from now on."""
        return bool(self._pauses) and self._pauses[-1][1] is None

    # What is recorded.

    def take(self, until: float) -> NDArray[np.int16]:
        """Take out what was heard up to a moment: int16 of shape ``(n, 2)``, caller left."""
        bps = self._format.bytes_per_second
        while self._ahead and self._ahead[0].at <= until:
            piece = self._ahead.popleft()
            follows = abs(piece.at - self._agent_until) < 1 / self.rate
            index = self._ends[AGENT] if follows else self._index_at(piece.at)
            self._place(AGENT, index, self._format.decode(piece.audio))
            self._agent_until = piece.at + len(piece.audio) / bps
        size = (
            min(self._index_at(until), self._taken + round(LONGEST_KEPT * self.rate)) - self._taken
        )
        if size <= 0:
            return np.zeros((0, 2), np.int16)
        self._reserve(size)
        taken = self._samples[:size].copy()
        for begin, end in self._pauses:
            first = self._index_at(begin) - self._taken
            last = size if end is None else self._index_at(end) - self._taken
            taken[max(0, first) : max(0, last)] = 0
        rest = self._samples[size:].copy()
        self._samples[:] = 0
        self._samples[: len(rest)] = rest
        self._taken += size
        self._pauses = [each for each in self._pauses if each[1] is None or each[1] > until]
        return taken

    # Where it belongs.

    def _index_of(self, frame: Frame, at: float) -> int:
        """Return where a frame begins."""
        expected = self._ends[CALLER]
        if self._anchor is None:
            index = max(0, round((at - frame.seconds - self._began) * self.rate))
            self._anchor = ((frame.timestamp or 0) / 1000, index)
            return index
        if frame.timestamp is None:
            arrived = self._index_at(at - frame.seconds)
            return arrived if arrived > expected + LATE_FRAME * self.rate else expected
        anchored_at, anchor = self._anchor
        index = round(anchor + (frame.timestamp / 1000 - anchored_at) * self.rate)
        if abs(index - self._index_at(at)) > LONGEST_JUMP * self.rate:
            index = max(expected, self._index_at(at - frame.seconds))
            self._anchor = (frame.timestamp / 1000, index)
        return expected if abs(index - expected) <= CONTIGUOUS * self.rate else index

    def _index_at(self, time: float) -> int:
        return round((time - self._zero) * self.rate)

    def _keep_time(self, zero: float, at: float) -> None:
        if at >= self._window_ends:
            # The first window replaces what was guessed before any frame came.
            self._zero = self._zero_now if self._window_ends > self._began else zero
            self._zero_now = zero
            self._window_ends = at + OFFSET_WINDOW
        self._zero_now = min(self._zero_now, zero)
        self._zero = min(self._zero, zero)

    def _place(self, side: int, index: int, samples: NDArray[np.int16]) -> None:
        # What has been taken cannot be changed.
        late = max(0, self._taken - index)
        index, samples = index + late, samples[late:]
        end = index + len(samples)
        if end - self._taken > LONGEST_KEPT * self.rate:
            self.lost += len(samples) / self.rate
            return
        self._reserve(end - self._taken)
        self._samples[index - self._taken : end - self._taken, side] = samples
        self._ends[side] = max(self._ends[side], end)

    def _reserve(self, size: int) -> None:
        if size > len(self._samples):
            grown = np.zeros((max(size, 2 * len(self._samples)), 2), np.int16)
            grown[: len(self._samples)] = self._samples
            self._samples = grown
