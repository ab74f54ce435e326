import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.server.workers.channel import (
    PART_BYTES,
    Channel,
    ChannelError,
    Unsent,
    channel_pair,
    receive_message,
    send_message,
    unread_messages,
)
from mediaserver.server.workers.messages import (
    Ask,
    ClientConnection,
    Ready,
    UsedNonce,
    WorkerMessage,
)
from tests.server.until import until


CONNECTION = ClientConnection(0, ("192.0.2.1", 40_000))


class End:
    """A channel, and what it was told."""

    def __init__(self, sock: socket.socket, *, limit: int = 1_000_000) -> None:
        self.received: list[tuple[WorkerMessage, int]] = []
        self.unsent: list[Unsent] = []
        self.channel = Channel(sock, self._receive, self.unsent.append, limit=limit)

    def _receive(self, message: WorkerMessage, descriptor: int) -> None:
        self.received.append((message, descriptor))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = channel_pair()
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def client() -> Iterator[tuple[socket.socket, int]]:
    """A client, and the descriptor of its connection here."""
    theirs, ours = socket.socketpair()
    with theirs:
        theirs.settimeout(10)
        yield theirs, ours.detach()


Pair = tuple[socket.socket, socket.socket]


async def test_messages_arrive_in_order(pair: Pair) -> None:
    here, there = End(pair[0]), End(pair[1])
    messages = [UsedNonce(str(number)) for number in range(200)]
    assert all(here.channel.send(message) for message in messages)
    await until(lambda: len(there.received) == 200)
    assert [message for message, _ in there.received] == messages


async def test_a_socket_goes_with_its_message(
    pair: Pair, client: tuple[socket.socket, int]
) -> None:
    here, there = End(pair[0]), End(pair[1])
    assert here.channel.send(CONNECTION, client[1])
    await until(lambda: there.received)
    message, descriptor = there.received[0]
    assert message == CONNECTION
    assert not os.get_inheritable(descriptor)
    with socket.socket(fileno=descriptor) as connection:
        connection.sendall(b"hello")
    # The sender kept no copy, so the connection is closed with the receiver's.
    assert client[0].recv(100) + client[0].recv(100) == b"hello"


@pytest.mark.parametrize("size", [PART_BYTES - 100, PART_BYTES, 3 * PART_BYTES, 600_000])
async def test_a_long_message_arrives_whole(
    pair: Pair, client: tuple[socket.socket, int], size: int
) -> None:
    here, there = End(pair[0]), End(pair[1])
    assert here.channel.send(Ask(1, bytes(size)), client[1])
    assert here.channel.send(Ready())
    await until(lambda: len(there.received) == 2)
    (long, descriptor), (short, none) = there.received
    assert long == Ask(1, bytes(size))
    os.close(descriptor)
    assert (short, none) == (Ready(), -1)


async def test_what_a_slow_side_does_not_read_is_bounded(
    pair: Pair, client: tuple[socket.socket, int]
) -> None:
    here = End(pair[0], limit=100_000)
    sent = 0
    while here.channel.send(UsedNonce("x" * 1_000)):
        sent += 1
    assert sent > 100
    assert not here.channel.send(Ask(1, bytes(1_000)), client[1])
    os.close(client[1])
    there = End(pair[1])
    await until(lambda: len(there.received) == sent)
    assert here.channel.send(Ready())


async def test_a_packet_for_which_the_system_has_no_room_is_sent_later(
    pair: Pair,
) -> None:
    failures = [OSError(errno.ENOBUFS, "no room"), OSError(errno.ETOOMANYREFS, "too many")]

    class Scarce:
        def send(self, part: bytes) -> int:
            if failures:
                raise failures.pop()
            return pair[0].send(part)

        def __getattr__(self, name: str) -> Any:
            return getattr(pair[0], name)

    here, there = End(Scarce()), End(pair[1])  # type: ignore[arg-type]
    assert here.channel.send(Ready())
    await until(lambda: there.received)
    assert not failures


