"""What a local HTTP service replies: bytes, and between them places to wait or break off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias


class Hold:
    """A place in a reply at which the server waits until the test releases it.

    Attributes:
        reached: set when the server has come to it.
        left: set when the connection was closed meanwhile.

    """

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.left = asyncio.Event()
        self._released = asyncio.Event()

    def release(self) -> None:
        """Let the server go on."""
        self._released.set()

    async def wait(self) -> None:
        """Wait for `release`."""
        self.reached.set()
        try:
            await self._released.wait()
        except asyncio.CancelledError:
            self.left.set()
            raise


@dataclass(frozen=True, slots=True)
class At:
    """A place in a reply that the server passes `seconds` after the request, at the earliest."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A place in a reply at which the server closes the connection."""


Pause: TypeAlias = Hold | At | Disconnect
Piece: TypeAlias = bytes | Pause
"""Part of a reply's body. The headers are sent with the first bytes, which may be empty."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request that was accepted.

    Attributes:
        params: its parameters, without the file.
        file: the audio of a transcription.
        headers: with names in lower case.
        client: the port that it came from, which tells connections apart.

    """

    params: Mapping[str, Any]
    file: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    client: int = 0


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An HTTP response, down to its bytes."""

    body: Sequence[Piece]
    content_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


ScriptedReply: TypeAlias = HttpReply | Callable[[Received], HttpReply]


def event(data: object) -> bytes:
    """Return a server-sent event: of JSON, or of a string as it is."""
    return b"data: %s\n\n" % (data if isinstance(data, str) else json.dumps(data)).encode()


def streams(*pieces: object) -> HttpReply:
    """Return a stream of raw events: anything that is JSON, strings, pauses, bytes."""
    body = [p if isinstance(p, bytes | Pause) else event(p) for p in pieces]
    return HttpReply(body, "text/event-stream")
