"""Puts both sides of a call on one time axis.

The axis is the caller's: samples since the recording began, by the timestamps of the frames, so
that a late or lost frame does not move the others. The agent's audio is sent before it is heard;
the clock of this machine places it. The frame with the least delay ties the two clocks together.
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
"""Seconds: pieces closer than this are contiguous, since timestamps are whole milliseconds."""

LONGEST_JUMP = 10.0
"""Seconds: timestamps that jump by more than this are not trusted."""

LATE_FRAME = 0.1
"""Seconds: without timestamps, a frame that is later than this follows a gap."""

OFFSET_WINDOW = 10.0
"""Seconds for which the frame with the least delay counts, since clocks drift apart."""

LONGEST_KEPT = 60.0
"""Seconds of audio that are kept until they are taken; more is lost."""

CALLER, AGENT, OTHER = 0, 1, 2
"""The sides: what the caller said; what was played to them; what the other party said, if the
stream has an outbound track. The last two are one to the caller, and are mixed."""


@dataclass(slots=True)
class _Piece:
    at: float
    audio: Wire


class Timeline:
    """A call's last few seconds, in stereo. It is a `Tap`.

    Args:
        format: the stream's format.
        began: when the recording begins, on the call's clock.

    """

    def __init__(self, format: AudioFormat, began: float) -> None:
        self.rate = format.rate
        self.lost = 0.0
        """Seconds of audio that were lost because too little was taken."""
        self._format = format
        self._began = began
        self._samples: NDArray[np.int16] = np.zeros((format.rate, 3), np.int16)
        # The index of the first sample held.
        self._taken = 0
        # The index after the last sample of each side.
        self._ends = [0, 0, 0]
        # The agent's audio that the caller has not heard yet.
        self._ahead: deque[_Piece] = deque()
        self._agent_until = began
        # The caller's timestamp, in seconds, and the index that goes with it.
        self._anchor: tuple[float, float] | None = None
        # The clock's time at index 0, by the frame with the least delay: in the current window of
        # time, and in that and the last one.
        self._zero_now = self._zero = began
        self._window_ends = began
        self._pauses: list[tuple[float, float | None]] = []

    # Input.

    def received(self, frame: Frame, at: float) -> None:
        """Place a frame at the time when it was said."""
        side = OTHER if frame.track == "outbound" else CALLER
        samples = frame.samples
        index = self._index_of(frame, at, side)
        self._keep_time(at - frame.seconds - index / self.rate, at)
        if not self.paused:
            self._place(side, index, samples)

    def sent(self, audio: Wire, at: float) -> None:
        """Keep audio until the caller hears it."""
        if self._index_at(at) - self._taken > LONGEST_KEPT * self.rate:
            self.lost += self._format.seconds(audio)
            return
        self._ahead.append(_Piece(at, audio))

    def cut(self, at: float) -> None:
        """Forget the audio that would be heard after a time."""
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
        """Record silence on both sides from a time on."""
        if not self.paused:
            self._pauses.append((at, None))

    def resume(self, at: float) -> None:
        """End the silence."""
        if self.paused:
            self._pauses[-1] = (self._pauses[-1][0], at)

    @property
    def paused(self) -> bool:
        """Whether silence is recorded."""
        return bool(self._pauses) and self._pauses[-1][1] is None

    # Output.

    def take(self, until: float) -> NDArray[np.int16]:
        """Take the audio up to a time: int16 of shape ``(n, 2)``, caller left, the others right."""
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
        taken = self._samples[:size, :2].copy()
        if self._ends[OTHER] > self._taken:
            heard = taken[:, AGENT].astype(np.int32) + self._samples[:size, OTHER]
            taken[:, AGENT] = heard.clip(-32768, 32767)
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

    # Placement.

    def _index_of(self, frame: Frame, at: float, side: int) -> int:
        """Return the index at which a frame begins."""
        expected = self._ends[side]
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
            # The first window replaces the guess made before any frame came.
            self._zero = self._zero_now if self._window_ends > self._began else zero
            self._zero_now = zero
            self._window_ends = at + OFFSET_WINDOW
        self._zero_now = min(self._zero_now, zero)
        self._zero = min(self._zero, zero)

    def _place(self, side: int, index: int, samples: NDArray[np.int16]) -> None:
        # Audio that was taken cannot be changed.
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
            grown = np.zeros((max(size, 2 * len(self._samples)), 3), np.int16)
            grown[: len(self._samples)] = self._samples
            self._samples = grown
