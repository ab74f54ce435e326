import asyncio
import contextlib
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from websockets.asyncio.client import connect

from mediaserver.call import Turn
from mediaserver.records.events import CallBegan, CallOver, TurnTaken
from mediaserver.records.recorded_call import RecordedCall
from mediaserver.sandbox import CallEnded
from mediaserver.server.counters import ServerCounters
from mediaserver.server.observers import ObservedCall
from mediaserver.server.recorded_calls import RecordedCalls
from mediaserver.testing import joined


START = (
    '{"event":"start","sequenceNumber":1,"start":{"callId":"c1","streamId":"s1","accountId":"MA1",'
    '"tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000}},'
    '"extra_headers":"{}"}'
)


class Records:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def begin(self, **facts: Any) -> RecordedCall:
        facts["tracks"] = ",".join(facts["tracks"])
        began = CallBegan(id="r1", process="w1", started_at=1_800_000_000.0, **facts)
        return RecordedCall(began, self.told.append)


async def talk(stream: Any) -> None:
    await asyncio.sleep(0.5)
    await stream.play(np.zeros(1600, np.int16), rate=8000)
    stream.report(Turn(number=1, audio_heard=0.7, interrupted=True, at=stream.clock() - 0.25))
    stream.report(Turn(number=2))
    await asyncio.sleep(0.5)


async def test_a_call_is_recorded_from_its_start_to_its_end() -> None:
    records = Records()
    async with joined(talk) as line:
        runtime = line.runtime
        observer = RecordedCalls(
            cast(Any, records),
            runtime.counters,
            clock=runtime.clock,
            wall_clock=lambda: 1_800_000_001.0,
        )
        runtime.observers.add(observer)
        (call,) = runtime.calls
        observer.call_started(call)
        await line.phone.wait_until(0.2)
        runtime.counters.lag_peaks.add(runtime.clock(), 0.3)
        with contextlib.suppress(CallEnded):
            await line.phone.wait_until(3.0)
    began, turn, timeless, over = records.told
    assert isinstance(began, CallBegan)
    assert isinstance(turn, TurnTaken)
    assert isinstance(over, CallOver)
    assert (began.handler, began.route, began.path) == ("talk", "/stream", "/stream")
    assert began.format == "audio/x-mulaw;rate=8000"
    assert began.stream_id == over.stream_id
    assert turn.interrupted
    assert turn.at == pytest.approx(1_800_000_000.75)
    assert timeless.at == 1_800_000_001.0
    assert (over.cause, over.reason) == ("handler", "the handler returned")
    assert over.first_audio == pytest.approx(0.5, abs=0.05)
    assert over.loop_lag == 0.3
    assert over.slowest_answer == 0.7
    assert over.seconds == pytest.approx(1.0, abs=0.1)
    assert over.counts["audio_out"] == pytest.approx(0.2)


def test_a_stream_that_never_started_is_recorded_at_its_end() -> None:
    records = Records()
    route = SimpleNamespace(name="Echo", label="/stream")
    accepted = SimpleNamespace(
        route=route, path="/stream", caller=None, called=None, answer=None, call_id=None
    )
    counters = ServerCounters(())
    call = SimpleNamespace(
        accepted=accepted,
        session=SimpleNamespace(
            started=None,
            end_reason="no start event within 10 s",
            counters=SimpleNamespace(as_dict=lambda: {"messages_in": 3}),
        ),
        stream=None,
        call_id="?",
        started_at=None,
    )
    calls = RecordedCalls(
        cast(Any, records), counters, clock=lambda: 5.0, wall_clock=lambda: 1_800_000_000.0
    )

    class Hashable:
        def __getattr__(self, name: str) -> Any:
            return getattr(call, name)

    calls.call_ended(cast(ObservedCall, Hashable()), None)
    (over,) = records.told
    assert (over.call_id, over.stream_id, over.seconds, over.cause) == (None, None, 0.0, "limit")
    assert over.counts == {"messages_in": 3}


@pytest.mark.real_time
async def test_a_server_records_its_calls(tmp_path: Path, start_daemon: Any) -> None:
    served = await start_daemon(
        records=str(tmp_path / "calls.db"), records_journal=tmp_path / "journals"
    )
    async with connect(served.stream_url) as socket:
        await socket.send(START)
    await served.runtime.without_calls.wait()
    served.daemon.stop()
    await served.task
    rows = await asyncio.to_thread(rows_of, tmp_path / "calls.db")
    assert rows == [("c1", "Echo", "plivo")]
    assert served.runtime.record_figures.stored == 2


def rows_of(path: Path) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT call_id, handler, cause FROM calls").fetchall()
