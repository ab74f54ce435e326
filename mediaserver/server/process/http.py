"""HTTP/1.1 connections: uvicorn's, with limits and deadlines added.

uvicorn waits without limit for the rest of a request and accepts headers of any size. Deadlines are
plain numbers here, checked by one sweep over all connections (`sweep_connections`), not by a timer
each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState


_LINGER_SECONDS: Final = 2.0
"""Seconds that a refused client may take to read the response before its connection is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """The limits of one HTTP connection. Durations are seconds, sizes bytes."""

    header_timeout: float = 10.0
    idle_timeout: float = 30.0
    max_header_bytes: int = 16_384
    max_body_bytes: int = 65_536


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class HttpConnection(HttpToolsProtocol):
    """One connection, until it becomes a WebSocket.

    Args:
        limits: The limits.
        config: As in uvicorn's class.
        server_state: As in uvicorn's class.
        app_state: As in uvicorn's class.
        _loop: The running event loop.

    """

    def __init__(
        self,
        limits: HttpLimits,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        # When to give up waiting for the client; None while the client waits for us.
        self._deadline: float | None = None
        self._in_headers = False
        self._in_body = False
        self._refused = False
        # Bytes of the request in progress.
        self._head_bytes = 0
        self._total_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request."""
        super().connection_made(transport)
        self._expect(self._limits.header_timeout)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        self._unset_keepalive_if_required()
        if self._refused:
            return
        continuing = self._in_headers
        self._total_bytes += len(data)
        try:
            self.parser.feed_data(data)
            if self._in_headers and continuing:
                # httptools reports a header only when it is complete, so the received bytes count.
                self._count_head(len(data))
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except _RefusedError as refusal:
            self._refuse(refusal.status, str(refusal))
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _RefusedError):
                self._refuse(error.__context__.status, str(error.__context__))
            else:
                self._refuse(HTTPStatus.BAD_REQUEST, "this is not HTTP/1.1")

    # Parser callbacks

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._in_headers = True
        self._head_bytes = 0
        self._total_bytes = 0
        self._expect(self._limits.header_timeout)

    def on_url(self, url: bytes) -> None:
        """Take a part of the request target."""
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        self._count_head(len(name) + len(value) + len(b": \r\n"))

    def on_headers_complete(self) -> None:
        """Pass the request to the application."""
        self._in_headers = False
        self._in_body = True
        for name, value in self.headers:
            if name == b"content-length" and int(value) > self._limits.max_body_bytes:
                raise self._body_too_large()
        self._expect(self._limits.header_timeout)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._total_bytes > self._limits.max_header_bytes + self._limits.max_body_bytes:
            raise self._body_too_large()
        super().on_body(body)
        if len(self.cycle.body) > self._limits.max_body_bytes:
            raise self._body_too_large()

    def on_message_complete(self) -> None:
        """End the request."""
        self._in_body = False
        super().on_message_complete()
        if self.cycle is not None and not self.cycle.response_complete:
            self._deadline = None

    def on_response_complete(self) -> None:
        """Start waiting for the next request."""
        self._expect(self._limits.idle_timeout)
        super().on_response_complete()

    # Deadlines

    def expire(self, now: float) -> None:
        """Close the connection if its deadline has passed."""
        if self._deadline is None or now < self._deadline:
            return
        if self._refused or self.transport.is_closing():
            self.transport.abort()
        elif self._in_headers or (self.cycle is not None and not self.cycle.response_complete):
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time")
        else:
            self._expect(_LINGER_SECONDS)
            self.transport.close()

    def _expect(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds

    # Endings

    def _upgrade(self, rest: bytes) -> None:
        if not self._should_upgrade():
            # An upgrade to anything but a WebSocket is ignored and answered as a plain request.
            self.cycle.keep_alive = False
            return
        self.handle_websocket_upgrade()
        if rest and not self.transport.is_closing():
            protocol = self.transport.get_protocol()
            assert isinstance(protocol, asyncio.Protocol)
            protocol.data_received(rest)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        """Respond and close, discarding further input so that the client can read the response."""
        self._refused = True
        self._expect(_LINGER_SECONDS)
        cycle = self.cycle
        if cycle is not None and cycle.response_started:
            if self._in_body or not cycle.response_complete:
                # The response has been sent already, and there cannot be another.
                self.transport.close()
                return
        elif cycle is not None:
            # Tell an application that waits for the rest of the request that it will not come.
            cycle.disconnected = True
            cycle.message_event.set()
        body = text.encode() + b"\n"
        lines = [
            STATUS_LINE[status],
            *(name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers),
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: %d\r\n" % len(body),
            b"connection: close\r\n\r\n",
            body,
        ]
        self.transport.write(b"".join(lines))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.max_header_bytes:
            raise _RefusedError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"headers of more than {self._limits.max_header_bytes} bytes",
            )

    def _body_too_large(self) -> _RefusedError:
        return _RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"a body of more than {self._limits.max_body_bytes} bytes",
        )


def sweep_connections(connections: Iterable[object], now: float) -> None:
    """Close every connection whose deadline has passed.

    Args:
        connections: Those of uvicorn's `ServerState`; WebSockets are skipped.
        now: The event loop's time.

    """
    for connection in list(connections):
        if isinstance(connection, HttpConnection):
            connection.expire(now)
