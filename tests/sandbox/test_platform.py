from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import Signals
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from mediaserver import espeak
from mediaserver.sandbox.account import Account
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.calls.services import ExchangeOptions
from mediaserver.sandbox.people.person import ScriptError
from mediaserver.sandbox.platform import (
    Sandbox,
    SandboxOptions,
    _listener,
    environment,
    serve_sandbox,
    speak_text,
)
from mediaserver.sandbox.records.records import CallRecord
from mediaserver.sandbox.records.store import StoreError
from mediaserver.sandbox.webhooks import Patience, Target
from mediaserver.testing import run_virtual


LIMIT = 60.0
"""Seconds after which a process or a server that a test waits for has failed."""

PATIENT = Patience(LIMIT, LIMIT, LIMIT, retries=0)
"""Requests wait for as long as the test does: a busy machine is late, and not at fault."""

ACCOUNT = Account("MASANDBOXSANDBOXSAND", SecretStr("token"))


@asynccontextmanager
async def serving(options: SandboxOptions) -> AsyncIterator[str]:
    """Serve a sandbox on loopback, and give its URL."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve_sandbox(options, ready=ready.set_result))
    try:
        async with asyncio.timeout(LIMIT):
            waited: list[asyncio.Future[Any]] = [server, ready]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        yield ready.result()
    finally:
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)


def client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"{url}/v1/Account/{ACCOUNT.auth_id}/",
        auth=(ACCOUNT.auth_id, "token"),
        trust_env=False,
        timeout=30.0,
    )


async def test_it_listens_and_remembers_from_one_run_to_the_next(tmp_path: Path) -> None:
    options = SandboxOptions(account=ACCOUNT, port=0, database=tmp_path / "sandbox.db")
    async with serving(options) as url, client(url) as api:
        made = await api.post("Application/", json={"app_name": "agent"})
    async with serving(options) as url, client(url) as api:
        listed = (await api.get("Application/")).json()["objects"]

    assert [each["app_id"] for each in listed] == [made.json()["app_id"]]


async def test_an_address_in_use_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            await serve_sandbox(SandboxOptions(port=taken.getsockname()[1]))


_SERVED = """
import asyncio, sys
from pathlib import Path
from pydantic import SecretStr
from mediaserver.sandbox.account import Account
from mediaserver.sandbox.platform import SandboxOptions, serve_sandbox
from mediaserver.sandbox.webhooks import Patience

account = Account("MASANDBOXSANDBOXSAND", SecretStr("token"))
options = SandboxOptions(
    account=account, port=0, database=Path(sys.argv[1]), patience=Patience(60, 60, 60, 0)
)
asyncio.run(serve_sandbox(options, ready=lambda url: print(url, flush=True)))
"""


async def ended(process: asyncio.subprocess.Process) -> None:
    """Wait until a process has ended."""
    async with asyncio.timeout(LIMIT):
        await process.communicate()


class Told:
    """A customer on loopback: answers every request with a wait of a minute, and keeps them."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.asked = asyncio.Event()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.bodies.append(await reader.readexactly(size))
        document = b'<Response><Wait length="60"/></Response>'
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(document), document))
        writer.close()
        self.asked.set()


