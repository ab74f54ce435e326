"""Two worker processes: each stream reaches the one that prepared its call."""

import asyncio
import os
import signal
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from audiocodecs import MULAW_8K
from mediaserver.protocol import Media, Start, encode_event
from tests.server.conftest import Certified, ServerProcess
from tests.server.until import until


pytestmark = pytest.mark.real_time

CALLS = 20

HANDLER = '''
import os
from pathlib import Path

from mediaserver import Handler


class Tells(Handler):
    """Writes down which process does what for a call."""

    def tell(self, call_id, what):
        with Path(__file__).with_name("told").open("a") as told:
            told.write(f"{call_id} {what} {os.getpid()}\\n")

    async def on_answer(self, request, shared):
        self.tell(request.call_id, "prepared")
        self.call_id = request.call_id

    async def on_start(self):
        self.tell(self.stream.call_id, "started" if hasattr(self, "call_id") else "unprepared")

    async def on_audio(self, frame):
        self.tell(self.stream.call_id, f"heard-{frame.payload[0]}")

    async def on_stop(self, reason):
        if reason == "the stream never came":
            self.tell(self.call_id, "abandoned")
'''


class Workers:
    """A server with workers, and what its handlers have told."""

    def __init__(
        self, process: ServerProcess, url: str, told: Path, context: ssl.SSLContext | None
    ) -> None:
        self.process = process
        self.url = url
        self.context = context
        self._told = told

    async def post(self, path: str, call_id: str) -> bytes:
        """Send a webhook on a connection of its own."""
        form = {"CallUUID": call_id, "From": "14155550100", "To": "14155550199"}
        async with httpx.AsyncClient(verify=self.context or False, timeout=30.0) as client:
            return (await client.post(f"{self.url}{path}", data=form)).content

    async def answer(self, call_id: str) -> str:
        """Return the URL of a call's stream."""
        url = ElementTree.fromstring(await self.post("/answer", call_id))[0].text
        assert url is not None
        return url

    async def stream(self, url: str, call_id: str) -> ClientConnection:
        websocket = await connect(url, ssl=self.context, proxy=None)
        await websocket.send(
            encode_event(Start(call_id, call_id, "MA", ("inbound",), MULAW_8K, sequence_number=1))
        )
        return websocket

    def told(self, what: str, calls: list[str]) -> dict[str, str]:
        """Return which process has done this, by call; fail if one call has it twice."""
        lines = [line.split() for line in self._told.read_text().splitlines()]
        found = [(call, process) for call, kind, process in lines if kind == what and call in calls]
        assert max(Counter(call for call, _ in found).values(), default=1) == 1
        return dict(found)


def some_calls() -> list[str]:
    return [str(uuid4()) for _ in range(CALLS)]


def audio(call_id: str, number: int) -> str:
    media = Media(
        bytes([number]) * 160,
        track="inbound",
        timestamp=20 * number,
        chunk=number,
        stream_id=call_id,
        sequence_number=number + 1,
    )
    return encode_event(media)


@pytest.fixture(scope="module", params=["plain", "TLS"])
def workers(request: Any, tmp_path_factory: Any, certified: Certified) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("workers")
    (folder / "tells.py").write_text(HANDLER)
    (folder / "told").write_text("")
    arguments = [f"{folder / 'tells.py'}:Tells", "--port", "0", "--workers", "2"]
    context = None
    if request.param == "TLS":
        context = certified.client
        arguments += ["--ssl-certfile", str(certified.file)]
    process = ServerProcess(*arguments)
    try:
        # The supervisor's line may come before those of its workers, or after them.
        url = str(process.wait_for("listening")["url"])
        while sum(each["event"] == "ready" for each in process.logged) < 2:
            process.wait_for("ready")
        yield Workers(process, url, folder / "told", context)
    finally:
        process.terminate()
        process.terminate()
        assert process.wait() == 0
        process.close()


async def test_each_stream_reaches_the_worker_that_prepared_its_call_also_after_it_was_lost(
    workers: Workers,
) -> None:
    calls = some_calls()
    urls = await asyncio.gather(*map(workers.answer, calls))
    streams = await asyncio.gather(*map(workers.stream, urls, calls))
    for call, websocket in zip(calls, streams, strict=True):
        await websocket.send(audio(call, 1))
    await until(lambda: len(workers.told("heard-1", calls)) == CALLS)
    prepared = workers.told("prepared", calls)
    assert len(set(prepared.values())) == 2, "both workers answer calls"
    assert workers.told("started", calls) == prepared
    assert workers.told("heard-1", calls) == prepared
    for websocket in streams:
        websocket.transport.abort()
    streams = await asyncio.gather(*map(workers.stream, urls, calls))
    for call, websocket in zip(calls, streams, strict=True):
        await websocket.send(audio(call, 2))
    await until(lambda: len(workers.told("heard-2", calls)) == CALLS)
    assert workers.told("heard-2", calls) == prepared
    assert workers.told("started", calls) == prepared, "the handlers have gone on"
    for websocket in streams:
        await websocket.close()


async def test_a_hangup_ends_what_a_call_has_in_whichever_worker(workers: Workers) -> None:
    calls = some_calls()
    for call in calls:
        await workers.answer(call)
        await workers.post("/hangup", call)
    await until(lambda: len(workers.told("abandoned", calls)) == CALLS)
    assert workers.told("abandoned", calls) == workers.told("prepared", calls)


@pytest.mark.parametrize("workers", ["plain"], indirect=True)
async def test_the_streams_of_calls_from_before_a_reload_reach_the_workers_that_prepared_them(
    workers: Workers,
) -> None:
    calls = some_calls()
    urls = await asyncio.gather(*map(workers.answer, calls))
    prepared = workers.told("prepared", calls)
    os.kill(workers.process.process.pid, signal.SIGHUP)
    await asyncio.to_thread(workers.process.wait_for, "reloaded")
    streams = await asyncio.gather(*map(workers.stream, urls, calls))
    await until(lambda: len(workers.told("started", calls)) == CALLS)
    assert workers.told("started", calls) == prepared
    new = some_calls()
    await asyncio.gather(*map(workers.answer, new))
    after = set(workers.told("prepared", new).values())
    assert after.isdisjoint(prepared.values()), "new calls have the new workers"
    for websocket in streams:
        await websocket.close()


@pytest.mark.parametrize("workers", ["plain"], indirect=True)
async def test_the_streams_of_a_worker_that_died_are_served_by_the_others(
    workers: Workers,
) -> None:
    calls = some_calls()
    urls = await asyncio.gather(*map(workers.answer, calls))
    prepared = workers.told("prepared", calls)
    dead = prepared[calls[0]]
    os.kill(int(dead), signal.SIGKILL)
    # From then on no connection is given to the dead one.
    await asyncio.to_thread(workers.process.wait_for, "worker died")
    streams = await asyncio.gather(*map(workers.stream, urls, calls))
    lost = {call for call, process in prepared.items() if process == dead}
    await until(lambda: len(workers.told("unprepared", calls)) == len(lost))
    await until(lambda: len(workers.told("started", calls)) == CALLS - len(lost))
    assert workers.told("unprepared", calls).keys() == lost
    assert dead not in workers.told("unprepared", calls).values()
    for websocket in streams:
        await websocket.close()
