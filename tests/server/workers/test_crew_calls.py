import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from mediaserver.handler import Handler
from mediaserver.routes import Route
from mediaserver.server.admin.commands import CallCommand, CallFilter
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.admin.questions import answer_question, metrics_answer
from mediaserver.server.runtime import Runtime
from mediaserver.server.workers.crew import ReloadFailedError, WorkerGoneError, WorkerStage
from mediaserver.server.workers.crew_calls import CrewCalls
from tests.server.admin.live import CALLER, FakeControl, Live, hold, turns


class Worker:
    """A worker whose runtime is in this process."""

    def __init__(self, name: str, runtime: Runtime) -> None:
        self.name = name
        self.stage = WorkerStage.READY
        self.pid = 4711
        self.runtime = runtime
        runtime.process = f"3f9a/77c1/{name}"
        self.own = OwnCalls(runtime, FakeControl())
        self.silent = False
        self.garbage = False

    @property
    def calls(self) -> int:
        return len(self.runtime.calls)


class FakeCrew:
    def __init__(self) -> None:
        self.machine = "3f9a/77c1"
        self.deaths: Counter[str] = Counter()
        self.reloads: Counter[str] = Counter()
        self.calls_limit = 50
        self.accept_failures = 0
        self.stops = 0
        self.members: dict[str, Worker] = {}
        self.failure: str | None = None
        self.asked: list[str] = []

    def living(self) -> Iterable[Worker]:
        return self.members.values()

    async def ask(self, name: str, body: bytes, *, within: float) -> bytes:
        self.asked.append(name)
        worker = self.members[name]
        if worker.garbage:
            return b"\xc1"
        if worker.silent:
            await asyncio.sleep(within)
            raise WorkerGoneError
        reply = await answer_question(worker.own, body)
        await asyncio.sleep(0.001)
        return reply

    async def reload(self) -> None:
        if self.failure is not None:
            raise ReloadFailedError(self.failure)

    @property
    def stopping(self) -> bool:
        return self.stops > 0

    def stop(self) -> None:
        self.stops += 1


Start = Callable[..., Awaitable[Any]]


class Talker(Handler):
    async def on_say(self, text: str) -> None: ...


@pytest.fixture
async def crew(start_runtime: Start) -> FakeCrew:
    crew = FakeCrew()
    for name in ("1.1", "2.1"):
        runtime = await start_runtime(Route(hold), Route(Talker, "/talk"))
        crew.members[name] = Worker(name, runtime)
    return crew


@pytest.fixture
def directory(crew: FakeCrew) -> CrewCalls:
    return CrewCalls(crew)


async def test_the_calls_of_all_workers_are_one_list(crew: FakeCrew, directory: CrewCalls) -> None:
    for each in range(6):
        worker = crew.members[("1.1", "2.1")[each % 2]]
        Live(worker.runtime, f"call-{each}", f"stream-{each}")
        await asyncio.sleep(0.01)
    first = await directory.calls(CallFilter(limit=4))
    assert [each.call_id for each in first.calls] == ["call-0", "call-1", "call-2", "call-3"]
    assert (first.total, first.silent) == (6, [])
    assert first.calls[1].worker == "3f9a/77c1/2.1"
    second = await directory.calls(CallFilter(limit=4, after=first.calls[-1].cursor))
    assert [each.call_id for each in second.calls] == ["call-4", "call-5"]
    found = await directory.calls(CallFilter(number=CALLER, call="stream-3"))
    assert [each.call_id for each in found.calls] == ["call-3"]


async def test_a_worker_that_does_not_answer_is_reported_and_not_waited_for(
    crew: FakeCrew, directory: CrewCalls
) -> None:
    Live(crew.members["1.1"].runtime)
    crew.members["2.1"].silent = True
    begun = asyncio.get_running_loop().time()
    page = await directory.calls(CallFilter())
    assert asyncio.get_running_loop().time() - begun == pytest.approx(1.0, abs=0.1)
    assert ([each.call_id for each in page.calls], page.silent) == (["call-1"], ["2.1"])
    states = {each.worker: each.state for each in await directory.workers()}
    assert states == {"3f9a/77c1/1.1": "ready", "3f9a/77c1/2.1": "silent"}


async def test_an_answer_that_cannot_be_read_is_none(crew: FakeCrew, directory: CrewCalls) -> None:
    crew.members["2.1"].garbage = True
    assert (await directory.calls(CallFilter())).silent == ["2.1"]


async def test_a_worker_that_ends_while_it_is_asked_is_not_missed(
    crew: FakeCrew, directory: CrewCalls
) -> None:
    crew.members["2.1"].silent = True
    asking = asyncio.create_task(directory.calls(CallFilter()))
    await turns()
    del crew.members["2.1"]
    assert (await asking).silent == []


async def test_a_command_reaches_the_worker_that_has_the_call(
    crew: FakeCrew, directory: CrewCalls
) -> None:
    lives = [Live(each.runtime, f"call-{each.name}") for each in crew.members.values()]
    assert (await directory.send(CallCommand("hangup", "call-2.1"))).status == "done"
    assert [live.link.closed is not None for live in lives] == [False, True]
    unknown = await directory.send(CallCommand("hangup", "call-7"))
    assert unknown.status == "unknown_call"


async def test_a_trace_is_asked_for_where_its_lines_came_from(
    crew: FakeCrew, directory: CrewCalls
) -> None:
    live = Live(crew.members["2.1"].runtime)
    first = await directory.send(CallCommand("trace", "call-1"))
    assert first.traced is not None
    assert first.traced.process == "3f9a/77c1/2.1"
    live.stream.decided("thinks")
    live.call.close(1000, "over")
    live.call.lost("gone")
    await turns()
    crew.asked.clear()
    last = await directory.send(
        CallCommand("trace", "call-1", after=first.traced.next, process=first.traced.process)
    )
    assert crew.asked == ["2.1"]
    assert last.traced is not None
    assert [json.loads(line)["what"] for line in last.traced.lines] == ["thinks", "stream ended"]


