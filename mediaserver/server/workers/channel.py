"""The channel between the supervisor and one worker: messages, and sockets that go with them."""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import msgspec
import structlog

from mediaserver.server.process.descriptors import EXHAUSTED
from mediaserver.server.workers.messages import WorkerMessage, decode_message, encode_message


log = structlog.get_logger(__name__)

PART_BYTES: Final = 65_536
"""Most bytes of a packet; longer messages are sent in parts."""

_LIMIT: Final = 16_777_216
"""Bytes that may wait for a side that reads nothing."""

_AT_ONCE: Final = 64
"""Packets that are read in one turn of the loop."""

_SCARCE: Final = frozenset((errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS))
"""The error numbers of a system without memory for a packet, or with too many descriptors sent."""

_PAUSE: Final = 0.02
"""Seconds until it is tried again."""

_LAST, _MORE = b"\0", b"\1"
"""Begin each packet: whether further parts of its message follow."""

_DESCRIPTORS: Final = socket.CMSG_SPACE(array.array("i").itemsize)

Unsent: TypeAlias = list[tuple[WorkerMessage, int]]
"""Messages that did not leave, with their descriptors; -1 for none."""


class ChannelError(OSError):
    """This system cannot have channels; the message says what is missing."""


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """Make the two ends of a channel.

    Raises:
        ChannelError: The system has no Unix sockets that keep the bounds of packets and carry
            descriptors. Linux and FreeBSD have them, macOS and Windows do not.
        OSError: No descriptor is left.

    """
    if hasattr(socket, "send_fds") and hasattr(socket, "SOCK_SEQPACKET"):
        try:
            return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
    raise ChannelError(
        "this system has no Unix sockets of packets (SOCK_SEQPACKET), which workers need;"
        " Linux has them. Leave --workers out, and run several servers behind a proxy"
    )


class Channel:
    """One end of a channel, on the running event loop.

    Nothing waits: what the other side does not read in time is queued, up to a limit.

    Args:
        sock: The end's socket. The channel closes it.
        receive: Called with each message, and the descriptor that came with it; -1 for none. It
            is the receiver's to close.
        gone: Called once when the other side has closed, with what did not reach it.
        limit: Bytes that may be queued.

    """

    def __init__(
        self,
        sock: socket.socket,
        receive: Callable[[WorkerMessage, int], object],
        gone: Callable[[Unsent], object],
        *,
        limit: int = _LIMIT,
    ) -> None:
        self._sock = sock
        self._receive = receive
        self._gone = gone
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        # Messages that have not left whole, each with its descriptor and the parts that are left.
        self._queue: deque[tuple[WorkerMessage, int, deque[bytes]]] = deque()
        self.queued = 0
        """Bytes that have not left."""
        self._received = bytearray()
        self._writing = False
        self._retry: asyncio.TimerHandle | None = None
        self.closed = False
        """Whether either side has closed."""
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._read)

    def send(self, message: WorkerMessage, descriptor: int = -1) -> bool:
        """Send a message, and a descriptor with it, which the channel then closes.

        Return False if the other side is gone or too much is queued: then nothing has been sent,
        and the descriptor is still the caller's.
        """
        parts = deque(_parts_of(message))
        size = sum(map(len, parts))
        if self.closed or self.queued + size > self._limit:
            return False
        self._queue.append((message, descriptor, parts))
        self.queued += size
        if not self._writing:
            self._write()
        return True

    def close(self) -> None:
        """Close this end. What is queued is dropped; `gone` is not called."""
        for _, descriptor in self._end():
            if descriptor >= 0:
                os.close(descriptor)

    def finish(self) -> None:
        """Read what the other side has left, and close: its process is dead.

        A process of its own that still has its end does not count.
        """
        while not self.closed and self._read():
            pass
        self._lose()

    def _write(self) -> None:
        while self._queue:
            _, descriptor, parts = self._queue[0]
            try:
                _send_part(self._sock, parts[0], descriptor)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._write_no_more()
                if error.errno in _SCARCE:
                    self._retry = self._loop.call_later(_PAUSE, self._write_again)
                # Otherwise the other side is gone: `_read` finds what it has left, and its end.
                return
            self.queued -= len(parts.popleft())
            if not parts:
                self._queue.popleft()
                if descriptor >= 0:
                    os.close(descriptor)
        if bool(self._queue) != self._writing:
            self._writing = not self._writing
            if self._writing:
                self._loop.add_writer(self._sock.fileno(), self._write)
            else:
                self._loop.remove_writer(self._sock.fileno())

    def _write_no_more(self) -> None:
        # The socket may be writable all the while.
        self._loop.remove_writer(self._sock.fileno())
        self._writing = True

    def _write_again(self) -> None:
        self._writing = False
        self._write()

    def _read(self) -> bool:
        """Read what has come, and tell whether there may be more."""
        for _ in range(_AT_ONCE):
            try:
                part, descriptor = _receive_part(self._sock)
            except (BlockingIOError, InterruptedError):
                return False
            except ConnectionResetError:
                # The other side has closed and not read everything. What it has sent is still here.
                continue
            except OSError:
                part, descriptor = b"", -1
            if not part:
                self._lose()
                return False
            self._received += part[1:]
            if part[:1] == _MORE:
                continue
            data, self._received = self._received, bytearray()
            try:
                message = decode_message(data)
            except msgspec.DecodeError as error:
                if descriptor >= 0:
                    os.close(descriptor)
                log.error("a message between processes could not be read", reason=str(error))
                continue
            self._receive(message, descriptor)
            if self.closed:
                return False
        return True

    def _lose(self) -> None:
        if not self.closed:
            self._gone(self._end())

    def _end(self) -> Unsent:
        if self.closed:
            return []
        self.closed = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        if self._retry is not None:
            self._retry.cancel()
        # The supervisor keeps the worker's end open, so closing alone would not tell it.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        unsent = [(message, descriptor) for message, descriptor, _ in self._queue]
        self._queue.clear()
        return unsent


