import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.call import Turn
from mediaserver.plivo.callbacks import AnswerRequest, HangupRequest, StreamStatusRequest
from mediaserver.routes import Route
from mediaserver.server.answer import claimed
from mediaserver.server.asgi import asgi
from mediaserver.server.fleet import fleet
from mediaserver.server.kept_streams import KeptStream
from mediaserver.settings import Settings
from mediaserver.stream import Stream
from tests.server.admin.live import Live, hold
from tests.server.fleet.conftest import PrivateRedis
from tests.server.test_server_call import CALL_ID, STREAM_ID, enter
from tests.server.until import until


pytestmark = [pytest.mark.real_time, pytest.mark.fleet]

BASE = "https://voice.example.com"


async def answer(node: Any, call_id: str, path: str | None = None) -> str:
    fields = {"CallUUID": call_id, "From": "14155550100", "To": "14155550199"}
    reply = await claimed(node.runtime, AnswerRequest.parse(fields), BASE, path)
    return reply.kind


async def done(node: Any) -> None:
    async with asyncio.timeout(30):
        await node.fleet.caught_up()


def hangup(call_id: str) -> HangupRequest:
    return HangupRequest.parse({"CallUUID": call_id, "Event": "Hangup"})


async def test_streams_that_have_not_started_ask_nothing_of_redis_at_their_end(
    start_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[str] = []

    async def release(calls: list[str], last: int) -> None:
        released.extend(calls)

    node = await start_node("a")
    monkeypatch.setattr(node.fleet.store, "release", release)
    enter(node.runtime, start=False).call.lost("the connection was lost")
    assert not node.runtime.calls
    await done(node)
    assert released == []


async def test_requests_that_find_no_room_to_wait_are_counted(
    start_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_LATER", 1)
    node = await start_node("a")
    await done(node)
    for nonce in ("1", "2", "3"):
        node.fleet.released(nonce)
    assert node.fleet.figures.dropped == 2


async def test_members_know_each_other(start_node: Any) -> None:
    one = await start_node("a", node_address="10.0.0.1:8000")
    other = await start_node("b/1.1")
    assert set(other.fleet.members) == {"a", "b/1.1"}
    about = other.fleet.members["a"]
    assert (about.node, about.state, about.address) == ("a", "ready", "http://10.0.0.1:8000")
    await one.fleet.beat()
    assert one.fleet.members["b/1.1"].node == "b"
    assert one.fleet.figures.members == 2


async def test_a_member_that_leaves_is_known_no_more(start_node: Any) -> None:
    one, other = await start_node("a"), await start_node("b")
    await one.runtime.shutdown()
    await other.fleet.beat()
    assert set(other.fleet.members) == {"b"}
    assert other.fleet.figures.members_lost == 0


async def test_a_member_that_is_dead_is_lost_with_its_calls(start_node: Any) -> None:
    one = await start_node("a", Route(hold))
    Live(one.runtime)
    await one.fleet.beat()
    other = await start_node("b", lost_after=-1.0)
    await until(lambda: other.fleet.figures.calls_lost == 1)
    assert other.fleet.figures.members_lost >= 1
    assert await other.fleet.store.lost_with("call-1") == "a"


async def test_the_accounts_limit_holds_on_all_nodes(start_node: Any) -> None:
    one = await start_node("a", max_calls_account=1)
    other = await start_node("b", max_calls_account=1)
    assert await answer(one, "call-1") == "stream"
    assert await answer(one, "call-1") == "stream", "Plivo may ask twice"
    assert await answer(other, "call-2") == "busy"
    assert other.fleet.figures.refused == {"account": 1}
    assert other.runtime.admission.reserved == 0


async def test_a_routes_limit_holds_on_all_nodes(start_node: Any) -> None:
    routes = Route(hold), Route(hold, "/sales", max_calls=1)
    one, other = await start_node("a", *routes), await start_node("b", *routes)
    assert await answer(one, "call-1", "/sales") == "stream"
    assert await answer(other, "call-2", "/sales") == "busy"
    assert await answer(other, "call-3") == "stream"
    assert other.fleet.figures.refused == {"route": 1}


async def test_the_place_of_a_call_is_free_once_it_is_over(start_node: Any) -> None:
    one = await start_node("a", Route(hold), max_calls_account=1)
    other = await start_node("b", Route(hold), max_calls_account=1)
    assert await answer(one, "call-1") == "stream"
    live = Live(one.runtime)
    assert await answer(other, "call-2") == "busy"
    live.call.session.close("over")
    live.call.lost("over")
    await until(lambda: not one.runtime.calls)
    await done(one)
    assert await answer(other, "call-2") == "stream"


async def test_a_call_that_is_turned_away_after_all_keeps_no_place(start_node: Any) -> None:
    one = await start_node("a", max_calls_account=5)
    one.runtime.answered.end("call-1")
    assert await answer(one, "call-1") == "ended"
    await done(one)
    assert await one.fleet.store.owner("call-1") is None


async def test_without_limits_a_call_is_registered_meanwhile(start_node: Any) -> None:
    one = await start_node("a")
    assert await answer(one, "call-1") == "stream"
    await done(one)
    assert await one.fleet.store.owner("call-1") == "a"


async def test_a_hangup_reaches_the_node_of_the_call(start_node: Any) -> None:
    one, other = await start_node("a"), await start_node("b")
    await answer(one, "call-1")
    await done(one)
    assert one.runtime.admission.reserved == 1
    other.runtime.told(hangup("call-1"))
    await until(lambda: one.runtime.answered.has_ended("call-1"))
    assert one.runtime.admission.reserved == 0


async def test_a_status_reaches_the_node_of_the_call(start_node: Any) -> None:
    one, other = await start_node("a", Route(hold)), await start_node("b")
    Live(one.runtime)
    await one.fleet.beat()
    heard: list[Any] = []
    one.runtime.listeners.append(heard.append)
    fields = {"CallUUID": "call-1", "StreamID": "stream-1", "Event": "StartStream"}
    other.runtime.told(StreamStatusRequest.parse(fields))
    await until(lambda: heard)
    assert heard[0].stream_id == "stream-1"


async def test_a_webhook_of_a_node_that_is_gone_is_counted(start_node: Any) -> None:
    one, other = await start_node("a"), await start_node("b")
    await answer(one, "call-1")
    await done(one)
    one.fleet.keys = type(one.fleet.keys)("elsewhere")
    other.fleet.keys = type(other.fleet.keys)("elsewhere")
    other.runtime.told(hangup("call-1"))
    await done(other)
    assert other.fleet.figures.undelivered == 1


async def test_a_stream_whose_signature_was_used_on_another_node_is_closed(
    start_node: Any,
) -> None:
    one, other = await start_node("a", Route(hold)), await start_node("b", Route(hold))
    first, second = Live(one.runtime), Live(other.runtime)
    for live in (first, second):
        accepted = live.call.accepted
        object.__setattr__(accepted, "nonce", "nonce-1")
    one.fleet.entered(first.call)
    await done(one)
    other.fleet.entered(second.call)
    await until(lambda: second.link.closed)
    assert second.link.closed == (1008, "a stream was opened with this signature before")
    assert first.link.closed is None
    one.fleet.released("nonce-1")
    await done(one)
    assert await other.fleet.store.use_nonce("nonce-1")


async def test_without_redis_calls_go_on_within_the_limits_of_the_node(
    start_node: Any, private_redis: Any
) -> None:
    one = await start_node("a", Route(hold), max_calls_account=2)
    Live(one.runtime)
    private_redis.kill()
    for call, kind in (("call-2", "stream"), ("call-3", "busy")):
        assert await answer(one, call) == kind
    await until(lambda: not one.fleet.figures.answers)
    private_redis.start()
    await until(lambda: one.fleet.figures.answers)
    await one.fleet.beat()
    assert await one.fleet.store.owner("call-1") == "a"
    assert await one.fleet.store.owner("call-3") is None


async def test_answer_hardly_waits_for_a_redis_that_is_cut_off(
    start_node: Any, private_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_CLAIM_SECONDS", 0.3)
    one = await start_node("a", max_calls_account=9)
    private_redis.freeze()
    begin = asyncio.get_running_loop().time()
    for number in range(3):
        assert await answer(one, f"call-{number}") == "stream"
    waited = asyncio.get_running_loop().time() - begin
    assert waited > 0.85, "each waits until the breaker opens"
    assert one.fleet.store.breaker.state != "closed"
    failures = one.fleet.figures.failures
    assert await answer(one, "call-4") == "stream"
    assert one.fleet.figures.failures == failures, "Redis is not asked"
    private_redis.thaw()


async def test_a_handler_in_another_application_is_a_node(
    start_node: Any, private_redis: PrivateRedis
) -> None:
    settings = Settings(redis=private_redis.url, secret="s" * 16, node="host")  # type: ignore[arg-type]
    app = asgi(hold, settings=settings)
    await app.startup()
    try:
        one = await start_node("a")
        assert [each.node for each in await one.directory.nodes()] == ["a", "host"]
        fleet: Any = app.runtime.fleet
        async with asyncio.timeout(30):
            await fleet.mail.listens.wait()
        assert (await one.directory.drain("host")).status == "done"
        assert app.runtime.admission.closed
        assert (await one.directory.drain("host")).detail == "it was draining already"
    finally:
        await app.shutdown()


# Streams that come without /answer


async def test_a_stream_without_answer_takes_its_place_on_all_nodes(start_node: Any) -> None:
    begun: list[str] = []

    async def note(stream: Stream) -> None:
        begun.append(stream.call_id)
        await hold(stream)

    one = await start_node("a", Route(note), max_calls_account=1)
    other = await start_node("b", Route(note), max_calls_account=1)
    first = Live(one.runtime, answered=False)
    await until(lambda: begun == ["call-1"])
    assert await one.fleet.store.owner("call-1") == "a"
    second = Live(other.runtime, "call-2", "stream-2", answered=False)
    await until(lambda: second.link.closed)
    assert second.link.closed == (1013, "all nodes together have reached their limit of calls: 1")
    await other.fleet.beat()
    assert await other.fleet.store.owner("call-2") is None
    assert (begun, other.fleet.figures.refused) == (["call-1"], {"account": 1})
    for live in (first, second):
        live.call.session.close("over")
        live.call.lost("over")
    await until(lambda: not one.runtime.calls and not other.runtime.calls)
    await done(one)
    assert await answer(other, "call-3") == "stream"


async def test_a_stream_without_answer_takes_a_place_of_its_route(start_node: Any) -> None:
    routes = Route(hold), Route(hold, "/sales", max_calls=1)
    one, other = await start_node("a", *routes), await start_node("b", *routes)
    Live(one.runtime, path="/sales", answered=False)
    await until(lambda: all(call.counts for call in one.runtime.calls))
    second = Live(other.runtime, "call-2", "stream-2", path="/sales", answered=False)
    await until(lambda: second.link.closed)
    assert second.link.closed[0] == 1013
    third = Live(other.runtime, "call-3", "stream-3", answered=False)
    await until(lambda: third.call.counts)
    assert third.link.closed is None


async def test_a_stream_without_answer_and_a_start_counts_nowhere_else(start_node: Any) -> None:
    one = await start_node("a", Route(hold), max_calls_account=1)
    other = await start_node("b", Route(hold), max_calls_account=1)
    Live(one.runtime, answered=False, start=False)
    await one.fleet.beat()
    assert await answer(other, "call-2") == "stream"


async def test_without_redis_a_stream_without_answer_begins(
    start_node: Any, private_redis: PrivateRedis
) -> None:
    one = await start_node("a", Route(hold), max_calls_account=5)
    private_redis.kill()
    live = Live(one.runtime, answered=False)
    await until(lambda: live.call.counts)
    private_redis.start()
    await until(lambda: one.fleet.figures.answers)
    await one.fleet.beat()
    assert await one.fleet.store.owner("call-1") == "a"


# Calls that are resumed


async def test_a_node_that_lives_says_that_the_stream_of_a_call_was_lost(start_node: Any) -> None:
    first, second = await start_node("a", resume_calls=1), await start_node("b", resume_calls=1)
    link = enter(first.runtime)
    turn = Turn(number=1, caller="A car?", agent="It comes.")
    link.call.session.report_turn(turn)
    last = await second.fleet.last_stream(CALL_ID, "a")
    assert (last.wanted, last.turns, last.process) == (False, (turn,), "a")
    assert last.end_reason == "the connection was lost, and Plivo went on without it"
    assert link.call.session.ended, "Plivo has gone on without it"
    await until(lambda: not first.runtime.calls)
    await done(first)
    assert not (await second.fleet.last_stream(CALL_ID, "a")).wanted


async def test_a_node_that_lives_says_that_the_stream_of_a_call_ended_as_it_should(
    start_node: Any,
) -> None:
    first, second = await start_node("a", resume_calls=1), await start_node("b", resume_calls=1)
    link = enter(first.runtime)
    link.call.closing("the stream was stopped")
    assert (await second.fleet.last_stream(CALL_ID, "a")).wanted
    link.call.lost("")
    await until(lambda: not first.runtime.calls)
    assert (await first.fleet.last_stream(CALL_ID, "a")).wanted


async def test_what_is_kept_of_a_stream_counts_once_its_node_is_gone(start_node: Any) -> None:
    other = await start_node("b", resume_calls=1)
    turn = Turn(number=1, caller="A car?", agent="It comes.")
    kept = KeptStream("stream-1", (turn,), process="a")
    await other.fleet.store.keep_streams({"call-1": kept.to_bytes()})
    assert await other.fleet.last_stream("call-1", "c") == kept
    assert await other.fleet.last_stream("call-2", "c") is None


async def test_without_redis_a_stream_of_another_machine_is_taken_to_have_ended_as_it_should(
    start_node: Any, private_redis: PrivateRedis
) -> None:
    node = await start_node("m/1", resume_calls=1)
    private_redis.kill()
    with capture_logs() as logs:
        last = await node.fleet.last_stream("call-1", "a")
    assert (last.wanted, last.process) == (True, "a")
    (line,) = [each for each in logs if each["event"] == "how a call's stream ended is not known"]
    assert (line["call"], line["process"]) == ("call-1", "a")


async def test_without_redis_a_stream_whose_process_was_of_the_same_machine_is_lost(
    start_node: Any, private_redis: PrivateRedis
) -> None:
    node = await start_node("m/1", resume_calls=1)
    private_redis.kill()
    assert await node.fleet.last_stream("call-1", "m/2") is None


@pytest.mark.parametrize("kept", [None, KeptStream("stream-1", process="a")], ids=["no", "kept"])
async def test_a_node_that_cannot_be_asked_counts_by_what_is_kept(
    start_node: Any, kept: KeptStream | None
) -> None:
    node = await start_node("b", resume_calls=1)
    if kept is not None:
        await node.fleet.store.keep_streams({"call-1": kept.to_bytes()})
    node.fleet.mail.listens.clear()
    last = await node.fleet.last_stream("call-1", "a")
    assert last == (kept or KeptStream.last(None, "a"))


async def test_another_node_recalls_what_was_said_and_then_that_the_call_ended_as_it_should(
    start_node: Any,
) -> None:
    first, second = await start_node("a", resume_calls=1), await start_node("b", resume_calls=1)
    link = enter(first.runtime)
    assert await second.fleet.recall(CALL_ID) is None
    turn = Turn(number=1, caller="A car?", agent="It comes.")
    link.call.session.report_turn(turn)
    await first.fleet.keep()
    kept = await second.fleet.recall(CALL_ID)
    assert kept is not None
    assert (kept.stream_id, kept.turns, kept.wanted) == (STREAM_ID, (turn,), False)
    link.call.closing("the stream was stopped")
    link.call.lost("")
    await until(lambda: not first.runtime.calls)
    await done(first)
    ended = await second.fleet.recall(CALL_ID)
    assert ended is not None
    assert (ended.turns, ended.wanted) == ((), True)


async def test_what_was_said_in_a_stream_that_was_lost_stays_known(start_node: Any) -> None:
    node = await start_node("a", resume_calls=1, reconnect_seconds=0)
    link = enter(node.runtime)
    await node.fleet.keep()
    link.call.lost("the connection was lost")
    await until(lambda: not node.runtime.calls)
    await done(node)
    kept = await node.fleet.recall(CALL_ID)
    assert kept is not None
    assert not kept.wanted


async def test_without_redis_nothing_is_recalled_and_what_was_said_is_kept_later(
    start_node: Any, private_redis: PrivateRedis
) -> None:
    node = await start_node("a", resume_calls=1)
    enter(node.runtime)
    private_redis.kill()
    await node.fleet.keep()
    assert await node.fleet.recall(CALL_ID) is None
    private_redis.start()
    await until(lambda: node.fleet.store.breaker.allows(trial=True))
    await node.fleet.beat()
    await node.fleet.keep()
    assert await node.fleet.recall(CALL_ID) is not None
