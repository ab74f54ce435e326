"""What `CarrierConnection` does with a WebSocket; the rest shows in the tests of its two users."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from mediaserver.sandbox.wire.connect import open_websocket
from mediaserver.sandbox.wire.connection import CarrierConnection
from mediaserver.sandbox.wire.network import StreamNetwork
from mediaserver.sandbox.wire.session import ConnectionFault
from mediaserver.testing import run_virtual


def connected(
    scripted_server: Any,
    script: Callable[[CarrierConnection, Any], Awaitable[None]],
    **options: Any,
) -> Any:
    """Run a script with a connection to a scripted server; return the server."""

    async def scenario() -> Any:
        ours, theirs = socket.socketpair()
        server = scripted_server(theirs)
        running = asyncio.create_task(server.run())
        websocket = await open_websocket("ws://agent.example/", sock=ours)
        connection = CarrierConnection(websocket, **options)
        await script(connection, server)
        await connection.close()
        connection.abort()
        await running
        return server

    return run_virtual(scenario())


async def three_messages(connection: CarrierConnection, server: Any) -> None:
    for message in ("one", "zwölf", b"three"):
        connection.send(message)
    await asyncio.sleep(0.1)


def test_messages_are_sent_as_they_are(scripted_server: Any) -> None:
    server = connected(scripted_server, three_messages)
    assert (server.received, server.fragments) == (["one", "zwölf", b"three"], 0)


def test_texts_can_be_sent_in_three_fragments(scripted_server: Any) -> None:
    server = connected(scripted_server, three_messages, fragmented=True)
    assert (server.received, server.fragments) == (["one", "zwölf", b"three"], 4)


@pytest.mark.parametrize("fault", ["drop", "half-close"])
def test_nothing_is_sent_after_the_sending_side_is_shut(
    scripted_server: Any, fault: ConnectionFault
) -> None:
    async def script(connection: CarrierConnection, server: Any) -> None:
        connection.send("before")
        await asyncio.sleep(0.1)
        assert connection.carry_out(fault)
        assert not connection.can_send
        connection.send("after")
        with pytest.raises(ConnectionClosed):
            await connection.receive()

    assert connected(scripted_server, script).received == ["before"]


def test_what_is_not_read_waits(scripted_server: Any) -> None:
    async def script(connection: CarrierConnection, server: Any) -> None:
        assert connection.carry_out("stop-reading")
        receiving = asyncio.create_task(connection.receive())
        server.send(b"unread")
        await asyncio.sleep(10.0)
        assert connection.can_send
        assert not receiving.done()
        receiving.cancel()

    connected(scripted_server, script)


def test_messages_are_as_late_as_the_network_makes_them(scripted_server: Any) -> None:
    network = StreamNetwork()
    arrived: list[int] = []

    async def script(connection: CarrierConnection, server: Any) -> None:
        network.stall(1.0, asyncio.get_running_loop().time())
        connection.send("one")
        connection.send("two")
        await asyncio.sleep(0.9)
        arrived.append(len(server.received))
        assert connection.unsent
        await asyncio.sleep(0.2)
        arrived.append(len(server.received))
        assert not connection.unsent

    server = connected(scripted_server, script, network=network)

    assert (arrived, server.received) == ([0, 2], ["one", "two"])


def test_what_is_on_its_way_arrives_before_the_closing_handshake(scripted_server: Any) -> None:
    network = StreamNetwork()

    async def script(connection: CarrierConnection, _server: Any) -> None:
        network.stall(10.0, asyncio.get_running_loop().time())
        connection.send("one")

    assert connected(scripted_server, script, network=network).received == ["one"]
