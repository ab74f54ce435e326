import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mediaserver.server.admin.recorded_trace import recorded_lines, transcript_lines


START = datetime(2027, 1, 15, 8, tzinfo=UTC)
CALL = {"started_at": START, "seconds": 12.5, "reason": "the caller hung up"}


def turn(number: int, at: float, **known: Any) -> dict[str, Any]:
    """The columns of a turn."""
    nothing = dict.fromkeys(
        ("end_of_turn", "transcript", "first_token", "audio_sent", "audio_heard", "caller", "agent")
    )
    told = {"number": number, "interrupted": False, "error": None}
    return {**nothing, **told, "at": START + timedelta(seconds=at), **known}


GREETING = turn(0, 0.0, audio_sent=0.1, audio_heard=0.25, agent="Hello.")
QUESTION = turn(
    1,
    4.0,
    transcript=0.5,
    audio_sent=1.25,
    audio_heard=1.5,
    caller="Are you open?",
    agent="We are.",
    interrupted=True,
)


def read(*turns: dict[str, Any], personal_data: bool = True, **call: Any) -> list[Any]:
    return [
        json.loads(line) for line in recorded_lines(CALL | call, turns, personal_data=personal_data)
    ]


def test_turns_are_lines_at_their_times() -> None:
    assert [(line["at"], line["what"], line.get("words")) for line in read(GREETING, QUESTION)] == [
        (0.25, "says", "Hello."),
        (0.25, "turn", ["", "Hello."]),
        (4.5, "understood", "Are you open?"),
        (5.5, "says", "We are."),
        (5.5, "turn", ["Are you open?", "We are."]),
        (12.5, "stream ended", None),
    ]


def test_a_turn_has_its_stages() -> None:
    (line,) = (line for line in read(QUESTION) if line["what"] == "turn")
    assert line == {
        "at": 5.5,
        "what": "turn",
        "number": 1,
        "transcript": 0.5,
        "audio_sent": 1.25,
        "audio_heard": 1.5,
        "interrupted": True,
        "error": None,
        "words": ["Are you open?", "We are."],
    }


def test_a_recording_is_told_first() -> None:
    (line,) = recorded_lines(CALL | {"seconds": None}, [], personal_data=True, recording=True)
    assert json.loads(line) == {"at": 0.0, "what": "recording"}


def test_words_are_personal_data() -> None:
    failed = QUESTION | {"error": "model: cannot answer 'Are you open?'"}
    lines = read(failed, personal_data=False)
    assert {line["words"] for line in lines if "words" in line} == {"…"}
    assert [line["error"] for line in lines if line["what"] == "turn"] == ["failed"]
    assert read(failed)[2]["error"] == failed["error"]


def test_what_a_malformed_message_said_is_personal_data() -> None:
    reason = "dtmf.digit should be one key, got '4111'"
    (hidden,), (shown,) = (read(personal_data=each, reason=reason) for each in (False, True))
    assert hidden["reason"] == "dtmf.digit should be one key, got …"
    assert shown["reason"] == reason


def test_words_that_were_not_recorded_have_no_lines() -> None:
    assert [line["what"] for line in read(turn(1, 4.0))] == ["turn", "stream ended"]


def test_a_call_whose_process_died_has_no_end() -> None:
    assert [line["what"] for line in read(turn(1, 4.0), seconds=None)] == ["turn"]


TRANSCRIPT = """{"track": "inbound", "start": 0.5, "end": 1.5, "text": "Is it open?"}
{"track": "outbound", "start": 2.0, "end": 2.75, "text": "It is."}
{"track": "inbound", "start": 0.5, "end": 1.5}
{"secret": "key"}
no JSON"""


def test_a_transcript_is_told_where_the_turns_have_no_words(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    path.write_text(TRANSCRIPT)

    def told(*turns: dict[str, Any], personal_data: bool = True) -> list[Any]:
        transcript = transcript_lines(str(path))
        lines = recorded_lines(CALL, turns, personal_data=personal_data, transcript=transcript)
        return [json.loads(line) for line in lines]

    assert told()[:-1] == [
        {"at": 1.5, "what": "understood", "words": "Is it open?"},
        {"at": 2.0, "what": "reply begins"},
        {"at": 2.0, "what": "says", "words": "It is."},
        {"at": 2.0, "what": "spoken", "words": "It is.", "heard_in": 0.75},
    ]
    assert {line["words"] for line in told(personal_data=False) if "words" in line} == {"…"}
    assert told(QUESTION) == read(QUESTION)


def test_a_line_of_a_transcript_that_is_none_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    path.write_text('{"a":' + "[" * 10_000 + "\n[]\n" + TRANSCRIPT)
    assert len(list(transcript_lines(str(path)))) == 4


@pytest.mark.parametrize("path", [None, "/nowhere/call.jsonl", "/", "a\0b"])
def test_a_transcript_that_is_not_there_says_nothing(path: str | None) -> None:
    assert list(transcript_lines(path)) == []
