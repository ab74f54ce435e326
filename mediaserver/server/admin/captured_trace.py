"""The lines of a call that has ended, from its capture, in the form of a live call's trace.

What only the process knew while the call lived is not in them: the lag of its event loop, and what
it counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

import msgspec

from audiocodecs import AudioError, AudioFormat
from mediaserver.call import StreamCounters
from mediaserver.captures.capture_lines import (
    CAPTURE_ENDED,
    CAPTURE_FULL,
    UNREADABLE,
    CapturedLine,
    CaptureError,
    CaptureHead,
)
from mediaserver.protocol import (
    ClearAudio,
    PlayAudio,
    ProtocolError,
    Start,
    decode_command,
    decode_event,
)
from mediaserver.server.admin.call_trace import MOST_BYTES, TRACE_ENDED, CallTrace
from mediaserver.settings import Settings


_SETTING: Final = "default_format"

_MOST_EARLY: Final = 1_000
"""Lines among which the start of the stream is looked for."""


def captured_lines(
    head: CaptureHead, wire: Iterable[CapturedLine], *, personal_data: bool, audio: bool
) -> Iterator[str]:
    """Yield the lines of a captured call, as JSON objects.

    If the capture ends before the call, or is damaged, the last line says so.

    Args:
        head: what the capture says of the call.
        wire: its lines.
        personal_data: whether they have what was said, pressed and sent along.
        audio: whether each piece of audio has a line, with its payload.

    """
    clock = _LineClock()
    reader = _Reader(wire)
    start, began = reader.start()
    form = _format(head, start)
    playout = CapturedPlayout(clock, form.bytes_per_second)
    trace = CallTrace(
        _CapturedSession(StreamCounters(), _CapturedStart(form, playout)),
        clock=clock,
        began=began,
        personal_data=personal_data,
    )
    trace.audio = audio
    taken = 0
    for line in reader:
        clock.now = line.at
        _tell(trace, playout, line)
        lines, _, taken = trace.take(taken, MOST_BYTES, audio=audio)
        yield from lines
    if not trace.ended:
        yield msgspec.json.encode({"what": TRACE_ENDED, "reason": reader.ended}).decode()


class CapturedPlayout:
    """When the caller heard what was sent, if the network took no time.

    The carrier plays what it gets one after the other, and forgets what waits when it is told to
    clear.

    Args:
        clock: returns the time of the line that is looked at.
        bytes_per_second: of the audio.

    Attributes:
        sent: bytes that were sent.
        round_trip: seconds that the network takes: none.

    """

    def __init__(self, clock: _LineClock, bytes_per_second: float) -> None:
        self._clock = clock
        self._bps = bytes_per_second
        self._until = 0.0
        self.sent = 0
        self.round_trip = 0.0

    @property
    def unheard(self) -> float:
        """Seconds of audio that wait to be played."""
        return max(0.0, self._until - self._clock())

    def play(self, size: int) -> None:
        """Take audio that is sent now."""
        self._until = max(self._until, self._clock()) + size / self._bps
        self.sent += size

    def clear(self) -> None:
        """Forget what waits."""
        self._until = min(self._until, self._clock())

    def heard_at(self, position: int) -> float:
        """Return when a byte of what was sent last is heard."""
        return self._until - (self.sent - position) / self._bps


class _LineClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class _CapturedStart:
    format: AudioFormat
    playout: CapturedPlayout


@dataclass(frozen=True, slots=True)
class _CapturedSession:
    counters: StreamCounters
    started: _CapturedStart


def _tell(trace: CallTrace, playout: CapturedPlayout, line: CapturedLine) -> None:
    if line.side == "<":
        (trace.received_binary if line.binary else trace.received)(line.message)
    elif line.side == "!":
        what, details = _decision(line)
        if what not in (CAPTURE_ENDED, CAPTURE_FULL):
            trace.decided(what, **details)
    else:
        try:
            command = decode_command(line.message)
        except ProtocolError:
            return  # Nothing that this server sends.
        if isinstance(command, PlayAudio):
            playout.play(len(command.payload))
        elif isinstance(command, ClearAudio):
            playout.clear()
        trace.sent(line.message)


class _Reader:
    """Reads the lines of a capture, as far as they can be read."""

    def __init__(self, lines: Iterable[CapturedLine]) -> None:
        self._lines = iter(lines)
        self._early: list[CapturedLine] = []
        self.ended = "the capture is not finished: the call goes on, or its server was killed"

    def start(self) -> tuple[Start | None, float]:
        """Return the stream's start and when it came; without one, times count from 0."""
        for line in islice(self._read(), _MOST_EARLY):
            self._early.append(line)
            if line.side == "<":
                try:
                    event = decode_event(line.message)
                except ProtocolError:
                    continue
                if isinstance(event, Start):
                    return event, line.at
        return None, 0.0

    def __iter__(self) -> Iterator[CapturedLine]:
        return chain(self._early, self._read())

    def _read(self) -> Iterator[CapturedLine]:
        try:
            for line in self._lines:
                if line.side == "!":
                    what, details = _decision(line)
                    if what == CAPTURE_ENDED:
                        self.ended = f"the capture ends here: {details.get('reason', '?')}"
                    elif what == CAPTURE_FULL:
                        self.ended = (
                            "the capture ends here, before its call:"
                            " captures took all of --capture-megabytes"
                        )
                yield line
        except (OSError, CaptureError):
            # What it says may quote the line.
            self.ended = "the capture is damaged from here on"


def _decision(line: CapturedLine) -> tuple[str, dict[str, Any]]:
    try:
        details = msgspec.json.decode(line.message, type=dict[str, Any])
    except UNREADABLE:
        details = {}
    return str(details.pop("what", "?")), details


def _format(head: CaptureHead, start: Start | None) -> AudioFormat:
    if start is not None and start.media_format is not None:
        return start.media_format
    with suppress(AudioError):  # Somebody may have changed the capture.
        return AudioFormat.parse(str(head.settings.get(_SETTING)))
    return Settings.model_construct().default_format
