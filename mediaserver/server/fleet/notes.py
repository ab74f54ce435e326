"""What the fleet knows of calls and members, in the form in which it is kept."""

from __future__ import annotations

from typing import NamedTuple


class Note(NamedTuple):
    """What a member says of a call that it has."""

    number: int
    """Of the member's claim; 0 for a call that it never claimed."""
    live: bool
    """Whether its stream is connected, and not only expected."""
    route: str
    """The route whose limit it counts against; empty if that has none."""

    def __str__(self) -> str:
        return f"{self.number} {'live' if self.live else 'kept'} {self.route}"


class LostCall(NamedTuple):
    """A call whose member has not beaten for too long."""

    call: str
    at: float
    """When it was found, by the clock of Redis: seconds since the epoch."""


class LostMember(NamedTuple):
    """A member that has not beaten for too long."""

    name: str
    about: bytes
    """What it said of itself; empty if it never beat."""
    calls: list[str]
    """The calls that were lost with it."""
