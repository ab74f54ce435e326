"""A connection that moves to another process of this machine, and the way there."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HandedConnection:
    """What the process that takes a connection has to know of it."""

    client: tuple[str, int]
    """Host and port of the client."""
    secure: bool
    """Whether the client used TLS, which another process has ended."""
    head: bytes
    """What was read of it already: a whole request, and what followed."""


class Relocation(Protocol):
    """The way to the other processes of a machine."""

    def reaches(self, process: str) -> bool:
        """Tell whether a process lives, even if it takes no new calls."""

    def hand_over(self, process: str, sock: socket.socket, connection: HandedConnection) -> bool:
        """Give a connection to a process, and its socket with it; False if that is not possible.

        A process that turns out to be gone gives it back: then it is served here.
        """
