"""Two worker processes, and one operator at the supervisor's Unix socket."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from audiocodecs import MULAW_8K
from mediaserver.protocol import Start, encode_event
from mediaserver.server.admin.client import AdminClient
from tests.server.conftest import ServerProcess
from tests.server.until import until


pytestmark = pytest.mark.real_time

CALLS = [f"00000000-0000-4000-8000-{number:012}" for number in range(4)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[ServerProcess, str, Path]]:
    path = tmp_path / "admin.sock"
    process = ServerProcess(
        "mediaserver.agents:Echo", "--port", "0", "--workers", "2", "--admin", str(path)
    )
    try:
        yield process, str(process.wait_for("listening")["url"]), path
    finally:
        process.terminate()
        process.terminate()
        process.close()


@pytest.fixture
async def operator(served: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.AsyncHTTPTransport(uds=str(served[2]))
    base_url = "http://localhost"
    async with httpx.AsyncClient(transport=transport, base_url=base_url, timeout=30.0) as client:
        yield client


async def test_an_operator_sees_and_controls_the_calls_of_all_workers(
    served: tuple[ServerProcess, str, Path], operator: httpx.AsyncClient
) -> None:
    process, url, path = served
    streams = {}
    for call in CALLS:
        streams[call] = await connect(f"{url.replace('http', 'ws')}/stream", proxy=None)
        start = Start(call, call, "MA", ("inbound",), MULAW_8K, sequence_number=1)
        await streams[call].send(encode_event(start))
        await asyncio.to_thread(process.wait_for, "call started")

    async def live() -> dict[str, str]:
        calls = (await operator.get("/calls?state=live")).json()["calls"]
        return {each["call_id"]: each["worker"] for each in calls}

    workers = await live()
    assert set(workers) == set(CALLS)
    assert len(set(workers.values())) == 2
    assert {each["worker"] for each in (await operator.get("/workers")).json()["workers"]} == set(
        workers.values()
    )
    # A command reaches the call in whichever worker.
    for call in CALLS[:2]:
        assert (await operator.post(f"/calls/{call}/clear")).json()["outcome"] == "done"
    assert (await operator.post(f"/calls/{CALLS[0]}/hangup")).status_code == 200
    await streams[CALLS[0]].wait_closed()
    assert streams[CALLS[0]].close_reason == "hung up by an operator"
    say = await operator.post(f"/calls/{CALLS[1]}/say", json={"text": "Hello."})
    assert say.status_code == 501
    assert (await operator.post("/calls/nobody/hangup")).status_code == 404

    async def metric(name: str) -> float:
        families = text_string_to_metric_families((await operator.get("/metrics")).text)
        return sum(
            sample.value for each in families for sample in each.samples if sample.name == name
        )

    assert await metric("mediaserver_calls_total") == len(CALLS)
    # A worker that dies takes its calls along, and the operator sees who is left.
    (row,) = [
        each
        for each in (await operator.get("/workers")).json()["workers"]
        if each["worker"] == workers[CALLS[1]]
    ]
    os.kill(row["pid"], signal.SIGKILL)
    await asyncio.to_thread(process.wait_for, "worker died")
    left = {call for call, worker in workers.items() if worker != workers[CALLS[1]]} - {CALLS[0]}
    assert set(await live()) == left
    assert await metric("mediaserver_worker_deaths_total") == 1
    assert await metric("mediaserver_calls_total") == len(CALLS)

    # New workers relieve the old ones, which let their calls end.
    def reload() -> Any:
        with AdminClient(path) as client:
            return client.post("/reload", within=100.0)

    assert (await asyncio.to_thread(reload))["outcome"] == "done"
    assert set(await live()) == left
    async with httpx.AsyncClient(base_url=url, timeout=30.0) as public:
        assert (await public.get("/metrics")).status_code == 404
    assert (await operator.post("/nodes/self/drain")).status_code == 200
    for websocket in streams.values():
        await websocket.close()
    await until(lambda: process.process.poll() is not None)
    assert process.process.returncode == 0
