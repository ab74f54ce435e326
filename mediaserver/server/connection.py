"""A media WebSocket: the asyncio protocol that uvicorn hands an upgraded connection to.

It gets the bytes of the upgrade request, then WebSocket frames, and reads both with websockets'
sans-I/O core. No task and no queue lie between the socket and the session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus
from struct import Struct
from typing import Any, cast
from urllib.parse import unquote

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import CLOSED, OPEN
from websockets.server import ServerProtocol


try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the extension
    from websockets.utils import apply_mask

from mediaserver.server.accepting import examine
from mediaserver.server.framing import LONGEST_HEADER, MASKED, MASKED_16, TEXT_FINAL, frame_end
from mediaserver.server.handshake import HandshakeRequest, Refused
from mediaserver.server.opening import switching_protocols
from mediaserver.server.runtime import Runtime
from mediaserver.server.server_call import ServerCall, close_reason
from mediaserver.server.stream_socket import bound_unsent


_TEXT, _BINARY, _CONT, _PONG = Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.PONG

_MAX_UNSENT = 1_048_576
"""Bytes in the write buffer above which the connection is dropped."""

SLICE_FRAMES = 32
"""Frames of one connection that are read in one turn of the loop; the rest waits in `Slices`."""

SLICE_BYTES = 8_192
"""Bytes after which a turn ends as well: what takes longest to read takes a millisecond."""

_SHORT = 126
_LONG = 65_536
_usual_header = Struct("!HH").pack

# websockets logs each connection at INFO; calls are logged elsewhere.
_quiet = logging.getLogger("mediaserver.websockets")
_quiet.setLevel(logging.WARNING)


class StreamConnection(asyncio.Protocol):
    """One WebSocket, from its upgrade request on (a `Link`).

    Args:
        runtime: the server.
        **_uvicorn: uvicorn's arguments to a WebSocket protocol class; not used.

    """

    __slots__ = (
        "_call",
        "_client_host",
        "_full",
        "_gathered",
        "_held_up",
        "_in_slices",
        "_is_cut_off",
        "_max_size",
        "_open",
        "_partial",
        "_partial_is_text",
        "_reading",
        "_runtime",
        "_secure",
        "_tail",
        "_transport",
        "_ws",
    )

    _transport: asyncio.Transport
    _client_host: str
    _secure: bool

    def __init__(self, runtime: Runtime, **_uvicorn: Any) -> None:
        self._runtime = runtime
        self._call: ServerCall | None = None
        # The received part of a fragmented message, and whether it is text.
        self._partial: bytearray | None = None
        self._partial_is_text = False
        self._max_size = runtime.settings.max_message_bytes
        self._ws = ServerProtocol(max_size=self._max_size, logger=_quiet)
        # What was received and not read yet: at least a part of a frame.
        self._tail = b""
        # Whether messages are exchanged: after the opening handshake, before the closing one.
        self._open = False
        # Whether the tail holds whole frames, which wait for the next turn of the loop.
        self._in_slices = False
        # Whether the peer sent too much and is not read any more.
        self._is_cut_off = False
        # Whether the call wants nothing to be read for now.
        self._held_up = False
        self._reading = True
        # Whether the write buffer is above its high-water mark.
        self._full = False
        # Messages that go out in one write in the next turn of the loop; None if each goes at once.
        self._gathered: list[bytes] | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport."""
        self._transport = cast(asyncio.Transport, transport)
        bound_unsent(self._transport, self._runtime.settings.dead_peer_timeout)
        peer = transport.get_extra_info("peername")
        self._client_host = peer[0] if isinstance(peer, tuple) else ""
        self._secure = transport.get_extra_info("sslcontext") is not None

    def take_request(
        self, target: str, headers: Sequence[tuple[str, str]], *, client_host: str, secure: bool
    ) -> None:
        """Answer an upgrade request that has been parsed already.

        Args:
            target: The path of the request, with its query.
            headers: Its headers, with names in lower case, in the order of the request.
            client_host: The client's address.
            secure: Whether the client used TLS, which may have been ended elsewhere.

        """
        self._client_host, self._secure = client_host, secure
        response = switching_protocols(headers)
        refused = None if response is None else self._let_in(target, headers)
        if response is not None and refused is None:
            self._ws.parser.close()
            self._ws = ServerProtocol(state=OPEN, max_size=self._max_size, logger=_quiet)
            self._transport.write(response)
            return
        # Takes the core's parser past the request, for which it has limits of its own.
        self._ws.receive_data(b"GET / HTTP/1.1\r\n\r\n")
        self._ws.events_received()
        if refused is None:
            self._answer(Request(target, Headers(headers)))
        else:
            self._respond(self._rejection(refused))
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Read bytes of the upgrade request, then of WebSocket frames."""
        if self._is_cut_off:
            return
        if self._tail:
            if self._in_slices:
                self._tail += data
                return
            data, self._tail = self._tail + data, b""
        call = self._call
        if call is None:
            self._feed(data)
            return
        call.heard_from = True
        start, size = 0, len(data)
        left = SLICE_FRAMES
        while start < size:
            if not left or start >= SLICE_BYTES:
                self._leave(data[start:])
                break
            left -= 1
            # Plivo's messages: one whole text frame, not within a fragmented message.
            if (
                size - start > 8
                and data[start] == TEXT_FINAL
                and MASKED <= (second := data[start + 1]) <= MASKED_16
                and self._partial is None
                and self._open
            ):
                if second == MASKED_16:
                    body = start + 8
                    end = body + (data[start + 2] << 8) + data[start + 3]
                else:
                    body = start + 6
                    end = body + second - MASKED
                if end <= size and end - body <= self._max_size:
                    call.session.receive(apply_mask(data[body:end], data[body - 4 : body]))
                    start = end
                    continue
            start = self._take_other(data, start)
        if left < SLICE_FRAMES - 1 and self._gathered is None:
            # Several frames, such as the first ones of a call: there may be as many answers.
            self._gathered = []
            asyncio.get_running_loop().call_soon(self._send_gathered)
        if not call.session.budget.spend(SLICE_FRAMES - left, size - len(self._tail)):
            self._cut_off(call)

    def _leave(self, rest: bytes) -> None:
        """Leave frames to the next turn of the loop."""
        self._tail = rest
        self._in_slices = True
        self._runtime.slices.leave(self._read_on)
        self._steer_reading()

    def _read_on(self) -> None:
        """Read what was left to this turn of the loop."""
        self._in_slices = False
        if not (self._is_cut_off or self._transport.is_closing()):
            self.data_received(b"")
            self._steer_reading()

    def _take_other(self, data: bytes, start: int) -> int:
        """Read a frame that is not a whole text message, and return where the next one begins."""
        size = len(data)
        end = frame_end(data, start)
        if end is None or size < end <= start + LONGEST_HEADER + self._max_size:
            self._tail = data[start:]
            return size
        self._feed(data[start:end])
        if self._ws.parser_exc is not None or self._ws.close_rcvd is not None:
            # The core has read its last frame and discards what follows.
            self._feed(data[end:])
            return size
        return end

    def _cut_off(self, call: ServerCall) -> None:
        """Read nothing more from a peer that sent too much; its call closes the connection."""
        if self._is_cut_off:
            return
        self._is_cut_off = True
        self._tail = b""
        self._send_gathered()
        call.session.overspend()
        self._steer_reading()
        if self._transport.can_write_eof():
            # Makes the peer read its close frame: it may wait for the end of the connection.
            self._transport.write_eof()

    def _feed(self, data: bytes) -> None:
        """Pass `data` to the WebSocket core, and handle the events it returns."""
        ws = self._ws
        ws.receive_data(data)
        for event in ws.events_received():
            if isinstance(event, Frame):
                self._take_frame(event)
            elif isinstance(event, Request):
                self._answer(event)
        self._flush()

    def eof_received(self) -> None:
        """The peer sends no more; this ends the call, since a stream needs both directions."""
        self._ws.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed or lost."""
        self._tail = b""
        # Both refer to the core, which refers to them.
        self._ws.parser.close()
        self._ws.parser_exc = None
        if self._call is not None:
            self._open = False
            self._call.lost("the connection was lost" + (f": {exc}" if exc is not None else ""))

    def pause_writing(self) -> None:
        """The write buffer rose above its high-water mark."""
        self._full = True
        if self._call is not None:
            self._call.block()

    def resume_writing(self) -> None:
        """The write buffer fell below its low-water mark."""
        self._full = False
        if self._call is not None:
            self._call.unblock()

    # The opening handshake

    def _answer(self, request: Request) -> None:
        response = self._ws.accept(request)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            given = [(name.lower(), value) for name, value in request.headers.raw_items()]
            refused = self._let_in(request.path, given)
            if refused is not None:
                response = self._rejection(refused)
        self._respond(response)

    def _let_in(self, target: str, headers: Sequence[tuple[str, str]]) -> Refused | None:
        """Begin the call that is asked for, or return why it is refused."""
        path, _, query = target.partition("?")
        decision = examine(
            self._runtime,
            HandshakeRequest(
                path=unquote(path),
                raw_path=path,
                query_string=query,
                headers=headers,
                client_host=self._client_host,
                secure=self._secure,
            ),
            verifiers=self._runtime.verifiers,
        )
        if isinstance(decision, Refused):
            self._runtime.refuse(decision, path)
            return decision
        self._call = ServerCall(self._runtime, self, decision)
        self._open = True
        return None

    def _rejection(self, refused: Refused) -> Response:
        response = self._ws.reject(refused.status, f"{refused.reason}\n")
        for name, value in refused.headers:
            response.headers[name] = value
        return response

    def _respond(self, response: Response) -> None:
        self._ws.send_response(response)
        if self._call is None:
            self._flush()
            self._transport.close()

    def _take_frame(self, frame: Frame) -> None:
        call, opcode = self._call, frame.opcode
        if call is None:
            return
        if opcode is _PONG:
            call.ponged(bytes(frame.data))
        elif opcode is _TEXT or opcode is _BINARY:
            if frame.fin:
                self._take_message(bytes(frame.data), is_text=opcode is _TEXT)
            else:
                self._partial = bytearray(frame.data)
                self._partial_is_text = opcode is _TEXT
        elif opcode is _CONT and self._partial is not None:
            self._partial += frame.data
            if frame.fin:
                message, self._partial = bytes(self._partial), None
                self._take_message(message, is_text=self._partial_is_text)

    def _take_message(self, message: bytes, *, is_text: bool) -> None:
        assert self._call is not None
        if is_text:
            self._call.session.receive(message)
        else:
            self._call.session.refuse_binary(message)

    # Link

    def send_text(self, message: bytes) -> None:
        """Send a text message in one unmasked frame (RFC 6455, section 5.2)."""
        if not self._open:
            return
        # The same bytes that ServerProtocol.send_text makes, without its Frame object and BytesIO.
        size = len(message)
        if size < _SHORT:
            header = b"\x81" + size.to_bytes(1, "big")
        elif size < _LONG:
            header = _usual_header(0x817E, size)
        else:
            header = b"\x81\x7f" + size.to_bytes(8, "big")
        if self._gathered is not None:
            self._gathered.append(header + message)
            return
        self._transport.write(header + message)
        if self._full:
            self._check_unsent()

    def _send_gathered(self) -> None:
        """Write what was gathered; from now on each message goes at once."""
        gathered, self._gathered = self._gathered, None
        if gathered:
            self._transport.write(b"".join(gathered))
            if self._full:
                self._check_unsent()

    def send_ping(self, payload: bytes) -> None:
        """Send a ping."""
        if self._open:
            self._ws.send_ping(payload)
            self._flush()

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""
        if self._open:
            self._ws.send_close(code, close_reason(reason))
            self.resume_reading()
            self._flush()

    def abort(self) -> None:
        """Drop the connection."""
        self._open = False
        self._gathered = None
        self._transport.abort()

    def hand_over(self, call: ServerCall) -> None:
        """Carry the messages of another call, whose stream this connection continues."""
        self._call = call

    def let_go(self) -> None:
        """Drop the connection, and tell the call nothing more: it continues on another one."""
        self._call = None
        self.abort()

    def pause_reading(self) -> None:
        """Stop reading for now."""
        self._held_up = True
        self._steer_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._held_up = False
        self._steer_reading()

    def _steer_reading(self) -> None:
        """Read from the socket only while nothing stands against it."""
        reading = not (self._held_up or self._in_slices or self._is_cut_off)
        if reading is not self._reading and not self._transport.is_closing():
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _check_unsent(self) -> None:
        """Drop a peer that reads nothing and keeps causing answers, for instance by pings."""
        if self._transport.get_write_buffer_size() > _MAX_UNSENT:
            self._open = False
            if self._call is None:
                self._transport.abort()
            else:
                self._call.stuffed(f"{_MAX_UNSENT} bytes")

    def _flush(self) -> None:
        """Write the data that the WebSocket core wants to send."""
        if self._gathered:
            self._send_gathered()
        ws = self._ws
        for data in ws.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._finish()
        if ws.state is not OPEN:
            self._open = False
            if ws.state is CLOSED:
                self._transport.close()
        elif self._full:
            self._check_unsent()

    def _finish(self) -> None:
        """Close the connection, as the WebSocket core asks."""
        close = self._ws.close_rcvd
        # Without a close frame the connection was lost, which `connection_lost` tells.
        lost = close is None and isinstance(self._ws.parser_exc, EOFError)
        if self._call is not None and not lost:
            if close is not None:
                self._call.closing(f"Plivo closed the socket ({close.code})")
            else:
                self._call.closing(f"the WebSocket failed: {self._ws.parser_exc}")
        if self._call is None or close or lost or not self._transport.can_write_eof():
            self._transport.close()
        else:
            # The peer broke the protocol and may still be sending. Closing now would reset the
            # connection before it can read the reason.
            self._transport.write_eof()
