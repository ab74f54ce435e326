import socket
from collections.abc import Callable

import pytest

from mediaserver.server.workers.messages import (
    ClientConnection,
    Move,
    Told,
)
from tests.server.until import until
from tests.server.workers.machine import Machine


async def test_connections_wait_until_the_first_workers_take_them_and_are_shared_evenly(
    start_machine: Callable[..., Machine],
) -> None:
    machine = start_machine()
    for _ in range(40):
        machine.listener.connect()
    workers = await machine.serve()
    await until(lambda: sum(len(each.sockets) for each in workers) == 40)
    assert [len(each.sockets) for each in workers] == [20, 20]
    assert machine.is_ready == 1
    assert workers[0].got[-1] == ClientConnection(0, ("192.0.2.1", 40_000))


async def test_a_connection_moves_to_the_worker_that_prepared_its_call(machine: Machine) -> None:
    first, second = machine.started
    connection = ClientConnection(0, ("192.0.2.1", 40_000), b"GET /", moved=True)
    client, ours = socket.socketpair()
    first.channel.send(Move(second.process, connection), ours.detach())
    await until(lambda: second.sockets)
    assert second.got[-1] == connection
    second.sockets[0].send(b"here")
    assert client.recv(100) == b"here"
    client.close()


@pytest.mark.parametrize("gone", ["another/2.1", "{machine}/2.7", "{machine}/9.1"])
async def test_a_connection_comes_back_if_that_worker_is_gone(machine: Machine, gone: str) -> None:
    first, second = machine.started
    to = gone.format(machine=machine.supervisor.machine)
    connection = ClientConnection(0, ("192.0.2.1", 40_000), b"GET /", moved=True)
    client, ours = socket.socketpair()
    first.channel.send(Move(to, connection), ours.detach())
    await until(lambda: first.sockets)
    assert not second.sockets
    client.close()


async def test_what_a_dead_worker_had_not_read_goes_to_another(machine: Machine) -> None:
    first, second = machine.started
    second.row.active = 1
    # Killed, a process closes its end without a word.
    first.die(-9)
    machine.listener.connect()
    machine.accept()
    assert first.row.sent == 1
    await until(lambda: second.sockets)
    assert not first.sockets


async def test_what_a_worker_had_not_read_when_it_closed_goes_to_another(machine: Machine) -> None:
    first, second = machine.started
    second.row.active = 1
    machine.listener.connect()
    machine.accept()
    assert first.row.sent == 1
    # Its process goes on for a while.
    first.channel.close()
    await until(lambda: second.sockets)
    assert "1.1" in machine.supervisor.workers


async def test_what_did_not_reach_a_dead_worker_goes_to_another(machine: Machine) -> None:
    first, second = machine.started
    employed = machine.supervisor.workers["1.1"]
    second.row.active = 1
    # It reads nothing while the test does not wait.
    while not employed.channel.queued:
        employed.channel.send(Told("status", {"text": "x" * 10_000}))
    machine.listener.connect()
    machine.accept()
    assert first.row.sent == 1
    first.end(-9)
    await until(lambda: second.sockets)
