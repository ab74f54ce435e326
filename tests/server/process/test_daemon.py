import asyncio
import contextlib
import os
import resource
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from ssl import SSLContext
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import httpx
import pytest
import structlog
import trustme
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as sync_connect

from mediaserver.handler import Handler
from mediaserver.routes import Route
from mediaserver.server.process import acceptor, turning_away
from mediaserver.server.process.daemon import load_certificates
from mediaserver.server.process.tls import TLSError
from mediaserver.settings import Settings
from tests.server.start_message import START
from tests.server.until import until


pytestmark = pytest.mark.real_time


CALL = {"CallUUID": "call-1", "From": "14155550100", "To": "14155550199", "Event": "StartApp"}


def fail_with(error: Exception) -> Any:
    raise error


@contextlib.asynccontextmanager
async def live_call(served: Any) -> AsyncIterator[Any]:
    """A call whose stream has started."""
    async with connect(served.stream_url, proxy=None) as websocket:
        await websocket.send(START)
        await until(lambda: any(call.session.started for call in served.runtime.calls))
        yield websocket


def stream_url(answer: Element) -> str:
    assert answer[0].text is not None
    return answer[0].text


async def until_admission_closes(served: Any) -> None:
    await until(lambda: served.runtime.admission.closed)


async def test_it_serves_webhooks_and_streams_on_one_port(start_daemon: Callable[..., Any]) -> None:
    served = await start_daemon()
    async with httpx.AsyncClient(base_url=served.url, timeout=30.0) as client, live_call(served):
        assert (await client.get("/healthz")).text == "ok\n"
        assert "mediaserver_calls_active 1.0" in (await client.get("/metrics")).text


async def test_an_idle_server_stops_when_asked(start_daemon: Callable[..., Any]) -> None:
    served = await start_daemon()
    served.daemon.stop()
    await served.task
    assert served.daemon.exit_status == 0


async def test_a_draining_server_lets_live_calls_go_on_and_still_answers(
    start_daemon: Callable[..., Any],
) -> None:
    served = await start_daemon()
    async with (
        httpx.AsyncClient(base_url=served.url, timeout=30.0) as client,
        live_call(served) as websocket,
    ):
        served.daemon.stop()
        await until_admission_closes(served)
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200
        busy = ElementTree.fromstring((await client.post("/answer", data=CALL)).content)
        assert [child.tag for child in busy] == ["Speak", "Hangup"]
        with pytest.raises(InvalidStatus) as refused:
            await connect(served.stream_url, proxy=None)
        assert refused.value.response.status_code == 503
        assert await (await websocket.ping())
        assert not served.task.done()
    await served.task
    assert served.daemon.exit_status == 0


async def test_a_call_that_was_answered_is_let_into_a_draining_server(
    start_daemon: Callable[..., Any],
) -> None:
    served = await start_daemon()
    async with httpx.AsyncClient(base_url=served.url, timeout=30.0) as client:
        answer = ElementTree.fromstring((await client.post("/answer", data=CALL)).content)
        served.daemon.stop()
        await until_admission_closes(served)
        async with connect(stream_url(answer), proxy=None) as websocket:
            await websocket.send(START)
            assert await (await websocket.ping())
            assert not served.task.done()
    await served.task


