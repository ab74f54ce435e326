"""The carrier's playback buffer: what becomes of `playAudio`, `checkpoint` and `clearAudio`.

Plivo queues the audio that a server sends and plays it into the call in order. It acknowledges a
checkpoint with `playedStream` once everything queued before it has been played, and answers
`clearAudio` with `clearedAudio`. Its pages leave open what becomes of checkpoints that were
pending at a clear; since `playedStream` promises that the audio was played, they are dropped here
without an answer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from audiocodecs import AudioFormat
from mediaserver.sandbox.audio.speech import SpeechDetector, Spells


TICK = 0.02
"""Seconds of one tick: Plivo's media frames, both ways, hold 20 ms."""

TICKS_PER_SECOND = 50

GRID_TOLERANCE = 1e-6
"""A tick this close (in ticks) has begun: timers may wake a few nanoseconds early."""

TOLERANCE = 1e-6
"""A time this close (in seconds) has been reached: ticks are sums of floats."""


@dataclass(frozen=True, slots=True)
class Played:
    """Everything queued before the checkpoint `name` had been played at `time`."""

    name: str
    time: float


@dataclass(frozen=True, slots=True)
class Cleared:
    """At `time` a clear dropped `seconds` of audio and the `checkpoints` still pending."""

    time: float
    seconds: float
    checkpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overflowed:
    """At `time` the queue was full, and `seconds` of new audio were dropped."""

    time: float
    seconds: float


Happening: TypeAlias = Played | Cleared | Overflowed


