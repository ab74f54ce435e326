"""Against websockets' own core, and over sockets."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from functools import cache, partial
from ssl import SSLContext
from typing import Any, cast
from unittest.mock import patch
from uuid import UUID

import pytest
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets import CloseCode
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN, State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from audiocodecs import MULAW_8K
from mediaserver import Stream
from mediaserver.plivo.signatures import sign_upgrade
from mediaserver.protocol import Media, Start, encode_event
from mediaserver.routes import Route, Routes
from mediaserver.server import connection as connection_module
from mediaserver.server.admission import Admission
from mediaserver.server.connection import SLICE_BYTES, SLICE_FRAMES, StreamConnection
from mediaserver.server.handshake import AcceptedStream, Refused
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings
from tests.server.until import until


async def listen(stream: Stream) -> None:
    async for _ in stream.audio():
        pass


def upgrade(path: str = "/stream", **headers: Any) -> bytes:
    """The bytes of an upgrade request; a header is left out by None."""
    named = {
        "host": "media.test",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": base64.b64encode(bytes(16)).decode(),
        "sec-websocket-version": "13",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}\r\n" for name, value in named.items() if value is not None]
    return f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


# Beside websockets' own core


class Transport(asyncio.Transport):
    """Keeps what is written to it; after `close` nothing is delivered any more."""

    def __init__(self, *, half_closes: bool = True) -> None:
        super().__init__()
        self.written = b""
        self.eof = self.closed = self.aborted = False
        self.reading = True
        self._half_closes = half_closes

    def set_write_buffer_limits(self, high: int | None = None, low: Any = None) -> None:
        pass

    def write(self, data: Any) -> None:
        assert not self.eof
        self.written += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return self._half_closes

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> Any:
        return self.closed or self.aborted


class RecordedCall:
    """In place of a `ServerCall`: keeps the messages that come."""

    def __init__(self, runtime: Runtime, link: StreamConnection, accepted: AcceptedStream) -> None:
        self.session = self.budget = self
        self.heard_from = False
        self.messages: list[Any] = []
        self.pongs: list[Any] = []
        self.closing_because: str | None = None
        self.stuffed_with: str | None = None
        self.spent: list[tuple[int, int]] = []
        self.affords = True
        accepted.slot.release()

    def receive(self, message: bytes) -> None:
        self.messages.append(("text", bytes(message)))

    def overspend(self) -> None:
        self.overspent = True

    def spend(self, messages: int, size: int) -> bool:
        self.spent.append((messages, size))
        return self.affords

    def refuse_binary(self, message: bytes) -> None:
        self.messages.append(("binary", message))

    def ponged(self, payload: bytes) -> None:
        self.pongs.append(payload)

    def closing(self, reason: str) -> None:
        self.closing_because = reason

    def block(self) -> None:
        self.blocked = True

    def stuffed(self, unread: str) -> None:
        self.stuffed_with = unread


@cache
def settings_of(limit: int) -> Settings:
    """Return settings, which take longer to make than all else of a connection."""
    return Settings(max_message_bytes=limit)


class Loop:
    """In place of an event loop, where none runs: the next turn comes when `turn` is called."""

    def __init__(self) -> None:
        self._ready: list[Any] = []

    def call_soon(self, callback: Any) -> None:
        self._ready.append(callback)

    def turn(self) -> None:
        ready, self._ready = self._ready, []
        for callback in ready:
            callback()


class Recorded:
    """A connection without a socket, after its handshake."""

    def __init__(self, limit: int, *, half_closes: bool = True) -> None:
        runtime = Runtime(settings_of(limit), Routes(Route(listen)))
        runtime.admission = Admission(1)
        self.connection = StreamConnection(runtime)
        self.transport = Transport(half_closes=half_closes)
        self.loop = Loop()
        with patch.object(connection_module, "ServerCall", RecordedCall):
            self.connection.connection_made(self.transport)
            self.connection.data_received(upgrade())
        assert self.transport.written.startswith(b"HTTP/1.1 101 ")
        self.transport.written = b""
        call: Any = self.connection._call
        self.call = call

    def deliver(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            if self.transport.closed:
                return
            running = asyncio._get_running_loop()
            asyncio._set_running_loop(running or cast(Any, self.loop))
            self.connection.data_received(chunk)
            asyncio._set_running_loop(running)

    def close(self) -> None:
        self.connection.close(1000, "bye")

    def seen(
        self,
    ) -> (
        tuple[list[Any], list[Any], bytes, bool]
        | tuple[list[Any], list[bytes], bytes, bool]
        | tuple[list[tuple[str, bytes]], list[Any], bytes, bool]
    ):
        shut = self.transport.closed or self.transport.eof
        return self.call.messages, self.call.pongs, self.transport.written, shut


class Reference:
    """What websockets makes of the same bytes by itself."""

    def __init__(self, limit: int) -> None:
        self.core = ServerProtocol(max_size=limit)
        self.core.receive_data(upgrade())
        (request,) = self.core.events_received()
        assert isinstance(request, Request)
        self.core.send_response(self.core.accept(request))
        self.core.data_to_send()
        self.messages: list[Any] = []
        self.pongs: list[Any] = []
        self.written = b""
        self.shut = False
        self._partial: list[Any] = []

    def deliver(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self.core.receive_data(chunk)
            for frame in self.core.events_received():
                assert isinstance(frame, Frame)
                self._take(frame)
            self._flush()

    def close(self) -> None:
        if self.core.state is OPEN:
            self.core.send_close(1000, "bye")
        self._flush()

    def _flush(self) -> None:
        for data in self.core.data_to_send():
            self.written += data
            self.shut |= not data

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self.pongs.append(bytes(frame.data))
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._partial = [frame.opcode]
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._partial.append(bytes(frame.data))
            if frame.fin:
                kind, message = self._partial[0], b"".join(self._partial[1:])
                self.messages.append(("text" if kind is Opcode.TEXT else "binary", message))

    def seen(
        self,
    ) -> (
        tuple[list[Any], list[Any], bytes, bool]
        | tuple[list[Any], list[bytes], bytes, bool]
        | tuple[list[tuple[str, bytes]], list[Any], bytes, bool]
    ):
        return self.messages, self.pongs, self.written, self.shut


def raw_frame(
    first: int,
    size: int,
    *,
    mask: bytes = b"\x01\x02\x03\x04",
    form: Any = None,
    fill: bytes = b"a",
) -> bytes:
    """A frame of any shape. `form` is how its length is written: 7, 16 or 64 bits."""
    form = form or (7 if size < 126 else 16 if size < 65_536 else 64)
    flag = 0x80 if mask else 0
    if form == 7:
        header = bytes([first, flag | size])
    elif form == 16:
        header = bytes([first, flag | 126]) + size.to_bytes(2, "big")
    else:
        header = bytes([first, flag | 127]) + size.to_bytes(8, "big")
    payload = (fill * size)[:size]
    if not mask:
        return header + payload
    return header + mask + bytes(a ^ b for a, b in zip(payload, itertools.cycle(mask)))


LIMIT = 1024
"""Longest message in most of these tests; frames about as long as this are of interest."""

sizes = st.one_of(
    st.integers(0, 300),
    st.sampled_from([0, 1, 125, 126, 127]),
    st.integers(LIMIT - 16, LIMIT),
)
masks = st.binary(min_size=4, max_size=4)
fills = st.sampled_from([b"a", b"\x81\xfe", b"\x00", b'{"event":"media"}', b"\xff\x88"])

texts = st.builds(partial(raw_frame, 0x81), sizes, mask=masks, fill=fills)
texts_written_long = st.builds(
    partial(raw_frame, 0x81), st.integers(0, 125), mask=masks, form=st.sampled_from([16, 64])
)
binaries = st.builds(partial(raw_frame, 0x82), sizes, mask=masks)
pings = st.builds(partial(raw_frame, 0x89), st.integers(0, 125), mask=masks, fill=fills)
pongs = st.builds(partial(raw_frame, 0x8A), st.integers(0, 125), mask=masks)
controls = st.one_of(pings, pongs)


@st.composite
def fragmented(draw: Callable[..., Any], sizes: Any = None) -> bytes:
    """A message in fragments, with control frames between them."""
    sizes = st.integers(0, 300) if sizes is None else sizes
    kind = draw(st.sampled_from([0x01, 0x02]))
    frames = [raw_frame(kind, draw(sizes), mask=draw(masks))]
    for _ in range(draw(st.integers(0, 2))):
        frames += draw(st.lists(controls, max_size=2))
        frames.append(raw_frame(0x00, draw(sizes), mask=draw(masks)))
    frames += draw(st.lists(controls, max_size=1))
    frames.append(raw_frame(0x80, draw(st.integers(0, 100)), mask=draw(masks)))
    return b"".join(frames)


closes = st.one_of(
    st.just(raw_frame(0x88, 0)),
    st.builds(
        lambda code, reason: Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(
            mask=True
        ),
        st.sampled_from([1000, 1001, 1008, 1011, 3000, 4999]),
        st.text(max_size=20),
    ),
)

wrong = st.one_of(
    # No mask.
    st.builds(partial(raw_frame, 0x81, mask=b""), sizes),
    # Reserved bits and opcodes.
    st.builds(raw_frame, st.sampled_from([0xC1, 0xA1, 0x91, 0x83, 0x87, 0x8B, 0x8F]), sizes),
    # Control frames that are too long, or fragments.
    st.builds(raw_frame, st.sampled_from([0x88, 0x89, 0x8A]), st.integers(126, 200)),
    st.builds(raw_frame, st.sampled_from([0x08, 0x09, 0x0A]), st.integers(0, 10)),
    # Close frames of one byte, with a code that must not be sent, with a reason that is no UTF-8.
    st.just(raw_frame(0x88, 1)),
    st.just(raw_frame(0x88, 2, fill=struct.pack("!H", 1005))),
    st.just(raw_frame(0x88, 4, fill=b"\x03\xe8\xff\xff")),
    # The end of a message that never began, the beginning of one that never ends.
    st.builds(raw_frame, st.just(0x80), sizes),
    st.builds(raw_frame, st.sampled_from([0x01, 0x02]), sizes),
    # Too long, by a little or by very much.
    st.builds(raw_frame, st.sampled_from([0x81, 0x82, 0x01]), st.integers(LIMIT + 1, LIMIT + 20)),
    fragmented(st.integers(LIMIT - 200, LIMIT)),
    st.just(b"\x81\xff" + (2**63).to_bytes(8, "big") + bytes(4)),
)

right = st.one_of(texts, texts, texts, texts_written_long, binaries, controls, fragmented())


@st.composite
def in_chunks(draw: Callable[..., Any], frames: Any) -> list[bytes]:
    """The bytes of frames, cut anywhere."""
    data = b"".join(draw(frames))
    lengths = itertools.cycle(draw(st.lists(st.integers(1, 2000), min_size=1, max_size=20)))
    chunks, start = [], 0
    while start < len(data):
        end = start + next(lengths)
        chunks.append(data[start:end])
        start = end
    return chunks


@given(chunks=in_chunks(st.lists(st.one_of(right, right, right, closes, wrong), max_size=12)))
@example([raw_frame(0x02, 5), raw_frame(0x81, 200)])
@example([raw_frame(0x01, 5), raw_frame(0x81, 200)])
@example([raw_frame(0x81, LIMIT + 1)[:-1], raw_frame(0x81, LIMIT + 1)[-1:]])
@settings(max_examples=4 * settings().max_examples)
def test_it_takes_frames_as_websockets_does(chunks: list[bytes]) -> None:
    ours, theirs = Recorded(LIMIT), Reference(LIMIT)
    ours.deliver(chunks)
    theirs.deliver(chunks)
    assert ours.seen() == theirs.seen()


@given(
    chunks=in_chunks(st.lists(st.one_of(right, closes), min_size=1, max_size=8)),
    when=st.floats(0, 1),
)
@example([raw_frame(0x81, 200)[:50], raw_frame(0x81, 200)[50:] + raw_frame(0x88, 0)], 0.5)
@settings(max_examples=3 * settings().max_examples)
def test_it_takes_frames_as_websockets_does_when_it_closes_in_the_midst_of_them(
    chunks: list[bytes], when: float
) -> None:
    ours, theirs = Recorded(LIMIT), Reference(LIMIT)
    first = round(when * len(chunks))
    for side in (ours, theirs):
        side.deliver(chunks[:first])
        side.close()
        side.deliver(chunks[first:])
    assert ours.seen() == theirs.seen()


@pytest.mark.parametrize("limit", [65_000, 65_535, 65_536, 66_000])
@pytest.mark.parametrize("off_by", [-8, -1, 0, 1, 6, 8, 14, 15])
@pytest.mark.parametrize("cut", [None, 1, 4, 8, 14])
def test_the_limit_is_where_websockets_has_it(limit: int, off_by: int, cut: int | None) -> None:
    frame = raw_frame(0x81, limit + off_by)
    chunks = [frame] if cut is None else [frame[:cut], frame[cut:-1], frame[-1:]]
    ours, theirs = Recorded(limit), Reference(limit)
    for side in (ours, theirs):
        side.deliver(chunks)
    assert ours.seen() == theirs.seen()
    assert bool(ours.call.messages) == (off_by <= 0)


@pytest.mark.parametrize("size", [50, 500])
def test_what_follows_a_message_that_makes_the_session_close_is_read_too(size: int) -> None:
    ours = Recorded(LIMIT)
    ours.call.receive = lambda message: ours.connection.close(1007, "enough")
    ours.deliver([raw_frame(0x81, size) + raw_frame(0x81, 300) + raw_frame(0x88, 0)])
    assert ours.transport.closed
    assert ours.call.closing_because == "Plivo closed the socket (1005)"


def sent(*messages: bytes) -> bytes:
    return b"".join(bytes((0x81, len(message))) + message for message in messages)


def test_what_is_sent_after_several_frames_came_at_once_goes_out_in_one_write() -> None:
    ours = Recorded(LIMIT)
    writes: list[bytes] = []
    with patch.object(ours.transport, "write", writes.append):
        ours.deliver([raw_frame(0x81, 200) * 3])
        ours.connection.send_text(b"one")
        ours.connection.send_text(b"two")
        assert writes == []
        ours.loop.turn()
        assert writes == [sent(b"one", b"two")]
        ours.connection.send_text(b"three")
        assert writes[1:] == [sent(b"three")]


def test_what_is_sent_after_one_frame_goes_out_at_once() -> None:
    ours = Recorded(LIMIT)
    ours.deliver([raw_frame(0x81, 200)])
    ours.connection.send_text(b"one")
    assert ours.transport.written == sent(b"one")


def test_what_was_gathered_goes_out_before_a_ping_and_a_close_frame() -> None:
    ours = Recorded(LIMIT)
    ours.deliver([raw_frame(0x81, 200) * 2])
    ours.connection.send_text(b"one")
    ours.connection.send_ping(b"!")
    assert ours.transport.written == sent(b"one") + b"\x89\x01!"
    ours.deliver([raw_frame(0x81, 200) * 2])
    ours.connection.send_text(b"two")
    ours.close()
    ours.loop.turn()
    assert ours.transport.written[8:].startswith(sent(b"two") + b"\x88")


def test_what_was_gathered_is_dropped_with_its_connection() -> None:
    ours = Recorded(LIMIT)
    ours.deliver([raw_frame(0x81, 200) * 2])
    ours.connection.send_text(b"one")
    ours.connection.abort()
    ours.loop.turn()
    assert ours.transport.written == b""


def test_an_oversize_frame_is_refused_before_it_has_come() -> None:
    ours = Recorded(LIMIT)
    ours.deliver([raw_frame(0x81, 60_000)[:100]])
    assert ours.transport.written[2:4] == struct.pack("!H", 1009)
    assert ours.transport.eof
    assert "60000 bytes" in ours.call.closing_because


async def test_empty_fragments_without_end_take_no_memory() -> None:
    ours = Recorded(LIMIT)
    ours.deliver([raw_frame(0x01, 10), raw_frame(0x00, 0) * 5_000])
    await until(lambda: ours.transport.reading)
    assert ours.connection._partial is not None
    assert len(ours.connection._partial) == 10


# Work in slices, and what it is charged


def numbered(count: int, size: int = 200) -> list[bytes]:
    return [raw_frame(0x81, size, fill=b"%03d" % number) for number in range(count)]


def read_so_far(ours: Recorded) -> int:
    return len(ours.call.messages)


async def test_what_came_at_once_is_read_a_slice_in_each_turn_of_the_loop() -> None:
    ours = Recorded(LIMIT)
    frames = numbered(3 * SLICE_FRAMES - 1, 20)
    ours.deliver([b"".join(frames)])
    seen = []
    while not ours.transport.reading:
        seen.append(read_so_far(ours))
        await asyncio.sleep(0)
    assert seen == [SLICE_FRAMES, 2 * SLICE_FRAMES]
    assert [message[:3] for _, message in ours.call.messages] == [
        b"%03d" % number for number in range(len(frames))
    ]
    assert sum(messages for messages, _ in ours.call.spent) == len(frames)
    assert sum(size for _, size in ours.call.spent) == sum(map(len, frames))


async def test_long_messages_end_a_slice_sooner() -> None:
    ours = Recorded(4 * LIMIT)
    ours.deliver([b"".join(numbered(SLICE_FRAMES + 8, 2 * SLICE_BYTES // SLICE_FRAMES))])
    assert read_so_far(ours) == SLICE_FRAMES // 2
    assert not ours.transport.reading


def test_a_few_frames_need_no_second_turn() -> None:
    ours = Recorded(LIMIT)
    ours.deliver([b"".join(numbered(SLICE_FRAMES))])
    assert read_so_far(ours) == SLICE_FRAMES
    assert ours.transport.reading


async def test_what_comes_while_a_slice_waits_is_read_after_it() -> None:
    ours = Recorded(LIMIT)
    frames = numbered(SLICE_FRAMES + 3)
    ours.deliver([b"".join(frames[:-2]), frames[-2][:50], frames[-2][50:] + frames[-1]])
    await until(lambda: ours.transport.reading)
    assert [message[:3] for _, message in ours.call.messages] == [
        b"%03d" % number for number in range(len(frames))
    ]


async def test_a_call_that_wants_no_more_is_not_read_on_by_the_end_of_a_slice() -> None:
    ours = Recorded(LIMIT)
    ours.deliver([b"".join(numbered(SLICE_FRAMES + 1))])
    ours.connection.pause_reading()
    await until(lambda: read_so_far(ours) == SLICE_FRAMES + 1)
    assert not ours.transport.reading
    ours.connection.resume_reading()
    assert ours.transport.reading


async def test_a_connection_that_was_dropped_reads_no_further_slice() -> None:
    ours = Recorded(LIMIT)
    ours.deliver([b"".join(numbered(SLICE_FRAMES + 1))])
    ours.connection.abort()
    for _ in range(3):
        await asyncio.sleep(0)
    assert read_so_far(ours) == SLICE_FRAMES


def test_every_read_is_charged_even_if_no_frame_is_complete() -> None:
    ours = Recorded(LIMIT)
    frame = raw_frame(0x81, 20)
    ours.deliver([frame[at : at + 1] for at in range(len(frame))])
    assert [messages for messages, _ in ours.call.spent] == [1] * len(frame)
    assert sum(size for _, size in ours.call.spent) == len(frame)


@pytest.mark.parametrize("half_closes", [True, False])
def test_a_peer_that_sent_too_much_is_not_read_any_more(half_closes: bool) -> None:
    ours = Recorded(LIMIT, half_closes=half_closes)
    ours.call.affords = False
    ours.deliver([b"".join(numbered(2))])
    assert not ours.transport.reading
    assert ours.transport.eof == half_closes
    assert ours.call.overspent
    ours.connection.resume_reading()
    assert not ours.transport.reading


async def test_what_was_left_of_a_peer_that_sent_too_much_is_dropped() -> None:
    ours = Recorded(LIMIT)
    ours.call.affords = False
    ours.deliver([b"".join(numbered(SLICE_FRAMES + 5))])
    assert ours.connection._tail == b""
    read = read_so_far(ours)
    # What a TLS layer had read already.
    ours.deliver([raw_frame(0x81, 20)])
    assert ours.connection._tail == b""
    assert read_so_far(ours) == read


def test_a_lost_connection_keeps_nothing_that_was_not_read() -> None:
    ours = Recorded(LIMIT)
    ours.deliver([raw_frame(0x81, 200)[:-1]])
    assert ours.connection._tail
    ours.call.lost = lambda _: None
    ours.connection.connection_lost(None)
    assert ours.connection._tail == b""


def test_a_peer_that_cannot_be_half_closed_is_closed() -> None:
    ours = Recorded(LIMIT, half_closes=False)
    ours.deliver([raw_frame(0x81, 10, mask=b"")])
    assert ours.transport.written[2:4] == struct.pack("!H", 1002)
    assert ours.transport.closed


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_000])
def test_text_is_sent_as_websockets_sends_it(size: int) -> None:
    message = os.urandom(size)
    core = ServerProtocol(state=OPEN)
    core.send_text(message)
    ours = Recorded(LIMIT)
    ours.connection.send_text(message)
    assert ours.transport.written == b"".join(core.data_to_send())


def test_after_the_close_frame_nothing_more_is_sent() -> None:
    ours = Recorded(LIMIT)
    ours.close()
    sent = ours.transport.written
    ours.connection.send_text(b"late")
    ours.connection.send_ping(b"late")
    ours.close()
    assert ours.transport.written == sent


@given(reason=st.text(max_size=200))
def test_a_reason_is_cut_to_what_a_close_frame_holds(reason: str) -> None:
    ours = Recorded(LIMIT)
    ours.connection.close(1008, reason)
    client = ClientProtocol(parse_uri("ws://media.test/"), state=OPEN)
    client.receive_data(ours.transport.written)
    assert client.close_rcvd is not None
    assert client.close_rcvd.code == 1008
    assert reason.startswith(client.close_rcvd.reason)
    assert len(reason.encode()) - len(client.close_rcvd.reason.encode()) <= max(
        0, len(reason.encode()) - 120
    )


def test_without_a_call_there_is_nobody_to_tell() -> None:
    runtime = Runtime(Settings(), Routes(Route(listen)))
    connection = StreamConnection(runtime)
    connection.connection_made(Transport())
    connection.pause_writing()
    connection.resume_writing()
    connection.connection_lost(None)
    assert not runtime.calls


def test_frames_that_come_with_a_refused_request_are_nothing() -> None:
    runtime = Runtime(Settings(), Routes(Route(listen)))
    connection, transport = StreamConnection(runtime), Transport()
    connection.connection_made(transport)
    connection.data_received(upgrade("/elsewhere") + raw_frame(0x81, 10))
    assert transport.written.startswith(b"HTTP/1.1 404 ")
    assert transport.closed


def test_a_request_that_was_parsed_already_has_no_further_limits() -> None:
    head, _, _ = upgrade().decode().partition("\r\n\r\n")
    headers = []
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        headers.append((name.lower(), value))
    headers.append(("x-long", "a" * 12_000))
    headers += [(f"x-{number}", "b") for number in range(200)]
    runtime = Runtime(Settings(), Routes(Route(listen)))
    connection, transport = StreamConnection(runtime), Transport()
    connection.connection_made(transport)
    connection.take_request("/elsewhere", headers, client_host="", secure=False)
    assert b"no handler at /elsewhere" in transport.written
    assert transport.closed


# Over sockets


class Client:
    """The other end of a connection, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.core = ClientProtocol(parse_uri("ws://media.test/"), state=State.OPEN)
        self.head = b""
        self._frames: list[Any] = []

    async def open(self, path: str = "/stream", **headers: Any) -> int:
        self.writer.write(upgrade(path, **headers))
        return await self.read_head()

    async def read_head(self) -> int:
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        return int(self.head.split()[1])

    def send(self, *messages: Any) -> None:
        for message in messages:
            self.writer.write(Frame(Opcode.TEXT, message.encode()).serialize(mask=True))

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self) -> Any:
        """The next frame, or None at the end."""
        while not self._frames:
            data = await self.reader.read(65_536)
            if not data:
                return None
            self.core.receive_data(data)
            self._frames += self.core.events_received()
        return self._frames.pop(0)

    async def next(self, opcode: Opcode) -> Any:
        while (frame := await self.frame()) is not None:
            if frame.opcode is opcode:
                return frame
        return None

    async def close_code(self) -> CloseCode | int | None:
        frame = await self.next(Opcode.CLOSE)
        return None if frame is None else Close.parse(frame.data).code


