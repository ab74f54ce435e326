import json
from typing import Any

import pytest

from mediaserver.call import CallSettings, Session, Turn, Usage
from mediaserver.call.follower import STREAM_ENDED, CallFollower, decision_json
from tests.call.test_session import Shell, media, start


class Notes:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.decisions: list[Any] = []

    def received(self, message: str | bytes | bytearray) -> None:
        self.messages.append(message)

    def received_binary(self, message: bytes) -> None:
        self.messages.append(("binary", message))

    def sent(self, message: bytes) -> None:
        raise AssertionError("a session does not send by itself")

    def decided(self, what: str, /, **details: object) -> None:
        self.decisions.append((what, details))


def followed(session: Any) -> Notes:
    notes = Notes()
    follower: CallFollower = notes
    session.follow(follower)
    return notes


def test_a_follower_gets_each_message_until_the_stream_ends(clock: Any) -> None:
    session = Session(clock, Shell(), CallSettings())
    notes = followed(session)
    messages = [start(), media(), "nonsense"]
    for message in messages:
        session.receive(message)
    assert notes.messages == messages
    session.close("stop")
    session.receive(media())
    assert notes.messages == messages
    assert notes.decisions == [(STREAM_ENDED, {"reason": "stop"})]


def test_a_follower_gets_binary_messages_as_such(clock: Any) -> None:
    session = Session(clock, Shell(), CallSettings())
    notes = followed(session)
    session.refuse_binary(b"\x01")
    session.close("stop")
    session.refuse_binary(b"\x02")
    assert notes.messages == [("binary", b"\x01")]


def test_a_follower_is_told_of_turns_and_interruptions(clock: Any) -> None:
    session = Session(clock, Shell(), CallSettings())
    session.receive(start())
    notes = followed(session)
    session.report_turn(Turn(number=1, caller="Hello?", agent="Hi.", audio_heard=0.75))
    assert session.started is not None
    session.started.playout.play(b"\xff" * 8000)
    session.interrupt()
    turn, interruption = notes.decisions
    assert turn == (
        "turn",
        {
            "number": 1,
            "audio_heard": 0.75,
            "interrupted": False,
            "error": None,
            "words": ["Hello?", "Hi."],
        },
    )
    assert interruption[0] == "interrupt"
    assert interruption[1]["unheard"] > 0


def test_a_follower_is_told_what_a_turn_used(clock: Any) -> None:
    session = Session(clock, Shell(), CallSettings())
    notes = followed(session)
    session.report_turn(Turn(number=1, usage=Usage(tokens_in=7, speech_seconds=1.23456)))
    ((_, details),) = notes.decisions
    assert details["usage"] == {"tokens_in": 7, "speech_seconds": 1.235}


def test_what_a_service_said_when_it_failed_is_among_the_words(clock: Any) -> None:
    session = Session(clock, Shell(), CallSettings())
    notes = followed(session)
    said = "model: 'my card is 4111' is not allowed"
    session.report_turn(Turn(number=1, error=said, failure="model: HTTP 400"))
    session.report_turn(Turn(number=2, error=said))
    told = [details for _, details in notes.decisions]
    assert [each["error"] for each in told] == ["model: HTTP 400", "failed"]
    assert [each["words"] for each in told] == [["", "", said]] * 2


class Unspeakable:
    """An application's object that cannot be written."""

    def __str__(self) -> str:
        raise RuntimeError


def endless() -> list[Any]:
    turns: list[Any] = []
    turns.append(turns)
    return turns


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("tea", "tea"),
        ({1, 2}, [1, 2]),
        ("half of \ud83d", "half of \ud83d"),
        ({"a": ["\udfff"]}, {"a": ["\udfff"]}),
        (10**30, 10**30),
    ],
)
def test_what_is_decided_is_written_whatever_it_is(value: object, written: object) -> None:
    assert json.loads(decision_json({"what": "thinks", "of": value})) == {
        "what": "thinks",
        "of": written,
    }


@pytest.mark.parametrize("value", [Unspeakable(), endless(), {"\ud83d": float("nan")}])
def test_of_what_cannot_be_written_the_reason_is(value: object) -> None:
    line = json.loads(decision_json({"at": 1.5, "what": "thinks", "of": value}))
    assert (line["at"], line["what"]) == (1.5, "thinks")
    assert line["problem"]