async def test_a_blocked_worker_holds_up_no_command_for_other_calls(
    crew: FakeCrew, directory: CrewCalls
) -> None:
    live = Live(crew.members["1.1"].runtime, path="/talk")
    crew.members["2.1"].silent = True
    await turns()
    begun = asyncio.get_running_loop().time()
    said = await directory.send(CallCommand("say", "call-1", text="Hello."))
    assert said.status == "done"
    assert (await directory.send(CallCommand("clear", "call-1"))).status == "done"
    assert asyncio.get_running_loop().time() - begun < 0.1
    assert live.link.closed is None


async def test_a_call_that_only_a_blocked_worker_may_have_is_not_unknown(
    crew: FakeCrew, directory: CrewCalls
) -> None:
    crew.members["2.1"].silent = True
    delivery = await directory.send(CallCommand("hangup", "call-7"))
    assert delivery.status == "not_delivered"
    assert "2.1" in delivery.hint


async def test_a_worker_that_falls_silent_after_it_was_found_may_have_obeyed(
    crew: FakeCrew, directory: CrewCalls
) -> None:
    worker = crew.members["1.1"]
    Live(worker.runtime)

    async def falls_silent(wanted: CallFilter) -> Any:
        worker.silent = True
        return await OwnCalls.calls(worker.own, wanted)

    worker.own.calls = falls_silent  # type: ignore[method-assign]
    delivery = await directory.send(CallCommand("clear", "call-1"))
    assert delivery.status == "not_delivered"
    assert "worker 1.1 has the call" in delivery.detail


async def test_metrics_are_merged_and_outlive_their_worker(
    crew: FakeCrew, directory: CrewCalls
) -> None:
    for number, worker in enumerate(crew.members.values(), 1):
        worker.runtime.counters.calls_total = number
        worker.runtime.counters.accept_failures = 10
    crew.deaths["signal 9"] = 1
    crew.accept_failures = 5

    async def scraped() -> dict[str, Any]:
        text = (await directory.metrics()).decode()
        return {each.name: each for each in text_string_to_metric_families(text)}

    families = await scraped()
    assert families["mediaserver_calls"].samples[0].value == 3
    assert families["mediaserver_workers"].samples[0].value == 2
    assert families["mediaserver_accept_failures"].samples[0].value == 25
    assert families["mediaserver_worker_deaths"].samples[0].labels == {"cause": "signal 9"}
    workers = {each.labels["worker"] for each in families["process_open_fds"].samples}
    assert workers == {"1.1", "2.1", "supervisor"}
    crew.members["1.1"].silent = True
    assert (await scraped())["mediaserver_calls"].samples[0].value == 3
    del crew.members["2.1"]
    families = await scraped()
    assert families["mediaserver_calls"].samples[0].value == 3
    assert {each.labels["worker"] for each in families["process_open_fds"].samples} == {
        "1.1",
        "supervisor",
    }


async def test_a_worker_that_is_starting_is_not_asked(crew: FakeCrew, directory: CrewCalls) -> None:
    crew.members["2.1"].stage = WorkerStage.STARTING
    entries = await directory.workers()
    assert [(each.worker, each.state) for each in entries] == [
        ("3f9a/77c1/1.1", "ready"),
        ("3f9a/77c1/2.1", "starting"),
    ]
    assert entries[1].pid == 4711
    assert crew.asked == ["1.1"]


async def test_the_machine_is_a_node(crew: FakeCrew, directory: CrewCalls) -> None:
    Live(crew.members["1.1"].runtime)
    (node,) = await directory.nodes()
    assert (node.node, node.state, node.calls, node.calls_limit, node.workers) == (
        "3f9a",
        "ready",
        1,
        50,
        2,
    )
    for worker in crew.members.values():
        worker.stage = WorkerStage.STARTING
    assert (await directory.nodes())[0].state == "starting"


async def test_the_machine_is_drained(crew: FakeCrew, directory: CrewCalls) -> None:
    assert (await directory.drain("other")).status == "unknown_node"
    assert crew.stops == 0
    assert (await directory.drain("3f9a")).status == "done"
    assert "already" in (await directory.drain("self")).detail
    assert crew.stops == 1
    assert (await directory.nodes())[0].state == "draining"
    assert (await directory.reload()).status == "refused"


async def test_the_workers_are_replaced(crew: FakeCrew, directory: CrewCalls) -> None:
    assert (await directory.reload()).status == "done"
    crew.failure = "no module named shop"
    delivery = await directory.reload()
    assert delivery.status == "failed"
    assert "no module named shop" in delivery.detail


async def test_counts_are_taken_now_and_then_and_at_the_end(
    crew: FakeCrew, directory: CrewCalls
) -> None:
    first, second = crew.members.values()
    first.runtime.counters.calls_total = 3
    looking = asyncio.create_task(directory.keep_looking())
    await asyncio.sleep(6)
    looking.cancel()
    # The first is killed and can say nothing more, the second ends in good order.
    second.runtime.counters.calls_total = 4
    directory.keep_last("2.1", metrics_answer(second.own))
    with capture_logs() as logged:
        directory.keep_last("2.1", b"\xc1")
    assert logged[0]["worker"] == "2.1"
    crew.members.clear()
    families = text_string_to_metric_families((await directory.metrics()).decode())
    (calls,) = [each for each in families if each.name == "mediaserver_calls"]
    assert calls.samples[0].value == 7
