"""The origin of a request that may have passed through proxies.

``X-Forwarded-*`` headers are used only if they come from trusted proxies, since anyone can send
them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mediaserver.settings import Network


_Headers = Iterable[tuple[str, str]]
"""Names in lower case, in the order they came."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")


class Origin(NamedTuple):
    """The client's view of a request."""

    client: str
    """The client's address."""
    secure: bool
    """Whether the client used TLS."""
    host: str | None
    """Host, with the port if given, that the client asked for; None if it is not valid."""


def origin(
    headers: _Headers, *, client_host: str, secure: bool, trusted: Sequence[Network] = ()
) -> Origin:
    """Return the origin of a request.

    Args:
        headers: The request's headers.
        client_host: Address at the other end of the connection.
        secure: Whether that connection uses TLS.
        trusted: Networks of trusted proxies.

    """
    given: dict[str, list[str]] = {}
    for name, value in headers:
        if name in ("host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"):
            given.setdefault(name, []).extend(part.strip() for part in value.split(","))
    host = given.get("host", [""])[0]
    client = client_host
    if is_trusted(client_host, trusted):
        # Each proxy appends the address of its client, so the list is read from the end: the first
        # address that is not a trusted proxy is the client. Entries before it may be forged.
        for address in reversed(given.get("x-forwarded-for", [])):
            if not _is_address(address):
                break
            client = address
            if not is_trusted(address, trusted):
                break
        if "x-forwarded-proto" in given:
            secure = given["x-forwarded-proto"][-1].lower() in ("https", "wss")
        host = given.get("x-forwarded-host", [host])[-1]
    return Origin(client, secure, host if _HOST.fullmatch(host) else None)


def base_url(
    public_url: str | None,
    headers: _Headers,
    *,
    client_host: str,
    secure: bool,
    trusted: Sequence[Network] = (),
) -> str | None:
    """Return the URL by which clients reach this server, without a trailing slash.

    Args:
        public_url: The setting, which takes precedence.
        headers: The request's headers.
        client_host: Address at the other end of the connection.
        secure: Whether that connection uses TLS.
        trusted: Networks of trusted proxies.

    Returns:
        An ``http`` or ``https`` URL; None if the request has no valid host.

    """
    if public_url is not None:
        return public_url
    seen = origin(headers, client_host=client_host, secure=secure, trusted=trusted)
    return seen.host and f"{'https' if seen.secure else 'http'}://{seen.host}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    """Tell whether an address is that of a trusted proxy."""
    if not trusted or not _is_address(text):
        return False
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in trusted)
