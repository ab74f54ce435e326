import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from mediaserver.plivo.callbacks import HangupRequest
from mediaserver.server.relocation import HandedConnection
from mediaserver.server.workers.channel import Channel, channel_pair, receive_message
from mediaserver.server.workers.crewmates import Crewmates
from mediaserver.server.workers.messages import ClientConnection, Move, Told, UsedNonce
from mediaserver.server.workers.table import WorkerTable


CONNECTION = HandedConnection(("192.0.2.1", 40_000), secure=True, head=b"GET /stream HTTP/1.1")


@pytest.fixture
def table() -> Iterator[WorkerTable]:
    table = WorkerTable()
    table.take(now=1)
    yield table
    table.close()


@pytest.fixture
def crewmates(table: WorkerTable) -> Crewmates:
    return Crewmates(table, "3f9a")


@pytest.fixture
async def supervisor(crewmates: Crewmates) -> AsyncIterator[socket.socket]:
    """The supervisor's end of the channel."""
    ours, theirs = channel_pair()
    crewmates.channel = Channel(ours, lambda message, descriptor: None, lambda unsent: None)
    yield theirs
    crewmates.channel.close()
    theirs.close()


@pytest.mark.parametrize(
    ("process", "reached"),
    [
        ("3f9a/1.1", True),
        ("3f9a/1.2", False),
        ("3f9a/2.1", False),
        ("beef/1.1", False),
        ("", False),
    ],
)
def test_workers_of_this_machine_that_live_are_reached(
    crewmates: Crewmates, process: str, reached: bool
) -> None:
    assert crewmates.reaches(process) is reached


async def test_the_supervisor_passes_on_what_neighbours_must_know(
    crewmates: Crewmates, supervisor: socket.socket
) -> None:
    supervisor.setblocking(False)
    hangup = HangupRequest.parse({"CallUUID": "call-1", "CallStatus": "completed"})
    crewmates.tell(hangup)
    crewmates.used("nonce-1")
    crewmates.released("nonce-1")
    told = [receive_message(supervisor)[0] for _ in range(3)]
    assert isinstance(told[0], Told)
    assert (told[0].kind, told[0].fields["CallUUID"]) == ("hangup", "call-1")
    assert told[1:] == [UsedNonce("nonce-1"), UsedNonce("nonce-1", used=False)]


async def test_a_connection_is_handed_over_with_its_socket(
    crewmates: Crewmates, supervisor: socket.socket
) -> None:
    client, ours = socket.socketpair()
    client.setblocking(False)
    assert crewmates.hand_over("3f9a/2.1", ours, CONNECTION)
    assert ours.fileno() == -1
    supervisor.setblocking(False)
    message, descriptor = receive_message(supervisor)
    moved = ClientConnection(0, CONNECTION.client, CONNECTION.head, decrypted=True, moved=True)
    assert message == Move("3f9a/2.1", moved)
    socket.socket(fileno=descriptor).close()
    assert client.recv(1) == b""
    client.close()


async def test_without_a_supervisor_nothing_is_told_or_handed_over(crewmates: Crewmates) -> None:
    crewmates.used("nonce-1")
    client, ours = socket.socketpair()
    assert not crewmates.hand_over("3f9a/2.1", ours, CONNECTION)
    assert ours.fileno() >= 0
    client.close()
    ours.close()
