import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_16K, L16_24K
from mediaserver.agents.services import (
    CallerFinished,
    CallerSpeaks,
    CallerText,
    ResponseDone,
    Speech,
    SpokenText,
    Text,
    ToolCall,
    ToolResult,
)
from mediaserver.agents.services.gemini.live_events import decode_live_message
from mediaserver.agents.services.gemini.live_exchange import LiveExchange, SessionState
from mediaserver.call import Frame


class Session:
    """An exchange with the API, and the time in which it takes place."""

    def __init__(self, *, takes_turns: bool = False, transcribes: bool = True) -> None:
        self.now = 100.0
        self.state = SessionState("", [])
        self.exchange = LiveExchange(
            self.state,
            format=L16_16K,
            takes_turns=takes_turns,
            transcribes=transcribes,
            first_timeout=8.0,
            stall_timeout=5.0,
            clock=lambda: self.now,
        )

    def heard(self, seconds: float) -> None:
        """Hear the caller for a while, and send what there is."""
        for _ in range(round(seconds / 0.02)):
            self.exchange.hear(Frame(bytes(640), L16_16K))
            self.now += 0.02
            self.sent()

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(message) for message in iter(self.exchange.next_message, None)]

    def told(self, **message: Any) -> list[Any]:
        decoded = decode_live_message(json.dumps(message))
        assert decoded is not None
        return self.exchange.take(decoded)

    def content(self, **content: Any) -> list[Any]:
        return self.told(serverContent=content)

    def speech(self, seconds: float = 0.1) -> list[Any]:
        data = base64.b64encode(bytes(round(seconds * L16_24K.bytes_per_second))).decode()
        blob = {"mimeType": "audio/pcm;rate=24000", "data": data}
        return self.content(modelTurn={"parts": [{"inlineData": blob}]})

    def words(self, text: str) -> list[Any]:
        return self.content(outputTranscription={"text": text})

    def caller(self, text: str) -> list[Any]:
        return self.content(inputTranscription={"text": text})

    def keeps(self, handle: str = "h") -> None:
        self.told(sessionResumptionUpdate={"newHandle": handle, "resumable": True})

    def answers(self, text: str = "Yes.") -> list[Any]:
        return [
            *self.words(text),
            *self.speech(),
            *self.content(generationComplete=True),
            *self.content(turnComplete=True),
        ]

    def audio_again(self) -> float:
        """Return the seconds of audio that another connection is told."""
        self.exchange.resumed()
        audio = [m["realtimeInput"]["audio"]["data"] for m in self.sent()]
        return sum(len(base64.b64decode(each)) for each in audio) / L16_16K.bytes_per_second


@pytest.fixture(params=[False, True])
def session(request: pytest.FixtureRequest) -> Session:
    return Session(takes_turns=request.param)


@pytest.fixture
def listening() -> Session:
    """A session in which the API takes the turns."""
    return Session(takes_turns=True)


def texts(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, SpokenText))


# The end of a turn.


def test_a_turn_that_is_not_completed_is_over_after_its_speech_was_played(
    session: Session,
) -> None:
    session.exchange.say("Greet.")
    session.sent()
    session.speech(seconds=4)
    session.content(generationComplete=True)
    assert session.exchange.due == pytest.approx(104 + 5)
    session.now = 109.1
    assert session.exchange.give_up_waiting() == [ResponseDone()]
    assert session.exchange.due is None


def test_the_late_end_of_a_turn_does_not_end_the_next(session: Session) -> None:
    session.exchange.say("Greet.")
    session.sent()
    session.speech()
    session.content(generationComplete=True)
    session.exchange.give_up_waiting()
    session.exchange.say("Go on.")
    assert session.content(turnComplete=True) == []
    assert texts(session.answers("Well.")) == "Well."
    assert not session.exchange.give_up_waiting()


def test_the_late_end_of_a_turn_is_of_no_account_when_nothing_was_asked(session: Session) -> None:
    session.exchange.say("Greet.")
    session.speech()
    session.content(generationComplete=True)
    session.exchange.give_up_waiting()
    session.content(turnComplete=True)
    session.exchange.say("Go on.")
    assert session.content(turnComplete=True) == [ResponseDone()]


def test_a_response_that_stalls_is_not_over(session: Session) -> None:
    session.exchange.say("Greet.")
    assert session.exchange.due == 108
    session.now = 104.0
    session.speech()
    assert session.exchange.due == 109
    assert session.exchange.give_up_waiting() == []


