"""HTTP/1.1 connections: uvicorn's, with limits and deadlines added.

uvicorn waits without limit for the rest of a request and accepts headers of any size. Deadlines are
plain numbers here, checked by one sweep over all connections (`sweep_connections`), not by a timer
each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from mediaserver.server.elsewhere import PROCESS_PARAMETER
from mediaserver.server.process.connections import HttpConnections
from mediaserver.server.process.moving import Mover
from mediaserver.server.process.turning_away import TurningAway
from mediaserver.server.refusals import RefusalLog
from mediaserver.server.relocation import HandedConnection
from mediaserver.server.trust.relayed import RELAYED_HEADER


_LINGER_SECONDS: Final = 2.0
"""Seconds that a refused client may take to read the response before its connection is cut."""

_MAX_SERVING: Final = 1_000
"""Number of requests that may be answered at the same time; further ones get 503."""

_PROCESS: Final = f"{PROCESS_PARAMETER}=".encode()

_RELAYED: Final = RELAYED_HEADER.encode()

_PROBES: Final = (b"/healthz", b"/readyz")
"""Answered whatever the number of requests: a probe that fails ends the process and its calls."""


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


class _ElsewhereError(Exception):
    """Stops the parser at a request that another process may have to serve."""


class HttpConnection(HttpToolsProtocol):
    """One connection, until it becomes a WebSocket.

    Args:
        limits: The limits.
        refusals: Logs the requests that are refused.
        held: Knows which connections are waited for.
        config: As in uvicorn's class.
        server_state: As in uvicorn's class.
        app_state: As in uvicorn's class.
        mover: Moves streams to the processes that serve them; None to serve all of them here.
        turning_away: Answers new calls while the process is overloaded; None to take all of them.
        address: By what the client's connections are counted; None if they are not.
        handed: What another process has read of the connection. Then it is served here.
        spare: Whether this connection has a descriptor of the reserve. Then it is closed after one
            response, and cannot become a WebSocket.

    """

    def __init__(
        self,
        limits: HttpLimits,
        refusals: RefusalLog,
        held: HttpConnections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        mover: Mover | None = None,
        turning_away: TurningAway | None = None,
        address: str | None = None,
        handed: HandedConnection | None = None,
        spare: bool = False,
    ) -> None:
        super().__init__(config, server_state, app_state)
        # It refers back to this object. Without it, connections whose TLS handshake does not end
        # are freed at once, not at the next collection of garbage.
        self.parser = None  # type: ignore[assignment]
        self.address = address
        self._held = held
        self._mover = mover
        self._turning_away = turning_away
        self._handed = handed
        self._spare = spare
        self._limits = limits
        self._refusals = refusals
        self.url = b""
        # When to give up waiting for the client; None while the client waits for us.
        self._deadline: float | None = None
        self._in_headers = False
        self._in_body = False
        # Whether the client has left so much of the responses unread that no more is sent.
        self._unread = False
        self._refused = False
        # What to do once all earlier requests are answered, and what was received meanwhile.
        self._then: Callable[[], None] | None = None
        self._early = b""
        # Whether its requests are served here, whatever process their URLs name.
        self._stays = handed is not None
        # Whether another node relays it.
        self._is_marked = False
        # Where there are other processes: the bytes of the request, until its headers are complete,
        # and how many requests begin in them.
        self._kept = b""
        self._begun = 0
        # The body of a request that is held back; None if none is.
        self._body: bytes | None = None
        # Bytes of the request in progress.
        self._head_bytes = 0
        self._total_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request."""
        self.parser = _new_parser(self)
        super().connection_made(transport)
        self._expect(_LINGER_SECONDS if self._spare else self._limits.header_timeout)
        if self._handed is not None:
            self.client = self._handed.client
            self.scheme = "https" if self._handed.secure else "http"
            self.data_received(self._handed.head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._held.discard(self)
        super().connection_lost(exc)

    def drop(self) -> None:
        """Close the connection at once, so that others have room."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._unread = True
        self._expect(self._limits.idle_timeout)

    def resume_writing(self) -> None:
        """Go on sending."""
        self._unread = False
        if self.cycle is not None and not self.cycle.response_complete and not self._in_body:
            self._serve()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        self._unset_keepalive_if_required()
        if self._refused:
            return
        if self._then is not None:
            self._early += data
            return
        if self._may_move:
            self._keep(data)
        continuing = self._in_headers
        self._total_bytes += len(data)
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._upgrade(data[upgrade.args[0] :])
            over = self._total_bytes > self._limits.max_header_bytes
            if self._in_headers and continuing and over:
                # httptools reports a header only when it is complete, so the received bytes count.
                raise self._head_too_large()
        except _RefusedError as refusal:
            self._refuse(refusal.status, str(refusal))
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _ElsewhereError):
                self._move_webhook()
            elif isinstance(error.__context__, _RefusedError):
                self._refuse(error.__context__.status, str(error.__context__))
            else:
                self._refuse(HTTPStatus.BAD_REQUEST, "this is not HTTP/1.1")

    # Parser callbacks

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._begun += 1
        self._in_headers = True
        self._head_bytes = 0
        self._total_bytes = 0
        self._expect(self._limits.header_timeout)

    def on_url(self, url: bytes) -> None:
        """Take a part of the request target."""
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, as uvicorn does, without the calls: each request has many."""
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._limits.max_header_bytes:
            raise self._head_too_large()

    def on_headers_complete(self) -> None:
        """Pass the request to the application, unless it asks for an upgrade (see `_upgrade`)."""
        self._in_headers = False
        if self.parser.should_upgrade():
            return
        if self._may_be_served_elsewhere():
            raise _ElsewhereError
        for name, value in self.headers:
            if name == b"content-length" and int(value) > self._limits.max_body_bytes:
                raise self._body_too_large()
        if len(self._held.serving) >= _MAX_SERVING and self.url not in _PROBES:
            raise _RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{_MAX_SERVING} requests are being answered"
            )
        self._expect(self._limits.header_timeout)
        if self._is_held_back():
            self._body = b""
        else:
            self._pass_on()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._total_bytes > self._limits.max_header_bytes + self._limits.max_body_bytes:
            raise self._body_too_large()
        if self._body is None:
            super().on_body(body)
        else:
            self._body += body
        if len(self.cycle.body if self._body is None else self._body) > self._limits.max_body_bytes:
            raise self._body_too_large()

    def on_message_complete(self) -> None:
        """End the request."""
        if self.parser.should_upgrade():
            return
        body, self._body = self._body, None
        if body is not None:
            assert self._turning_away is not None
            if self._turning_away.is_new_call(self.url, body):
                self._turn_away(self._turning_away)
                return
            self._pass_on()
            super().on_body(body)
        self._in_body = False
        super().on_message_complete()
        if self.cycle is not None and not self.cycle.response_complete:
            self._serve()

    def on_response_complete(self) -> None:
        """Start waiting for the next request."""
        self._expect(self._limits.idle_timeout)
        begins_next = bool(self.pipeline)
        super().on_response_complete()
        if self._then is not None and not begins_next and not self.transport.is_closing():
            then, self._then = self._then, None
            then()

    def _pass_on(self) -> None:
        """Pass the request to the application."""
        super().on_headers_complete()
        if self._closes_after_response:
            self.cycle.keep_alive = False
        self._in_body = True

    @property
    def _closes_after_response(self) -> bool:
        # A proxy that kept its connections would bring all its calls to the same process.
        return self._spare or self._is_among_several

    # Overload

    def _is_held_back(self) -> bool:
        """Tell whether the request is turned away if it turns out to be for a new call."""
        return (
            self._turning_away is not None
            and self._is_answered
            and not self.expect_100_continue
            and self._turning_away.applies_to(self.url, self.transport)
        )

    def _turn_away(self, turning_away: TurningAway) -> None:
        """Respond in place of the application."""
        closes = self._closes_after_response or not self.parser.should_keep_alive()
        self.transport.write(turning_away.respond(self._head_lines(closes=closes)))
        self._expect(self._limits.idle_timeout)
        if closes:
            self.transport.close()

    def _head_lines(self, *, closes: bool) -> bytes:
        """Return the lines that each response has."""
        lines = [name + b": " + value for name, value in self.server_state.default_headers]
        return b"\r\n".join([*lines, b"connection: close", b""] if closes else [*lines, b""])

    @property
    def _is_answered(self) -> bool:
        """Whether all requests that were passed on are answered."""
        return self.cycle is None or self.cycle.response_complete

    # Deadlines

    def expire(self, now: float) -> None:
        """Close the connection if its deadline has passed."""
        if self._deadline is None or now < self._deadline:
            return
        if self._refused or self._unread or self.transport.is_closing():
            self.transport.abort()
        elif self._in_headers or self._body is not None or not self._is_answered:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time")
        else:
            self._expect(_LINGER_SECONDS)
            self.transport.close()

    def _expect(self, seconds: float) -> None:
        """Wait for the client."""
        self._deadline = self.loop.time() + seconds
        self._held.wait(self)

    def _serve(self) -> None:
        """Let the client wait for us."""
        self._deadline = None
        self._held.serve(self)

    # Endings

    def _upgrade(self, rest: bytes) -> None:
        """Decide on a request that asks for an upgrade, whose headers have come.

        RFC 9110, section 7.8: an upgrade may be ignored, and in HTTP/1.0 must be.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            raise _RefusedError(HTTPStatus.NOT_IMPLEMENTED, "CONNECT is not supported")
        protocols = [
            each.strip().lower()
            for name, value in self.headers
            if name == b"upgrade"
            for each in value.split(b",")
        ]
        if method == b"GET" and version == "1.1" and b"websocket" in protocols:
            self._take_stream(rest)
        else:
            self._take_without_upgrade(method, version, rest)

    def _take_stream(self, rest: bytes) -> None:
        """Take a request for a WebSocket."""
        if self._spare:
            raise _RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, "this server has no file descriptor left for a call"
            )
        for name, value in self.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and int(value) > 0):
                raise _RefusedError(
                    HTTPStatus.BAD_REQUEST, "a request for a WebSocket must not have a body"
                )
        url = httptools.parse_url(self.url)
        path = url.path + (b"?" + url.query if url.query else b"")
        target = path.decode("latin-1")
        self._note_relayed(target)
        self._early = rest
        self._in_turn(partial(self._open_stream, target))

    def _in_turn(self, action: Callable[[], None]) -> None:
        """Call `action` after the responses to earlier requests (RFC 9112, section 9.3.2)."""
        if self._is_answered:
            action()
        else:
            self._then = action
            self._serve()
            self.flow.pause_reading()

    def _open_stream(self, target: str) -> None:
        """Hand the connection over to a WebSocket protocol.

        Args:
            target: The path of the request, with its query.

        """
        self._unset_keepalive_if_required()
        if self._may_move:
            head = self._request_head(b"GET", "1.1") + self._early
            if self._moves_away(target.partition("?")[2], head):
                return
        if self._is_relayed_away(target):
            return
        self._let_go()
        protocol: Any = self.ws_protocol_class(  # type: ignore[call-arg, misc]
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        self.flow.resume_reading()
        protocol.take_request(
            target,
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers],
            client_host=self.client[0] if self.client else "",
            secure=self.scheme == "https",
        )
        if self._early and not self.transport.is_closing():
            protocol.data_received(self._early)

    def _let_go(self) -> None:
        """Forget the connection: another protocol or another process has taken it over."""
        self.connections.discard(self)
        self._held.discard(self)
        # As in `__init__`.
        self.parser = None  # type: ignore[assignment]

    def _is_relayed_away(self, target: str) -> bool:
        """Begin to relay a stream to the machine that serves it, if that is another one."""
        mover, client = self._mover, self.client
        stays = self._stays or self._is_marked
        if mover is None or not mover.is_in_fleet or stays or client is None:
            return False
        address = mover.machine_of(target.partition("?")[2])
        if address is None:
            return False
        value = mover.mark_of(client, target, secure=self.scheme == "https")
        self.headers = [each for each in self.headers if each[0] != _RELAYED]
        self.headers.append((_RELAYED, value.encode()))
        # What comes meanwhile is kept.
        self._then = partial(self._open_stream, target)
        self._serve()
        self.flow.pause_reading()
        self._relaying = self.loop.create_task(self._relay(mover, address), name="relaying")
        return True

    async def _relay(self, mover: Mover, address: str) -> None:
        """Relay the stream, or serve it here if the other machine is not reached."""
        machine = await mover.dial(address)
        opens, self._then = self._then, None
        if self.transport.is_closing():
            if machine is not None:
                machine.abort()
            return
        if machine is None:
            self._stays = True
            assert opens is not None
            opens()
            return
        self._let_go()
        mover.relay(self.transport, machine, self._request_head(b"GET", "1.1") + self._early)

    def _note_relayed(self, path: str) -> None:
        """Take the client from the node that relays a stream, if one does."""
        if self._mover is None or not self._mover.is_in_fleet or self._handed is not None:
            return
        for name, value in self.headers:
            if name == _RELAYED:
                client = self._mover.relayed_client(value.decode("latin-1"), path)
                if client is not None:
                    self.client = client.host, client.port
                    self.scheme = "https" if client.secure else "http"
                    self._is_marked = True

    @property
    def _is_among_several(self) -> bool:
        return self._mover is not None and self._mover.is_among_several

    @property
    def _may_move(self) -> bool:
        return self._is_among_several and not self._stays and self.client is not None

    def _moves_away(self, query: str, head: bytes) -> bool:
        """Move the connection to the process that serves its request, if that is another one.

        Args:
            query: The query of the request.
            head: What was read of it, and after it.

        """
        assert self._mover is not None
        assert self.client is not None
        # What arrives from now on stays in the kernel, for whichever process reads on.
        self.flow.pause_reading()
        connection = HandedConnection(self.client, self.scheme == "https", head)
        if not self._mover.move(self.transport, query, connection):
            self.flow.resume_reading()
            return False
        self._let_go()
        return True

    def _keep(self, data: bytes) -> None:
        """Keep what may have to be given to another process."""
        if self._in_headers:
            self._kept += data
        else:
            # The rest of a body may be followed by another request, which then stays.
            self._kept, self._begun = b"" if self._in_body else data, 0

    def _may_be_served_elsewhere(self) -> bool:
        """Tell whether a webhook names a process, and may move: nothing else is under way."""
        return (
            self._may_move
            and bool(self._kept)
            and self._begun == 1
            and _PROCESS in self.url
            and self._is_answered
        )

    def _move_webhook(self) -> None:
        """Move a connection whose request is a webhook, or else serve it here."""
        kept, self._kept = self._kept, b""
        query = self.url.partition(b"?")[2].decode("latin-1")
        if not self._moves_away(query, kept):
            self.parser = _new_parser(self)
            self._stays = True
            self.data_received(kept)

    def _take_without_upgrade(self, method: bytes, version: str, rest: bytes) -> None:
        """Take a request as if it did not ask for an upgrade.

        The parser has ended the request at its headers, so they are parsed again, without Upgrade.
        """
        head = self._request_head(method, version, without=b"upgrade")
        self.parser = _new_parser(self)
        self.data_received(head + rest)

    def _request_head(self, method: bytes, version: str, *, without: bytes = b"") -> bytes:
        """Return the request's line and headers in bytes again, without one of the headers."""
        lines = [method + b" " + self.url + b" HTTP/" + version.encode() + b"\r\n"]
        lines += [name + b": " + value + b"\r\n" for name, value in self.headers if name != without]
        return b"".join(lines) + b"\r\n"

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        """Respond and close, discarding further input so that the client can read the response."""
        self._refused = True
        self._refusals.note(
            "request refused",
            status=int(status),
            reason=text,
            # Without the query, which may have numbers and tokens.
            path=self.url.partition(b"?")[0].decode("latin-1"),
            client=self.client[0] if self.client else "?",
        )
        if not self._in_body:
            self._in_turn(partial(self._send_refusal, status, text))
        elif self.pipeline:
            # Its own request is the newest of those that wait for their turn.
            self.pipeline.popleft()
            self._then = partial(self._send_refusal, status, text)
            self._serve()
        elif self.cycle.response_started:
            # The response has been sent already, and there cannot be another.
            self._expect(_LINGER_SECONDS)
            self.transport.close()
        else:
            # Tell an application that waits for the rest of the request that it will not come.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._send_refusal(status, text)

    def _send_refusal(self, status: HTTPStatus, text: str) -> None:
        self._expect(_LINGER_SECONDS)
        body = text.encode() + b"\n"
        lines = [
            STATUS_LINE[status],
            self._head_lines(closes=True),
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: %d\r\n\r\n" % len(body),
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
            raise self._head_too_large()

    def _head_too_large(self) -> _RefusedError:
        return _RefusedError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"headers of more than {self._limits.max_header_bytes} bytes",
        )

    def _body_too_large(self) -> _RefusedError:
        return _RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"a body of more than {self._limits.max_body_bytes} bytes",
        )


def _new_parser(protocol: HttpConnection) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(protocol)
    # As uvicorn: what follows a request with Connection: close is passed over.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def sweep_connections(connections: Iterable[object], now: float) -> None:
    """Close every connection whose deadline has passed.

    Args:
        connections: Those of uvicorn's `ServerState`; WebSockets are skipped.
        now: The event loop's time.

    """
    for connection in list(connections):
        if isinstance(connection, HttpConnection):
            connection.expire(now)
