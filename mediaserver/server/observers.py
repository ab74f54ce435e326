"""Who listens to what becomes of calls, such as their traces and records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from mediaserver.call import Session, StreamReport, Turn
from mediaserver.server.handshake import AcceptedStream
from mediaserver.stream import Stream


log = structlog.get_logger("mediaserver.calls")


class ObservedCall(Protocol):
    """What an observer may know of a call."""

    accepted: AcceptedStream
    session: Session
    stream: Stream | None
    """What the handler holds, once the stream has started."""

    @property
    def call_id(self) -> str:
        """Plivo's CallUUID; a question mark if it is not known yet."""

    @property
    def started_at(self) -> float | None:
        """When the stream started, on the runtime's clock; None if it has not."""


class CallObserver(Protocol):
    """Listens to what becomes of calls; its methods are quick, for calls wait meanwhile."""

    def call_started(self, call: ObservedCall) -> None:
        """Take note of a call whose stream has started, before its handler runs."""

    def turn_reported(self, call: ObservedCall, turn: Turn) -> None:
        """Take note of a turn; the last one may be reported after the end of the stream."""

    def call_ended(self, call: ObservedCall, report: StreamReport | None) -> None:
        """Take note of the end of a call: its connection and its handler have ended.

        Args:
            call: the call; ``call.session.end_reason`` says why it has ended.
            report: what is known of its stream; None if the stream never started.

        """


class CallObservers:
    """Tells several observers. What one of them raises is logged, and harms no call."""

    def __init__(self) -> None:
        self._observers: list[CallObserver] = []

    def __bool__(self) -> bool:
        return bool(self._observers)

    def add(self, observer: CallObserver) -> None:
        """Tell one more."""
        self._observers.append(observer)

    def call_started(self, call: ObservedCall) -> None:
        """Tell that a call's stream has started."""
        self._tell(lambda each: each.call_started(call))

    def turn_reported(self, call: ObservedCall, turn: Turn) -> None:
        """Tell of a turn."""
        self._tell(lambda each: each.turn_reported(call, turn))

    def call_ended(self, call: ObservedCall, report: StreamReport | None) -> None:
        """Tell that a call has ended."""
        self._tell(lambda each: each.call_ended(call, report))

    def _tell(self, tell: Callable[[CallObserver], None]) -> None:
        for observer in self._observers:
            try:
                tell(observer)
            except Exception:
                log.exception("an observer of calls failed", observer=type(observer).__name__)