async def test_a_channel_that_waits_for_room_does_not_try_all_the_while(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediaserver.server.workers.channel._PAUSE", 3_600.0)
    attempts = 0

    class Scarce:
        def send(self, part: bytes) -> int:
            nonlocal attempts
            attempts += 1
            raise BlockingIOError if attempts == 1 else OSError(errno.ENOBUFS, "no room")

        def __getattr__(self, name: str) -> Any:
            return getattr(pair[0], name)

    here = End(Scarce())  # type: ignore[arg-type]
    assert here.channel.send(Ready())
    await until(lambda: attempts == 2)
    assert here.channel.send(Ready())
    for _ in range(10):
        await asyncio.sleep(0)
    assert attempts == 2
    here.channel.close()


async def test_the_end_of_the_other_side_is_noticed(pair: Pair) -> None:
    here = End(pair[0])
    pair[1].close()
    await until(lambda: here.unsent)
    assert here.unsent == [[]]
    assert here.channel.closed
    assert not here.channel.send(Ready())


async def test_what_did_not_reach_the_other_side_is_given_back(
    pair: Pair, client: tuple[socket.socket, int]
) -> None:
    here = End(pair[0])
    while not here.channel.queued:
        here.channel.send(UsedNonce("x" * 1_000))
    assert here.channel.send(CONNECTION, client[1])
    pair[1].close()
    await until(lambda: here.unsent)
    assert here.unsent[0][-1] == (CONNECTION, client[1])
    os.close(client[1])


@pytest.mark.parametrize("sends", [False, True])
async def test_what_the_other_side_said_before_it_closed_is_read(pair: Pair, sends: bool) -> None:
    here = End(pair[0])
    pair[1].setblocking(False)
    send_message(pair[1], Ready())
    if sends:
        pair[1].close()
        # Nobody reads this one, and it is given back.
        assert here.channel.send(UsedNonce("n"))
    else:
        # The other side closes without reading it.
        assert here.channel.send(UsedNonce("n"))
        pair[1].close()
    await until(lambda: here.channel.closed)
    assert here.received == [(Ready(), -1)]
    assert here.unsent == [[(UsedNonce("n"), -1)] if sends else []]


async def test_a_closed_end_tells_nobody_and_keeps_nothing(
    pair: Pair, client: tuple[socket.socket, int]
) -> None:
    here, there = End(pair[0]), End(pair[1])
    while not here.channel.queued:
        here.channel.send(UsedNonce("x" * 1_000))
    here.channel.send(CONNECTION, client[1])
    here.channel.close()
    assert client[0].recv(1) == b""
    await until(lambda: there.unsent)
    assert here.unsent == []


async def test_bytes_that_are_no_message_are_logged_and_harm_nothing(pair: Pair) -> None:
    there = End(pair[1])
    pair[0].setblocking(False)
    with capture_logs() as logged:
        pair[0].send(b"\0nonsense")
        send_message(pair[0], Ready())
        await until(lambda: there.received)
    assert there.received == [(Ready(), -1)]
    assert [line["log_level"] for line in logged] == ["error"]


async def test_a_closed_channel_reads_no_more(pair: Pair) -> None:
    pair[0].setblocking(False)
    for _ in range(3):
        send_message(pair[0], Ready())
    received = []

    def receive(message: WorkerMessage, descriptor: int) -> None:
        received.append(message)
        channel.close()

    channel = Channel(pair[1], receive, lambda unsent: None)
    await until(lambda: received)
    await asyncio.sleep(0)
    assert received == [Ready()]


def test_a_message_can_be_received_without_a_loop(
    pair: Pair, client: tuple[socket.socket, int]
) -> None:
    send_message(pair[0], Ask(2, bytes(2 * PART_BYTES)), client[1])
    os.close(client[1])
    message, descriptor = receive_message(pair[1])
    assert message == Ask(2, bytes(2 * PART_BYTES))
    os.close(descriptor)
    pair[0].close()
    with pytest.raises(EOFError):
        receive_message(pair[1])


@pytest.mark.parametrize("closes", [False, True])
def test_what_an_end_has_not_read_can_be_taken(
    pair: Pair, client: tuple[socket.socket, int], closes: bool
) -> None:
    send_message(pair[0], Ask(1, bytes(2 * PART_BYTES)))
    send_message(pair[0], CONNECTION, client[1])
    os.close(client[1])
    # The process has read the beginning of a message.
    pair[1].recv(PART_BYTES)
    if closes:
        send_message(pair[1], Ready())
        pair[0].close()
    ((message, descriptor),) = unread_messages(pair[1])
    assert message == CONNECTION
    os.close(descriptor)
    assert unread_messages(pair[1]) == []


async def test_a_channel_that_closes_is_noticed_though_its_end_is_open_elsewhere(
    pair: Pair,
) -> None:
    here, there = End(pair[0]), End(pair[1].dup())
    there.channel.close()
    await until(lambda: here.unsent)


def test_a_lack_of_descriptors_is_told_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def socketpair(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", socketpair)
    with pytest.raises(OSError, match="Too many open files"):
        channel_pair()


def test_a_system_without_such_sockets_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SOCK_SEQPACKET")
    with pytest.raises(ChannelError, match="Leave --workers out"):
        channel_pair()
