from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from mediaserver.dev.measured_call import MeasuredCall
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.diary import CallDiary
from mediaserver.sandbox.wire.ledger import CallLedger


class Call:
    """A call with a stream that a test opens and ends."""

    def __init__(self) -> None:
        self.now = 100.0
        self.uuid = "c1"
        self.diary = CallDiary("c1", lambda: self.now)
        self.streams = SimpleNamespace(active=None)
        self.told: list[dict[str, Any]] = []

    def measured(self) -> None:
        MeasuredCall(cast(SandboxCall, self), self.told.append)

    def open(self, stream_id: str, *, since: float, playback: Any = None) -> CallLedger:
        ledger = CallLedger()
        media = SimpleNamespace(seconds=since, ledger=ledger, playback=playback)
        record = SimpleNamespace(stream_id=stream_id)
        self.streams.active = SimpleNamespace(record=record, media=media)
        self.diary.tell("stream_opened", "ws://h")
        return ledger


def test_what_has_happened_before_is_told_at_once() -> None:
    call = Call()
    call.diary.tell("call_placed", "to +1")
    call.measured()

    assert call.told == [
        {"what": "measured", "call": "c1", "kind": "call placed", "text": "to +1", "call_at": 0.0}
    ]


def test_times_in_a_stream_count_from_its_start_as_well() -> None:
    call = Call()
    call.measured()
    call.now += 2.0
    call.open("s1", since=0.015)
    call.now += 1.0
    call.diary.tell("agent_speaks", at=call.now - 0.02)

    opened, speaks = call.told
    assert (opened["call_at"], opened["at"]) == (2.0, 0.0)
    assert (speaks["call_at"], speaks["at"], speaks["stream"]) == (2.98, 0.98, "s1")


def test_at_the_end_of_a_stream_all_that_was_heard_is_told() -> None:
    call = Call()
    call.measured()
    call.now += 2.0
    playback = SimpleNamespace(spells=[(0.5, 1.23456)], gaps=[(0.7, 0.06)], pauses=[(1.23456, 2.0)])
    ledger = call.open("s1", since=0.01, playback=playback)
    ledger.checkpoint_requested(0.4, "one")
    ledger.checkpoint_played(1.23)
    ledger.checkpoint_requested(1.5, "two")
    ledger.cleared(1.6, 0.3)
    call.diary.tell("stream_ended", "Call hangup")

    assert call.told[-1] == {
        "what": "measured",
        "call": "c1",
        "kind": "heard",
        "stream": "s1",
        "started_at": 102.0,
        "spells": [[0.49, 1.2246]],
        "gaps": [[0.69, 0.06]],
        "pauses": [[1.2246, 2.0]],
        "clears": [[1.59, 0.3]],
        "checkpoints": [
            {"name": "one", "requested": 0.39, "played": 1.22, "cleared": None},
            {"name": "two", "requested": 1.49, "played": None, "cleared": 1.59},
        ],
    }


def test_a_stream_that_never_opened_was_not_heard() -> None:
    call = Call()
    call.measured()
    call.diary.tell("stream_ended", "Connection error")

    assert [each["kind"] for each in call.told] == ["stream ended"]


def test_after_a_stream_times_count_from_the_next() -> None:
    call = Call()
    call.measured()
    call.open("s1", since=0.0)
    call.diary.tell("stream_ended")
    call.diary.tell("callback")
    call.now += 10
    call.open("s2", since=0.0)

    assert "at" not in call.told[-2]
    assert (call.told[-1]["at"], call.told[-1]["stream"]) == (0.0, "s2")
