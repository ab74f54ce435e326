import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mediaserver.server.admin.commands import CallFilter
from mediaserver.server.fleet import mail as mail_module
from mediaserver.server.fleet.background import doing
from mediaserver.server.fleet.breaker import Breaker
from mediaserver.server.fleet.keys import FleetKeys
from mediaserver.server.fleet.mail import DrainRequest, Mail, MailRequest, NotDeliveredError
from mediaserver.server.fleet.store import FleetStore
from tests.server.until import until


pytestmark = [pytest.mark.real_time, pytest.mark.fleet]


async def echo(request: MailRequest) -> bytes | None:
    return repr(request).encode()


@pytest.fixture
async def open_mail(private_redis: Any, _patient: None) -> AsyncIterator[Any]:
    """Make mail: ``await open_mail("a", work)``; those without `work` echo."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            channel: str, work: Callable[[MailRequest], Awaitable[bytes | None]] = echo
        ) -> Mail:
            breaker = Breaker(asyncio.get_running_loop().time, seconds=0.05)
            store = FleetStore(private_redis.url, channel, FleetKeys(), breaker, seconds=10.0)
            stack.push_async_callback(store.close)
            mail = Mail(store, [channel], work)
            await stack.enter_async_context(doing(mail=mail.listen()))
            async with asyncio.timeout(30):
                await mail.listens.wait()
            return mail

        yield start


async def test_a_request_is_answered(open_mail: Any) -> None:
    one = await open_mail("a")
    await open_mail("b")
    request = CallFilter(call="c-1")
    answers = await asyncio.gather(*(one.ask("b", request) for _ in range(20)))
    assert answers == [repr(request).encode()] * 20


async def test_a_request_to_nobody_comes_back_at_once(open_mail: Any) -> None:
    one = await open_mail("a")
    with pytest.raises(NotDeliveredError, match="it is gone"):
        await one.ask("b", DrainRequest())


async def test_a_result_may_take_longer_than_the_word_that_the_request_was_taken(
    open_mail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_module, "TAKEN_SECONDS", 3.0)

    async def slow(request: MailRequest) -> bytes | None:
        await asyncio.sleep(3.2)
        return b"done"

    one = await open_mail("a")
    await open_mail("b", slow)
    assert await one.ask("b", DrainRequest()) == b"done"


async def test_a_request_that_is_not_taken_is_not_waited_for(
    open_mail: Any, private_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_module, "TAKEN_SECONDS", 0.1)
    one = await open_mail("a")
    deaf = FleetStore(private_redis.url, "b", FleetKeys(), Breaker(lambda: 0.0), seconds=10.0)
    subscription = deaf.subscription()
    await subscription.subscribe("b")
    with pytest.raises(NotDeliveredError, match="not answered in time"):
        await one.ask("b", DrainRequest())
    await subscription.aclose()  # type: ignore[no-untyped-call]
    await deaf.close()


async def test_work_that_fails_is_not_answered(
    open_mail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_module, "TAKEN_SECONDS", 0.1)

    async def fails(request: MailRequest) -> bytes | None:
        raise ValueError("broken")

    one = await open_mail("a")
    await open_mail("b", fails)
    with pytest.raises(NotDeliveredError, match="not answered in time"):
        await one.ask("b", DrainRequest())


async def test_what_is_posted_is_worked_on_and_not_answered(open_mail: Any) -> None:
    came = asyncio.Event()

    async def note(request: MailRequest) -> bytes | None:
        came.set()
        return None

    one = await open_mail("a")
    await open_mail("b", note)
    assert await one.post("b", DrainRequest())
    assert not await one.post("nobody", DrainRequest())
    async with asyncio.timeout(30):
        await came.wait()


async def test_what_is_not_understood_is_passed_over(open_mail: Any, private_redis: Any) -> None:
    one = await open_mail("a")
    other = await open_mail("b")
    private_redis.command(b"PUBLISH a nonsense")
    assert await other.ask("a", DrainRequest()) == repr(DrainRequest()).encode()
    assert one.listens.is_set()


async def test_it_listens_again_after_redis_was_restarted(
    open_mail: Any, private_redis: Any
) -> None:
    one, other = await open_mail("a"), await open_mail("b")
    private_redis.kill()
    await until(lambda: not one.listens.is_set() and not other.listens.is_set())
    with pytest.raises(NotDeliveredError, match="lost its connection"):
        await one.ask("b", DrainRequest())
    private_redis.start()
    async with asyncio.timeout(30):
        await one.listens.wait()
        await other.listens.wait()
    await asyncio.sleep(0.06)
    assert await one.ask("b", DrainRequest()) == repr(DrainRequest()).encode()
