from collections.abc import Awaitable, Callable

import msgspec
import pytest

from mediaserver.routes import Route
from mediaserver.server.admin.commands import (
    CallCommand,
    CallFilter,
    CallPage,
    Delivery,
    WorkerEntry,
)
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.admin.merged_metrics import MergedMetrics, MetricFamily
from mediaserver.server.admin.questions import (
    AboutWorker,
    ItsMetrics,
    answer_question,
    decode_answer,
    encode_question,
)
from mediaserver.server.runtime import Runtime
from tests.server.admin.live import FakeControl, Live, hold


@pytest.fixture
async def own(start_runtime: Callable[..., Awaitable[Runtime]]) -> OwnCalls:
    runtime = await start_runtime(Route(hold))
    Live(runtime)
    return OwnCalls(runtime, FakeControl())


async def test_calls_are_asked_for(own: OwnCalls) -> None:
    page = decode_answer(await answer_question(own, encode_question(CallFilter())), CallPage)
    assert [each.call_id for each in page.calls] == ["call-1"]
    assert page == CallPage(page.calls, 1)


async def test_commands_are_passed_on(own: OwnCalls) -> None:
    sent = encode_question(CallCommand("say", "call-7", text="Hello."))
    assert decode_answer(await answer_question(own, sent), Delivery).status == "unknown_call"


async def test_a_process_is_asked_about_itself(own: OwnCalls) -> None:
    entry = decode_answer(await answer_question(own, encode_question(AboutWorker())), WorkerEntry)
    assert entry == own.own()
    assert entry.calls == 1


async def test_metrics_are_asked_for(own: OwnCalls) -> None:
    sent = await answer_question(own, encode_question(ItsMetrics()))
    merged = MergedMetrics()
    merged.keep("1", decode_answer(sent, list[MetricFamily]))
    assert b"mediaserver_calls_active 1.0" in merged.exposition()


async def test_another_version_may_know_more(own: OwnCalls) -> None:
    newer = {"type": "CallFilter", "since": 5, "call": "call-1"}
    page = decode_answer(await answer_question(own, msgspec.msgpack.encode(newer)), CallPage)
    assert page.total == 1


async def test_what_is_not_understood_is_an_error(own: OwnCalls) -> None:
    with pytest.raises(msgspec.DecodeError):
        await answer_question(own, msgspec.msgpack.encode({"type": "Dance"}))
    with pytest.raises(msgspec.DecodeError):
        decode_answer(b"\xc1", CallPage)
