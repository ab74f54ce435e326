from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from mediaserver.call import Turn, TurnStep
from mediaserver.server.kept_streams import KeptStream, report_of_gone
from mediaserver.stream import Stream


def stream(turns: int) -> Stream:
    said = tuple(Turn(number=number, caller=f"{number}?", agent="Yes.") for number in range(turns))
    return cast(Stream, SimpleNamespace(stream_id="stream-1", turns=said))


def test_what_is_kept_can_be_read_again() -> None:
    kept = KeptStream.of(stream(2), "a")
    assert KeptStream.read(kept.to_bytes()) == kept
    assert [turn.caller for turn in kept.turns] == ["0?", "1?"]


def test_the_latest_turns_are_kept() -> None:
    assert [turn.number for turn in KeptStream.of(stream(60), "a").turns] == list(range(10, 60))


def test_what_only_its_process_understands_is_not_kept() -> None:
    step = TurnStep(kind="tool", name="look_up", began=1.0)
    turn = Turn(number=1, at=5.0, steps=(step,))
    of_one = cast(Stream, SimpleNamespace(stream_id="stream-1", turns=(turn,)))
    (kept,) = KeptStream.of(of_one, "a").turns
    assert (kept.number, kept.at, kept.steps) == (1, 0.0, ())


def test_no_words_are_kept_of_a_stream_that_ended_as_it_should() -> None:
    assert KeptStream.last(None, "a") == KeptStream("", wanted=True, process="a")


def test_what_another_version_wrote_is_not_read() -> None:
    assert KeptStream.read(b"\x93\x01\x02\x03") is None


def test_a_report_has_what_was_kept_or_what_the_token_has() -> None:
    known: dict[str, Any] = {
        "call_id": "call-1",
        "caller": "+1415",
        "called": "+1416",
        "path": "/stream",
        "answered": 1_000.0,
        "now": 1_060.0,
        "end_reason": "gone",
    }
    report = report_of_gone(KeptStream.of(stream(1), "a"), **known)
    assert (report.stream_id, report.seconds, len(report.turns)) == ("stream-1", 60.0, 1)
    assert report.end_reason == "gone"
    again = KeptStream.last(replace(report, end_reason="the connection was lost"), "a")
    assert again.turns == report.turns
    assert report_of_gone(again, **known).end_reason == "the connection was lost"
    bare = report_of_gone(None, **known)
    assert (bare.stream_id, bare.turns, bare.started_at.timestamp()) == ("", (), 1_000.0)
