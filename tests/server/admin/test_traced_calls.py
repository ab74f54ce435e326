import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from mediaserver.protocol import Media, Stop, encode_event
from mediaserver.routes import Route
from mediaserver.server.admin.call_trace import CallTrace
from mediaserver.server.admin.commands import CallCommand, Delivery
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.admin.traced_calls import LEASE, MOST_TRACED
from tests.server.admin.live import FakeControl, Live, client_of, hold


STREAM_ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
AUDIO = encode_event(
    Media(bytes(160), timestamp=20, chunk=1, stream_id=STREAM_ID, sequence_number=2)
).replace(STREAM_ID, "stream-1")
STOP = encode_event(Stop("done", stream_id="stream-1"))


@pytest.fixture
def follow(start_runtime: Callable[..., Any]) -> Callable[..., Any]:
    """Begin a call; return it and a directory that knows it: ``await follow(**settings)``."""

    async def follow(**settings: Any) -> tuple[Live, OwnCalls]:
        runtime = await start_runtime(Route(hold), **settings)
        return Live(runtime), OwnCalls(runtime, FakeControl())

    return follow


async def read(
    directory: OwnCalls, call: str = "call-1", after: int = -1, **wanted: Any
) -> Delivery:
    return await directory.send(CallCommand("trace", call, after=after, **wanted))


def whats(delivery: Delivery) -> list[str]:
    """Return what lines are about, without the sums of each second."""
    assert delivery.traced is not None
    found = [json.loads(line)["what"] for line in delivery.traced.lines]
    return [what for what in found if what != "media"]


async def test_nothing_follows_a_call_until_somebody_asks(follow: Callable[..., Any]) -> None:
    live, directory = await follow()
    session = live.call.session
    assert session.followers == ()
    await read(directory)
    assert len(session.followers) == 1


async def test_an_answer_waits_for_a_line(follow: Callable[..., Any]) -> None:
    live, directory = await follow()
    first = await read(directory)
    assert first.traced is not None
    assert first.traced.lines == []
    asking = asyncio.create_task(read(directory, after=first.traced.next))
    await asyncio.sleep(0.1)
    assert not asking.done()
    live.stream.decided("thinks")
    assert whats(await asking) == ["thinks"]


async def test_two_readers_get_the_same_lines(follow: Callable[..., Any]) -> None:
    live, directory = await follow()
    await read(directory)
    await read(directory, "stream-1")
    live.stream.decided("thinks")
    assert whats(await read(directory, after=0)) == ["thinks"]
    assert whats(await read(directory, "stream-1", after=0)) == ["thinks"]


async def test_the_last_lines_can_be_read_after_the_end(follow: Callable[..., Any]) -> None:
    live, directory = await follow()
    await read(directory)
    live.call.session.receive(STOP)
    live.call.lost("gone")
    await asyncio.sleep(0.1)
    assert (await directory.send(CallCommand("hangup", "call-1"))).status == "unknown_call"
    last = await read(directory, after=0)
    assert whats(last) == ["received", "stream ended"]
    assert last.traced is not None
    assert last.traced.ended


