from typing import Any

import pytest
from msgspec import structs

from mediaserver.routes import Route
from mediaserver.server.admin.commands import CallCommand, CallFilter
from tests.server.admin.live import Live, hold, turns


pytestmark = [pytest.mark.real_time, pytest.mark.fleet]


@pytest.fixture
async def two(start_node: Any) -> Any:
    """Two nodes: a with call-1, b with call-2."""
    one, other = await start_node("a", Route(hold)), await start_node("b", Route(hold))
    lives = Live(one.runtime), Live(other.runtime, "call-2", "stream-2")
    for node in (one, other):
        await node.fleet.beat()
    await one.fleet.beat()
    await turns()
    return one, other, *lives


async def test_any_node_lists_every_call(two: Any) -> None:
    one, other, *_ = two
    for node in (one, other):
        page = await node.directory.calls(CallFilter())
        assert [each.call_id for each in page.calls] == ["call-1", "call-2"]
        assert [each.worker for each in page.calls] == ["a", "b"]
        assert (page.total, page.silent) == (2, [])


async def test_a_page_has_the_oldest_calls_of_all_nodes(two: Any) -> None:
    _, other, *_ = two
    first = await other.directory.calls(CallFilter(limit=1))
    rest = await other.directory.calls(CallFilter(limit=1, after=first.calls[0].cursor))
    assert [each.call_id for each in (*first.calls, *rest.calls)] == ["call-1", "call-2"]
    assert first.total == 2


@pytest.mark.parametrize("call", ["call-2", "stream-2"])
async def test_any_node_controls_a_call_by_the_id_of_the_call_or_the_stream(
    two: Any, call: str
) -> None:
    one, _, first, second = two
    delivery = await one.directory.send(CallCommand("hangup", call))
    assert delivery.status == "done"
    assert second.link.closed is not None
    assert first.link.closed is None


async def test_a_call_of_another_node_is_followed_to_its_end(two: Any) -> None:
    one, _, _, second = two
    first = await one.directory.send(CallCommand("trace", "call-2"))
    assert first.traced.process == "b"
    second.call.close(1000, "over")
    second.call.lost("gone")
    await turns()
    last = await one.directory.send(CallCommand("trace", "call-2", after=0, process="b"))
    assert last.traced.ended
    assert "stream ended" in last.traced.lines[-1]


async def test_a_call_that_nobody_has_is_unknown(two: Any) -> None:
    one, *_ = two
    assert (await one.directory.send(CallCommand("hangup", "call-9"))).status == "unknown_call"


async def test_a_call_that_was_lost_with_its_node_is_said_to_be(
    two: Any, private_redis: Any
) -> None:
    one, *_ = two
    private_redis.command(f"SET {one.fleet.keys.lost('call-9')} c".encode())
    delivery = await one.directory.send(CallCommand("hangup", "call-9"))
    assert (delivery.status, delivery.detail) == ("unknown_call", "the call was lost with c")


async def test_calls_that_were_lost_with_their_node_are_listed_as_lost(start_node: Any) -> None:
    dead = await start_node("c", Route(hold))
    Live(dead.runtime, "call-9", "stream-9")
    await dead.fleet.beat()
    one = await start_node("a", Route(hold), lost_after=-1.0)
    Live(one.runtime)
    page = await one.directory.calls(CallFilter())
    assert {(each.call_id, each.state, each.worker) for each in page.calls} == {
        ("call-1", "live", "a"),
        ("call-9", "lost", "c"),
    }
    (lost,) = (await one.directory.calls(CallFilter(state="lost"))).calls
    assert lost.lost_at is not None
    assert (await one.directory.calls(CallFilter(call="call-9"))).calls == [lost]
    assert (await one.directory.calls(CallFilter(state="live"))).total == 1
    assert (await one.directory.calls(CallFilter(state="lost", after=lost.cursor))).calls == []
    assert (await one.directory.calls(CallFilter(handler="hold"))).total == 1