def test_messages_that_say_nothing_of_a_response_give_it_no_more_time(session: Session) -> None:
    session.exchange.say("Greet.")
    session.now += 4
    session.keeps()
    session.caller("Hello?")
    assert session.exchange.due == 108
    session.content(modelTurn={"parts": [{"text": "A thought.", "thought": True}]})
    assert session.exchange.due == 112


# Words that come late.


def test_the_last_words_of_an_answer_begin_no_other(session: Session) -> None:
    session.exchange.say("Greet.")
    session.answers("Good")
    assert session.words(" morning.") == []
    assert session.exchange.due is None


def test_words_that_come_before_their_speech_are_told_with_it(listening: Session) -> None:
    assert listening.words("It is ") == []
    events = listening.speech()
    assert events[0] == CallerFinished()
    assert events[1] == SpokenText("response-1", "It is ")
    assert isinstance(events[2], Speech)


def test_the_late_words_of_an_answer_are_not_those_of_the_next(listening: Session) -> None:
    listening.answers("Good")
    listening.words(" morning.")
    listening.now += 3
    listening.caller("And now?")
    assert texts(listening.answers("Rain.")) == "Rain."


def test_words_of_the_caller_that_are_late_do_not_interrupt_the_answer(listening: Session) -> None:
    listening.caller("How is")
    listening.answers()
    listening.now += 1
    assert listening.caller(" it?") == []
    listening.now += 1.5
    assert listening.caller("And now?") == [CallerSpeaks()]
    assert listening.caller(" Tell me.") == []


def test_interim_words_tell_at_once_that_the_caller_speaks(listening: Session) -> None:
    listening.answers()
    interim = {"interimInputTranscription": {"text": "And"}}
    assert listening.content(**interim) == [CallerSpeaks()]
    assert listening.content(**interim) == []
    listening.caller("And now?")
    assert CallerText("And now?") in listening.answers()


def test_where_the_api_tells_of_activity_a_transcript_does_not(listening: Session) -> None:
    began = {"voiceActivityType": "ACTIVITY_START", "audioOffset": "1.5s"}
    assert listening.told(voiceActivity=began) == [CallerSpeaks()]
    listening.told(voiceActivity={"voiceActivityType": "ACTIVITY_END"})
    listening.answers()
    listening.now += 10
    assert listening.caller("How is it?") == []
    assert listening.told(voiceActivity=began) == [CallerSpeaks()]


# What the model is told.


def test_what_is_told_goes_at_once_where_the_api_takes_the_turns(listening: Session) -> None:
    listening.exchange.tell(Text("user", "1"))
    listening.exchange.tell(Text("system", "The caller pressed a key."))
    (message,) = listening.sent()
    parts = [{"text": "1"}, {"text": "(The caller pressed a key.)"}]
    assert message == {
        "clientContent": {"turns": [{"role": "user", "parts": parts}], "turnComplete": False}
    }
    assert listening.sent() == []


def test_what_is_told_stops_neither_the_model_nor_the_caller(listening: Session) -> None:
    listening.speech()
    listening.exchange.tell(Text("user", "1"))
    assert listening.sent() == []
    listening.content(generationComplete=True, turnComplete=True)
    listening.content(interimInputTranscription={"text": "And"})
    assert listening.sent() == []
    listening.now += 2.5
    assert len(listening.sent()) == 1


def test_what_is_told_does_not_take_the_place_of_a_tools_result(listening: Session) -> None:
    told = listening.told(toolCall={"functionCalls": [{"name": "look", "id": "a"}]})
    assert told == [CallerFinished(), ToolCall("a", "look", "{}"), CallerText(""), ResponseDone()]
    listening.exchange.tell(Text("user", "1"))
    assert listening.sent() == []
    listening.exchange.tell(ToolResult("a", "rain"))
    listening.exchange.respond()
    (message,) = listening.sent()
    assert [*message] == ["toolResponse"]
    listening.answers()
    assert len(listening.sent()) == 1


def test_the_result_of_a_cancelled_tool_reaches_the_model(listening: Session) -> None:
    listening.told(toolCall={"functionCalls": [{"name": "look", "id": "a"}]})
    listening.told(toolCallCancellation={"ids": ["a"]})
    listening.exchange.tell(ToolResult("a", "rain"))
    listening.now += 3
    (message,) = listening.sent()
    (turn,) = message["clientContent"]["turns"]
    assert turn["parts"] == [{"text": "(look has returned: rain)"}]