@pytest.fixture
async def clients() -> AsyncIterator[Any]:
    """Clients to be closed at the end."""
    clients: list[Any] = []
    yield clients
    for client in clients:
        client.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await client.writer.wait_closed()
    await asyncio.sleep(0)


@pytest.fixture
def connect(clients: list[Any]) -> Callable[..., Any]:
    """Connect clients by socket pairs: ``await connect(runtime)``."""

    async def connect(runtime: Runtime) -> Any:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        await loop.connect_accepted_socket(partial(StreamConnection, runtime), ours)
        clients.append(Client(*await asyncio.open_connection(sock=theirs)))
        return clients[-1]

    return connect


@pytest.fixture
async def connect_tcp(clients: list[Client]) -> AsyncIterator[Any]:
    """Connect clients by TCP on loopback: ``await connect_tcp(runtime)``."""
    servers = []

    async def connect(
        runtime: Runtime, *, certificate: SSLContext | None = None, trust: SSLContext | None = None
    ) -> Client:
        loop = asyncio.get_running_loop()
        make = partial(StreamConnection, runtime)
        servers.append(await loop.create_server(make, "127.0.0.1", 0, ssl=certificate))
        address = servers[-1].sockets[0].getsockname()
        clients.append(Client(*await asyncio.open_connection(*address, ssl=trust)))
        return clients[-1]

    yield connect
    for server in servers:
        server.close()


