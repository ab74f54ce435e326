import json

import pytest

from mediaserver.agents.services.gemini import live_turn
from mediaserver.agents.services.gemini.live_messages import ACTIVITY_END, ACTIVITY_START
from mediaserver.agents.services.gemini.live_turn import LiveTurn


def shown(messages: list[str]) -> str:
    """Return the messages in short: ( ) for the marks, * for audio, and texts as they are."""
    signs = {"activityStart": "(", "activityEnd": ")", "audio": "*"}
    heard = [json.loads(message)["realtimeInput"] for message in messages]
    return "".join(each.get("text") or signs[next(iter(each))] for each in heard)


def rest(turn: LiveTurn) -> str:
    return shown(list(iter(turn.next, None)))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_turn, "_KEPT_MESSAGES", 3)


def test_a_turn_is_sent_as_it_comes_and_whole_over_another_connection() -> None:
    turn = LiveTurn(marked=True)
    turn.hear(b"aa")
    assert rest(turn) == "(*"
    turn.hear(b"bb")
    assert rest(turn) == "*"
    turn.send_again()
    assert rest(turn) == "(**"


def test_a_turn_without_audio_is_marked_as_well() -> None:
    messages, sent, turns = LiveTurn(marked=True).end(["1"])
    assert (shown(messages), sent, turns) == ("(1)", 0, 1)


def test_a_turn_that_is_taken_back_goes_on() -> None:
    turn = LiveTurn(marked=True)
    turn.hear(b"aa")
    rest(turn)
    messages, sent, turns = turn.end([])
    assert messages[0] == ACTIVITY_START
    assert messages[-1] == ACTIVITY_END
    assert not turn
    turn.hear(b"bb")
    turn.take_back(messages, sent, turns)
    assert rest(turn) == "*"
    messages, _, turns = turn.end([])
    assert (shown(messages), turns) == ("(**)", 2)


@pytest.mark.parametrize("sends", [False, True])
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.usefixtures("short")
def test_speech_is_bounded_whether_it_is_sent_or_not(marked: bool, sends: bool) -> None:
    turn = LiveTurn(marked=marked)
    for _ in range(10):
        turn.hear(b"aa")
        if sends:
            assert rest(turn).endswith("*")
    turn.send_again()
    assert rest(turn) == "(***" if marked else "***"


def test_what_was_heard_is_forgotten_and_what_was_not_sent_is_not() -> None:
    turn = LiveTurn(marked=False)
    for _ in range(4):
        turn.hear(b"aa")
    rest(turn)
    turn.hear(b"bb")
    turn.forget(but=2)
    assert rest(turn) == "*"
    turn.send_again()
    assert rest(turn) == "***"
    turn.forget()
    assert not turn
