"""How the server saw a request, told to one who has the auth token.

``mediaserver doctor`` asks for it, to find out what a proxy does to requests. It is told only in
the refusal of a malformed webhook whose signature is valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from mediaserver.server.trust.proxy import is_trusted, origin
from mediaserver.settings import Network


SEEN_HEADER: Final = "x-mediaserver-seen"
"""Name of the header that tells it."""


class SeenRequest(msgspec.Struct, frozen=True):
    """One request, as the server saw it."""

    peer: str
    """The address at the other end of the connection."""
    is_trusted: bool
    """Whether that is a trusted proxy."""
    forwarded_for: bool
    """Whether the request had X-Forwarded-For."""
    client: str
    """The client's address, as the server takes it to be."""
    secure: bool
    """Whether the client used TLS, as the server takes it to be."""


def seen_request(
    headers: Iterable[tuple[str, str]],
    *,
    client_host: str,
    secure: bool,
    trusted: Sequence[Network] = (),
) -> str:
    """Return the value of the header; the arguments are those of `origin`."""
    headers = list(headers)
    seen = origin(headers, client_host=client_host, secure=secure, trusted=trusted)
    return msgspec.json.encode(
        SeenRequest(
            peer=client_host,
            is_trusted=is_trusted(client_host, trusted),
            forwarded_for=any(name == "x-forwarded-for" for name, _ in headers),
            client=seen.client,
            secure=seen.secure,
        )
    ).decode()