async def test_in_overload_calls_whose_requests_waited_are_told_that_all_lines_are_busy(
    start_daemon: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await start_daemon(metrics="shared")
    monkeypatch.setattr(turning_away, "seconds_since_data", lambda sock: 0.5)
    served.runtime.counters.overloaded = True
    async with httpx.AsyncClient(base_url=served.url, timeout=30.0) as client:
        busy = ElementTree.fromstring((await client.post("/answer", data=CALL)).content)
        assert [child.tag for child in busy] == ["Speak", "Hangup"]
        assert (await client.get("/healthz")).status_code == 200
        metrics = (await client.get("/metrics")).text
    assert 'mediaserver_calls_refused_total{cause="overload"} 1.0' in metrics
    assert "mediaserver_overloaded 1.0" in metrics
    assert served.runtime.admission.idle


async def test_what_waits_to_be_accepted_is_looked_at(
    start_daemon: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "backlog_of", lambda sock: 7)
    served = await start_daemon()
    await until(lambda: served.runtime.counters.backlog == 7)


async def test_it_takes_new_calls_while_the_load_balancer_has_not_noticed(
    start_daemon: Callable[..., Any],
) -> None:
    served = await start_daemon(drain_delay=60)
    served.daemon.stop()
    async with httpx.AsyncClient(base_url=served.url, timeout=30.0) as client:
        assert (await client.get("/readyz")).status_code == 503
        answer = ElementTree.fromstring((await client.post("/answer", data=CALL)).content)
    assert answer[0].tag == "Stream"


@pytest.mark.parametrize(
    ("stops", "drain_timeout"), [(2, 3600), (1, 0)], ids=["asked twice", "time is up"]
)
async def test_live_calls_are_closed_as_going_away(
    start_daemon: Callable[..., Any], stops: int, drain_timeout: int
) -> None:
    served = await start_daemon(drain_timeout=drain_timeout)
    async with live_call(served) as websocket:
        for _ in range(stops):
            served.daemon.stop()
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    await served.task
    assert served.daemon.exit_status == 0


async def test_a_lifespan_that_fails_ends_the_server_with_an_error(
    start_daemon: Callable[..., Any],
) -> None:
    @contextlib.asynccontextmanager
    async def broken() -> AsyncIterator[Any]:
        yield fail_with(RuntimeError("no database"))

    class Agent(Handler):
        lifespan = broken

    served = await start_daemon(Route(Agent))
    await served.task
    assert served.daemon.exit_status == 1


def hanging(release: asyncio.Event) -> type[Handler]:
    class Hanging(Handler):
        @staticmethod
        @contextlib.asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            await release.wait()
            yield

    return Hanging


async def test_a_server_that_is_starting_answers_probes_and_lets_callers_wait(
    start_daemon: Callable[..., Any],
) -> None:
    release = asyncio.Event()
    served = await start_daemon(Route(hanging(release)), completely=False)
    async with httpx.AsyncClient(base_url=served.url, timeout=30.0) as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        with pytest.raises(InvalidStatus) as refused:
            await connect(served.stream_url, proxy=None)
        assert b"this server is starting" in refused.value.response.body
        assert served.runtime.counters.refused == {"starting": 1}
        answering = asyncio.create_task(client.post("/answer", data=CALL))
        await until(lambda: served.daemon.server_state.tasks)
        assert not served.daemon.started
        release.set()
        assert "<Stream" in (await answering).text
        assert (await client.get("/readyz")).status_code == 200


async def test_a_start_that_hangs_ends_when_asked(start_daemon: Callable[..., Any]) -> None:
    served = await start_daemon(Route(hanging(asyncio.Event())), completely=False)
    async with httpx.AsyncClient(base_url=served.url, timeout=30.0) as client:
        answering = asyncio.create_task(client.post("/answer", data=CALL))
        await until(lambda: served.daemon.server_state.tasks)
        served.daemon.stop()
        # The caller hears something all the same.
        assert "All our lines are busy" in (await answering).text
    await served.task
    assert served.daemon.exit_status == 0


async def test_a_start_that_hangs_ends_in_time(start_daemon: Callable[..., Any]) -> None:
    with capture_logs() as logged:
        served = await start_daemon(Route(hanging(asyncio.Event())), lifespan_timeout=0.01)
        await served.task
    assert served.daemon.exit_status == 1
    (line,) = [each for each in logged if each["log_level"] == "error"]
    assert "Hanging" in line["reason"]
    assert "--lifespan-timeout" in line["reason"]
    assert "in lifespan" in line["reason"]


async def test_an_end_that_hangs_ends_in_time(start_daemon: Callable[..., Any]) -> None:
    class Clinging(Handler):
        @staticmethod
        @contextlib.asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            yield
            await asyncio.Event().wait()

    served = await start_daemon(Route(Clinging), lifespan_timeout=0.5, after_call_seconds=0.1)
    with capture_logs() as logged:
        served.daemon.stop()
        await served.task
    assert served.daemon.exit_status == 1
    assert any(each["event"] == "shutdown failed" for each in logged)


BLOCKS = """
import contextlib, time
from mediaserver.handler import Handler

class Blocks(Handler):
    @staticmethod
    @contextlib.asynccontextmanager
    async def lifespan():
        print("entered", flush=True)
        time.sleep(1_000)
        yield
"""

RESISTS = BLOCKS.replace(
    "        time.sleep(1_000)\n",
    """        while True:
            with contextlib.suppress(BaseException):
                await __import__("asyncio").sleep(1_000)
""",
)


@pytest.mark.parametrize("code", [BLOCKS, RESISTS], ids=["blocks", "resists"])
def test_one_signal_ends_a_start_that_hangs(
    start_process: Callable[..., Any], tmp_path: Path, code: str
) -> None:
    (tmp_path / "hangs.py").write_text(code)
    server = start_process("hangs:Blocks", "--port", "0", cwd=tmp_path)
    assert server.process.stdout.readline() == "entered\n"
    server.terminate()
    server.wait_for("stopped before the start was complete")
    assert server.wait() == 0


@pytest.mark.parametrize(
    ("error", "said", "status"),
    [
        (ImportError("pip install something"), "ImportError: pip install something", 2),
        (OSError("no database"), "OSError: no database", 1),
    ],
)
async def test_a_failed_start_is_said_in_a_line(
    start_daemon: Callable[..., Any], error: Exception, said: str, status: int
) -> None:
    @contextlib.asynccontextmanager
    async def broken() -> AsyncIterator[Any]:
        yield fail_with(error)

    class Agent(Handler):
        lifespan = broken

    with structlog.testing.capture_logs() as logs:
        served = await start_daemon(Route(Agent))
        await served.task
    (failed,) = [log for log in logs if log["log_level"] == "error"]
    number = fail_with.__code__.co_firstlineno + 1
    assert failed["reason"].endswith(f"test_daemon.py:{number}: {said}")
    assert served.daemon.exit_status == status


async def test_a_handler_of_which_no_instance_can_be_made_ends_the_server(
    start_daemon: Callable[..., Any],
) -> None:
    class Agent(Handler):
        def __init__(self) -> None:
            raise OSError("no prices")

    with structlog.testing.capture_logs() as logs:
        served = await start_daemon(Route(Agent))
        await served.task
    (failed,) = [log for log in logs if log["log_level"] == "error"]
    assert failed["reason"].endswith(": OSError: no prices")
    assert served.daemon.exit_status == 2
    assert not served.runtime.ready


async def test_a_lifespan_that_fails_at_the_end_ends_the_server_with_an_error(
    start_daemon: Callable[..., Any],
) -> None:
    @contextlib.asynccontextmanager
    async def broken() -> AsyncIterator[Any]:
        yield
        raise RuntimeError("cannot flush")

    class Agent(Handler):
        lifespan = broken

    served = await start_daemon(Route(Agent))
    served.daemon.stop()
    await served.task
    assert served.daemon.exit_status == 1


@pytest.fixture
def issue(tmp_path: Path) -> Any:
    authority = trustme.CA()

    def issue(host: str) -> None:
        authority.issue_cert(host, "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            tmp_path / "server.pem"
        )

    issue("one.example")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    write: Any = issue
    write.context = context
    write.certfile = tmp_path / "server.pem"
    return write


async def served_names(served: Any, context: SSLContext) -> list[str]:
    _, writer = await asyncio.open_connection("127.0.0.1", served.port, ssl=context)
    names = [value for _, value in writer.get_extra_info("peercert")["subjectAltName"]]
    writer.close()
    await writer.wait_closed()
    return names


async def test_webhooks_and_streams_by_tls(start_daemon: Any, issue: Any) -> None:
    served = await start_daemon(ssl_certfile=issue.certfile)
    async with httpx.AsyncClient(base_url=served.url, verify=issue.context, timeout=30.0) as client:
        answer = ElementTree.fromstring((await client.post("/answer", data=CALL)).content)
    url = stream_url(answer)
    assert url.startswith("wss://")
    async with connect(url, ssl=issue.context, proxy=None) as websocket:
        await websocket.send(START)
        assert await (await websocket.ping())


async def test_a_new_certificate_is_served_and_open_calls_go_on(
    start_daemon: Any, issue: Any
) -> None:
    served = await start_daemon(ssl_certfile=issue.certfile)
    async with connect(served.stream_url, ssl=issue.context, proxy=None) as websocket:
        assert "one.example" in await served_names(served, issue.context)
        issue("two.example")
        await served.daemon.on_tick(0)
        assert "two.example" in await served_names(served, issue.context)
        assert await (await websocket.ping())


async def test_the_sweep_hangs_up_on_clients_that_say_nothing(
    start_daemon: Callable[..., Any],
) -> None:
    served = await start_daemon(header_timeout=0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_metrics_may_have_a_port_of_their_own(
    start_daemon: Callable[..., Any], issue: Any
) -> None:
    with capture_logs() as logged:
        served = await start_daemon(metrics="127.0.0.1:0", ssl_certfile=issue.certfile)
    (line,) = [each for each in logged if each["event"] == "metrics"]
    async with httpx.AsyncClient(timeout=30.0) as client:
        assert "mediaserver_calls_total" in (await client.get(line["url"])).text
        other = line["url"].replace("metrics", "answer")
        assert (await client.get(other, params=CALL)).status_code == 404
    served.daemon.stop()
    await served.task


async def test_idle_connections_keep_no_caller_out(start_daemon: Callable[..., Any]) -> None:
    served = await start_daemon(max_idle_connections=10)
    idle = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(50)]
    try:
        async with httpx.AsyncClient(base_url=served.url, timeout=30.0) as client:
            for number in range(5):
                answer = await client.post("/answer", data=CALL | {"CallUUID": f"call-{number}"})
                assert answer.status_code == 200
        async with live_call(served):
            pass
        metrics = await ask(served, "/metrics")
        assert 'mediaserver_connections_dropped_total{cause="idle"}' in metrics.text
    finally:
        for _, writer in idle:
            writer.close()


async def ask(served: Any, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=served.url, timeout=30.0) as client:
        return await client.get(path)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_without_file_descriptors_callers_hear_that_it_is_busy_and_the_process_is_alive(
    start_process: Callable[..., Any],
) -> None:
    server = start_process("mediaserver.agents:Echo", "--port", "0")
    url = server.wait_for("listening")["url"]
    pid = server.process.pid
    limit = max(int(number) for number in os.listdir(f"/proc/{pid}/fd")) + 6
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
    stream_url = f"{url}/stream".replace("http", "ws")
    with contextlib.ExitStack() as stack:
        calls: list[Any] = []

        def call() -> None:
            calls.append(stack.enter_context(sync_connect(stream_url, proxy=None)))

        def call_until_refused() -> None:
            for _ in range(limit):
                call()

        with pytest.raises(InvalidStatus) as refused:
            call_until_refused()
        assert calls
        assert refused.value.response.status_code == 503
        assert b"no file descriptor left" in refused.value.response.body
        assert httpx.get(f"{url}/healthz", timeout=30.0).text == "ok\n"
        assert "All our lines are busy" in httpx.post(f"{url}/answer", data=CALL, timeout=30.0).text
        assert (
            "mediaserver_accept_failures_total 0.0"
            not in httpx.get(f"{url}/metrics", timeout=30.0).text
        )
        for each in calls:
            assert each.ping().wait(30)
    assert server.wait_for("no file descriptor left for a connection")["level"] == "error"
    answer = httpx.post(f"{url}/answer", data=CALL, timeout=30.0)
    assert "<Stream" in answer.text


def test_without_a_certificate_there_is_no_tls() -> None:
    assert load_certificates(Settings()) is None


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TLSError, match=r"cert\.pem"):
        load_certificates(Settings(ssl_certfile=tmp_path / "cert.pem"))


