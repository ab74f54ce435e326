"""What a server and its handler decide in one call, written down."""

from __future__ import annotations

from mediaserver.call import Clock, StreamReport, Turn
from mediaserver.captures.capture_lines import encode_decision
from mediaserver.replay.captured_call import Decision
from mediaserver.server.observers import ObservedCall


class NotedDecisions:
    """Follows the first call of a server: a `CallObserver`, and a `CallFollower` of that call.

    Args:
        clock: the call's clock.

    Attributes:
        decisions: what was decided, with times since the start of the stream.
        end_reason: why the stream ended.

    """

    def __init__(self, clock: Clock) -> None:
        self.decisions: list[Decision] = []
        self.end_reason = ""
        self._clock = clock
        self._started: float | None = None

    # CallObserver

    def call_started(self, call: ObservedCall) -> None:
        """Follow the call."""
        if self._started is None:
            self._started = self._clock()
            call.session.follow(self)

    def turn_reported(self, call: ObservedCall, turn: Turn) -> None:
        """The turn is a decision as well."""

    def call_ended(self, call: ObservedCall, report: StreamReport | None) -> None:
        """Note why."""
        self.end_reason = call.session.end_reason

    # CallFollower

    def received(self, message: str | bytes | bytearray) -> None:
        """The carrier knows what it has sent."""

    def received_binary(self, message: bytes) -> None:
        """The carrier knows that as well."""

    def sent(self, message: bytes) -> None:
        """The carrier knows what it has got."""

    def decided(self, what: str, /, **details: object) -> None:
        """Note a decision, in the form in which a capture has it."""
        at = self._clock() - (self._started or 0.0)
        self.decisions.append(Decision.read(at, encode_decision(what, details)))