# What another connection is told.


def test_silence_is_not_heard_again(listening: Session) -> None:
    listening.answers()
    listening.heard(20)
    assert listening.audio_again() == pytest.approx(3, abs=0.03)


def test_all_that_the_caller_says_is_heard_again(listening: Session) -> None:
    listening.answers()
    listening.heard(4)
    listening.caller("It is")
    listening.heard(10)
    assert listening.audio_again() == pytest.approx(13, abs=0.03)


def test_nobody_knows_when_the_caller_speaks_without_transcription() -> None:
    session = Session(takes_turns=True, transcribes=False)
    session.heard(40)
    assert session.audio_again() == pytest.approx(30)


def test_what_the_api_keeps_is_not_heard_again(listening: Session) -> None:
    listening.caller("It is")
    listening.heard(10)
    listening.keeps()
    listening.heard(1)
    assert listening.audio_again() == pytest.approx(1.5)


@pytest.mark.parametrize("kept", ["before the end", "after the end"])
def test_what_the_api_keeps_is_not_told_again(session: Session, kept: str) -> None:
    session.exchange.end_turn()
    session.sent()
    session.caller("How is it?")
    session.words("Rain.")
    session.speech()
    session.content(generationComplete=True)
    if kept == "before the end":
        session.keeps()
    session.content(turnComplete=True)
    if kept == "after the end":
        assert session.state.history == [Text("user", "How is it?"), Text("assistant", "Rain.")]
        session.keeps()
    assert session.state.history == []


def test_what_the_api_does_not_keep_is_told_again_with_what_it_was_told(session: Session) -> None:
    session.keeps()
    session.exchange.tell(Text("user", "1"))
    session.exchange.respond()
    session.sent()
    session.answers("Sales.")
    said = [each for each in session.state.history if isinstance(each, Text)]
    assert [said[0], said[-1]] == [Text("user", "1"), Text("assistant", "Sales.")]


def test_an_answer_that_the_api_keeps_in_part_is_told_from_there(session: Session) -> None:
    session.exchange.say("Greet.")
    session.speech()
    session.words("Good")
    session.keeps()
    session.words(" morning.")
    session.content(turnComplete=True)
    assert session.state.history == [Text("assistant", "morning.")]


# Whatever happens.

SAID: dict[str, dict[str, Any]] = {
    "words": {"outputTranscription": {"text": "So"}},
    "the caller": {"inputTranscription": {"text": "Hello?"}},
    "interim": {"interimInputTranscription": {"text": "Hel"}},
    "interrupted": {"interrupted": True},
    "generated": {"generationComplete": True},
    "completed": {"turnComplete": True},
}
EVENTS = ["heard", "asked", "cancelled", "speech", "a tool", "kept", "lost", "overdue", *SAID]


@given(
    takes_turns=st.booleans(),
    events=st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from([0.0, 1.0, 3.0]))),
)
def test_each_response_is_done_once_in_whatever_order_things_come(
    takes_turns: bool, events: list[tuple[str, float]]
) -> None:
    session = Session(takes_turns=takes_turns)
    exchange = session.exchange
    open_responses = 0

    def told(came: list[Any]) -> None:
        nonlocal open_responses
        open_responses -= sum(isinstance(event, ResponseDone) for event in came)

    for event, seconds in events:
        session.now += seconds
        if event in ("speech", "a tool") and not open_responses:
            open_responses += 1  # nobody asked for it
        if event == "heard":
            session.heard(0.1)
        elif event == "asked":
            open_responses += 1
            exchange.respond()
        elif event == "cancelled" and open_responses == 1:  # those that wait would be forgotten
            exchange.cancel()
        elif event == "speech":
            told(session.speech())
        elif event == "a tool":
            told(session.told(toolCall={"functionCalls": [{"name": "look"}]}))
        elif event == "kept":
            session.keeps()
        elif event == "overdue" and exchange.due is not None:
            session.now = max(session.now, exchange.due)
            told(exchange.give_up_waiting())
        elif event == "lost":
            told(exchange.broken_off())
            exchange.resumed()
        elif event in SAID:
            told(session.content(**SAID[event]))
        session.sent()
        assert open_responses >= 0
    for _ in range(2 * len(events)):
        if open_responses:
            told(session.speech() + session.content(turnComplete=True))
            session.sent()
    assert open_responses == 0
    assert exchange.due is None
