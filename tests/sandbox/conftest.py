"""A scripted server, joined to a phone by a pair of sockets in virtual time."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.protocol import State
from websockets.server import ServerProtocol

from mediaserver.protocol import Command, encode_command
from mediaserver.sandbox import CallReport, Phone
from mediaserver.testing import run_virtual


class ScriptedServer:
    """The other end of the socket: takes the call, remembers what comes, sends what it is told."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.protocol = ServerProtocol(max_size=None)
        self.received: list[dict[str, Any] | str | bytes] = []
        self.requests: list[Any] = []
        self.fragments = 0
        self.arrived = asyncio.Event()
        self.refuse: tuple[int, str] | None = None

    async def run(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(sock=self._sock)
        text = b""
        while data := await self.reader.read(65536):
            self.protocol.receive_data(data)
            for event in self.protocol.events_received():
                if hasattr(event, "path"):
                    self.requests.append(event)
                    if self.refuse is not None:
                        self.protocol.send_response(self.protocol.reject(*self.refuse))
                    else:
                        self.protocol.send_response(self.protocol.accept(event))
                    continue
                if event.opcode.name == "CLOSE":
                    continue
                self.fragments += not event.fin
                text += event.data
                if event.fin:
                    self._note(text, event.opcode.name == "BINARY")
                    text = b""
            self.flush()
        self.protocol.receive_eof()
        self.arrived.set()
        self.writer.close()

    def _note(self, data: bytes, binary: bool) -> None:
        try:
            self.received.append(data if binary else json.loads(data))
        except ValueError:
            self.received.append(data.decode())
        self.arrived.set()

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.writer.write(data)
            else:
                self.writer.close()

    def send(self, *messages: Command | str | bytes) -> None:
        for message in messages:
            if isinstance(message, bytes):
                self.protocol.send_binary(message)
            elif isinstance(message, str):
                self.protocol.send_text(message.encode())
            else:
                self.protocol.send_text(encode_command(message))
        self.flush()

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.protocol.send_close(code, reason)
        self.flush()

    def lose(self) -> None:
        self.writer.transport.abort()

    @property
    def open(self) -> bool:
        return self.protocol.state is State.OPEN

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [
            message
            for message in self.received
            if isinstance(message, dict) and message.get("event") == kind
        ]

    async def until(self, kind: str, count: int = 1) -> None:
        """Wait until so many events of a kind have come."""
        while len(self.events(kind)) < count:
            assert self.protocol.state is not State.CLOSED, f"closed before {count} {kind}"
            self.arrived.clear()
            await self.arrived.wait()


Script = Callable[[Phone, ScriptedServer], Awaitable[None]]


@pytest.fixture
def joined() -> Callable[..., tuple[Phone, ScriptedServer]]:
    """Run a script with a phone that has called a scripted server, then hang up.

    With `dial=False` the script makes the call itself.
    """

    async def scenario(
        script: Script, dial: bool, options: dict[str, Any]
    ) -> tuple[Phone, ScriptedServer]:
        ours, theirs = socket.socketpair()
        server = ScriptedServer(theirs)
        running = asyncio.create_task(server.run())
        phone = Phone("ws://agent.example/stream?id=7", sock=ours, **options)
        if dial:
            await phone.start()
        await script(phone, server)
        await phone.hang_up()
        await running
        return phone, server

    def run(script: Script, dial: bool = True, **options: Any) -> tuple[Phone, ScriptedServer]:
        return run_virtual(scenario(script, dial, options))

    return run


@pytest.fixture
def report() -> CallReport:
    return Phone("ws://agent.example/stream").report()