class PlaybackBuffer:
    """Plays 20 ms of what was queued every 20 ms, on a grid fixed at the start of the stream.

    A tick begins by taking up to one frame from the queue and has played it when it ends. Fewer
    bytes than a frame are played too, and the rest of that tick is silence. Nothing runs on its
    own: every method is given the time, in seconds on any clock that never goes back, and first
    lets happen whatever was due by then. However many ticks lie in between, one step does them
    all, and how the time is cut into steps never changes the outcome.

    Args:
        format: Format of the stream.
        origin: Time of the first tick.
        limit: Seconds of audio the queue holds; Plivo's guide says about 60.
        gap_threshold: Dry spells of this many seconds or more are pauses, shorter ones gaps.
        keep_audio: Keep what was heard. Without it a buffer holds counters only.
        sink: Called with everything that is played, as it is taken: the position of its first
            sample, counted from the origin, and the payload. It is whole ticks on end, the last
            of them perhaps not full.

    Attributes:
        gaps: `(start, seconds)` of dry spells between audio, shorter than `gap_threshold` and
            with no clear between. Start is seconds after the origin. The buffer cannot tell audio
            that came too late from audio that was never meant to be there.
        pauses: The same for the longer ones: between two turns of a conversation, as a rule, but a
            stalled network leaves them too.

    """

    def __init__(
        self,
        format: AudioFormat,
        *,
        origin: float = 0.0,
        limit: float = 60.0,
        gap_threshold: float = 0.5,
        keep_audio: bool = True,
        sink: Callable[[int, bytes], None] | None = None,
    ) -> None:
        self.format = format
        self.origin = origin
        self.limit = limit
        self.gaps: list[tuple[float, float]] = []
        self.pauses: list[tuple[float, float]] = []
        self._tick_samples = format.rate // TICKS_PER_SECOND
        self._tick_bytes = self._tick_samples * format.sample_bytes
        self._limit_bytes = round(limit * format.bytes_per_second)
        self._gap_threshold = round(gap_threshold * format.rate)

        # The first tick that has not begun yet.
        self._next_tick = 0
        # Bytes in the queue, and bytes ever taken from it: together a position on one long tape.
        self._queued = 0
        self._taken = 0
        self._audio: bytearray | None = bytearray() if keep_audio or sink is not None else None
        self._keep_audio = keep_audio
        self._sink = sink
        # Position on the tape that must have been played, and name.
        self._checkpoints: deque[tuple[int, str]] = deque()
        # Audible stretches on the tape that have not been taken yet.
        self._detector = SpeechDetector(format)
        self._audible: deque[tuple[int, int]] = deque()
        self._speech = Spells(pause=format.rate // 5)
        # Where the last audio ended, in samples after the origin; None before any, or once cleared.
        self._dry_since: int | None = None
        self._first_sample: int | None = None
        # What was heard: first sample and payload of each unbroken stretch.
        self._heard: list[tuple[int, bytearray]] = []
        self._cleared_bytes = 0
        self._overflowed_bytes = 0

    @property
    def queued(self) -> float:
        """Seconds of audio that wait in the queue."""
        return self._queued / self.format.bytes_per_second

    @property
    def first_audio(self) -> float | None:
        """Seconds after the origin at which the first audio began to play."""
        return None if self._first_sample is None else self._first_sample / self.format.rate

    @property
    def received(self) -> float:
        """Seconds of audio taken into the queue."""
        return (self._taken + self._queued + self._cleared_bytes) / self.format.bytes_per_second

    @property
    def played(self) -> float:
        """Seconds of audio taken out of the queue and into a tick."""
        return self._taken / self.format.bytes_per_second

    @property
    def cleared(self) -> float:
        """Seconds of audio dropped by clears."""
        return self._cleared_bytes / self.format.bytes_per_second

    @property
    def overflowed(self) -> float:
        """Seconds of audio dropped because the queue was full."""
        return self._overflowed_bytes / self.format.bytes_per_second

    @property
    def pending_checkpoints(self) -> tuple[str, ...]:
        """Names of the checkpoints that have not been acknowledged yet, in order."""
        return tuple(name for _, name in self._checkpoints)

    @property
    def heard(self) -> list[tuple[int, npt.NDArray[np.int16]]]:
        """Unbroken stretches of what was heard: `(first sample, int16[n])`, silence left out.

        Samples count from the origin, at the rate of the stream. Empty with `keep_audio=False`.
        """
        return [(start, self.format.decode(bytes(payload))) for start, payload in self._heard]

    @property
    def spells(self) -> list[tuple[float, float]]:
        """Spells of audible speech, `(start, end)` in seconds after the origin.

        Pauses under 0.2 s, as between words, do not end a spell. A clear does.
        """
        rate = self.format.rate
        return [(start / rate, end / rate) for start, end in self._speech.spells]

    @property
    def spell_count(self) -> int:
        """Number of `spells` so far."""
        return len(self._speech.spells)

    @property
    def last_audible(self) -> float | None:
        """Seconds after the origin at which audible audio last ended, as far as known by now."""
        spells = self._speech.spells
        return spells[-1][1] / self.format.rate if spells else None

    def play(self, payload: bytes, now: float) -> list[Happening]:
        """Queue the payload of a `playAudio`. What does not fit is dropped, newest first.

        Raises:
            AudioError: The payload does not hold whole samples.

        """
        happenings = self.advance(now)
        if len(payload) % self.format.sample_bytes:
            self.format.decode(payload)
        room = self._limit_bytes - self._queued
        if len(payload) > room:
            room -= room % self.format.sample_bytes
            dropped = len(payload) - room
            self._overflowed_bytes += dropped
            happenings.append(Overflowed(now, dropped / self.format.bytes_per_second))
            payload = payload[:room]
        position = self._taken + self._queued
        for start, end in self._detector.spans(payload):
            self._audible.append((position + start, position + end))
        if self._audio is not None:
            self._audio += payload
        self._queued += len(payload)
        return happenings

    def checkpoint(self, name: str, now: float) -> list[Happening]:
        """Set a checkpoint: `Played` follows when everything queued so far has been played."""
        happenings = self.advance(now)
        self._checkpoints.append((self._taken + self._queued, name))
        return happenings

    def clear(self, now: float) -> list[Happening]:
        """Drop the queue and its checkpoints; the tick in play is heard to its end."""
        happenings = self.advance(now)
        # All that they wait for is heard to its end: at most the tick in play.
        while self._checkpoints and self._checkpoints[0][0] <= self._taken:
            happenings.append(Played(self._checkpoints.popleft()[1], now))
        happenings.append(Cleared(now, self.queued, self.pending_checkpoints))
        self._cleared_bytes += self._queued
        self._queued = 0
        if self._audio is not None:
            self._audio.clear()
        self._checkpoints.clear()
        self._audible.clear()
        self._speech.break_off()
        self._dry_since = None
        return happenings

    def advance(self, now: float) -> list[Happening]:
        """Do everything that is due by `now`; return what happened, in order."""
        ticks = math.floor((now - self.origin) * TICKS_PER_SECOND + GRID_TOLERANCE) + 1
        due = ticks - self._next_tick
        if due <= 0:
            return []
        first = self._next_tick
        self._next_tick = ticks
        happenings = self._acknowledge(first, due) if self._checkpoints else []
        if self._queued:
            self._take(first, min(self._queued, due * self._tick_bytes))
        return happenings

    def _acknowledge(self, first: int, due: int) -> list[Happening]:
        played: list[Happening] = []
        while self._checkpoints:
            position, name = self._checkpoints[0]
            # Tick `first` begins with `_taken` bytes played; each later one with a frame more.
            frames = math.ceil((position - self._taken) / self._tick_bytes)
            if frames >= due:
                break
            self._checkpoints.popleft()
            played.append(Played(name, self.origin + (first + frames) / TICKS_PER_SECOND))
        return played

    def _take(self, first: int, size: int) -> None:
        """Play `size` bytes on end, from the start of tick `first`."""
        sample_bytes = self.format.sample_bytes
        start = first * self._tick_samples
        end = start + size // sample_bytes
        if self._dry_since is not None and start > self._dry_since:
            dry, rate = start - self._dry_since, self.format.rate
            kind = self.gaps if dry < self._gap_threshold else self.pauses
            kind.append((self._dry_since / rate, dry / rate))
        if self._first_sample is None:
            self._first_sample = start
        contiguous = bool(self._heard) and self._heard_end() == start
        self._dry_since = end

        until = self._taken + size
        while self._audible and self._audible[0][0] < until:
            begin, stop = self._audible.popleft()
            if stop > until:
                self._audible.appendleft((until, stop))
                stop = until
            self._speech.add(
                start + (begin - self._taken) // sample_bytes,
                start + (stop - self._taken) // sample_bytes,
            )

        if self._audio is not None:
            payload = bytes(self._audio[:size])
            del self._audio[:size]
            if self._keep_audio:
                if not contiguous:
                    self._heard.append((start, bytearray()))
                self._heard[-1][1].extend(payload)
            if self._sink is not None:
                self._sink(start, payload)
        self._taken = until
        self._queued -= size

    def _heard_end(self) -> int:
        start, payload = self._heard[-1]
        return start + len(payload) // self.format.sample_bytes
