"""What a process asks of the fleet that it belongs to, if it belongs to one."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from mediaserver.server.handshake import AcceptedStream
from mediaserver.server.kept_streams import KeptStream
from mediaserver.telemetry.metrics import FleetFigures


class MemberCall(Protocol):
    """A call, as far as the fleet knows it."""

    accepted: AcceptedStream
    counts: bool
    """Whether it has a place among the calls of the fleet."""

    @property
    def call_id(self) -> str:
        """Plivo's CallUUID; a question mark if it is not known yet."""

    def close(self, code: int, reason: str) -> None:
        """End the stream from this side."""


class Membership(Protocol):
    """The fleet, as one of its members sees it. Only `claim` is waited for, and not for long."""

    @property
    def figures(self) -> FleetFigures:
        """What is counted."""

    def joined(self) -> AbstractAsyncContextManager[None]:
        """Belong to the fleet within the block."""

    async def claim(self, call_id: str, route: str, route_limit: int | None) -> str | None:
        """Take the places of a call that begins; return which limit is reached, if any.

        Without Redis nothing is taken, and no limit is reached. `settle` must follow.
        """

    def address_of(self, process: str) -> str | None:
        """Return the URL of the machine of another process, if that is known and lives."""

    def settle(self, call_id: str) -> None:
        """Say that the call has a place in this process now, or is turned away."""

    async def last_stream(self, call_id: str, process: str) -> KeptStream | None:
        """Return what is known of the latest stream of a call, which this process does not know.

        Args:
            call_id: The call.
            process: The process that prepared it.

        Returns:
            What the process says that had it, if that lives; else what is kept of it, if anything.
            If it cannot be asked, that it has ended as it should.

        """

    def entered(self, call: MemberCall) -> None:
        """Take note of a stream."""

    def left(self, call: MemberCall) -> None:
        """Take note that a call is over."""
