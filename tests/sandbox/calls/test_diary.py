from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from audiocodecs import AudioFormat, write_wav
from mediaserver.sandbox.calls.diary import MAX_ENTRIES, CallDiary, SpeechWatch, without_query
from mediaserver.sandbox.people.person import HangUp, Person, Play, Press, Say, Wait
from mediaserver.sandbox.wire.ledger import TimelineEntry
from tests.sandbox.conftest import OnPlatform


def told(diary: CallDiary) -> list[tuple[float, str, str]]:
    return [(round(each.time, 2), each.kind, each.text) for each in diary.timeline]


def test_each_happening_is_a_line_of_the_log_with_the_calls_id() -> None:
    diary = CallDiary("c1", itertools.count(100.0).__next__)
    with capture_logs() as lines:
        diary.tell("stream_opened", "ws://h/ws")
        diary.tell("error", "no", level="warning")

    assert told(diary) == [(1, "stream_opened", "ws://h/ws"), (2, "error", "no")]
    assert lines == [
        {"event": "stream opened", "call_uuid": "c1", "what": "ws://h/ws", "log_level": "info"},
        {"event": "error", "call_uuid": "c1", "what": "no", "log_level": "warning"},
    ]


def test_what_is_told_late_stands_in_its_place() -> None:
    diary = CallDiary("c1", itertools.count(100.0).__next__)
    diary.tell("two")
    diary.tell("one", at=100.5)
    assert [kind for _, kind, _ in told(diary)] == ["one", "two"]


def test_what_others_cause_is_bounded() -> None:
    diary = CallDiary("c1", lambda: 0.0)
    with capture_logs() as lines:
        for _ in range(3 * MAX_ENTRIES):
            diary.tell("checkpoint", "x" * 10_000)

    assert len(diary.timeline) == len(lines) == MAX_ENTRIES + 1
    assert told(diary)[-1][1:] == ("warning", f"more than {MAX_ENTRIES} happenings")
    assert max(len(text) for _, _, text in told(diary)) < 400


def test_an_error_of_a_stream_is_a_warning_and_a_key_is_told_once() -> None:
    diary = CallDiary("c1", lambda: 0.0)
    with capture_logs() as lines:
        for kind in ("checkpoint", "error", "key_pressed", "stream_started"):
            diary.relay(TimelineEntry(1.0, kind, "x"))

    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("checkpoint", "info"),
        ("error", "warning"),
    ]


def test_speech_is_told_when_it_begins_and_when_it_has_ended() -> None:
    diary = CallDiary("c1", lambda: 0.0)
    watch = SpeechWatch("caller", AudioFormat("l16", 8000), diary, origin=10.0)
    sound, silence = np.full(160, 4_000, np.int16), np.zeros(160, np.int16)
    frames = [silence] * 50 + [sound] * 50 + [silence] * 10 + [sound] * 40 + [silence] * 50
    for tick, frame in enumerate(frames, start=1):
        watch.frame(tick, frame)

    assert told(diary) == [(11, "caller_speaks", ""), (13, "caller_silent", "")]


@pytest.mark.parametrize(
    "url", ["ws://h/ws?token=secret", "ws://h/ws#rt=1", "ws://h/ws?a=1#b", "ws://h/ws"]
)
def test_a_url_is_told_without_what_may_be_secret(url: str) -> None:
    assert without_query(url) == "ws://h/ws"


def test_a_call_tells_all_that_happens_in_it(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> list[str]:
        call = await platform.call(platform.stream(keepCallAlive="true"), "<Wait/>", "<Hangup/>")
        await call.wait_ended()
        return [f"{each.kind} {each.text}".strip() for each in call.diary.timeline]

    person = Person([Say("Hello?"), Press("5"), Wait(1), HangUp()])
    happened = on_platform(scenario, person=person)

    kinds = [each.partition(" ")[0] for each in happened]
    for kind in (
        *("call_placed", "call_rings", "call_answered", "xml_fetched", "xml_runs"),
        *("stream_opened", "caller_says", "caller_speaks", "key_pressed", "stream_ended"),
        *("callback", "call_ended"),
    ):
        assert kind in kinds, happened
    assert "caller_says Hello?" in happened
    assert "key_pressed 5" in happened
    assert happened[-1] == "call_ended Normal Hangup (4000), by Callee"


def test_a_file_that_the_person_plays_is_named(on_platform: OnPlatform, tmp_path: Any) -> None:
    write_wav(tmp_path / "hello.wav", np.full(8_000, 4_000, np.int16), 8_000)

    async def scenario(platform: Any) -> list[str]:
        call = await platform.call('<Wait length="9"/>')
        await call.wait_ended()
        return [each.text for each in call.diary.timeline if each.kind == "caller_says"]

    person = Person([Play(tmp_path / "hello.wav"), HangUp()])
    assert on_platform(scenario, person=person) == ["(hello.wav)"]


def test_who_asks_is_told_each_entry_as_it_is_made() -> None:
    diary = CallDiary("c1", itertools.count(100.0).__next__)
    entries: list[TimelineEntry] = []
    diary.on_entry = entries.append
    diary.tell("stream_opened", "ws://h/ws")

    assert entries == diary.timeline
