import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection as Client
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from mediaserver.agents import Echo
from mediaserver.handler import Handler
from mediaserver.routes import Route, Routes
from mediaserver.server.admin.commands import CallFilter, CallPage
from mediaserver.server.admin.merged_metrics import MetricFamily
from mediaserver.server.admin.questions import decode_answer, encode_question
from mediaserver.server.process.listening import address_of
from mediaserver.server.runtime import Runtime
from mediaserver.server.workers.channel import Channel, channel_pair, send_message
from mediaserver.server.workers.crewmates import Crewmates
from mediaserver.server.workers.duty import CHANNEL_VARIABLE, Duty, duty
from mediaserver.server.workers.messages import (
    Ask,
    ClientConnection,
    Farewell,
    LastFigures,
    Leaving,
    ListeningAddress,
    Orders,
    Ready,
    Replied,
    Retire,
    StartFailed,
    StopWorker,
    Told,
    UsedNonce,
    WorkerMessage,
)
from mediaserver.server.workers.table import WorkerState, WorkerTable
from mediaserver.server.workers.worker import WorkerDaemon
from mediaserver.settings import Settings
from tests.server.start_message import START
from tests.server.until import until


pytestmark = pytest.mark.real_time


class Workshop:
    """A worker in this event loop, and the supervisor's end of its channel."""

    def __init__(self, *routes: Any, **settings: Any) -> None:
        self.table = WorkerTable()
        self.row = self.table.take(now=1)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = address_of(self.listener)
        self.got: list[WorkerMessage] = []
        self.gone = False
        self._routes, self._settings = routes, settings

    async def open(self) -> None:
        """Start the worker."""
        ours, theirs = channel_pair()
        orders = Orders(1, "3f9a/1.1", (ListeningAddress(*self.address),))
        ours.setblocking(False)
        send_message(ours, orders, self.table.descriptor)
        given = await asyncio.to_thread(duty, {CHANNEL_VARIABLE: str(theirs.detach())})
        assert given is not None
        self.given: Duty = given
        crewmates = Crewmates(given.table, "3f9a")
        self.runtime = Runtime(
            Settings(**self._settings),
            Routes(*(self._routes or [Route(Echo)])),
            process="3f9a/1.1",
            counts=given.row,
            neighbours=crewmates,
        )
        self.runtime.relocation = crewmates
        self.daemon = WorkerDaemon(self.runtime, None, given, crewmates)
        self.channel = Channel(ours, self._receive, self._note_gone)
        self.task = asyncio.create_task(self.daemon.serve([]))

    def _receive(self, message: WorkerMessage, descriptor: int) -> None:
        self.got.append(message)
        if message == Leaving():
            self.channel.send(Farewell())

    def _note_gone(self, unsent: Any) -> None:
        self.gone = True

    async def ready(self) -> None:
        await until(lambda: any(isinstance(each, Ready) for each in self.got))

    def pass_on(self) -> None:
        """Give the next connection to the worker."""
        sock, address = self.listener.accept()
        self.row.sent += 1
        self.channel.send(ClientConnection(0, address), sock.detach())

    async def ask(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.address[1]}", timeout=30.0
        ) as client:
            asking = asyncio.create_task(client.get(path))
            await self.connected()
            self.pass_on()
            return await asking

    async def connected(self) -> None:
        """Wait until a client has connected."""
        loop, seen = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.listener.fileno(), seen.set)
        async with asyncio.timeout(30):
            await seen.wait()
        loop.remove_reader(self.listener.fileno())

    async def call(self) -> Client:
        """Open a stream, and start it."""
        calling = asyncio.create_task(
            connect(f"ws://127.0.0.1:{self.address[1]}/stream", proxy=None).__aenter__()
        )
        await self.connected()
        self.pass_on()
        client = await calling
        await client.send(START)
        await until(lambda: any(call.session.started for call in self.runtime.calls))
        return client

    async def close(self) -> None:
        self.channel.close()
        for _ in range(3):
            self.daemon.stop()
        await self.task
        self.listener.close()
        self.given.table.close()
        self.table.close()


@pytest.fixture
async def start_worker() -> AsyncIterator[Callable[..., Awaitable[Workshop]]]:
    started: list[Workshop] = []

    async def start(*routes: Any, **settings: Any) -> Workshop:
        worker = Workshop(*routes, **settings)
        await worker.open()
        started.append(worker)
        return worker

    yield start
    for each in started:
        await each.close()