@asynccontextmanager
async def in_a_call(database: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, Told]]:
    """Give a process that serves a sandbox, its call that goes on, and the call's customer."""
    told = Told()
    customer = await asyncio.start_server(told.take, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{customer.sockets[0].getsockname()[1]}/"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVED, str(database), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT):
            async with client((await process.stdout.readline()).decode().strip()) as api:
                body = {"from": "+14155550100", "to": "+14155550123", "answer_url": url}
                uuid = (await api.post("Call/", json=body)).json()["request_uuid"]
            await told.asked.wait()
        yield process, uuid, told
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
        customer.close()


async def test_a_kill_in_the_middle_of_a_call_is_made_up_for(tmp_path: Path) -> None:
    database = tmp_path / "sandbox.db"
    async with in_a_call(database) as (process, uuid, told):
        process.kill()
        await ended(process)

        options = SandboxOptions(account=ACCOUNT, database=database, patience=PATIENT)
        async with asyncio.timeout(LIMIT), Sandbox(options) as sandbox:
            await sandbox.exchange.services.webhooks.delivered()
            record = sandbox.exchange.records.calls[uuid]

    assert (record.status, record.hangup_cause_name) == ("completed", "Internal Error")
    assert [b"Event=StartApp" in each for each in told.bodies] == [True, False]
    assert b"Event=Hangup" in told.bodies[1]
    assert f"CallUUID={uuid}".encode() in told.bodies[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_hangs_up_before_the_end(tmp_path: Path, number: Signals) -> None:
    async with in_a_call(tmp_path / "sandbox.db") as (process, _, told):
        process.send_signal(number)
        await ended(process)

    assert process.returncode == 0
    assert b"HangupSource=Plivo" in told.bodies[1]


async def test_a_database_that_is_none_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.db"
    path.write_text("no database at all, and long enough to look like a broken one" * 40)

    with pytest.raises(StoreError, match=r"sandbox\.db cannot be used"):
        async with Sandbox(SandboxOptions(database=path)):
            pass


async def test_a_phone_that_cannot_be_is_an_error() -> None:
    with pytest.raises(ScriptError, match="dance"):
        async with Sandbox(SandboxOptions(phone="dance")):
            pass


def test_every_number_has_the_phone_that_was_asked_for(tmp_path: Path) -> None:
    async def scenario() -> CallRecord:
        options = SandboxOptions(
            phone="wait 2; hang up", exchange=ExchangeOptions(recordings=tmp_path)
        )
        transport = httpx.MockTransport(
            lambda _: httpx.Response(200, text='<Response><Wait length="60"/></Response>')
        )
        async with Sandbox(options, transport=transport) as sandbox:
            plan = CallPlan(Target("http://customer.example/"))
            call = await sandbox.exchange.call("+14155550123", caller="+1415555", plan=plan)
            await call.wait_ended()
            return call.record

    record = run_virtual(scenario())

    assert (record.bill_duration, record.hangup_source) == (2, "Callee")


async def test_what_cannot_be_spoken_is_silence_of_its_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def speechless(*_: Any) -> None:
        raise espeak.SpeechError("no voice")

    monkeypatch.setattr(espeak, "speak", speechless)

    wav = await speak_text("x" * 28, "en-US")

    assert (wav.seconds, wav.samples.any()) == (2, False)


def test_the_environment_names_the_account_and_the_address() -> None:
    lines = environment(ACCOUNT, "http://127.0.0.1:9000")

    assert "PLIVO_AUTH_ID=MASANDBOXSANDBOXSAND" in lines
    assert "PLIVO_AUTH_TOKEN=token" in lines
    assert "PLIVO_BASE_URL=http://127.0.0.1:9000" in lines
    assert "MEDIASERVER_AUTH_ID=MASANDBOXSANDBOXSAND" in lines
    assert "MEDIASERVER_AUTH_TOKEN=token" in lines
    assert "MEDIASERVER_API_URL=http://127.0.0.1:9000" in lines


def test_secrets_are_in_no_repr() -> None:
    assert "token" not in repr(SandboxOptions(account=ACCOUNT)).replace("auth_token", "").replace(
        "main_token", ""
    )


async def test_requests_may_name_files_beside_that_of_the_phone(tmp_path: Path) -> None:
    script = tmp_path / "phone.yaml"
    script.write_text("- hang_up\n")
    for phone, folder in ((str(script), tmp_path), ("hang up", None), (None, None)):
        async with Sandbox(SandboxOptions(phone=phone)) as sandbox:
            assert sandbox.exchange.services.options.files == folder


async def test_small_answers_are_not_held_back() -> None:
    listener = _listener("127.0.0.1", 0)
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(
        lambda _, writer: accepted.set_result(writer), sock=listener
    )
    async with server:
        with socket.create_connection(listener.getsockname(), timeout=10):
            writer = await asyncio.wait_for(accepted, 10)
            sock = writer.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
