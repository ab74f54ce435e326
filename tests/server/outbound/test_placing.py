"""Whole calls out, against the sandbox: REST, webhooks, signatures and media over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mediaserver import Handler, Stream
from mediaserver.plivo.client import PlivoClient
from mediaserver.plivo.errors import AuthenticationError
from mediaserver.sandbox.account import Account
from mediaserver.sandbox.platform import SandboxOptions, serve_sandbox
from mediaserver.server.account import connect
from mediaserver.server.outbound.dialler import DialError
from mediaserver.server.outbound.number_setup import set_up_number
from mediaserver.server.outbound.outcome import DialReport, Outcome
from mediaserver.server.outbound.placing import place_calls
from mediaserver.server.process.listening import BindError
from mediaserver.settings import Settings


pytestmark = pytest.mark.real_time


FROM = "+14155550100"


@pytest.fixture
async def sandbox() -> AsyncIterator[Any]:
    """A sandbox of its own: its account and its URL."""
    account = Account()
    url = asyncio.get_running_loop().create_future()
    options = SandboxOptions(account=account, port=0)
    serving = asyncio.create_task(serve_sandbox(options, ready=url.set_result))
    yield account, await url
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


def settings_for(account: Account, **settings: Any) -> Settings:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    return Settings(
        **{
            "port": port,
            "public_url": f"http://127.0.0.1:{port}",
            "auth_id": account.auth_id,
            "auth_token": account.auth_token.get_secret_value(),
            **settings,
        }
    )


async def listen_and_hang_up(stream: Stream) -> None:
    frames = 0
    async for _ in stream.audio():
        frames += 1
        if frames == 10:
            break
    await stream.hang_up()


async def test_calls_are_placed_held_and_reported(sandbox: tuple[Account, str]) -> None:
    account, url = sandbox
    settings = settings_for(account)
    numbers = ["+14155550199", "+14155550486", "+14155550404", "0800"]
    async with connect(settings.model_copy(update={"api_url": url})) as client:
        answered, busy, failed, refused = await place_calls(
            settings, client, listen_and_hang_up, numbers, FROM, calls_per_second=20
        )
        assert isinstance(answered, DialReport)
        assert answered.call_id is not None
        record = await client.calls.get(answered.call_id)
    assert answered.ok
    assert answered.outcome is Outcome.ANSWERED
    assert (answered.cause_code, answered.source) == (4000, "API Request")
    assert answered.rang
    assert isinstance(busy, DialReport)
    assert isinstance(failed, DialReport)
    assert busy.outcome is Outcome.BUSY
    assert failed.outcome is Outcome.FAILED
    assert failed.cause == "Destination Out Of Service"
    assert isinstance(refused, ValueError)
    assert record.hangup_cause_code == 4000


async def test_a_call_that_plivo_does_not_admit_is_an_error_of_its_own(
    sandbox: tuple[Account, str],
) -> None:
    account, url = sandbox
    settings = settings_for(account)
    async with PlivoClient(account.auth_id, "wrong", base_url=url) as client:
        results = await place_calls(settings, client, listen_and_hang_up, ["+14155550199"], FROM)
    assert [type(each) for each in results] == [AuthenticationError]


async def test_a_number_is_pointed_at_a_server_once(sandbox: tuple[Account, str]) -> None:
    account, url = sandbox
    async with connect(settings_for(account).model_copy(update={"api_url": url})) as client:
        first = await set_up_number(client, FROM, "https://voice.example.com")
        second = await set_up_number(client, FROM, "https://voice.example.com")
    assert first.changes
    assert second.changes == ()
    assert second.app_id == first.app_id


async def test_without_a_public_url_nobody_is_called() -> None:
    settings = Settings(port=0)
    async with PlivoClient("MA1", "token") as client:
        with pytest.raises(DialError, match="public_url"):
            await place_calls(settings, client, listen_and_hang_up, ["+14155550199"], FROM)


async def test_on_a_taken_port_nobody_is_called() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(port=port, public_url="https://voice.example.com")
        async with PlivoClient("MA1", "token") as client:
            with pytest.raises(BindError, match="--port"):
                await place_calls(settings, client, listen_and_hang_up, ["+14155550199"], FROM)


async def test_giving_up_ends_the_calls_and_the_server(sandbox: tuple[Account, str]) -> None:
    account, url = sandbox
    settings = settings_for(account)
    started = asyncio.Event()

    async def handler(stream: Stream) -> None:
        started.set()
        async for _ in stream.audio():
            pass

    async with connect(settings.model_copy(update={"api_url": url})) as client:
        placing = asyncio.create_task(
            place_calls(settings, client, handler, ["+14155550199"], FROM)
        )
        await started.wait()
        placing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await placing
        assert (await client.calls.list_live()).calls == []


class Unmade(Handler):
    def __init__(self) -> None:
        raise OSError("no prices")


class Unready(Handler):
    @classmethod
    @asynccontextmanager
    async def serving(cls, settings: Any) -> AsyncIterator[dict[str, str]]:
        yield {"chat": "cannot reach it"}


@pytest.mark.parametrize(
    ("handler", "reason"),
    [(Unmade, "the server did not start"), (Unready, "not ready: chat: cannot reach it")],
)
async def test_nobody_is_called_for_a_handler_that_would_not_work(
    sandbox: tuple[Account, str], handler: type[Handler], reason: str
) -> None:
    account, url = sandbox
    settings = settings_for(account)
    async with connect(settings.model_copy(update={"api_url": url})) as client:
        with pytest.raises(DialError, match=reason):
            await place_calls(settings, client, handler, ["+14155550199"], FROM)
        assert not (await client.calls.list()).objects
