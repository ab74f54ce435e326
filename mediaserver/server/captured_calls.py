"""Captures the wire of the calls of a process: of all, of a share, or of those asked for."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from cachetools import TTLCache

from mediaserver.call import StreamReport, Turn
from mediaserver.captures.capture_folder import CaptureFolder
from mediaserver.captures.capture_lines import CaptureHead
from mediaserver.captures.capture_writer import CaptureWriter
from mediaserver.captures.kept_wire import KeptWire
from mediaserver.captures.wire_redaction import WireRedaction
from mediaserver.server.handshake import AcceptedStream
from mediaserver.server.observers import ObservedCall
from mediaserver.settings import Settings


REPLAYED_SETTINGS: Final = (
    "default_format",
    "lead_seconds",
    "queue_seconds",
    "inbox_seconds",
    "inbox_overflow",
    "reconnect_seconds",
    "reconnect_playback",
)
"""The settings that decide when audio is sent and received, which a replay needs."""


_KEPT_CALLS: Final = 10_000
"""Number of calls of which it is known whether they are captured."""
_KEPT_SECONDS: Final = 86_400.0
"""Seconds for which that is known: a stream lasts a day at most (Plivo's ``streamTimeout``)."""


class CapturedCalls:
    """A `CallObserver` that keeps the wire of calls.

    Args:
        settings: the server's.
        process: the name of the process.
        clock: the calls' clock, in monotonic seconds.
        wall_clock: seconds since the epoch.
        chance: returns a number from 0 to 1, below which lies the share of calls that are captured.

    """

    def __init__(
        self,
        settings: Settings,
        process: str,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        assert settings.capture is not None
        self._folder = CaptureFolder(settings.capture)
        self._writer = CaptureWriter(
            self._folder, most_bytes=settings.capture_megabytes * 1_000_000
        )
        self.figures = self._writer.figures
        self._share = settings.capture_share
        self._redacted = settings.capture_redact
        self._default_format = settings.default_format
        self._settings = {name: _plain(getattr(settings, name)) for name in REPLAYED_SETTINGS}
        self._process = process
        self._clock = clock
        self._wall_clock = wall_clock
        self._chance = chance
        self._wires: dict[ObservedCall, KeptWire] = {}
        # By call, whether it is captured: further streams of it are as its first.
        self._chosen: TTLCache[str, bool] = TTLCache(_KEPT_CALLS, _KEPT_SECONDS, timer=clock)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write captures within the block."""
        async with self._writer.running():
            yield

    def begin(self, call: ObservedCall) -> None:
        """Capture a call that was accepted, if it is one of those that are captured."""
        accepted = call.accepted
        if not self._captures(accepted):
            return
        answer = accepted.answer
        head = CaptureHead(
            call=None if call.call_id == "?" else call.call_id,
            began=datetime.fromtimestamp(self._wall_clock(), UTC).isoformat(
                timespec="microseconds"
            ),
            handler=accepted.route.name,
            path=accepted.path,
            route=accepted.route.path,
            query=accepted.query,
            caller=accepted.caller,
            called=accepted.called,
            answer=None if answer is None else _plain_fields(asdict(answer)),
            settings=self._settings,
            process=self._process,
        )
        redaction = WireRedaction(self._redacted, self._default_format)
        wire = KeptWire(head, self._clock, redaction)
        self._wires[call] = wire
        self._writer.add(wire)
        call.session.follow(wire)

    def _captures(self, accepted: AcceptedStream) -> bool:
        """Tell whether a stream is captured: as the first one of its call was, which may be chosen.

        So a request for the next call of a number is not used up by a stream that is opened again.
        """
        call_id = accepted.call_id
        chosen = None if call_id is None else self._chosen.get(call_id)
        if chosen is None:
            chosen = self._folder.claim((accepted.caller, accepted.called)) or (
                self._chance() < self._share
            )
        if call_id is not None:
            self._chosen[call_id] = chosen
        return chosen

    def merged(self, call: ObservedCall) -> None:
        """Drop the capture of a connection that continues another call's stream."""
        if (wire := self._wires.pop(call, None)) is not None:
            self._writer.discard(wire)

    # CallObserver

    def call_started(self, call: ObservedCall) -> None:
        """Note the call's id, which was not known before if it did not come by `/answer`."""
        if (wire := self._wires.get(call)) is not None:
            wire.name(call.call_id)

    def turn_reported(self, call: ObservedCall, turn: Turn) -> None:
        """Its turns are told to those that follow it."""

    def call_ended(self, call: ObservedCall, report: StreamReport | None) -> None:
        """Finish the capture of a call."""
        if (wire := self._wires.pop(call, None)) is not None:
            wire.end(call.session.end_reason)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _plain_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: dict(value) if isinstance(value, dict) else _plain(value)
        for name, value in fields.items()
        if value
    }