def receive_message(sock: socket.socket) -> tuple[WorkerMessage, int]:
    """Wait for a message, without an event loop, and return it with its descriptor.

    Raises:
        EOFError: The other side has closed.

    """
    received = bytearray()
    while True:
        part, descriptor = _receive_part(sock)
        if not part:
            raise EOFError("the other process is gone")
        received += part[1:]
        if part[:1] == _LAST:
            return decode_message(received), descriptor


def send_message(sock: socket.socket, message: WorkerMessage, descriptor: int = -1) -> None:
    """Send a message without an event loop. The descriptor stays the caller's.

    Raises:
        OSError: The other side has closed.

    """
    for part in _parts_of(message):
        _send_part(sock, part, descriptor)


def unread_messages(sock: socket.socket) -> Unsent:
    """Take the messages that wait at an end of a channel whose process reads no more."""
    sock.setblocking(False)
    unread: Unsent = []
    received = bytearray()
    while True:
        try:
            part, descriptor = _receive_part(sock)
        except ConnectionResetError:
            continue
        except OSError:
            return unread
        if not part:
            return unread
        received += part[1:]
        if part[:1] == _LAST:
            try:
                unread.append((decode_message(received), descriptor))
            except msgspec.DecodeError:
                # Its process has read the beginning.
                if descriptor >= 0:
                    os.close(descriptor)
            received = bytearray()


def _parts_of(message: WorkerMessage) -> Iterator[bytes]:
    data, room = encode_message(message), PART_BYTES - 1
    for begin in range(0, len(data), room):
        yield (_MORE if begin + room < len(data) else _LAST) + data[begin : begin + room]


def _send_part(sock: socket.socket, part: bytes, descriptor: int) -> None:
    """Send a packet; the last one of a message takes the descriptor along."""
    if descriptor >= 0 and part[:1] == _LAST:
        socket.send_fds(sock, [part], [descriptor])
    else:
        sock.send(part)


def _receive_part(sock: socket.socket) -> tuple[bytes, int]:
    """Receive a packet and its descriptor; -1 if it has none, or no more files can be open."""
    part, control, _, _ = sock.recvmsg(PART_BYTES, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS and len(data) >= 4:
            return part, struct.unpack("i", data[:4])[0]
    return part, -1
