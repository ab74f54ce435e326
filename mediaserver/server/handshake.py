"""A request for a media stream, and the two ways it can be decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.routes import Route
from mediaserver.server.admission import Slot


@dataclass(frozen=True, slots=True)
class HandshakeRequest:
    """The HTTP request that asks for a WebSocket."""

    path: str
    """The path that `Routes` are matched by, percent-decoded."""
    query_string: str = ""
    headers: Sequence[tuple[str, str]] = ()
    """Names in lower case, in the order of the request."""
    client_host: str = ""
    """Address at the other end of the connection; it may be a proxy's."""
    secure: bool = False
    """Whether the connection uses TLS."""
    raw_path: str | None = None
    """The path as the request has it, which is what Plivo signs; None if equal to `path`."""
    url_path: str | None = None
    """The whole path, percent-decoded, if `path` is only its part below a mount."""
    path_params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters in the part of the path above the mount."""


@dataclass(frozen=True, slots=True)
class AcceptedStream:
    """A stream that may begin."""

    route: Route
    path: str
    """The path of the stream URL."""
    path_params: Mapping[str, Any]
    """The parameters in the path."""
    query: dict[str, str]
    """Query parameters for the handler, without the token."""
    caller: str | None
    """The caller's number from the token, or None without a token."""
    called: str | None
    """The dialled number from the token, or None without a token."""
    call_id: str | None
    """Plivo's CallUUID from the token, or None without a token."""
    slot: Slot
    """The call's place; `Slot.release` gives it back."""
    client: str = ""
    """The client's address, as trusted proxies report it."""
    answer: AnswerRequest | None = None
    """The answer webhook's request, as far as this process knows it."""
    nonce: str | None = None
    """The nonce of its signature. It counts as used; release it if the stream never begins."""
    exceeds_limit: bool = False
    """Whether it was let in only because it may continue a lost stream."""
    repeats_signature: bool = False
    """Whether its signature is that of a lost stream, which it must continue then."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A stream that may not begin."""

    status: int
    """HTTP status of the response."""
    reason: str
    """The reason, sent as the body of the response."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the response."""
    cause: str = "verifier"
    """Short name under which refusals are counted."""


Verifier = Callable[[HandshakeRequest], Refused | None]
"""Checks a request; returns `Refused` to refuse it, or None."""