async def test_it_serves_the_connections_that_it_is_given(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    worker = await start_worker(max_calls=7)
    await worker.ready()
    assert worker.got == [Ready(calls_limit=7)]
    assert worker.row.state is WorkerState.READY
    answer = await worker.ask("/healthz")
    assert answer.text == "ok\n"
    # A proxy that kept its connections would bring all calls to one worker.
    assert answer.headers["connection"] == "close"
    client = await worker.call()
    await until(lambda: worker.row.waiting == 0)
    assert (worker.row.active, worker.row.reserved, worker.row.under_way) == (1, 0, 0)
    await client.close()
    await until(lambda: worker.row.active == 0)


async def test_a_start_that_fails_is_told_to_the_supervisor(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    class Agent(Handler):
        @staticmethod
        def lifespan() -> Any:
            raise ImportError("pip install something")

    worker = await start_worker(Route(Agent))
    with capture_logs() as logged:
        await worker.task
    await until(lambda: worker.gone)
    (failed,) = worker.got
    assert isinstance(failed, StartFailed)
    assert failed.reason.endswith("ImportError: pip install something")
    assert failed.status == 2
    assert worker.daemon.exit_status == 2
    assert not [line for line in logged if line["log_level"] == "error"]


async def test_a_retired_worker_ends_after_its_calls_and_its_farewell(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    worker = await start_worker()
    await worker.ready()
    client = await worker.call()
    worker.channel.send(Retire())
    await until(lambda: worker.row.state is WorkerState.DRAINING)
    assert await (await client.ping())
    assert Leaving() not in worker.got
    await client.close()
    await worker.task
    assert Leaving() in worker.got
    assert worker.daemon.exit_status == 0


async def test_a_retired_worker_first_answers_those_who_have_connected(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    worker = await start_worker()
    await worker.ready()
    reader, writer = await asyncio.open_connection(*worker.address)
    worker.pass_on()
    worker.channel.send(Retire())
    await until(lambda: worker.row.under_way == 0)
    await worker.daemon.on_tick(1)
    assert not worker.runtime.draining
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    await worker.task


async def test_a_worker_takes_connections_until_the_drain_delay_is_over(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    worker = await start_worker(drain_delay=300.0)
    await worker.ready()
    worker.channel.send(StopWorker(1))
    await until(lambda: worker.runtime.draining)
    await worker.daemon.on_tick(1)
    assert (await worker.ask("/readyz")).status_code == 503
    assert Leaving() not in worker.got
    worker.channel.send(StopWorker(2))
    await worker.task


async def test_without_its_supervisor_a_worker_lets_its_calls_end(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    worker = await start_worker()
    await worker.ready()
    client = await worker.call()
    with capture_logs() as logged:
        worker.channel.close()
        await until(lambda: worker.runtime.draining)
    assert [line["event"] for line in logged if line["log_level"] == "error"] == [
        "the supervisor is gone"
    ]
    assert await (await client.ping())
    await client.close()
    await worker.task
    assert worker.daemon.exit_status == 0


async def test_a_signal_to_all_processes_counts_once(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    worker = await start_worker()
    await worker.ready()
    client = await worker.call()
    worker.daemon.handle_exit(signal.SIGTERM, None)
    worker.channel.send(StopWorker(1))
    worker.daemon.handle_exit(signal.SIGTERM, None)
    await until(lambda: worker.row.state is WorkerState.DRAINING)
    assert await (await client.ping())
    worker.daemon.handle_exit(signal.SIGTERM, None)
    worker.channel.send(StopWorker(2))
    with pytest.raises(ConnectionClosed) as closed:
        await client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    await worker.task


async def test_signals_to_a_worker_without_its_supervisor_count(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    worker = await start_worker()
    await worker.ready()
    client = await worker.call()
    worker.channel.close()
    await until(lambda: worker.runtime.draining)
    worker.daemon.handle_exit(signal.SIGTERM, None)
    with pytest.raises(ConnectionClosed):
        await client.recv()
    await worker.task


async def test_what_other_workers_tell_is_heard(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    worker = await start_worker(auth_token="token")
    await worker.ready()
    heard: list[Any] = []
    worker.runtime.listeners.append(heard.append)
    worker.channel.send(Told("nonsense", {}))
    worker.channel.send(Told("hangup", {"CallUUID": "call-1", "CallStatus": "completed"}))
    worker.channel.send(UsedNonce("nonce-1"))
    await until(lambda: heard)
    assert heard[0].call_id == "call-1"
    signatures = worker.runtime.signatures
    assert signatures is not None
    await until(lambda: "nonce-1" in vars(signatures)["_used"])


async def test_it_tells_the_supervisor_of_its_calls(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    worker = await start_worker()
    websocket = await worker.call()
    worker.channel.send(Ask(7, encode_question(CallFilter())))
    await until(lambda: isinstance(worker.got[-1], Replied))
    replied = worker.got[-1]
    assert isinstance(replied, Replied)
    assert replied.number == 7
    (call,) = decode_answer(replied.body, CallPage).calls
    assert (call.call_id, call.worker) == ("call-1", "3f9a/1.1")
    with capture_logs() as logged:
        worker.channel.send(Ask(8, b"what?"))
        await until(lambda: logged)
    assert logged[0]["event"] == "a question of the supervisor could not be read"
    await websocket.close()


async def test_its_last_figures_come_before_its_end(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    worker = await start_worker()
    await (await worker.call()).close()
    worker.channel.send(Retire())
    worker.daemon.stop()
    await worker.task
    await until(lambda: worker.gone)
    last = worker.got[-1]
    assert isinstance(last, LastFigures)
    figures = {each.name: each for each in decode_answer(last.body, list[MetricFamily])}
    assert figures["mediaserver_calls"].samples == [("mediaserver_calls_total", {}, 1.0)]


async def test_what_waits_in_the_channel_is_the_backlog(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    worker = await start_worker()
    await worker.ready()
    worker.row.sent += 7
    await until(lambda: worker.runtime.counters.backlog == 7)


async def test_a_connection_that_came_without_its_socket_is_counted_and_logged(
    start_worker: Callable[..., Awaitable[Workshop]],
) -> None:
    worker = await start_worker()
    await worker.ready()
    worker.row.sent += 1
    with capture_logs() as logged:
        worker.channel.send(ClientConnection(0, ("192.0.2.1", 40_000)))
        await until(lambda: worker.row.under_way == 0)
    assert worker.runtime.counters.accept_failures == 1
    assert [line["event"] for line in logged] == ["no file descriptor left for a connection"]


LISTENS = """
async def {}(stream):
    async for _ in stream.audio():
        pass
"""


async def test_new_code_takes_new_calls_while_an_old_call_goes_on(
    start_process: Callable[..., Any], tmp_path: Path
) -> None:
    agent = tmp_path / "my_agent.py"
    agent.write_text(LISTENS.format("first"))
    server = start_process("my_agent.py", "--workers", "1", "--port", "0", cwd=tmp_path)
    url = server.wait_for("listening")["url"].replace("http", "ws") + "/stream"
    async with connect(url, proxy=None) as old:
        await old.send(START)
        started = await asyncio.to_thread(server.wait_for, "call started")
        assert (started["handler"], started["worker"]) == ("first", "1.1")
        agent.write_text(LISTENS.format("second"))
        server.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(server.wait_for, "reloaded")
        async with connect(url, proxy=None) as new:
            await new.send(START.replace("-1", "-2"))
            started = await asyncio.to_thread(server.wait_for, "call started")
            assert (started["handler"], started["worker"]) == ("second", "2.1")
            async with asyncio.timeout(30):
                await (await old.ping())
    server.terminate()
    assert await asyncio.to_thread(server.wait) == 0


async def test_a_worker_outlives_its_supervisor_until_its_call_is_over(
    start_process: Callable[..., Any],
) -> None:
    server = start_process("mediaserver.agents:Echo", "--workers", "1", "--port", "0")
    url = server.wait_for("listening")["url"].replace("http", "ws") + "/stream"
    async with connect(url, proxy=None) as call:
        await call.send(START)
        await asyncio.to_thread(server.wait_for, "call started")
        server.process.kill()
        await asyncio.to_thread(server.wait_for, "the supervisor is gone")
        await (await call.ping())
    await asyncio.to_thread(server.wait_for, "stopped")
    # Its log ends when the last process that writes to it has ended.
    await asyncio.to_thread(server.wait)