async def test_each_second_has_its_longest_lag_of_the_event_loop(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime(Route(hold))
    live, directory = Live(runtime), OwnCalls(runtime, FakeControl())
    await read(directory)
    told: list[float] = []
    for lag in (0.0, 0.75, 0.0):
        await asyncio.sleep(0.5)
        for each in (lag, 0.01):
            runtime.counters.lag_peaks.add(runtime.clock(), each)
        await asyncio.sleep(0.6)
        live.call.session.receive(AUDIO)
        traced = (await read(directory, after=0)).traced
        assert traced is not None
        (*_, media) = (line for line in map(json.loads, traced.lines) if line["what"] == "media")
        told.append(media["loop_lag"])
    assert told == [0.01, 0.75, 0.01]


@pytest.mark.parametrize("all_calls", [False, True])
async def test_the_next_stream_of_a_call_is_followed_by_the_same_name(
    start_runtime: Callable[..., Any], all_calls: bool
) -> None:
    runtime = await start_runtime(Route(hold), admin_follow_all=all_calls)
    first, directory = Live(runtime), OwnCalls(runtime, FakeControl())
    known = (await read(directory)).traced
    assert known is not None
    first.call.session.receive(STOP)
    first.call.lost("gone")
    await asyncio.sleep(0.1)
    second = Live(runtime, stream_id="stream-2")
    last = await read(directory, after=known.next, process=known.process)
    assert whats(last) == ["received", "stream ended"]
    await read(directory)
    second.stream.decided("thinks again")
    assert whats(await read(directory, after=0))[-1] == "thinks again"
    assert len(second.call.session.followers) == 1


async def test_a_call_is_let_go_when_nobody_asks_any_more(follow: Callable[..., Any]) -> None:
    live, directory = await follow()
    await read(directory)
    await asyncio.sleep(2 * LEASE + 1)
    assert live.call.session.followers == ()
    live.stream.decided("thinks")
    again = await read(directory, after=7)
    assert again.traced is not None
    assert (again.traced.lines, again.traced.missed) == ([], -1)


async def test_a_call_that_is_followed_is_not_let_go(follow: Callable[..., Any]) -> None:
    live, directory = await follow()
    for _ in range(10):
        await read(directory)
        await asyncio.sleep(LEASE / 2)
    assert len(live.call.session.followers) == 1


async def test_audio_needs_a_setting_of_its_own(follow: Callable[..., Any]) -> None:
    live, directory = await follow(admin_personal_data=True)
    refused = await read(directory, audio=True)
    assert (refused.status, "--admin-listen-in" in refused.hint) == ("refused", True)
    assert live.call.session.followers == ()


async def test_a_bounded_number_of_calls_is_followed(start_runtime: Callable[..., Any]) -> None:
    runtime = await start_runtime(Route(hold))
    calls = [Live(runtime, f"call-{n}", f"stream-{n}") for n in range(MOST_TRACED + 1)]
    directory = OwnCalls(runtime, FakeControl())
    found = await asyncio.gather(*(read(directory, f"call-{n}") for n in range(len(calls))))
    assert [each.status for each in found] == ["done"] * MOST_TRACED + ["too_many"]


async def test_a_call_that_was_left_makes_room_for_another(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime(Route(hold))
    calls = [Live(runtime, f"call-{n}", f"stream-{n}") for n in range(MOST_TRACED + 1)]
    directory = OwnCalls(runtime, FakeControl())
    for number in range(MOST_TRACED):
        await read(directory, f"call-{number}")
    await asyncio.sleep(5)
    for number in range(1, MOST_TRACED):
        await read(directory, f"call-{number}")
    assert (await read(directory, f"call-{MOST_TRACED}")).status == "done"
    assert [len(each.call.session.followers) for each in calls] == [0] + [1] * MOST_TRACED
    assert (await read(directory, "call-0")).status == "too_many"


async def test_audio_is_sent_only_to_who_asks_and_taken_only_while_somebody_does(
    follow: Callable[..., Any],
) -> None:
    live, directory = await follow(admin_listen_in=True)
    await read(directory)
    await read(directory, audio=True)
    (trace,) = live.call.session.followers
    live.call.session.receive(AUDIO)
    assert "audio received" not in whats(await read(directory, after=0))
    assert "audio received" in whats(await read(directory, after=0, audio=True))
    for _ in range(5):
        await asyncio.sleep(LEASE / 2)
        await read(directory)
    assert not trace.audio


async def test_lines_are_streamed_to_the_end_of_the_call(follow: Callable[..., Any]) -> None:
    live, directory = await follow()
    async with client_of(directory) as client:
        asking = asyncio.create_task(client.get("/calls/call-1/trace"))
        await asyncio.sleep(0.1)
        live.stream.decided("thinks")
        await asyncio.sleep(1)
        live.call.session.receive(STOP)
        answer = await asking
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line)["what"] for line in answer.text.splitlines() if line]
    assert [each for each in lines if each != "media"] == ["thinks", "received", "stream ended"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/calls/other/trace", 404, "no live call"),
        ("/calls/call-1/trace?audio=1", 409, "listen"),
    ],
)
async def test_what_cannot_be_followed_is_told(
    follow: Callable[..., Any], path: str, status: int, said: str
) -> None:
    _, directory = await follow()
    async with client_of(directory) as client:
        answer = await client.get(path)
    assert answer.status_code == status
    assert said in answer.json()["error"]


async def test_calls_can_be_followed_from_their_start(start_runtime: Callable[..., Any]) -> None:
    runtime = await start_runtime(Route(hold), admin_follow_all=True, admin_listen_in=True)
    directory = OwnCalls(runtime, FakeControl())
    live = Live(runtime)
    live.stream.decided("greets")
    assert whats(await read(directory, after=0, audio=True)) == ["greets"]
    assert whats(await read(directory, "stream-1", after=0)) == ["greets"]
    (trace,) = live.call.session.followers
    assert isinstance(trace, CallTrace)
    assert trace.audio


async def test_a_call_that_nobody_reads_is_let_go(start_runtime: Callable[..., Any]) -> None:
    runtime = await start_runtime(Route(hold), admin_follow_all=True)
    OwnCalls(runtime, FakeControl())
    calls = [Live(runtime, f"call-{each}", f"stream-{each}") for each in range(MOST_TRACED + 1)]
    followed = [len(each.call.session.followers) for each in calls]
    assert followed == [1] * MOST_TRACED + [0]
    await asyncio.sleep(LEASE + 1)
    assert not any(each.call.session.followers for each in calls)
