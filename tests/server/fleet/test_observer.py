import asyncio
from typing import Any

import pytest

from mediaserver.routes import Route
from mediaserver.server.admin.commands import CallCommand, CallFilter
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.fleet.directory import FleetDirectory
from mediaserver.server.fleet.observer import FleetObserver
from mediaserver.settings import Settings
from tests.server.admin.live import Live, hold, turns
from tests.server.until import until


pytestmark = [pytest.mark.real_time, pytest.mark.fleet]


async def test_a_supervisor_sees_and_controls_the_calls_of_other_machines(
    start_node: Any, private_redis: Any
) -> None:
    own = await start_node("m/1.1", Route(hold))
    other = await start_node("b", Route(hold))
    Live(own.runtime, "call-1", "stream-1")
    live = Live(other.runtime, "call-2", "stream-2")
    await turns()
    settings = Settings(redis=private_redis.url, secret="s" * 16)  # type: ignore[arg-type]
    observer = FleetObserver(settings, "m")
    directory = FleetDirectory(OwnCalls(own.runtime, own.control), observer)
    async with observer.joined():
        async with asyncio.timeout(30):
            await observer.mail.listens.wait()
        await until(lambda: len(observer.members) == 2)
        page = await directory.calls(CallFilter())
        assert [each.call_id for each in page.calls] == ["call-1", "call-2"]
        assert (await directory.send(CallCommand("hangup", "stream-2"))).status == "done"
        assert live.link.closed is not None
        assert [(each.node, each.self) for each in await directory.nodes()] == [
            ("b", False),
            ("m", True),
        ]


async def test_it_starts_without_redis(private_redis: Any) -> None:
    private_redis.kill()
    settings = Settings(redis=private_redis.url, secret="s" * 16)  # type: ignore[arg-type]
    observer = FleetObserver(settings, "m")
    async with observer.joined():
        await observer.look()
        assert observer.members == {}
        observer.undelivered()
