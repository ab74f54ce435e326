from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mediaserver.handler import Handler
from mediaserver.routes import Route
from mediaserver.server.admin.commands import CallCommand, CallFilter, RouteEntry
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.runtime import Runtime
from tests.server.admin.live import CALLED, CALLER, FakeControl, Live, hold, turns


Start = Callable[..., Awaitable[Runtime]]


class Talker(Handler):
    async def on_say(self, text: str) -> None: ...


def own(runtime: Runtime, control: FakeControl | None = None) -> OwnCalls:
    runtime.process = "3f9a/1"
    return OwnCalls(runtime, control or FakeControl())


async def ids(directory: OwnCalls, **wanted: Any) -> list[str | None]:
    return [each.call_id for each in (await directory.calls(CallFilter(**wanted))).calls]


async def test_a_live_call_says_where_and_how_it_is(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(Talker))
    live = Live(runtime)
    directory = own(runtime)
    await turns()
    await live.stream.play(bytes(4_000))
    (entry,) = (await directory.calls(CallFilter())).calls
    assert (entry.call_id, entry.stream_id, entry.state) == ("call-1", "stream-1", "live")
    assert (entry.caller, entry.called) == (CALLER, CALLED)
    assert (entry.handler, entry.path, entry.worker) == (Route(Talker).name, "/stream", "3f9a/1")
    assert entry.format == "audio/x-mulaw;rate=8000"
    assert entry.can_say
    assert entry.unheard_seconds == 0.5
    assert entry.started_at == pytest.approx(runtime.wall_clock(), abs=0.01)


async def test_a_process_says_which_calls_its_handlers_take(start_runtime: Start) -> None:
    vip = "+14155550199"
    runtime = await start_runtime(Route(hold, "/sales"), Route(Talker, "/sales", vip))
    (entry,) = await own(runtime).workers()
    assert entry.routes == [RouteEntry("/sales", "hold"), RouteEntry("/sales", "Talker", vip)]


async def test_a_call_that_has_not_started_is_listed_last(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(hold))
    Live(runtime, "call-9", start=False)
    Live(runtime)
    page = await own(runtime).calls(CallFilter())
    assert [each.state for each in page.calls] == ["live", "starting"]
    starting = page.calls[-1]
    assert (starting.call_id, starting.stream_id, starting.started_at) == ("call-9", None, None)
    assert not starting.can_say


async def test_calls_are_found_by_number_handler_state_and_id(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(hold), Route(Talker, "/talk"))
    Live(runtime)
    Live(runtime, "call-2", "stream-2", caller="sip:+14155550142@phone.plivo.com", path="/talk")
    Live(runtime, "call-3", "stream-3", caller=None).call.session.close("done")
    directory = own(runtime)
    await turns()
    assert await ids(directory, number="+1 415 555 0142") == ["call-2"]
    assert sorted(map(str, await ids(directory, number=CALLED))) == ["call-1", "call-2", "call-3"]
    assert await ids(directory, handler=Route(Talker).name) == ["call-2"]
    assert await ids(directory, state="ending") == ["call-3"]
    assert await ids(directory, call="stream-1") == ["call-1"]
    assert await ids(directory, number="14155550777") == []


async def test_pages_have_each_call_once_although_calls_end(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(hold))
    lives = [Live(runtime, f"call-{each}", f"stream-{each}") for each in range(7)]
    directory = own(runtime)
    seen: list[str | None] = []
    after = ""
    for _ in range(4):
        page = await directory.calls(CallFilter(limit=2, after=after))
        seen += [each.call_id for each in page.calls]
        after = page.calls[-1].cursor
        runtime.leave(lives[0].call)
    assert seen == [f"call-{each}" for each in range(7)]
    assert page.total == 6
    for live in lives:
        live.call.session.close("over")


async def test_a_command_reaches_the_call(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(hold))
    live = Live(runtime)
    assert (await own(runtime).send(CallCommand("hangup", "call-1"))).status == "done"
    assert live.link.closed


async def test_one_process_is_all_workers_and_all_nodes(start_runtime: Start) -> None:
    runtime = await start_runtime(Route(hold), max_calls=7)
    Live(runtime)
    runtime.admission.reserve("call-8")
    directory = own(runtime)
    (worker,) = await directory.workers()
    assert (worker.worker, worker.state) == ("3f9a/1", "ready")
    assert (worker.calls, worker.reserved, worker.calls_total) == (1, 1, 1)
    (node,) = await directory.nodes()
    assert (node.node, node.state, node.calls, node.calls_limit) == ("3f9a", "ready", 1, 7)
    assert node.self
    runtime.started.clear()
    assert (await directory.workers())[0].state == "starting"
    runtime.draining = True
    assert (await directory.nodes())[0].state == "draining"
    assert b"mediaserver_calls_active 1.0" in await directory.metrics()


async def test_a_node_is_drained_once(start_runtime: Start) -> None:
    control = FakeControl()
    directory = own(await start_runtime(Route(hold)), control)
    delivery = await directory.drain("other")
    assert (delivery.status, delivery.hint) == ("unknown_node", "there is: 3f9a, or self")
    assert control.drains == 0
    assert "refused" in (await directory.drain("self")).detail
    assert "already" in (await directory.drain("3f9a")).detail


async def test_certificates_are_reloaded(start_runtime: Start) -> None:
    control = FakeControl()
    assert (await own(await start_runtime(Route(hold)), control).reload()).status == "done"
    assert control.reloads == 1
