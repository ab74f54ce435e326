"""The page's end of a phone, and an agent that it can call, in virtual time."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection

from audiocodecs import Samples
from mediaserver.agents import Echo
from mediaserver.dev.phone_socket import BrowserPhones
from mediaserver.handler import StreamHandler
from mediaserver.sandbox.calls.exchange import Exchange
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.calls.services import ExchangeOptions
from mediaserver.sandbox.people.dialplan import Dialplan
from mediaserver.sandbox.platform import Sandbox, SandboxOptions
from mediaserver.sandbox.webhooks import Target
from mediaserver.sandbox.wire.connect import open_websocket
from mediaserver.testing import run_virtual
from mediaserver.testing.memory_server import memory_server


AGENT, CALLER = "+14155550123", "+14155550100"
FRAME = 320
T = TypeVar("T")


def tone(seconds: float) -> Samples:
    times = np.arange(round(seconds * 16_000)) / 16_000
    return (8_000 * np.sin(2 * np.pi * 400 * times)).astype(np.int16)


class Page:
    """A WebSocket's other end.

    Attributes:
        messages: What the phone told.
        frames: When audio came, and the audio.

    """

    def __init__(self, phones: BrowserPhones) -> None:
        self.messages: list[dict[str, Any]] = []
        self.frames: list[tuple[float, Samples]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.closed: MutableMapping[str, Any] | None = None
        self._arrived = asyncio.Event()
        self._to_phone: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._to_phone.put_nowait({"type": "websocket.connect"})
        websocket = WebSocket(
            {"type": "websocket", "path": "/phone", "headers": [], "query_string": b""},
            self._to_phone.get,
            self._take,
        )
        self.serving = asyncio.create_task(phones.serve(websocket))

    async def _take(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "websocket.close":
            self.closed = message
        await self.reads.wait()
        if message.get("text") is not None:
            self.messages.append(json.loads(message["text"]))
        elif message.get("bytes") is not None:
            now = asyncio.get_running_loop().time()
            self.frames.append((now, np.frombuffer(message["bytes"], "<i2").astype(np.int16)))
        self._arrived.set()

    def send(self, message: str | bytes) -> None:
        kind = "text" if isinstance(message, str) else "bytes"
        self._to_phone.put_nowait({"type": "websocket.receive", kind: message})

    def do(self, what: str, **fields: Any) -> None:
        names = {name.removesuffix("_"): value for name, value in fields.items()}
        self.send(json.dumps({"do": what, **names}))

    async def say(self, samples: Samples) -> float:
        """Speak in pieces of 20 ms, in time; return when it began."""
        began = asyncio.get_running_loop().time()
        for start in range(0, len(samples), FRAME):
            self.send(samples[start : start + FRAME].astype("<i2").tobytes())
            await asyncio.sleep(0.02)
        return began

    def all_told(self, what: str, kind: str | None = None) -> list[dict[str, Any]]:
        return [
            each
            for each in self.messages
            if each["what"] == what and kind in (None, each.get("kind"))
        ]

    async def told(self, what: str, kind: str | None = None, *, count: int = 1) -> dict[str, Any]:
        """Wait until something has been told `count` times, and return the last of them."""
        async with asyncio.timeout(600):
            while len(found := self.all_told(what, kind)) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return found[count - 1]

    async def leave(self) -> None:
        self._to_phone.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await self.serving

    def heard(self, since: float = 0.0) -> list[float]:
        """Return when each audible frame came."""
        return [time for time, frame in self.frames if time >= since and np.abs(frame).max() > 256]


@dataclass
class Neighbourhood:
    """A sandbox whose phones are pages, and whose numbers an agent answers."""

    exchange: Exchange
    phones: BrowserPhones
    formats: list[str]
    pages: list[Page] = field(default_factory=list)

    def page(self) -> Page:
        page = Page(self.phones)
        self.pages.append(page)
        return page


def with_phones(
    scenario: Callable[[Neighbourhood], Awaitable[T]],
    *,
    handler: StreamHandler = Echo,
    recordings: Path = Path("recordings"),
    plan: Callable[[str, str], CallPlan] | None = None,
    answer_xml: str = "",
    why: Callable[[str, str], Awaitable[str]] | None = None,
    **options: Any,
) -> T:
    """Run a scenario in virtual time; the pages that it opens are left at its end."""

    async def main() -> T:
        async with memory_server(handler) as server:

            async def connect(url: str, **options: Any) -> ClientConnection:
                sock: socket.socket = await server.connect()
                return await open_websocket(server.address("/stream"), sock=sock, **options)

            formats: list[str] = []

            def answer(format: str, _path: str) -> CallPlan:
                formats.append(format)
                return CallPlan(Target(f"http://agent.test/answer?format={format}"))

            def answered(request: httpx.Request) -> httpx.Response:
                format = request.url.params.get("format") or "audio/x-mulaw;rate=8000"
                return httpx.Response(
                    200,
                    text=answer_xml
                    or f'<Response><Stream bidirectional="true" keepCallAlive="true" '
                    f'contentType="{format}">ws://agent.test/stream</Stream></Response>',
                )

            sandbox_options = SandboxOptions(
                exchange=ExchangeOptions(
                    **{"recordings": recordings, "calls_per_second": 1000, **options}
                )
            )
            async with Sandbox(
                sandbox_options, transport=httpx.MockTransport(answered), connect=connect
            ) as sandbox:
                phones = BrowserPhones(sandbox.exchange, plan or answer, *([why] if why else []))
                sandbox.exchange.dialplan = Dialplan(phones.person)
                neighbourhood = Neighbourhood(sandbox.exchange, phones, formats)
                try:
                    return await scenario(neighbourhood)
                finally:
                    for page in neighbourhood.pages:
                        if not page.serving.done():
                            page.reads.set()
                            await page.leave()

    return run_virtual(main())