async def test_sigterm_waits_for_the_call_and_ends_with_0(
    start_process: Callable[..., Any],
) -> None:
    process = start_process("mediaserver.agents:Echo", "--port", "0")
    url = process.wait_for("listening")["url"]
    async with connect(url.replace("http", "ws") + "/stream", proxy=None) as websocket:
        await websocket.send(START)
        await asyncio.to_thread(process.wait_for, "call started")
        process.terminate()
        await asyncio.to_thread(process.wait_for, "draining")
        async with httpx.AsyncClient(base_url=url, timeout=30.0) as client:
            assert (await client.get("/readyz")).status_code == 503
            assert (await client.get("/metrics")).status_code == 200
    assert await asyncio.to_thread(process.wait) == 0
    assert process.process.stdout.read() == ""


async def test_a_closed_terminal_cuts_no_call(start_process: Callable[..., Any]) -> None:
    process = start_process("mediaserver.agents:Echo", "--port", "0")
    url = process.wait_for("listening")["url"]
    async with connect(url.replace("http", "ws") + "/stream", proxy=None) as websocket:
        await websocket.send(START)
        await asyncio.to_thread(process.wait_for, "call started")
        process.process.send_signal(signal.SIGHUP)
        taken = "reloading: certificates are read again, calls go on"
        await asyncio.to_thread(process.wait_for, taken)
        async with asyncio.timeout(30):
            await (await websocket.ping())
    process.terminate()
    assert await asyncio.to_thread(process.wait) == 0


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["nohup", "own"])
async def test_who_handles_sighup_already_goes_on_to(
    start_daemon: Callable[..., Any], handler: Any
) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        served = await start_daemon()
        assert signal.getsignal(signal.SIGHUP) is handler
        served.daemon.stop()
        await served.task
        assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_second_signal_closes_the_call_and_still_ends_with_0(
    start_process: Callable[..., Any],
) -> None:
    process = start_process("mediaserver.agents:Echo", "--port", "0")
    url = process.wait_for("listening")["url"]
    async with connect(url.replace("http", "ws") + "/stream", proxy=None) as websocket:
        await websocket.send(START)
        await asyncio.to_thread(process.wait_for, "call started")
        process.terminate()
        await asyncio.to_thread(process.wait_for, "draining")
        process.process.send_signal(signal.SIGINT)
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    assert await asyncio.to_thread(process.wait) == 0


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The end of systemd's that is told about a service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(60)
        yield sock


def test_systemd_gives_the_socket_and_is_told_what_the_server_does(
    start_process: Callable[..., Any], systemd: socket.socket
) -> None:
    def told() -> Any:
        while (line := systemd.recv(1000).decode()).startswith("STATUS"):
            pass
        return line

    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = start_process(
            "mediaserver.agents:Echo",
            env={"NOTIFY_SOCKET": systemd.getsockname(), "LISTEN_FDS": "1"},
            listens=listening,
        )
        url = process.wait_for("listening")["url"]
        assert url == f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert told() == "READY=1"
        assert httpx.get(f"{url}/healthz", timeout=30.0).text == "ok\n"
        process.process.send_signal(signal.SIGHUP)
        assert told().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert told() == "READY=1"
        process.terminate()
        assert told() == "STOPPING=1"
        assert process.wait() == 0