async def test_every_lost_call_counts_and_is_on_a_page(start_node: Any, private_redis: Any) -> None:
    one = await start_node("a")
    lost = " ".join(f"{1_000 + number} lost-{number}" for number in range(1_200))
    private_redis.command(f"ZADD {one.fleet.keys.lost_calls} {lost}".encode())
    found: list[str] = []
    after = ""
    while len(found) < 1_200:
        page = await one.directory.calls(CallFilter(limit=500, after=after))
        assert page.total == 1_200
        found += [each.call_id for each in page.calls]
        after = page.calls[-1].cursor
    assert found == [f"lost-{number}" for number in range(1_200)]


async def test_a_call_that_lives_again_is_not_listed_as_lost_as_well(
    two: Any, private_redis: Any
) -> None:
    one, *_ = two
    private_redis.command(f"ZADD {one.fleet.keys.lost_calls} 1000 call-2".encode())
    page = await one.directory.calls(CallFilter())
    assert [(each.call_id, each.state) for each in page.calls] == [
        ("call-1", "live"),
        ("call-2", "live"),
    ]
    assert page.total == 2


async def test_a_node_that_is_gone_is_silent_and_a_command_not_delivered(
    two: Any, private_redis: Any
) -> None:
    one, *_ = two
    one.fleet.members["c"] = structs.replace(one.fleet.about(), machine="c")
    private_redis.command(f"HSET {one.fleet.keys.calls} call-9 c".encode())
    page = await one.directory.calls(CallFilter())
    assert (page.silent, page.total) == (["c"], 2)
    delivery = await one.directory.send(CallCommand("hangup", "call-9"))
    assert (delivery.status, delivery.detail) == ("not_delivered", "c was not reached: it is gone")
    unknown = await one.directory.send(CallCommand("hangup", "stream-9"))
    assert unknown.status == "not_delivered"
    assert unknown.detail.endswith("no answer from c")
    assert one.fleet.figures.undelivered == 2


async def test_without_redis_own_calls_are_controlled_and_others_not_delivered(
    two: Any, private_redis: Any
) -> None:
    one, _, first, _ = two
    private_redis.kill()
    page = await one.directory.calls(CallFilter())
    assert [each.call_id for each in page.calls] == ["call-1"]
    assert page.silent == ["b"]
    assert (await one.directory.send(CallCommand("hangup", "call-2"))).status == "not_delivered"
    assert (await one.directory.send(CallCommand("hangup", "call-1"))).status == "done"
    assert first.link.closed is not None


async def test_without_redis_each_node_answers_for_itself_alone(
    two: Any, private_redis: Any
) -> None:
    one, other, _, second = two
    private_redis.kill()
    unknown = await one.directory.send(CallCommand("hangup", "call-3"))
    assert (unknown.status, "ask at that node" in unknown.hint) == ("not_delivered", True)
    assert (await other.directory.send(CallCommand("hangup", "call-2"))).status == "done"
    assert second.link.closed is not None
    assert (await one.directory.drain("b")).status == "not_delivered"
    assert (await one.directory.drain("a")).status == "done"
    assert (one.control.drains, other.control.drains) == (1, 0)


async def test_nodes_are_listed_with_their_processes(start_node: Any) -> None:
    await start_node("b/1.1", max_calls=7)
    await start_node("b/2.1", max_calls=7)
    one = await start_node("a", node_address="10.0.0.1:80")
    first, second = await one.directory.nodes()
    assert (first.node, first.self, first.workers) == ("a", True, 1)
    assert first.address == "http://10.0.0.1:80"
    assert (second.node, second.self, second.workers, second.calls_limit) == ("b", False, 2, 7)
    assert second.state == "ready"


async def test_any_node_drains_any_node(two: Any) -> None:
    one, other, *_ = two
    assert (await one.directory.drain("b")).status == "done"
    assert (one.control.drains, other.control.drains) == (0, 1)
    assert (await one.directory.drain("self")).status == "done"
    assert one.control.drains == 1
    unknown = await one.directory.drain("c")
    assert unknown.status == "unknown_node"
    assert "there is: a, b, or self" in unknown.hint


async def test_what_belongs_to_one_machine_is_asked_there(two: Any) -> None:
    one, *_ = two
    assert [each.worker for each in await one.directory.workers()] == ["a"]
    assert b"mediaserver_fleet_members 2.0" in await one.directory.metrics()
    assert (await one.directory.reload()).status == "done"
    assert one.control.reloads == 1