CALL_ID, STREAM_ID = str(UUID(int=1, version=4)), str(UUID(int=2, version=4))
START = encode_event(Start(CALL_ID, STREAM_ID, "MA", ("inbound",), MULAW_8K, sequence_number=1))


def media(number: int, payload: bytes = bytes(160)) -> str:
    media = Media(
        payload,
        track="inbound",
        timestamp=1_705_312_200_000 + 20 * number,
        chunk=number,
        stream_id=STREAM_ID,
        sequence_number=number + 1,
    )
    return encode_event(media)


async def gone(runtime: Runtime) -> None:
    """Wait until no call is left."""
    async with asyncio.timeout(60):
        await runtime.without_calls.wait()


async def live(runtime: Runtime) -> Any:
    """Wait for the stream of the one call."""
    await until(lambda: any(call.stream is not None for call in runtime.calls))
    (call,) = runtime.calls
    return call


class Handler:
    """Keeps what it is given until the stream ends."""

    def __init__(self) -> None:
        self.payloads: list[Any] = []
        self.reason: Any = None

    async def __call__(self, stream: Stream) -> None:
        async for frame in stream.audio():
            self.payloads.append(frame.payload)
        self.reason = stream.end_reason


async def test_a_handshake_is_accepted(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    client = await connect(await start_runtime(Route(listen)))
    assert await client.open() == 101
    assert b"Sec-WebSocket-Accept: " in client.head


async def test_compression_is_not_offered(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    client = await connect(await start_runtime(Route(listen)))
    assert await client.open(sec_websocket_extensions="permessage-deflate") == 101
    assert b"extensions" not in client.head.lower()


async def refused(client: Client, status: int, *words: Any) -> None:
    """Read a refusal to its end."""
    assert client.head.startswith(b"HTTP/1.1 %d " % status)
    body = await client.reader.read()
    for word in words:
        assert word in body.decode()


async def test_an_unknown_path_is_refused(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    runtime = await start_runtime(Route(listen))
    client = await connect(runtime)
    await client.open("/elsewhere?x=1")
    await refused(client, 404, "/elsewhere")
    assert runtime.counters.refused == {"path": 1}
    assert not runtime.calls


async def test_a_path_is_compared_decoded(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    client = await connect(await start_runtime(Route(listen, "/ä b")))
    assert await client.open("/%C3%A4%20b") == 101


async def test_a_bad_token_is_refused(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    runtime = await start_runtime(Route(listen))
    client = await connect(runtime)
    await client.open("/stream?token=nonsense")
    await refused(client, 403, "token")
    assert runtime.counters.refused == {"token": 1}


async def test_a_stream_that_plivo_did_not_sign_is_refused_before_it_is_accepted(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    runtime = await start_runtime(Route(listen), auth_token="an auth token")
    client = await connect(runtime)
    await client.open()
    await refused(client, 403, "X-Plivo-Signature-V3")
    assert runtime.counters.refused == {"signature": 1}
    assert runtime.counters.calls_total == 0


async def test_a_signed_stream_is_accepted_once(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    runtime = await start_runtime(Route(listen), auth_token="an auth token")
    signature = sign_upgrade("wss://media.test/%73tream?a=1", "an auth token")
    headers = {name.replace("-", "_"): value for name, value in signature.items()}
    client = await connect(runtime)
    assert await client.open("/%73tream?a=1", **headers) == 101
    again = await connect(runtime)
    await again.open("/%73tream?a=1", **headers)
    await refused(again, 403, "opened with this signature before")


async def test_a_verifier_may_refuse(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    runtime = await start_runtime(Route(listen))
    runtime.verifiers = [
        lambda request: Refused(403, f"not you, {request.client_host!r}", (("x-why", "because"),))
    ]
    client = await connect(runtime)
    await client.open()
    assert b"x-why: because" in client.head
    await refused(client, 403, "not you, ''")
    assert runtime.admission.idle


async def test_a_full_server_says_when_to_try_again(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    runtime = await start_runtime(Route(listen), max_calls=1)
    assert await (await connect(runtime)).open() == 101
    client = await connect(runtime)
    await client.open()
    assert b"retry-after: 5" in client.head
    await refused(client, 503)
    assert runtime.counters.refused == {"full": 1}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"upgrade": "h2c"}, 426),
        ({"connection": "keep-alive"}, 426),
        ({"sec_websocket_key": None}, 400),
        ({"sec_websocket_key": "short"}, 400),
        ({"sec_websocket_version": "8"}, 400),
        ({"x_long": "a" * 10_000}, 431),
    ],
)
async def test_a_bad_upgrade_is_refused_and_the_connection_closed(
    start_runtime: Callable[..., Any],
    connect: Callable[..., Any],
    headers: dict[str, None] | dict[str, str],
    status: int,
) -> None:
    runtime = await start_runtime(Route(listen))
    client = await connect(runtime)
    assert await client.open(**headers) == status
    await client.reader.read()
    assert runtime.admission.idle
    assert not runtime.counters.refused


async def test_what_is_no_http_is_hung_up_on(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    client = await connect(await start_runtime(Route(listen)))
    client.write(b"\x16\x03\x01\x00\xa5 hello\r\n")
    assert await client.reader.read() == b""


async def test_a_client_that_leaves_before_its_request_is_complete_leaves_nothing(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    runtime = await start_runtime(Route(listen))
    client = await connect(runtime)
    client.write(upgrade()[:40])
    client.writer.write_eof()
    assert await client.reader.read() == b""
    assert runtime.admission.idle


async def test_messages_that_come_with_the_upgrade_request_are_taken(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    handler = Handler()
    runtime = await start_runtime(Route(handler))
    client = await connect(runtime)
    frames = [Frame(Opcode.TEXT, text.encode()) for text in (START, media(1), media(2))]
    client.write(upgrade() + b"".join(frame.serialize(mask=True) for frame in frames))
    assert await client.read_head() == 101
    await live(runtime)
    client.write(raw_frame(0x88, 0))
    await gone(runtime)
    assert handler.payloads == [bytes(160)] * 2


@pytest.mark.real_time
async def test_control_frames_that_come_with_the_upgrade_request_are_answered(
    start_daemon: Callable[..., Any], clients: list[Client]
) -> None:
    served = await start_daemon(Route(listen))
    clients.append(Client(*await asyncio.open_connection("127.0.0.1", served.port)))
    client = clients[-1]
    client.write(upgrade() + raw_frame(0x89, 5, fill=b"hello"))
    assert await client.read_head() == 101
    assert (await client.next(Opcode.PONG)).data == b"hello"
    client.write(raw_frame(0x88, 0))
    assert await client.close_code() == 1005
    assert await client.frame() is None


async def test_audio_reaches_the_handler_and_its_own_reaches_the_client(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    client = await connect(await start_runtime())
    await client.open()
    client.send(START, media(1))
    played = await client.next(Opcode.TEXT)
    assert b'"playAudio"' in played.data
    assert base64.b64encode(bytes(160)) in played.data


async def test_a_ping_is_answered(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    client = await connect(await start_runtime(Route(listen)))
    await client.open()
    client.write(raw_frame(0x89, 5, fill=b"hello"))
    assert (await client.next(Opcode.PONG)).data == b"hello"


async def test_the_client_is_pinged_at_the_start_and_its_pong_measured(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    runtime = await start_runtime(Route(listen))
    client = await connect(runtime)
    await client.open()
    client.send(START)
    ping = await client.next(Opcode.PING)
    call = await live(runtime)
    call.session.started.playout.round_trip = -1.0
    client.write(Frame(Opcode.PONG, ping.data).serialize(mask=True))
    client.write(raw_frame(0x89, 0))
    await client.next(Opcode.PONG)
    assert call.session.started.playout.round_trip >= 0


async def test_the_client_closes(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    handler = Handler()
    runtime = await start_runtime(Route(handler))
    client = await connect(runtime)
    await client.open()
    client.send(START)
    await live(runtime)
    client.write(raw_frame(0x88, 2, fill=struct.pack("!H", 1001)))
    assert await client.close_code() == 1001
    assert await client.frame() is None
    await gone(runtime)
    assert handler.reason == "Plivo closed the socket (1001)"


async def test_the_server_closes_and_waits_for_the_answer(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    async def leave(stream: Stream) -> None:
        pass

    runtime = await start_runtime(Route(leave))
    client = await connect(runtime)
    await client.open()
    client.send(START)
    assert await client.close_code() == 1000
    assert len(runtime.calls) == 1
    client.write(raw_frame(0x88, 2, fill=struct.pack("!H", 1000)))
    assert await client.frame() is None
    await gone(runtime)


async def test_frames_under_way_when_the_server_closes_do_no_harm(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    async def leave(stream: Stream) -> None:
        pass

    runtime = await start_runtime(Route(leave))
    client = await connect(runtime)
    await client.open()
    frame = Frame(Opcode.TEXT, media(1).encode()).serialize(mask=True)
    client.send(START)
    client.write(frame[:100])
    assert await client.close_code() == 1000
    client.write(frame[100:] + frame + raw_frame(0x88, 2, fill=struct.pack("!H", 1000)))
    # A breach of the protocol would have been answered by half a close only.
    assert await client.frame() is None
    await gone(runtime)
    assert runtime.ended_totals.messages_in == 3


async def test_a_client_that_does_not_answer_the_close_frame_is_dropped(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    async def leave(stream: Stream) -> None:
        pass

    runtime = await start_runtime(Route(leave))
    client = await connect(runtime)
    await client.open()
    client.send(START)
    assert await client.close_code() == 1000
    before = asyncio.get_running_loop().time()
    assert await client.frame() is None
    assert 5 <= asyncio.get_running_loop().time() - before <= 6
    await gone(runtime)


async def test_a_client_that_shuts_its_side_ends_the_call(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    handler = Handler()
    runtime = await start_runtime(Route(handler))
    client = await connect(runtime)
    await client.open()
    client.send(START)
    await live(runtime)
    client.writer.write_eof()
    await gone(runtime)
    assert handler.reason == "the connection was lost"
    assert await client.close_code() is None


@pytest.mark.real_time
async def test_a_reset_ends_the_call(
    start_runtime: Callable[..., Any], connect_tcp: Callable[..., Any]
) -> None:
    handler = Handler()
    runtime = await start_runtime(Route(handler))
    client = await connect_tcp(runtime)
    await client.open()
    client.send(START)
    await live(runtime)
    sock = client.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()
    await gone(runtime)
    assert "Connection reset" in handler.reason


async def test_a_lost_connection_without_an_error_ends_the_call(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    handler = Handler()
    runtime = await start_runtime(Route(handler))
    client = await connect(runtime)
    await client.open()
    client.send(START)
    (await live(runtime))._link._transport.abort()
    await gone(runtime)
    assert handler.reason == "the connection was lost"


@pytest.mark.parametrize(
    ("bad", "code", "why"),
    [
        (raw_frame(0x81, 100_000), 1009, "100000 bytes"),
        (raw_frame(0x81, 200, mask=b""), 1002, "incorrect masking"),
        (raw_frame(0xC1, 200), 1002, "reserved bits must be 0"),
        (raw_frame(0x83, 200), 1002, "invalid opcode"),
        (raw_frame(0x80, 200), 1002, "unexpected continuation frame"),
    ],
)
@pytest.mark.real_time
async def test_a_client_can_read_why_it_is_refused_though_it_goes_on_sending(
    start_runtime: Callable[..., Any],
    connect_tcp: Callable[..., Any],
    bad: bytes,
    code: int,
    why: str,
) -> None:
    handler = Handler()
    runtime = await start_runtime(Route(handler))
    client = await connect_tcp(runtime)
    await client.open()
    client.send(START)
    call = await live(runtime)
    client.write(bad)
    client.send(*(media(number) for number in range(1, 501)))
    assert await client.close_code() == code
    assert await client.frame() is None
    client.writer.close()
    await gone(runtime)
    assert why in handler.reason
    assert call.session.counters.frames_in == 0


@pytest.mark.real_time
async def test_a_client_can_read_why_it_is_refused_over_tls_too(
    start_runtime: Callable[..., Any], connect_tcp: Callable[..., Any]
) -> None:
    authority = trustme.CA()
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(certificate)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    handler = Handler()
    runtime = await start_runtime(Route(handler))
    client = await connect_tcp(runtime, certificate=certificate, trust=trust)
    await client.open()
    client.send(START)
    await live(runtime)
    client.write(raw_frame(0x81, 100_000))
    assert await client.close_code() == 1009
    await gone(runtime)
    assert "100000 bytes" in handler.reason


async def test_a_client_that_did_wrong_and_stays_is_dropped(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    runtime = await start_runtime(Route(listen))
    client = await connect(runtime)
    await client.open()
    client.send(START)
    client.write(raw_frame(0x81, 5, mask=b""))
    assert await client.close_code() == 1002
    await gone(runtime)
    assert 5 <= asyncio.get_running_loop().time() <= 6.5


async def test_a_client_that_closes_and_does_not_read_ends_the_call_at_once(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    ended = []

    async def speak(stream: Stream) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await stream.play(bytes(80_000))
        finally:
            ended.append(loop.time())

    runtime = await start_runtime(Route(speak), lead_seconds=30, queue_seconds=3600)
    client = await connect(runtime)
    client.writer.transport.set_write_buffer_limits(0)
    await client.open()
    client.reader._transport.pause_reading()
    client.send(START)
    call = await live(runtime)
    await until(lambda: call._blocked_for >= 0)
    closed = asyncio.get_running_loop().time()
    client.write(raw_frame(0x88, 0))
    await gone(runtime)
    assert ended[0] - closed < 0.1
    assert asyncio.get_running_loop().time() - closed < 6.5


async def test_audio_is_held_while_the_socket_takes_no_more_and_none_is_lost(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    audio = os.urandom(8000) * 120

    async def speak(stream: Stream) -> None:
        playback = await stream.play(audio)
        await playback.heard()

    runtime = await start_runtime(
        Route(speak), lead_seconds=30, queue_seconds=3600, dead_peer_timeout=3600
    )
    client = await connect(runtime)
    client.reader._transport.pause_reading()
    client.write(upgrade())
    client.send(START)
    call = await live(runtime)
    await until(lambda: call.session.started.playout.blocked)
    link = call._link
    # What the lead has room for is held back here, not in the write buffer.
    await asyncio.sleep(10)
    assert link._transport.get_write_buffer_size() < 100_000
    client.reader._transport.resume_reading()
    assert await client.read_head() == 101
    heard = b""
    while (frame := await client.frame()).opcode is not Opcode.CLOSE:
        if frame.opcode is Opcode.TEXT and b"playAudio" in frame.data:
            payload = frame.data.partition(b'"payload":"')[2].partition(b'"')[0]
            heard += base64.b64decode(payload)
    assert heard == audio
    assert not call.session.started.playout.blocked


async def test_a_slow_handler_holds_the_client_up_where_the_inbox_says_pause(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    go = asyncio.Event()
    handler = Handler()

    async def wait(stream: Stream) -> None:
        await go.wait()
        await handler(stream)

    runtime = await start_runtime(
        Route(wait), inbox_overflow="pause", dead_peer_timeout=3, ping_interval=1
    )
    client = await connect(runtime)
    await client.open()
    client.send(START)
    call = await live(runtime)
    sent = [bytes([number % 256]) * 160 for number in range(2000)]
    for number, payload in enumerate(sent):
        client.send(media(number + 1, payload))
    # Longer than a peer may be silent: it is not the peer's fault.
    await asyncio.sleep(20)
    assert not call.session.ended
    assert call.session.counters.frames_in < 1000
    assert client.writer.transport.get_write_buffer_size() > 0
    go.set()
    await client.writer.drain()
    await until(lambda: len(handler.payloads) >= len(sent))
    client.write(raw_frame(0x88, 0))
    await gone(runtime)
    assert handler.payloads == sent
    assert runtime.ended_totals.frames_dropped == 0


async def test_a_call_that_is_held_up_can_still_be_closed(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    async def hang(stream: Stream) -> None:
        await asyncio.Event().wait()

    runtime = await start_runtime(Route(hang), inbox_overflow="pause")
    client = await connect(runtime)
    await client.open()
    client.send(START, *(media(number) for number in range(1, 101)))
    call = await live(runtime)
    await until(lambda: not call._reading)
    call.close(1001, "enough")
    assert await client.close_code() == 1001
    client.write(raw_frame(0x88, 2, fill=struct.pack("!H", 1001)))
    assert await client.frame() is None
    await gone(runtime)


async def test_messages_in_fragments_are_joined(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    handler = Handler()
    runtime = await start_runtime(Route(handler))
    client = await connect(runtime)
    await client.open()
    client.send(START)
    await live(runtime)
    data = media(1).encode()
    for piece, opcode, fin in (
        (data[:10], Opcode.TEXT, False),
        (b"", Opcode.CONT, False),
        (b"ping", Opcode.PING, True),
        (data[10:], Opcode.CONT, True),
    ):
        client.write(Frame(opcode, piece, fin).serialize(mask=True))
    client.write(raw_frame(0x88, 0))
    await gone(runtime)
    assert handler.payloads == [bytes(160)]


async def test_binary_messages_are_counted_and_refused(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    runtime = await start_runtime(Route(listen))
    client = await connect(runtime)
    await client.open()
    client.send(START)
    await live(runtime)
    client.write(raw_frame(0x82, 50) + raw_frame(0x02, 10) + raw_frame(0x80, 20))
    client.write(raw_frame(0x88, 0))
    await gone(runtime)
    totals = runtime.ended_totals
    assert (totals.malformed_messages, totals.messages_in) == (2, 3)
    assert totals.bytes_in == len(START) + 50 + 30


@pytest.mark.real_time
async def test_kernel_buffers_and_timeouts_are_set_for_tcp(
    start_runtime: Callable[..., Any], connect_tcp: Callable[..., Any]
) -> None:
    runtime = await start_runtime(Route(listen), dead_peer_timeout=25)
    client = await connect_tcp(runtime)
    await client.open()
    client.send(START)
    sock = (await live(runtime))._link._transport.get_extra_info("socket")
    # Linux keeps as much again for its own use.
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * 65_536
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 25_000
    client.write(raw_frame(0x88, 0))
    await gone(runtime)


def test_events_that_are_no_frames_are_requests_only() -> None:
    # What _feed tells apart.
    core = ServerProtocol()
    core.receive_data(upgrade())
    assert [type(event) for event in core.events_received()] == [Request]


@pytest.mark.parametrize("what", ["pings", "messages"])
def test_a_peer_that_reads_nothing_cannot_fill_the_memory(what: str) -> None:
    recorded = Recorded(65_536)
    transport: Any = recorded.transport
    transport.get_write_buffer_size = lambda: len(transport.written)
    recorded.connection.pause_writing()
    ping = Frame(Opcode.PING, bytes(100)).serialize(mask=True)
    for _ in range(20_000):
        if recorded.call.stuffed_with:
            break
        if what == "pings":
            recorded.connection.data_received(ping)
        else:
            recorded.connection.send_text(bytes(100))
    assert recorded.call.stuffed_with == "1048576 bytes"
    assert len(recorded.transport.written) < 1_100_000


# Floods


def as_text(**fields: Any) -> bytes:
    return Frame(Opcode.TEXT, json.dumps(fields).encode()).serialize(mask=True)


FLOODS = {
    "media": Frame(Opcode.TEXT, media(1).encode()).serialize(mask=True),
    "empty payloads": as_text(event="media", media={"payload": ""}),
    "another track each": as_text(event="media", media={"payload": "AA==", "track": "x"}),
    "repeated start": Frame(Opcode.TEXT, START.encode()).serialize(mask=True),
    "unknown events": as_text(event="mystery"),
    "unknown checkpoints": as_text(event="playedStream", name="x", streamId=STREAM_ID),
    "pings": raw_frame(0x89, 0),
    "pongs": raw_frame(0x8A, 0),
    "empty fragments": raw_frame(0x00, 0),
    "answers to clears": as_text(event="clearedAudio", streamId=STREAM_ID),
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_of_anything_is_closed_with_the_reason(
    start_runtime: Callable[..., Any], connect: Callable[..., Any], kind: str
) -> None:
    settings = {"stream_messages_per_second": 10, "stream_burst_seconds": 10}
    runtime = await start_runtime(Route(listen), max_message_bytes=1024, **settings)
    client = await connect(runtime)
    await client.open()
    client.send(START)
    if kind == "empty fragments":
        client.write(raw_frame(0x01, 3))
    client.write(FLOODS[kind] * 1_000)
    frame = await client.next(Opcode.CLOSE)
    close = Close.parse(frame.data)
    assert close.code == 1008
    assert close.reason == "too many messages: more than 10 a second and a burst of 100"
    await gone(runtime)
    read = runtime.ended_totals.messages_in
    assert read <= 100 + SLICE_FRAMES


async def test_thirty_seconds_of_two_tracks_are_taken_at_once(
    start_runtime: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    runtime = await start_runtime(Route(listen))
    client = await connect(runtime)
    await client.open()
    client.send(START, *(media(number, bytes(960)) for number in range(1, 3_001)))
    client.write(raw_frame(0x89, 4))
    assert (await client.next(Opcode.PONG)) is not None
    (call,) = runtime.calls
    assert call.session.counters.frames_in == 3_000
    assert not call.session.ended
