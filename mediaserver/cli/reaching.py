"""How ``call`` and ``load`` reach a server: TLS, headers and a signature, with their options."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer


AuthToken = Annotated[
    str | None,
    typer.Option(
        envvar="MEDIASERVER_AUTH_TOKEN",
        help="Sign the request with this auth token, as Plivo does.",
    ),
]
SignedUrl = Annotated[
    str | None,
    typer.Option(
        help="URL to sign, if the server knows itself by a URL other than the one called."
    ),
]
HttpHeaders = Annotated[
    list[str] | None,
    typer.Option(
        "--http-header",
        metavar="NAME=VALUE",
        help="HTTP header of the WebSocket request, such as an Authorization for a proxy. May be "
        "repeated.",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(help="File of certificates to trust for wss://, such as a self-signed one."),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Trust any certificate of a wss:// server.")
]

_HANDSHAKE = re.compile(r"(?i)upgrade|connection|sec-websocket-.*|content-length|transfer-encoding")


def http_headers(texts: Sequence[str] | None) -> dict[str, str]:
    """Read `NAME=VALUE` headers of the WebSocket request (RFC 9110, section 5.6.2: names)."""
    headers: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise ValueError(f"HTTP headers are written NAME=VALUE, not {text!r}")
        if not value.isprintable() or not value.isascii():
            raise ValueError(f"the value of the HTTP header {name} must be printable ASCII")
        if _HANDSHAKE.fullmatch(name):
            raise ValueError(f"the HTTP header {name} belongs to the WebSocket's own handshake")
        headers[name] = value
    return headers


def tls_of(url: str, cafile: Path | None, insecure: bool) -> ssl.SSLContext | None:
    """Return how to verify the server, None for the default."""
    scheme = urlsplit(url).scheme
    if scheme not in ("ws", "wss"):
        raise ValueError(f"{url!r} is not a WebSocket address: ws://… or wss://…")
    if cafile is None and not insecure:
        return None
    if scheme != "wss":
        raise ValueError("--cafile and --insecure are for wss:// addresses")
    if cafile is not None and insecure:
        raise ValueError("--cafile and --insecure exclude each other")
    try:
        context = ssl.create_default_context(cafile=cafile)
    except ssl.SSLError as error:
        raise ValueError(f"{cafile} holds no certificates in PEM form: {error}") from error
    except OSError as error:
        raise ValueError(f"cannot read {cafile}: {error.strerror}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def upgrade_signature(url: str, auth_token: str | None) -> dict[str, str]:
    """Return the headers that sign a request for a stream; none without a token."""
    from mediaserver.plivo.signatures import sign_upgrade

    return sign_upgrade(url, auth_token) if auth_token else {}
