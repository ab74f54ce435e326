"""A clock moved by hand, a playout on it, and a carrier that plays what the playout sends."""

import json
from collections import deque
from typing import Any

import pytest

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver import Frame
from mediaserver.call import CallSettings, Playout, StreamCounters
from mediaserver.protocol import (
    ClearAudio,
    PlayAudio,
    SetCheckpoint,
    decode_command,
)


@pytest.fixture(autouse=True)
def _nothing_blocks(nothing_blocks: None) -> None:
    """Hold for each of these tests."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Waiter:
    """What a reader leaves behind, without an event loop."""

    def __init__(self) -> None:
        self.woken = False
        self.cancelled = False
        self.result: Frame | None = None

    def done(self) -> bool:
        return self.woken or self.cancelled

    def set_result(self, result: Frame | None) -> None:
        assert not self.done()
        self.woken = True
        self.result = result


class Carrier:
    """Plays without a break whatever it holds, from the moment it comes."""

    def __init__(self, clock: Clock, format: AudioFormat) -> None:
        self._clock = clock
        self._bps = format.bytes_per_second
        self._sample_bytes = format.sample_bytes
        self.heard = bytearray()
        self.queue = bytearray()
        self.gaps: list[Any] = []
        self.acknowledged: deque[Any] = deque()
        self._checkpoints: deque[Any] = deque()
        self._run_start = 0.0
        self._run_position = 0
        self._dry_since: float | None = None

    def receive(self, message: bytes) -> None:
        self.advance()
        command = decode_command(message)
        if isinstance(command, PlayAudio):
            if not self.queue:
                now = self._clock()
                if self._dry_since is not None and now > self._dry_since:
                    self.gaps.append(now - self._dry_since)
                self._run_start, self._run_position = now, len(self.heard)
            self.queue += command.payload
        elif isinstance(command, SetCheckpoint):
            self._checkpoints.append((len(self.heard) + len(self.queue), command.name))
            self.advance()
        elif isinstance(command, ClearAudio):
            self.queue.clear()
            self._checkpoints.clear()
            self._dry_since = None

    def advance(self) -> None:
        elapsed = int((self._clock() - self._run_start) * self._bps)
        due = self._run_position + elapsed - elapsed % self._sample_bytes - len(self.heard)
        if self.queue and due > 0:
            self.heard += self.queue[:due]
            del self.queue[:due]
            if not self.queue:
                played = len(self.heard) - self._run_position
                self._dry_since = self._run_start + played / self._bps
        while self._checkpoints and self._checkpoints[0][0] <= len(self.heard):
            self.acknowledged.append(self._checkpoints.popleft()[1])

    @property
    def unplayed(self) -> float:
        self.advance()
        return len(self.queue) / self._bps


class Bench:
    """A playout, everything it sent, and a carrier that heard it."""

    def __init__(self, format: AudioFormat = MULAW_8K, **settings: Any) -> None:
        self.clock = Clock()
        self.format = format
        self.counters = StreamCounters()
        self.messages: list[Any] = []
        self.reports: list[Any] = []
        self.notices: list[Any] = []
        self.ticks_wanted = 0
        # Sees each message before the carrier does.
        self.tap = self.messages.append
        self.carrier = Carrier(self.clock, format)
        self.playout = Playout(
            clock=self.clock,
            send=self._send,
            format=format,
            stream_id="stream",
            settings=CallSettings(**settings),
            counters=self.counters,
            report=lambda name, played: self.reports.append((name, played)),
            notice=self.notices.append,
        )
        self.playout.need_ticks = self._want_ticks

    def _send(self, message: bytes) -> None:
        self.tap(message)
        self.carrier.receive(message)

    def _want_ticks(self) -> None:
        self.ticks_wanted += 1

    @property
    def commands(self) -> Any:
        return [decode_command(message) for message in self.messages]

    @property
    def kinds(self) -> list[str]:
        return [json.loads(message)["event"] for message in self.messages]

    @property
    def payloads(self) -> list[bytes]:
        return [
            bytes(command.payload) for command in self.commands if isinstance(command, PlayAudio)
        ]

    @property
    def names(self) -> list[str]:
        return [command.name for command in self.commands if isinstance(command, SetCheckpoint)]

    def audio(self, seconds: float) -> bytes:
        """Return audio whose bytes tell their place."""
        size = round(seconds * self.format.rate) * self.format.sample_bytes
        return bytes(index % 251 for index in range(size))

    def watch(self, end: int | None = None) -> Waiter:
        waiter = Waiter()
        self.playout.watch(self.playout.queued if end is None else end, waiter)
        return waiter

    def run(self, seconds: float, *, tick: float = 0.1, acknowledge: bool = True) -> None:
        """Let time pass, with a tick now and then and the carrier's answers as they come."""
        until = self.clock.now + seconds
        while self.clock.now < until - 1e-9:
            self.clock.now = min(self.clock.now + tick, until)
            self.carrier.advance()
            if acknowledge:
                self.acknowledge()
            self.playout.tick()

    def acknowledge(self) -> None:
        self.carrier.advance()
        while self.carrier.acknowledged:
            self.playout.played(self.carrier.acknowledged.popleft())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def make_bench() -> type[Bench]:
    return Bench


@pytest.fixture
def make_waiter() -> type[Waiter]:
    return Waiter
