"""Work after the call: in `on_ended`, in `stream.after_call`, and what waits for it."""

import asyncio
from typing import Any

import pytest

from mediaserver import Handler, Stream, StreamReport, Turn
from mediaserver.server.after_calls import AfterCalls
from mediaserver.settings import Settings
from mediaserver.testing import in_virtual_time, joined


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_a_class_gets_the_report_of_its_call_and_its_time() -> None:
    reports: list[StreamReport] = []

    class Minuted(Handler):
        async def on_start(self) -> None:
            self.stream.data["order"] = 17
            self.stream.report(Turn(number=1, caller="Hello?", agent="Hello."))

        async def on_stop(self, reason: str) -> None:
            assert not reports

        async def on_ended(self, report: StreamReport) -> None:
            await asyncio.sleep(50)
            reports.append(report)

    async with joined(Minuted, caller="+14155550100", called="+14155550199") as line:
        await line.phone.wait_until(3.0)
        call_id = line.stream.call_id
        await line.phone.hang_up()
        await asyncio.sleep(1)
        assert line.runtime.admission.idle
        assert len(line.runtime.after_calls) == 1
    (report,) = reports
    assert (report.call_id, report.caller) == (call_id, "+14155550100")
    assert report.path == "/stream"
    assert report.seconds == pytest.approx(3, abs=0.1)
    assert report.end_reason
    assert report.data == {"order": 17}
    assert [turn.caller for turn in report.turns] == ["Hello?"]
    assert (report.error, report.recording) == (None, None)
    assert report.counters.frames_in > 100


@in_virtual_time
async def test_a_function_asks_for_it() -> None:
    done: list[str] = []

    async def save(report: StreamReport) -> None:
        await asyncio.sleep(8)
        done.append(report.end_reason)

    async def handler(stream: Stream) -> None:
        stream.after_call(save)
        stream.after_call(save)
        async for _ in stream.audio():
            pass

    async with joined(handler) as line:
        await line.phone.wait_until(1.0)
    assert len(done) == 2


@in_virtual_time
async def test_it_runs_although_the_handler_failed() -> None:
    reports: list[StreamReport] = []

    class Failing(Handler):
        async def on_start(self) -> None:
            raise ValueError("a bug")

        async def on_ended(self, report: StreamReport) -> None:
            reports.append(report)

    async with joined(Failing, raises=False) as line:
        await line.phone.wait_closed()
    assert str(reports[0].error) == "a bug"


@in_virtual_time
async def test_what_takes_too_long_is_cancelled_and_counted() -> None:
    class Slow(Handler):
        async def on_ended(self, report: StreamReport) -> None:
            await asyncio.sleep(1000)

    settings = Settings.model_construct(after_call_seconds=20.0)
    async with joined(Slow, settings=settings, raises=False) as line:
        await line.phone.wait_until(1.0)
    assert 20 < now() < 25
    assert [type(each) for each in line.runtime.errors] == [TimeoutError]


@in_virtual_time
async def test_what_cannot_be_cancelled_holds_nothing_up() -> None:
    class Stubborn(Handler):
        async def on_ended(self, report: StreamReport) -> None:
            while now() < 50:
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    continue

    settings = Settings.model_construct(after_call_seconds=20.0)
    async with joined(Stubborn, settings=settings, raises=False) as line:
        await line.phone.wait_until(1.0)
    assert 20 < now() < 25


@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_whatever_it_raises_is_counted(raised: Any) -> None:
    class Failing(Handler):
        async def on_ended(self, report: StreamReport) -> None:
            raise raised

    @in_virtual_time
    async def call() -> None:
        async with joined(Failing, raises=False) as line:
            await line.phone.wait_until(0.5)
        assert len(line.runtime.errors) == 1

    call()


@in_virtual_time
async def test_nothing_can_be_asked_for_once_it_has_begun() -> None:
    streams: list[Stream] = []

    async def handler(stream: Stream) -> None:
        streams.append(stream)

    async with joined(handler) as line:
        await line.phone.wait_closed()
    with pytest.raises(RuntimeError, match="the call is over"):
        streams[0].after_call(print)  # type: ignore[arg-type]


@in_virtual_time
async def test_none_is_waited_for_where_there_is_none() -> None:
    after = AfterCalls(seconds=5, failed=print)
    await after.finish()
    assert len(after) == 0
    assert now() == 0
