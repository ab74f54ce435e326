"""Listening on the addresses of the settings."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any, Final

import structlog

from mediaserver.server.process.unix_socket import UnixSocket
from mediaserver.settings import Settings


log = structlog.get_logger(__name__)

_BACKLOG: Final = 2048
"""Connections that may wait to be accepted."""


class BindError(OSError):
    """The server cannot listen on an address; the message says why and what to do."""


def bind(settings: Settings) -> list[socket.socket]:
    """Listen on the addresses of the settings, before anything slow starts.

    Raises:
        BindError: An address does not exist, or is in use.

    """
    return _bind_all(settings.host, settings.port)


def bind_metrics(settings: Settings) -> list[socket.socket]:
    """Listen on the address that metrics have of their own, if they have one.

    Raises:
        BindError: The address does not exist, or is in use.

    """
    try:
        return _bind_all(*settings.metrics_address, "--metrics") if settings.metrics_address else []
    except BindError as error:
        raise BindError(f"--metrics: {error}") from None


def bind_admin(settings: Settings) -> list[socket.socket]:
    """Listen on the Unix socket or the address for operators, if there is one.

    Raises:
        BindError: It cannot be listened on, although it was asked for.

    """
    address = settings.admin_address
    if address is None:
        return []
    if isinstance(address, Path):
        try:
            return [UnixSocket(address, shared=settings.admin_token is not None)]
        except OSError as error:
            reason = error.strerror or str(error)
            if settings.admin == "auto":
                # Nobody has asked for it.
                hint = "set --admin to another path, or to off"
                log.warning("no admin listener", at=str(address), reason=reason, hint=hint)
                return []
            raise BindError(
                f"--admin: cannot listen on {address}: {reason}; give the path of a socket in a"
                " folder of the server's user, or turn it off with --admin off"
            ) from None
    try:
        return _bind_all(*address, "--admin")
    except BindError as error:
        raise BindError(f"--admin: {error}") from None


def _bind_all(host: str, port: int, setting: str = "") -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError) as error:
        raise BindError(f"cannot listen on {host!r}: {error}") from None
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        if sockets and port == 0:
            # All addresses of one host get the same port, that of the first.
            address = (address[0], sockets[0].getsockname()[1], *address[2:])
        try:
            sockets.append(_bind_one(family, kind, protocol, address))
        except OSError as error:
            failure = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
    else:
        if sockets:
            return sockets
    for sock in sockets:
        sock.close()
    assert failure is not None
    raise BindError(
        f"cannot listen on {authority(host, port)}: {_explain(failure, setting)}"
    ) from None


def _bind_one(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        # Another process can still take the port until it is listened on.
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _explain(error: OSError, setting: str) -> str:
    """Say what is wrong with the address of `setting`; empty for --host and --port."""
    if error.errno == errno.EADDRINUSE:
        choose = f"another with {setting}" if setting else "one with --port, or 0 for any"
        return f"another process has this port; choose {choose}"
    if error.errno == errno.EACCES:
        return f"ports below 1024 need privileges; choose a higher one with {setting or '--port'}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this machine has no such address; choose one with {setting or '--host'}"
    return error.strerror or str(error)


def address_of(sock: socket.socket) -> tuple[str, int]:
    """Return the host and port that a socket listens on."""
    host, port = sock.getsockname()[:2]
    return host, port


def web_address_of(sock: socket.socket) -> str:
    """Return the URL of a listening socket without TLS, or the path of a Unix socket."""
    if sock.family == socket.AF_UNIX:
        return str(sock.getsockname())
    return f"http://{authority(*address_of(sock))}"


def authority(host: str, port: int) -> str:
    """Return an address as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
