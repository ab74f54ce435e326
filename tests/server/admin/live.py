"""Live calls on links that only note what they are told, and clients that ask for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
from httpx import AsyncClient

from mediaserver.handler import Handler
from mediaserver.server.accepting import examine
from mediaserver.server.admin.app import create_admin_app
from mediaserver.server.admin.commands import (
    CallCommand,
    CallFilter,
    CallPage,
    Delivery,
    WorkerEntry,
)
from mediaserver.server.admin.directory import Directory, OwnCalls
from mediaserver.server.handshake import AcceptedStream, HandshakeRequest
from mediaserver.server.runtime import Runtime
from mediaserver.server.server_call import ServerCall
from mediaserver.server.trust.tokens import Claims, seal
from mediaserver.settings import Settings


CALLER, CALLED = "+14155550100", "14155550199"
URL = "https://voice.example.com/agent.xml?key=secret"


class Link:
    def __init__(self) -> None:
        self.closed: Any = None

    def send_text(self, message: bytes) -> None: ...

    def send_ping(self, payload: bytes) -> None: ...

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)

    def abort(self) -> None: ...

    def hand_over(self, call: ServerCall) -> None: ...

    def let_go(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Live:
    """One live call of a runtime."""

    def __init__(
        self,
        runtime: Runtime,
        call_id: str = "call-1",
        stream_id: str = "stream-1",
        *,
        caller: str | None = CALLER,
        start: bool = True,
        path: str = "/stream",
        answered: bool = True,
    ) -> None:
        secret = runtime.settings.secret.get_secret_value()
        token = seal(Claims(call_id, caller, CALLED, 2**40), secret)
        query = f"token={token}" if answered else ""
        accepted = examine(runtime, HandshakeRequest(path, query))
        assert isinstance(accepted, AcceptedStream), accepted
        self.link = Link()
        self.call = ServerCall(runtime, self.link, accepted)
        if start:
            self.call.session.receive(
                json.dumps({"event": "start", "start": _start(call_id, stream_id)})
            )

    @property
    def stream(self) -> Any:
        return self.call.stream


def _start(call_id: str, stream_id: str) -> dict[str, Any]:
    format = {"encoding": "audio/x-mulaw", "sampleRate": 8000}
    return {"callId": call_id, "streamId": stream_id, "tracks": ["inbound"], "mediaFormat": format}


class FakeControl:
    """A process that notes what it is asked for."""

    def __init__(self) -> None:
        self.drains = 0
        self.reloads = 0

    def drain(self) -> bool:
        self.drains += 1
        return self.drains == 1

    def reload(self) -> None:
        self.reloads += 1


def client_of(
    directory: Directory,
    settings: Settings | None = None,
    *,
    client: tuple[str, int] = ("127.0.0.1", 50_000),
    host: str = "127.0.0.1:8001",
    headers: Mapping[str, str] | None = None,
) -> AsyncClient:
    app = create_admin_app(directory, settings or Settings(admin="127.0.0.1:8001"))
    transport = httpx.ASGITransport(app, client=client, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}", headers=headers)


async def hold(stream: Any) -> None:
    """Do nothing until the stream has ended, as a handler."""
    async for _ in stream.audio():
        pass


async def turns(number: int = 5) -> None:
    """Let the other tasks run."""
    for _ in range(number):
        await asyncio.sleep(0)


class Answering(OwnCalls):
    """Answers what it is told to."""

    def __init__(self, delivery: Delivery | None = None, page: CallPage | None = None) -> None:
        self.delivery = delivery
        self.page = page
        self.listed: list[WorkerEntry] = []
        self.asked: list[Any] = []

    async def calls(self, wanted: CallFilter) -> CallPage:
        self.asked.append(wanted)
        assert self.page is not None
        return self.page

    async def send(self, command: CallCommand) -> Delivery:
        self.asked.append(command)
        assert self.delivery is not None
        return self.delivery

    async def workers(self) -> list[WorkerEntry]:
        return self.listed

    async def reload(self) -> Delivery:
        raise LookupError("a bug")


class Talker(Handler):
    async def on_say(self, text: str) -> None: ...
