"""How long a voice takes from a browser's microphone through an Echo to its speaker.

    python -m benchmarks.browser_phone [--calls 20] [--seconds 10] [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import uvicorn
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark pins processes to cores, which only works on Linux")

from benchmarks.experiments import Experiments, Findings, a_while, arguments_of, report_on
from benchmarks.processes import running
from benchmarks.records import echo
from mediaserver.dev.phone_socket import BrowserPhones
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.platform import Sandbox, SandboxOptions
from mediaserver.sandbox.webhooks import Target


EXPERIMENTS = ("echo",)

GOAL = 80.0
"""Milliseconds: 60, and 20 for the grid, since a line gives out a frame when all of it is over."""

AGENT = "+14155550123"

_FRAME = 320
_AUDIBLE = 2_000
_PERIOD = 30
"""Frames from one burst to the next: 0.6 s."""


class Benchmark(Experiments):
    """The one experiment."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        super().__init__(chosen, progress)
        self.report = Findings(self.settings, "A phone in the browser")

    def run(self) -> None:
        """Measure."""
        self.perform({"echo": self._echo}, self.report)

    def _echo(self) -> None:
        chosen, add = self.chosen, self.report.add
        with running(echo(), self.server_core, None) as server:
            delays, sent = asyncio.run(calls(server.url, chosen.calls, chosen.seconds))
        add("echo", "bursts said", sent)
        add("echo", "bursts heard", len(delays))
        if not delays:
            self.report.missing.append("echo: nothing was heard")
            return
        median, most = np.percentile(delays, (50, 95))
        add("echo", "microphone to speaker, median", round(1000 * float(median), 1), "ms")
        add("echo", "microphone to speaker, p95", round(1000 * float(most), 1), "ms", GOAL)


async def calls(stream_url: str, calls: int, seconds: float) -> tuple[list[float], int]:
    """Make calls one after the other; return the delays of bursts, and how many were said."""
    delays: list[float] = []
    sent = 0
    async with phones_at(stream_url) as url:
        for _ in range(calls):
            # Each call has another phase between the browser's clock and the line's.
            await asyncio.sleep(random.uniform(0, 0.02))
            async with connect(url, compression=None) as websocket:
                said, heard = await one_call(websocket, seconds)
            sent += len(said)
            for burst in said:
                arrival = next((time for time in heard if 0 < time - burst < _PERIOD * 0.02), None)
                if arrival is not None:
                    delays.append(arrival - burst)
    return delays, sent


async def one_call(websocket: ClientConnection, seconds: float) -> tuple[list[float], list[float]]:
    """Say bursts in a call; return when each was sent, and when audible frames came."""
    loop = asyncio.get_running_loop()
    said: list[float] = []
    heard: list[float] = []
    opened = asyncio.Event()

    async def hear() -> None:
        async for message in websocket:
            if isinstance(message, bytes):
                if np.abs(np.frombuffer(message, "<i2")).max() > _AUDIBLE:
                    heard.append(loop.time())
            elif json.loads(message).get("kind") == "stream opened":
                opened.set()

    hearing = asyncio.create_task(hear())
    await websocket.send(json.dumps({"do": "dial", "to": AGENT}))
    await asyncio.wait_for(opened.wait(), 10)
    began = loop.time()
    burst = np.full(_FRAME, 8_000, "<i2")
    burst[1::2] *= -1
    silence = bytes(2 * _FRAME)
    for number in range(int(seconds * 50)):
        await asyncio.sleep(max(0.0, began + number * 0.02 - loop.time()))
        is_burst = number % _PERIOD == _PERIOD // 2
        if is_burst:
            said.append(loop.time())
        await websocket.send(burst.tobytes() if is_burst else silence)
    await websocket.send(json.dumps({"do": "hangup"}))
    await asyncio.sleep(0.2)
    hearing.cancel()
    await asyncio.gather(hearing, return_exceptions=True)
    return said, heard


@asynccontextmanager
async def phones_at(stream_url: str) -> AsyncIterator[str]:
    """Serve phones whose calls are streamed to `stream_url`; the block's value is their URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    plan = CallPlan(Target(f"http://127.0.0.1:{port}/answer"))

    async def answer(_request: Request) -> Response:
        return Response(
            '<Response><Stream bidirectional="true" keepCallAlive="true"'
            f' contentType="audio/x-l16;rate=16000">{stream_url}</Stream></Response>',
            media_type="application/xml",
        )

    async with Sandbox(SandboxOptions()) as sandbox:
        phones = BrowserPhones(sandbox.exchange, lambda _format: plan)
        app = Starlette(
            routes=[
                Route("/answer", answer, methods=["POST"]),
                WebSocketRoute("/phone", phones.serve),
            ]
        )
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", ws="websockets-sansio"
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"ws://127.0.0.1:{port}/phone"
        finally:
            server.should_exit = True
            await serving


def main() -> int:
    """Return the exit status."""
    parser = arguments_of("browser_phone", "What a phone in the browser delays.", EXPERIMENTS)
    parser.add_argument("--calls", type=int, default=20, help="calls, one after the other")
    parser.add_argument("--seconds", type=a_while, default=10.0, help="length of a call")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.calls, chosen.seconds = 1, 3.0
    return report_on(Benchmark(chosen, Console(stderr=True)), chosen, width=110)


if __name__ == "__main__":
    sys.exit(main())
