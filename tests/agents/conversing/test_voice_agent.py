"""Whole conversations, by phone, in virtual time."""

import asyncio
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import structlog

from audiocodecs import L16_8K, L16_24K, MULAW_8K, AudioFormat
from mediaserver import Stream
from mediaserver.agents import VoiceAgent, tool
from mediaserver.agents.services import (
    NoAnswerError,
    ServiceError,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
    WordMark,
)
from mediaserver.agents.turns import TurnSettings
from mediaserver.call import Frame
from mediaserver.sandbox import CallReport
from mediaserver.stream import CallControlError
from mediaserver.testing import JoinedCall, run_virtual
from mediaserver.testing.recognizer import ToneRecognizer
from mediaserver.testing.services import (
    WORD_SECONDS,
    Fault,
    TimedModel,
    TimedSpeech,
    TimedTranscription,
    Timing,
)
from mediaserver.testing.voice import ToneVoice
from tests.agents.scripted_call import Scripted, caller, converse, voice


# With no phrases, a voice has no session besides the call's.
NO_PHRASES: dict[str, Any] = {"apology": None, "goodbye": None, "silence_prompt": None}
TEN = "One two three four five six seven eight nine ten."
SENTENCES = "One two three four. Five six seven eight. Nine ten eleven twelve."


class Control:
    """Hangs up and transfers, or refuses to."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses
        self.done: list[Any] = []

    async def hang_up(self, stream: Stream) -> None:
        self._do("hang_up")
        stream.close()

    async def transfer(self, stream: Stream, url: str) -> None:
        self._do(url)
        stream.close()

    def _do(self, what: str) -> None:
        if self.refuses:
            raise CallControlError("the account has no right to")
        self.done.append(what)


def words_played(report: CallReport, since: float = 0.0, until: float = math.inf) -> Any:
    """Count the words that the caller heard, by their sound."""
    assert report.recording is not None
    agent = report.recording[:, 1].astype(float)
    first, last = round(since * 8000), min(round(min(until, 1e6) * 8000), len(agent))
    loud = np.abs(agent[first:last]) > 500
    # A tone crosses zero: look at 5 ms at a time.
    steps = loud[: len(loud) // 40 * 40].reshape(-1, 40).any(axis=1)
    return steps.sum() * 0.005 / (WORD_SECONDS - 0.06)


# Turns.


def test_it_greets_and_answers_two_turns() -> None:
    call = converse(
        caller(2.0, voice(1.0), 8.0, voice(1.0), 12.0),
        hears=["What is up?", "Thanks."],
        answers=["Not much today.", "You are welcome."],
        greeting="Hello there, caller.",
        prompt="Be brief.",
    )
    assert call.said == [
        ("assistant", "Hello there, caller."),
        ("user", "What is up?"),
        ("assistant", "Not much today."),
        ("user", "Thanks."),
        ("assistant", "You are welcome."),
    ]
    assert call.llm.conversations[1] == [
        Text("system", "Be brief."),
        *(Text(role, text) for role, text in call.said[:4]),
    ]
    assert words_played(call.report) == pytest.approx(9, abs=0.2)
    assert [turn.number for turn in call.turns] == [0, 1, 2]
    assert [turn.agent for turn in call.turns] == [
        text for role, text in call.said if role == "assistant"
    ]


def test_a_reply_comes_as_soon_as_the_services_allow() -> None:
    call = converse(
        caller(1.0, voice(1.0), 5.0),
        stt=TimedTranscription(["Hello?"], timing=Timing(0.12)),
        llm=TimedModel(["Yes. And so on and on."], timing=Timing(0.2, 0.05)),
        tts=TimedSpeech(timing=Timing(0.15, 0.01)),
    )
    (turn,) = call.turns
    assert turn.end_of_turn == pytest.approx(0.6, abs=0.03)
    assert turn.transcript == pytest.approx(turn.end_of_turn + 0.12)
    assert turn.first_token == pytest.approx(turn.transcript + 0.2)
    # A sentence is known to have ended when the next one begins.
    assert turn.audio_sent == pytest.approx(turn.first_token + 0.05 + 0.15, abs=0.051)
    assert turn.audio_heard - turn.audio_sent <= 0.021
    assert call.report.replies[0].seconds == pytest.approx(turn.audio_heard, abs=0.03)


def test_usage_is_that_of_the_services() -> None:
    call = converse(
        caller(1.0, voice(1.0), 6.0), hears=["Hello?"], answers=["Yes, hello."], prompt="Be brief."
    )
    usage = call.turns[0].usage
    assert usage.tokens_in == 20
    assert usage.tokens_out == 2
    assert usage.characters == len("Yes, hello. ")
    assert usage.speech_seconds == pytest.approx(call.stt.heard[0])
    assert call.counters.turns.usage["characters"] == usage.characters


def test_speech_that_no_service_delivered_costs_nothing() -> None:
    dead = TimedSpeech(fault=Fault(error=ServiceError("text_to_speech", "gone")))
    call = converse(
        caller(1.0, voice(1.0), 6.0), hears=["Hello?"], answers=["Yes, hello."], tts=dead
    )
    assert call.turns[0].error is not None
    assert call.turns[0].usage.characters == 0


def test_a_phrase_costs_only_the_turn_for_which_it_was_made() -> None:
    tts = TimedSpeech()
    costs = [
        converse(caller(4.0), tts=tts, greeting="Hello, shop.").turns[0].usage.characters
        for _ in range(2)
    ]
    assert costs == [len("Hello, shop."), 0]


def test_transcription_begins_before_the_first_word_is_over() -> None:
    stt_began = []

    class Noting(TimedTranscription):
        async def transcribe(self, speech: Any) -> AsyncGenerator[Any, None]:
            stt_began.append(asyncio.get_running_loop().time())
            async for transcript in super().transcribe(speech):
                yield transcript

    converse(caller(1.0, voice(2.0), 4.0), stt=Noting(["Hello?"]))
    assert stt_began[0] < 1.2


def test_an_utterance_begins_before_its_onset() -> None:
    call = converse(
        caller(1.0, voice(1.0), 4.0), hears=["Hello?"], turn_taking=TurnSettings(preroll=0.4)
    )
    # The word, the silence after it, and what came before.
    assert call.stt.heard[0] == pytest.approx(1.0 + 0.6 + 0.4, abs=0.1)


def test_sentences_follow_each_other_without_a_gap() -> None:
    call = converse(caller(1.0, voice(1.0), 8.0), hears=["Count."], answers=[SENTENCES])
    assert len(call.tts.texts) >= 3
    assert call.report.gaps == []
    assert words_played(call.report) == pytest.approx(12, abs=0.2)
    assert call.said[-1] == ("assistant", SENTENCES)


def test_the_next_sentence_is_synthesised_while_one_plays_and_no_more_than_that() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        line.phone.say(voice(0.5))
        await line.phone.wait_for_audio(after=1.0)
        await line.phone.wait_until(line.phone.time + 1.0)
        made.append(list(agent.text_to_speech.texts))
        await line.phone.wait_until(20.0)

    made: list[Any] = []
    long = " ".join(f"{word} two three four five six seven eight nine ten." for word in "ABCDEF")
    call = converse(
        script,
        hears=["Count."],
        answers=[long],
        apology=None,
        goodbye=None,
        silence_prompt=None,
    )
    assert 2 <= len(made[0]) <= 3
    assert call.report.gaps == []


def test_a_service_may_speak_in_another_format() -> None:
    call = converse(
        caller(1.0, voice(1.0), 8.0),
        hears=["Count."],
        answers=[SENTENCES],
        tts=TimedSpeech(format=L16_24K),
    )
    assert words_played(call.report) == pytest.approx(12, abs=0.3)
    assert call.said[-1] == ("assistant", SENTENCES)


@pytest.mark.parametrize(
    "text", ["", ".", "...", "[BLANK_AUDIO]", "(silence)", "<unk>", "♪ ♪", "[BLANK_AUDIO] (cough)."]
)
def test_an_utterance_without_words_is_not_answered(text: str) -> None:
    call = converse(caller(1.0, voice(1.0), 6.0), hears=[text], answers=["Never said."])
    assert call.messages == []
    assert call.llm.uses == 0
    assert call.report.audio_played == 0


def test_who_goes_on_before_the_answer_began_has_said_one_thing() -> None:
    call = converse(
        # At 2.8 the turn has ended, and the model has been asked.
        caller(1.0, voice(1.0), 2.8, voice(1.0), 8.0),
        hears=["I would like", "a table."],
        llm=TimedModel(["What?", "For how many?"], timing=Timing(0.6, 0.02)),
    )
    assert call.said == [("user", "I would like a table."), ("assistant", "For how many?")]
    (turn,) = call.turns
    assert (turn.number, turn.caller) == (1, "I would like a table.")
    assert call.llm.uses == 2


def test_who_goes_on_before_the_transcript_is_there_has_said_one_thing() -> None:
    call = converse(
        caller(1.0, voice(1.0), 2.65, voice(1.0), 8.0),
        stt=TimedTranscription(["I would like", "a table."], timing=Timing(0.5)),
        answers=["For how many?"],
    )
    assert call.said == [("user", "I would like a table."), ("assistant", "For how many?")]
    assert call.llm.uses == 1


# Barge-in.


def barge(at: float, length: float, *, until: float = 14.0) -> Callable[..., Any]:
    """Ask something, and make a sound while the answer is heard, `at` seconds into it."""

    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        line.phone.say(voice(0.5))
        began = await line.phone.wait_for_audio(after=1.0)
        await line.phone.wait_until(began + at)
        line.phone.say(voice(length))
        await line.phone.wait_until(until)

    return script


@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize("at", [0.7, 1.3, 2.2])
def test_history_has_the_words_that_were_heard(at: float, marks: bool) -> None:
    call = converse(
        barge(at, 1.0),
        hears=["Count.", "Stop it."],
        answers=[TEN, "All right then."],
        tts=TimedSpeech(marks=marks),
    )
    _, (second, _) = call.report.agent_speech[:2]
    played = words_played(call.report, until=second - 0.1)
    heard = call.said[1][1].split()
    assert heard == TEN.split()[: len(heard)]
    assert len(heard) == pytest.approx(played, abs=1.0)
    assert call.turns[0].interrupted
    assert call.turns[0].agent == " ".join(heard)
    assert call.said[2:] == [("user", "Stop it."), ("assistant", "All right then.")]
    assert call.agent.barge_ins == [True]
    assert call.counters.turns.barge_ins["confirmed"] == 1


def test_the_agent_is_silent_at_once_when_the_caller_begins() -> None:
    call = converse(barge(1.3, 1.0), hears=["Count.", "Stop."], answers=[TEN, "All right then."])
    assert call.report.interrupts[0].seconds <= 0.12


def test_a_cough_pauses_and_nothing_is_lost() -> None:
    call = converse(barge(1.3, 0.1), hears=["Count.", ""], answers=[TEN])
    assert words_played(call.report) == pytest.approx(10, abs=0.3)
    assert len([1 for start, _ in call.report.agent_speech]) >= 2  # it did pause
    assert call.said == [("user", "Count."), ("assistant", TEN)]
    assert not call.turns[0].interrupted
    assert call.agent.barge_ins == [False]
    assert call.llm.uses == 1


def test_a_backchannel_does_not_interrupt() -> None:
    call = converse(
        barge(1.3, 0.3),
        hears=["Count.", "mhm"],
        answers=[TEN, "Never said."],
    )
    assert call.said == [("user", "Count."), ("assistant", TEN)]
    assert words_played(call.report) == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize(
    ("barge_in", "before_end", "word", "timing"),
    [
        *(
            ("decide", before_end, word, timing)
            for before_end in (0.4, 0.24, 0.04)
            for word, timing in (("Okay.", 0.1), ("Sure!", 0.6), ("mhm", 0.0))
        ),
        # With these two, each word and each time once: neither of them is decided about.
        ("at_once", 0.4, "Okay.", 0.1),
        ("at_once", 0.24, "Sure!", 0.6),
        ("at_once", 0.04, "mhm", 0.0),
        ("notify", 0.4, "mhm", 0.0),
        ("notify", 0.24, "Okay.", 0.1),
        ("notify", 0.04, "Sure!", 0.6),
    ],
)
def test_a_backchannel_in_the_last_word_of_the_agent_is_an_answer(
    barge_in: str, before_end: float, word: str, timing: float
) -> None:
    call = converse(
        barge(3.0 - 0.06 - before_end, 0.35),
        stt=TimedTranscription(["Count.", word], timing=Timing(timing)),
        answers=[TEN, "Then I book it."],
        barge_in=barge_in,
    )
    assert call.said[-2:] == [("user", word), ("assistant", "Then I book it.")]
    if barge_in == "decide":
        # What was left of it was heard, and is known.
        assert call.said[1] == ("assistant", TEN)
        assert words_played(call.report) == pytest.approx(14, abs=0.3)


def test_a_noise_in_the_last_word_of_the_agent_is_no_answer() -> None:
    call = converse(barge(2.7, 0.3), hears=["Count.", "[cough]"], answers=[TEN, "Never said."])
    assert call.said == [("user", "Count."), ("assistant", TEN)]
    assert words_played(call.report) == pytest.approx(10, abs=0.3)
    assert not call.turns[0].interrupted


def test_a_backchannel_between_two_sentences_is_no_answer() -> None:
    call = converse(
        # The second sentence comes a second late: nothing is left to hear when the caller speaks.
        barge(1.1, 0.3),
        hears=["Count.", "Okay."],
        llm=TimedModel(["One two three four. Five six."], timing=Timing(0.2, 0.5)),
    )
    assert call.said == [("user", "Count."), ("assistant", "One two three four. Five six.")]


def test_a_short_word_interrupts_when_it_is_understood_at_last() -> None:
    call = converse(
        barge(1.3, 0.3),
        stt=TimedTranscription(["Count.", "Stop!"], timing=Timing(0.3)),
        answers=[TEN, "I stop."],
    )
    assert call.said[2:] == [("user", "Stop!"), ("assistant", "I stop.")]
    assert call.turns[0].interrupted
    assert len(call.said[1][1].split()) < 10


def test_partial_words_interrupt_before_the_length_of_speech_does() -> None:
    call = converse(
        barge(1.3, 1.0),
        stt=TimedTranscription(["Count.", "Stop it now please"], partial_every=0.6),
        answers=[TEN, "I stop."],
        turn_taking=TurnSettings(confirm=0.9),
    )
    assert "Stop" in [transcript.text for transcript in call.agent.transcripts]
    assert call.turns[0].interrupted


def test_at_once_interrupts_at_any_voice() -> None:
    call = converse(
        barge(1.3, 0.1), hears=["Count.", ""], answers=[TEN, "Yes?"], barge_in="at_once"
    )
    assert call.turns[0].interrupted
    assert words_played(call.report) < 7
    assert call.report.interrupts[0].seconds <= 0.12


def test_at_once_a_noise_before_the_answer_does_not_lose_it() -> None:
    call = converse(
        caller(1.0, voice(1.0), 2.8, voice(0.08), 9.0),
        hears=["Hello?", ""],
        llm=TimedModel(["Lost.", "Yes, hello."], timing=Timing(0.6, 0.02)),
        barge_in="at_once",
    )
    assert call.said == [("user", "Hello?"), ("assistant", "Yes, hello.")]


def test_notify_lets_the_agent_finish_and_answers_then() -> None:
    call = converse(
        barge(1.3, 1.0),
        hears=["Count.", "And more?"],
        answers=[TEN, "No more."],
        barge_in="notify",
    )
    assert call.said == [
        ("user", "Count."),
        ("assistant", TEN),
        ("user", "And more?"),
        ("assistant", "No more."),
    ]
    assert call.agent.barge_ins == [True]
    assert call.report.interrupts == [] or words_played(call.report) > 11.5


@pytest.mark.parametrize("text", ["", "[noise]"])
def test_a_greeting_that_noise_kept_from_being_heard_is_said_after_it(text: str) -> None:
    call = converse(caller(voice(0.8), 5.0), hears=[text], greeting=TEN)
    assert call.said == [("assistant", TEN)]
    assert [(turn.number, turn.interrupted) for turn in call.turns] == [(0, False)]
    assert call.llm.conversations == []


def test_who_talks_over_the_greeting_interrupts_it() -> None:
    call = converse(
        caller(1.0, voice(1.0), 8.0), hears=["Wait."], answers=["I wait."], greeting=TEN
    )
    heard = call.said[0][1].split()
    assert 1 <= len(heard) < 6
    assert call.said[1:] == [("user", "Wait."), ("assistant", "I wait.")]
    assert call.turns[0].number == 0
    assert call.turns[0].interrupted


def test_what_was_sent_and_not_heard_can_still_be_interrupted() -> None:
    # All of it is sent within the lead long before it is heard.
    call = converse(barge(0.45, 1.0), hears=["Hi.", "Stop."], answers=["One two three.", "I stop."])
    assert call.turns[0].interrupted
    assert len(call.said[1][1].split()) <= 2


def test_who_interrupts_and_is_not_understood_is_answered_too() -> None:
    call = converse(barge(1.3, 1.0), hears=["Count.", ""], answers=[TEN, "I did not hear you."])
    assert call.said[2:] == [("user", "[inaudible]"), ("assistant", "I did not hear you.")]


def test_an_answer_stopped_before_its_first_word_by_a_noise_is_given_again() -> None:
    call = converse(barge(0.02, 0.7), hears=["Count.", ""], answers=["One two.", "One two three."])
    assert call.said == [("user", "Count."), ("assistant", "One two three.")]
    assert [turn.number for turn in call.turns] == [1]


def test_a_noise_while_the_model_thinks_does_not_lose_the_answer() -> None:
    call = converse(
        caller(1.0, voice(1.0), 2.8, voice(0.25), 9.0),
        hears=["Hello?", ""],
        llm=TimedModel(["Lost.", "Yes, hello."], timing=Timing(0.6, 0.02)),
    )
    assert call.said == [("user", "Hello?"), ("assistant", "Yes, hello.")]


# Tools.


class Receptionist(VoiceAgent):
    """Of a restaurant."""

    used: ClassVar[list[int]] = []
    seconds = 2.0

    @tool(hold="One moment please.")
    async def find_table(self, people: int) -> str:
        """Find a table."""
        await asyncio.sleep(self.seconds)
        self.used.append(people)
        return f"Table {people * 7}."


@pytest.fixture
def receptionist() -> type[Any]:
    return type("TestReceptionist", (Scripted, Receptionist), {"used": []})


def find(people: int = 2, call_id: str = "a") -> ToolCall:
    return ToolCall(call_id, "find_table", f'{{"people": {people}}}')


def ask(until: float = 12.0) -> Callable[..., Any]:
    return caller(1.0, voice(1.0), until)


def test_a_tool_is_used_and_its_result_is_answered(receptionist: type[Any]) -> None:
    call = converse(
        ask(), kind=receptionist, hears=["A table?"], answers=[find(), "Table fourteen."]
    )
    assert call.messages == [
        Text("user", "A table?"),
        find(),
        ToolResult("a", "Table 14."),
        Text("assistant", "One moment please. Table fourteen."),
    ]
    assert call.llm.conversations[1][1:4] == call.messages[:3]
    assert len(call.turns) == 1


def test_no_hold_phrase_for_a_quick_tool(receptionist: type[Any]) -> None:
    receptionist.seconds = 0.5
    call = converse(
        ask(), kind=receptionist, hears=["A table?"], answers=[find(), "Table fourteen."]
    )
    assert call.said[-1] == ("assistant", "Table fourteen.")


def test_tools_run_at_the_same_time(receptionist: type[Any]) -> None:
    call = converse(
        ask(),
        kind=receptionist,
        hears=["Tables?"],
        answers=[[find(1, "a"), find(2, "b"), find(3, "c")], "Three tables."],
    )
    began, again = call.llm.started
    assert again - began < 0.5 + 2 * receptionist.seconds
    assert [m.text for m in call.messages if isinstance(m, ToolResult)] == [
        "Table 7.",
        "Table 14.",
        "Table 21.",
    ]


def test_a_tool_is_finished_though_the_caller_interrupts(receptionist: type[Any]) -> None:
    receptionist.seconds = 4.0
    call = converse(
        # At 3.6 the tool runs.
        caller(1.0, voice(1.0), 3.6, voice(1.0), 12.0),
        kind=receptionist,
        hears=["A table?", "By the window."],
        answers=[find(), "I am looking.", "Table fourteen."],
    )
    assert receptionist.used == [2]
    results = [m for m in call.messages if isinstance(m, ToolResult)]
    assert results == [ToolResult("a", "Table 14.")]
    # The model was asked before that, with a result that says so.
    (early,) = [m for m in call.llm.conversations[1] if isinstance(m, ToolResult)]
    assert "not done yet" in early.text


def late(receptionist: type[Any], *steps: Any, hears: list[str], answers: list[Any]) -> Any:
    """Have a tool take from 2.8 to 7.8 s, while the caller does what they do."""
    receptionist.seconds = 5.0
    return converse(
        caller(1.0, voice(1.0), *steps),
        kind=receptionist,
        hears=["A table?", *hears],
        llm=TimedModel(answers, timing=Timing(0.2, 0.02)),
        turn_taking=TurnSettings(silence=3.0),
    )


def test_the_result_of_a_tool_is_told_though_the_caller_spoke_meanwhile(
    receptionist: type[Any],
) -> None:
    call = late(
        receptionist,
        *(4.0, voice(0.6), 16.0),
        hears=["Hello?"],
        answers=[find(), "Still checking.", "Table fourteen.", "Anything else?"],
    )
    assert call.said[-1][1].startswith("Still checking. Table fourteen.")
    assert ToolResult("a", "Table 14.") in call.llm.conversations[2]
    turn = call.turns[2]
    assert (turn.number, turn.caller, turn.agent) == (3, "", "Table fourteen.")
    # It began to be told as soon as it was there, and before that nobody was thought silent.
    assert turn.audio_heard < 0.5


def test_a_result_that_comes_while_the_agent_speaks_is_told_after_that(
    receptionist: type[Any],
) -> None:
    call = late(
        receptionist,
        *(5.5, voice(0.6), 13.0),
        hears=["Hello?"],
        answers=[find(), TEN, "Table fourteen."],
    )
    assert [turn.agent for turn in call.turns[1:3]] == [TEN, "Table fourteen."]
    assert not call.turns[1].interrupted


def test_a_result_that_comes_while_the_caller_speaks_is_answered_with_what_they_say(
    receptionist: type[Any],
) -> None:
    call = late(
        receptionist,
        *(6.8, voice(2.0), 12.0),
        hears=["Or is there none?"],
        answers=[find(), "Table fourteen."],
    )
    assert ToolResult("a", "Table 14.") in call.llm.conversations[1]
    assert [turn.agent for turn in call.turns[1:]] == ["Table fourteen."]
    assert len(call.llm.conversations) == 2


def test_results_that_come_one_after_the_other_are_all_told(receptionist: type[Any]) -> None:
    class Two(receptionist):  # type: ignore[misc]
        @tool
        async def book(self) -> str:
            """Book it."""
            await asyncio.sleep(9.0)
            raise RuntimeError("no tables")

    call = late(
        Two,
        *(4.0, voice(0.6), 17.0),
        hears=["Hello?"],
        answers=[
            [find(), ToolCall("b", "book", "{}")],
            "Still checking.",
            "Table fourteen.",
            "It failed.",
        ],
    )
    assert [turn.agent for turn in call.turns[1:4]] == [
        "Still checking.",
        "Table fourteen.",
        "It failed.",
    ]
    results = [m.text for m in call.llm.conversations[3] if isinstance(m, ToolResult)]
    assert results[1].startswith("book failed")


def test_a_model_that_only_asks_for_tools_is_a_failure(receptionist: type[Any]) -> None:
    receptionist.seconds = 0.0
    call = converse(
        ask(),
        kind=receptionist,
        hears=["A table?"],
        answers=[find(call_id=str(n)) for n in range(30)],
    )
    assert "without an answer" in call.turns[0].error
    assert call.counters.turns.failures == {"language_model": 1}


def test_say_in_a_tool_is_heard_while_it_runs() -> None:
    class Saying(Scripted):
        @tool
        async def look(self) -> str:
            """Look."""
            await self.say("Looking now.")
            return "Found."

    call = converse(
        ask(), kind=Saying, hears=["Look."], answers=[ToolCall("a", "look", "{}"), "Here."]
    )
    assert call.said[-1] == ("assistant", "Looking now. Here.")


def test_hanging_up_waits_until_goodbye_was_heard() -> None:
    control = Control()

    call = converse(
        caller(1.0, voice(1.0), None),
        hears=["Bye."],
        answers=[["Goodbye and have a nice day.", ToolCall("a", "hang_up", "{}")]],
        control=control,
    )
    assert control.done == ["hang_up"]
    assert call.report.ended_by == "server"
    assert words_played(call.report) == pytest.approx(6, abs=0.2)
    assert call.said[-1] == ("assistant", "Goodbye and have a nice day.")
    assert call.turns[0].agent == "Goodbye and have a nice day."
    assert not call.turns[0].interrupted


def test_hanging_up_without_a_word_says_goodbye() -> None:
    call = converse(
        caller(1.0, voice(1.0), None), hears=["Bye."], answers=[ToolCall("a", "hang_up", "{}")]
    )
    assert call.said[-1] == ("assistant", "Goodbye.")
    assert words_played(call.report) == pytest.approx(1, abs=0.2)


def test_a_hang_up_that_is_refused_is_told_to_the_model() -> None:
    call = converse(
        ask(),
        hears=["Bye."],
        answers=[["Bye.", ToolCall("a", "hang_up", "{}")], "I cannot hang up."],
        control=Control(refuses=True),
    )
    (result,) = [m for m in call.messages if isinstance(m, ToolResult)]
    assert "no right to" in result.text
    assert call.said[-1] == ("assistant", "I cannot hang up.")


def test_who_interrupts_goodbye_is_not_hung_up_on() -> None:
    control = Control()
    call = converse(
        barge(1.0, 1.0),
        hears=["Bye.", "Wait!"],
        answers=[[TEN, ToolCall("a", "hang_up", "{}")], "I am here."],
        control=control,
    )
    assert control.done == []
    assert call.said[-2:] == [("user", "Wait!"), ("assistant", "I am here.")]


@pytest.mark.parametrize(("word", "leaves"), [("Okay.", True), ("Wait!", False)])
def test_a_word_into_the_last_one_of_goodbye(word: str, leaves: bool) -> None:
    control = Control()
    answer = ["Goodbye and have a very nice day then.", ToolCall("a", "hang_up", "{}")]

    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        line.phone.say(voice(0.5))
        began = await line.phone.wait_for_audio(after=1.0)
        await line.phone.wait_until(began + 8 * WORD_SECONDS - 0.4)
        line.phone.say(voice(0.3))
        if leaves:
            await line.phone.wait_closed()
        else:
            await line.phone.wait_until(began + 6.0)

    call = converse(
        script,
        stt=TimedTranscription(["Bye.", word], timing=Timing(0.05)),
        answers=[answer, "Yes?"],
        control=control,
    )
    assert control.done == (["hang_up"] if leaves else [])
    assert call.said[1][1] == answer[0] or not leaves


def test_a_transfer_goes_where_the_name_says() -> None:
    control = Control()

    call = converse(
        caller(1.0, voice(1.0), None),
        hears=["A human, please."],
        answers=[["I connect you.", ToolCall("a", "transfer", '{"to": "sales"}')]],
        transfers={"sales": "https://example.com/sales.xml"},
        control=control,
    )
    assert control.done == ["https://example.com/sales.xml"]
    assert words_played(call.report) == pytest.approx(3, abs=0.2)


def test_a_result_that_comes_after_a_transfer_is_not_told(receptionist: type[Any]) -> None:
    class Transferring:
        async def transfer(self, stream: Stream, url: str) -> None:
            """Transfer; the stream goes on for a while."""

    receptionist.seconds = 5.0
    call = converse(
        caller(1.0, voice(1.0), 4.0, voice(0.7), 10.0),
        kind=receptionist,
        hears=["A table?", "Let me talk to a person."],
        answers=[find(), ToolCall("b", "transfer", '{"to": "desk"}'), "Table fourteen."],
        transfers={"desk": "https://example.com/desk.xml"},
        control=Transferring(),
    )
    assert ToolResult("a", "Table 14.") in call.messages
    assert len(call.llm.conversations) == 2


def test_a_transfer_to_nowhere_is_told_to_the_model() -> None:
    call = converse(
        ask(),
        hears=["A human, please."],
        answers=[ToolCall("a", "transfer", '{"to": "nowhere"}'), "There is nobody."],
        transfers={"sales": "https://example.com/sales.xml"},
    )
    (result,) = [m for m in call.messages if isinstance(m, ToolResult)]
    assert "sales" in result.text
    assert call.said[-1] == ("assistant", "There is nobody.")


# Failures.

BROKEN = ServiceError("language_model", "503 Service Unavailable", status=503)


def failing(service: str, fault: Fault) -> dict[str, Any]:
    make = {"stt": TimedTranscription, "llm": TimedModel, "tts": TimedSpeech}[service]
    if service == "tts":
        return {service: make(fault=fault)}
    return {service: make(["Words to say now."] * 9, fault=fault)}


@pytest.mark.parametrize("service", ["stt", "llm"])
@pytest.mark.parametrize("error", [BROKEN, KeyError("choices"), None])
def test_a_service_that_dies_is_apologised_for_and_the_call_goes_on(
    service: str,
    error: KeyError | ServiceError | None,
) -> None:
    fault = Fault(error=error, uses=1)
    services: dict[str, Any] = {"hears": ["Hello?", "Again."], "answers": ["Yes, hello."]}
    call = converse(
        caller(1.0, voice(1.0), 14.0, voice(1.0), 20.0),
        **services,
        **failing(service, fault),
        patience=3.0,
        apology="Sorry, again please.",
    )
    first, second = call.turns
    assert first.error is not None
    assert first.agent == "Sorry, again please."
    assert second.error is None
    assert call.counters.turns.failures.total() == 1
    assert call.line.runtime.errors == []


def test_a_voice_with_sessions_that_is_cut_off_loses_no_word() -> None:
    gone = ServiceError("text_to_speech", "the connection was lost")
    tts: Any = ToneVoice(fault=Fault(after=9, error=gone, uses=1))
    call = converse(ask(), hears=["Count."], answers=[TEN], tts=tts, **NO_PHRASES)
    assert call.said[-1] == ("assistant", TEN)
    assert call.turns[0].error is None
    # What had come of the word in which it was cut off is heard before it.
    assert 10 <= words_played(call.report) < 11
    begin, end = call.report.agent_speech[-1]
    silences = (*call.report.gaps, *call.report.pauses)
    assert all(gap.seconds <= 0.5 for gap in silences if begin <= gap.start < end)
    assert [len(session.contexts) for session in tts.sessions] == [1, 1]
    assert tts.open == 0


def test_an_interruption_clears_the_context_of_a_voice() -> None:
    tts: Any = ToneVoice(timing=Timing(0.15, 0.09))
    call = converse(
        caller(1.0, voice(1.0), 4.2, voice(1.0), 8.0),
        hears=["Count.", "Stop."],
        answers=[f"{TEN} {TEN}", "Yes."],
        tts=tts,
        **NO_PHRASES,
    )
    assert tts.sessions[0].contexts[0].cleared
    heard = call.turns[0].agent.split()
    assert 1 < len(heard) < 10
    assert heard == TEN.split()[: len(heard)]


LONG = "The train to the coast leaves from platform nine at noon and it will be full. Hurry!"


@pytest.mark.parametrize("speak_after", [None, 0.15])
def test_a_voice_begins_with_the_words_of_a_long_sentence_if_it_may(
    speak_after: float | None,
) -> None:
    tts: Any = ToneVoice(timing=Timing(0.1, 0.01))
    call = converse(
        ask(),
        hears=["When?"],
        llm=TimedModel([LONG], timing=Timing(0.3, 0.04)),
        tts=tts,
        speak_after=speak_after,
        **NO_PHRASES,
    )
    (turn,) = call.turns
    assert turn.agent == LONG
    assert call.said[-1] == ("assistant", LONG)
    waited = turn.audio_sent - turn.first_token
    if speak_after is None:
        assert waited > 0.5
    else:
        assert waited == pytest.approx(0.25, abs=0.02)


def test_words_said_early_are_heard_up_to_an_interruption() -> None:
    tts: Any = ToneVoice(timing=Timing(0.1, 0.01))
    call = converse(
        caller(1.0, voice(1.0), 4.2, voice(1.0), 8.0),
        hears=["When?", "Stop."],
        llm=TimedModel([LONG, "Yes."], timing=Timing(0.1, 0.04)),
        tts=tts,
        speak_after=0.15,
        **NO_PHRASES,
    )
    heard = call.turns[0].agent.split()
    assert 1 < len(heard) < 10
    assert heard == LONG.split()[: len(heard)]


def test_only_a_voice_that_takes_text_as_it_comes_is_given_words() -> None:
    services = {"speech_to_text": TimedTranscription([]), "language_model": TimedModel([])}
    with pytest.raises(ValueError, match="speak_after is for a voice that takes text as it comes"):
        VoiceAgent(**services, text_to_speech=TimedSpeech(), speak_after=0.15)
    with pytest.raises(ValueError, match="speak_after must be 0 seconds or more, not -1"):
        VoiceAgent(**services, text_to_speech=ToneVoice(), speak_after=-1)


def test_an_apology_is_heard_though_speech_synthesis_has_died() -> None:
    class DiesLater(TimedSpeech):
        async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Any, None]:
            if text.startswith("Words"):
                raise ServiceError("text_to_speech", "gone")
            async for piece in super().speak(text, format):
                yield piece

    call = converse(ask(), hears=["Hello?"], answers=["Words to say."], tts=DiesLater())
    assert call.turns[0].agent == call.agent.apology
    assert call.turns[0].error == "text_to_speech: gone"


def test_a_synthesis_that_breaks_off_leaves_what_was_heard() -> None:
    call = converse(
        ask(),
        hears=["Count."],
        answers=[TEN],
        tts=TimedSpeech(fault=Fault(after=10, error=ServiceError("text_to_speech", "gone"))),
        apology=None,
    )
    heard = call.said[-1][1].split()
    assert heard == TEN.split()[: len(heard)]
    assert len(heard) == pytest.approx(words_played(call.report), abs=1.0)
    assert call.turns[0].error == "text_to_speech: gone"


def test_without_an_apology_there_is_silence() -> None:
    call = converse(
        ask(until=6.0), hears=["Hello?"], apology=None, **failing("llm", Fault(error=BROKEN))
    )
    assert call.report.audio_played == 0
    assert call.turns[0].error == str(BROKEN)


def fail_three_times() -> Callable[..., Any]:
    async def script(line: JoinedCall, agent: Any) -> None:
        for turn in range(3):
            await line.phone.wait_until(1.0 + 6 * turn)
            line.phone.say(voice(1.0))
        await line.phone.wait_closed()

    return script


def test_after_too_many_failures_it_hangs_up() -> None:
    control = Control()
    call = converse(
        fail_three_times(),
        hears=["Hello?"] * 3,
        control=control,
        **failing("llm", Fault(error=BROKEN)),
    )
    assert control.done == ["hang_up"]
    assert call.counters.turns.failures == {"language_model": 3}
    assert call.said[-1] == ("assistant", "Goodbye.")


def test_a_hang_up_that_is_refused_ends_the_stream_at_least() -> None:
    call = converse(
        fail_three_times(),
        hears=["Hello?"] * 3,
        control=Control(refuses=True),
        **failing("llm", Fault(error=BROKEN)),
    )
    assert call.report.ended_by == "server"
    assert not call.turns[-1].interrupted


def test_a_failure_to_understand_a_noise_is_not_apologised_for() -> None:
    call = converse(
        barge(1.3, 0.1),
        stt=FailsAtTheSecond(["Count."]),
        answers=[TEN],
    )
    assert call.said == [("user", "Count."), ("assistant", TEN)]
    assert call.counters.turns.failures == {"speech_to_text": 1}


class FailsAtTheSecond(TimedTranscription):
    async def transcribe(self, speech: Any) -> AsyncGenerator[Any, None]:
        if self.uses:
            raise ServiceError("speech_to_text", "gone")
        async for transcript in super().transcribe(speech):
            yield transcript


def test_after_too_many_failures_it_transfers_if_told_to() -> None:
    control = Control()
    converse(
        fail_three_times(),
        hears=["Hello?"] * 3,
        control=control,
        give_up="desk",
        transfers={"desk": "https://example.com/desk.xml"},
        **failing("llm", Fault(error=BROKEN)),
    )
    assert control.done == ["https://example.com/desk.xml"]


def test_a_turn_that_works_forgives_those_that_failed() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        for turn in range(5):
            await line.phone.wait_until(1.0 + 7 * turn)
            line.phone.say(voice(1.0))
        await line.phone.wait_until(38.0)
        assert not line.phone.ended

    class Sometimes(TimedModel):
        async def respond(self, conversation: Any, tools: Any) -> AsyncGenerator[Any, None]:
            self.count = getattr(self, "count", 0) + 1
            if self.count in (1, 2, 4, 5):
                raise BROKEN
            async for piece in super().respond(conversation, tools):
                yield piece

    call = converse(script, hears=["Hello?"] * 5, llm=Sometimes(["Hello."]))
    assert [turn.error is None for turn in call.turns] == [False, False, True, False, False]


def test_an_error_in_a_hook_ends_the_call() -> None:
    class Wrong(Scripted):
        async def on_transcript(self, transcript: Transcript) -> None:
            raise LookupError("no such customer")

    call = converse(ask_until_closed(), kind=Wrong, hears=["Hello?"], raises=False)
    assert [type(error) for error in call.line.runtime.errors] == [LookupError]
    assert call.report.close_code == 1011


def ask_until_closed() -> Callable[..., Any]:
    return caller(1.0, voice(1.0), None)


# What services and callers do wrong.


def test_a_final_transcript_is_answered_though_the_service_never_ends() -> None:
    call = converse(
        ask(),
        stt=TimedTranscription(["Hello?"], fault=Fault(after=1)),
        answers=["Yes, hello."],
    )
    assert call.said == [("user", "Hello?"), ("assistant", "Yes, hello.")]
    assert call.turns[0].first_token < 1.5
    assert call.counters.turns.failures == {}


@pytest.mark.parametrize(
    ("service", "piece", "allowed"),
    [
        ("stt", "Hello?", "str.*Transcript"),
        ("llm", None, "NoneType.*str, ToolCall or Tokens"),
        ("tts", b"\xff" * 160, "bytes.*Frame or WordMark"),
    ],
)
def test_a_service_that_yields_what_it_must_not_has_failed(
    service: str,
    piece: bytes | str | None,
    allowed: str,
) -> None:
    async def yielding(self: Any, *args: Any) -> AsyncIterator[Any]:
        self.open += 1
        try:
            yield piece
        finally:
            self.open -= 1

    kinds = {
        "stt": (TimedTranscription, "transcribe"),
        "llm": (TimedModel, "respond"),
        "tts": (TimedSpeech, "speak"),
    }
    kind, method = kinds[service]
    wrong = type("Wrong", (kind,), {method: yielding})()
    call = converse(
        ask(), hears=["Hello?"], answers=["Words."], silence_prompt=None, **{service: wrong}
    )
    assert re.search(allowed, call.turns[0].error)
    assert call.line.runtime.errors == []


def test_a_synthesis_without_sound_has_failed() -> None:
    class Mute(TimedSpeech):
        async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Any, None]:
            if text.startswith("Words"):
                yield WordMark(5, 0.3)
                yield Frame(b"", format)
            else:
                async for piece in super().speak(text, format):
                    yield piece

    call = converse(ask(), hears=["Hello?"], answers=["Words to say."], tts=Mute())
    assert "no audio" in call.turns[0].error
    assert call.said == [("user", "Hello?"), ("assistant", call.agent.apology)]


def test_what_has_no_words_needs_no_sound() -> None:
    class Mute(TimedSpeech):
        async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Any, None]:
            if any(map(str.isalnum, text)):
                async for piece in super().speak(text, format):
                    yield piece

    call = converse(ask(), hears=["Hello?"], answers=["... ?! Yes."], tts=Mute())
    assert call.turns[0].error is None
    assert call.said[-1] == ("assistant", "Yes.")


@pytest.mark.parametrize("cut", ["words", "letters"])
@pytest.mark.parametrize(
    "answer",
    [
        "<think> They want a tandem. I look. </think> Yes, we have one.",
        "<think> They want a tandem.</think>Yes, we <thinking>do we?</thinking> have one.",
        'Yes, we have one. <tool_call> {"name": "note"} </tool_call>',
        "Yes, we have one. <think> But do we? We",
        # Its first sentence ends when the next begins.
        "They want a tandem</think> Yes, we have one.",
    ],
)
def test_thinking_is_neither_said_nor_kept(answer: str, cut: str) -> None:
    class Letters(TimedModel):
        async def respond(self, conversation: Any, tools: Any) -> AsyncGenerator[Any, None]:
            async for piece in super().respond(conversation, tools):
                for letter in piece if isinstance(piece, str) else [piece]:
                    yield letter

    model = (TimedModel if cut == "words" else Letters)([answer])
    call = converse(ask(), hears=["A tandem?"], llm=model)
    assert re.sub(r"\s+", " ", call.said[-1][1]) == "Yes, we have one."
    assert words_played(call.report) == pytest.approx(4, abs=0.2)


def test_the_first_token_of_an_answer_is_not_thinking() -> None:
    model = TimedModel(["<think> a b c d </think> Yes."], timing=Timing(0.2, 0.1))
    (turn,) = converse(ask(), hears=["A tandem?"], llm=model).turns
    assert turn.first_token == pytest.approx(0.6 + 0.1 + 0.2 + 0.6, abs=0.05)


@pytest.mark.parametrize("answer", ["<think> Hm.", "<tool_call> {} </tool_call>"])
def test_an_answer_of_nothing_but_thinking_is_empty(answer: str) -> None:
    call = converse(ask(), hears=["A tandem?"], answers=[answer, "Yes."])
    assert call.said[-1] == ("assistant", "Yes.")


def test_answers_that_begin_within_a_block_are_known_after_the_first() -> None:
    thinking = "First sentence. Second sentence. Third sentence. </think> Yes."
    with structlog.testing.capture_logs() as logs:
        call = converse(
            caller(1.0, voice(1.0), 9.0, voice(1.0), 14.0),
            hears=["A tandem?", "And a bell?"],
            answers=[thinking, thinking],
        )
    assert call.said[1][1] != "Yes."
    assert call.said[-1] == ("assistant", "Yes.")
    assert [each["event"] for each in logs].count("thinking was spoken") == 1


def test_answers_begin_within_a_block_if_it_is_set() -> None:
    thinking = "First sentence. Second sentence. Third sentence. </think> Yes."
    call = converse(ask(), hears=["A tandem?"], answers=[thinking], thinks_first=True)
    assert call.said[-1] == ("assistant", "Yes.")


def test_the_tags_of_thinking_can_be_set_and_are_checked() -> None:
    call = converse(
        ask(), hears=["A?"], answers=["[THINK] Hm. [/THINK] Yes."], thinking_tags=["[THINK]"]
    )
    assert call.said[-1] == ("assistant", "Yes.")
    with pytest.raises(ValueError, match="a thinking tag is an opening tag"):
        Scripted(
            speech_to_text=TimedTranscription(),
            language_model=TimedModel(),
            text_to_speech=TimedSpeech(),
            thinking_tags=["</think>"],
        )


def test_tags_for_the_voice_reach_it_and_are_kept_and_checked() -> None:
    answer = "[laugh] Yes, [sigh] *we* do."
    call = converse(ask(), hears=["A tandem?"], answers=[answer], speech_tags=["[laugh]"])
    assert call.tts.texts[-1].strip() == "[laugh] Yes, sigh we do."
    assert call.said[-1] == ("assistant", "[laugh] Yes, sigh we do.")
    with pytest.raises(ValueError, match="speech_tags must not have an empty mark"):
        Scripted(
            speech_to_text=TimedTranscription(),
            language_model=TimedModel(),
            text_to_speech=TimedSpeech(),
            speech_tags=["[laugh]", ""],
        )


EMPTY = ["", " \n ", "\N{THUMBS UP SIGN}", "...", "?! \N{EM DASH}"]


@pytest.mark.parametrize("empty", EMPTY)
def test_an_empty_answer_is_asked_for_once_more(empty: str) -> None:
    call = converse(ask(until=6.0), hears=["Hello?"], answers=[empty, "Yes, hello."])
    assert call.said == [("user", "Hello?"), ("assistant", "Yes, hello.")]
    assert call.turns[0].error is None
    assert call.tts.texts.count(empty) == 0
    assert call.counters.turns.failures == {}


@pytest.mark.parametrize("empty", EMPTY)
def test_an_answer_that_is_empty_again_has_failed(empty: str) -> None:
    call = converse(ask(until=8.0), hears=["Hello?"], answers=[empty, empty, "Never said."])
    assert call.said == [("user", "Hello?"), ("assistant", call.agent.apology)]
    assert "no words" in call.turns[0].error
    assert call.counters.turns.failures == {"language_model": 1}
    assert call.turns[0].audio_heard < 2.0


def test_after_too_many_empty_answers_it_hangs_up() -> None:
    call = converse(
        caller(1.0, voice(0.6), 5.0, voice(0.6), None),
        hears=["Hello?"] * 2,
        failures_allowed=1,
        silence_prompt=None,
    )
    assert call.said[-1] == ("assistant", call.agent.goodbye)


def test_an_answer_for_which_the_model_says_it_has_none_is_asked_for_once_more() -> None:
    class Unable(TimedModel):
        async def respond(self, conversation: Any, tools: Any) -> AsyncGenerator[Any, None]:
            async for piece in super().respond(conversation, tools):
                yield piece
            if self.uses == 1:
                raise NoAnswerError("model", "no call came")

    call = converse(ask(), hears=["A table?"], llm=Unable(["One moment.", "Table four."]))
    assert call.said[-1] == ("assistant", "One moment. Table four.")
    assert call.turns[0].error is None


def test_a_model_that_has_spoken_need_not_say_more_when_a_tool_is_done(
    receptionist: type[Any],
) -> None:
    call = converse(
        ask(), kind=receptionist, hears=["A table?"], answers=[["I note it.", find()], "", ""]
    )
    assert call.turns[0].error is None
    assert call.llm.uses == 3


def test_an_empty_answer_to_a_tool_is_a_failure(receptionist: type[Any]) -> None:
    call = converse(ask(), kind=receptionist, hears=["A table?"], answers=[find(), "", ""])
    assert "no words" in call.turns[0].error


@pytest.mark.parametrize("arguments", ["null", "[]", "", '{"reason": "done"}', '"{}"', "{oops"])
def test_whatever_arguments_it_is_given_hanging_up_says_goodbye_once(arguments: str) -> None:
    answer = ["Goodbye then.", ToolCall("a", "hang_up", arguments)]
    call = converse(caller(1.0, voice(1.0), None), hears=["Bye."], answers=[answer] * 3)
    assert call.said == [("user", "Bye."), ("assistant", "Goodbye then.")]
    assert call.report.ended_by == "server"


@pytest.mark.parametrize(
    "call", [ToolCall("a", "find", '{"people": "two"}'), ToolCall("a", "x", "")]
)
def test_a_model_that_repeats_a_call_that_was_refused_has_failed(
    receptionist: type[Any], call: ToolCall
) -> None:
    talk = converse(
        ask(), kind=receptionist, hears=["A table?"], answers=[call, call, "Never said."]
    )
    assert talk.llm.uses == 2
    assert f"repeated a call of {call.name}" in talk.turns[0].error
    assert talk.said[-1] == ("assistant", talk.agent.apology)


def test_a_model_may_correct_a_call_that_was_refused(receptionist: type[Any]) -> None:
    wrong = ToolCall("w", "find", '{"people": "two"}')
    worse = ToolCall("x", "find", '{"people": "few"}')
    call = converse(
        ask(),
        kind=receptionist,
        hears=["A table?"],
        answers=[[wrong, wrong], worse, find(), "Table fourteen."],
    )
    assert call.said[-1][1].endswith("Table fourteen.")


def test_a_backchannel_while_a_tool_runs_does_not_stop_the_answer(receptionist: type[Any]) -> None:
    receptionist.seconds = 5.0
    call = converse(
        # At 5.0 the hold phrase was heard, and the tool still runs.
        caller(1.0, voice(1.0), 5.0, voice(0.3), 14.0),
        kind=receptionist,
        hears=["A table?", "Okay."],
        answers=[find(), "Table fourteen."],
    )
    assert call.said == [
        ("user", "A table?"),
        ("assistant", "One moment please. Table fourteen."),
    ]
    assert call.llm.uses == 2
    assert receptionist.used == [2]


def test_a_tool_that_says_something_goes_on_when_that_is_interrupted() -> None:
    finished = []

    class Saying(Scripted):
        @tool
        async def look(self) -> str:
            """Look."""
            await self.say(TEN)
            finished.append(self.stream.clock())
            return "Found."

    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        line.phone.say(voice(1.0))
        began = await line.phone.wait_for_audio(after=1.0)
        await line.phone.wait_until(began + 0.5)
        line.phone.say(voice(1.0))
        await line.phone.wait_until(began + 6.0)

    call = converse(
        script,
        kind=Saying,
        hears=["Look.", "Stop."],
        answers=[ToolCall("a", "look", "{}"), "I stop."],
        # It is still being synthesised when the caller interrupts.
        tts=TimedSpeech(timing=Timing(0.15, 0.09)),
    )
    assert len(finished) == 1
    assert [m.text for m in call.messages if isinstance(m, ToolResult)] == ["Found."]
    assert len(call.said[1][1].split()) < 4


def test_a_say_that_is_cancelled_as_it_begins_harms_no_call() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        first, second = (asyncio.create_task(agent.say(TEN)) for _ in range(2))
        await line.phone.wait_until(2.0)  # the second has waited for the longest turn
        second.cancel()
        agent.dialogue.give_way()
        agent.dialogue.go_on()
        await asyncio.wait([first, second])
        await line.phone.wait_until(8.0)

    call = converse(script, turn_taking=TurnSettings(longest=1.0, confirm=0.5, decide_within=0.9))
    assert call.said[-1][1].endswith(TEN)


def test_say_in_a_tool_does_not_fail_the_tool_when_the_voice_fails() -> None:
    class Saying(Scripted):
        @tool
        async def look(self) -> str:
            """Look."""
            await self.say("Looking now.")
            return "Found."

    class Hoarse(TimedSpeech):
        async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Any, None]:
            if text.startswith("Looking"):
                raise ServiceError("text_to_speech", "gone")
            async for piece in super().speak(text, format):
                yield piece

    call = converse(
        ask(),
        kind=Saying,
        hears=["Look."],
        answers=[ToolCall("a", "look", "{}"), "Here."],
        tts=Hoarse(),
    )
    assert [m.text for m in call.messages if isinstance(m, ToolResult)] == ["Found."]
    assert call.said[-1] == ("assistant", "Here.")
    assert call.counters.turns.failures == {"text_to_speech": 1}


class Slow(Control):
    """Takes its time."""

    async def hang_up(self, stream: Stream) -> None:
        await asyncio.sleep(0.8)
        await super().hang_up(stream)


@pytest.mark.parametrize("disturbs", ["voice", "key"])
@pytest.mark.parametrize("silences", [True, False])
def test_what_the_caller_does_while_the_call_is_hung_up_does_not_keep_it(
    disturbs: str, silences: bool
) -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        if not silences:
            await line.phone.wait_until(1.0)
            line.phone.say(voice(1.0))
        began = await line.phone.wait_for_audio(after=1.0)
        # Just after the only word of goodbye.
        await line.phone.wait_until(began + 0.35)
        if disturbs == "key":
            line.phone.press("1")
        else:
            line.phone.say(voice(1.0))
        await line.phone.wait_closed()

    control = Slow()
    call = converse(
        script,
        hears=["Bye.", "Oh."],
        answers=[["Bye.", ToolCall("a", "hang_up", "{}")], "I am here."],
        control=control,
        silence_prompts=0,
        turn_taking=TurnSettings(silence=2.0 if silences else None),
    )
    assert control.done == ["hang_up"]
    assert call.report.ended_by == "server"


def test_who_speaks_while_the_agent_gives_up_is_given_up_all_the_same_at_the_next() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        line.phone.say(voice(1.0))
        began = await line.phone.wait_for_audio(after=1.0)
        await line.phone.wait_until(began + 0.3)  # in the middle of goodbye
        line.phone.say(voice(1.0))
        await line.phone.wait_closed()

    control = Control()
    call = converse(
        script,
        hears=["Hello?", "Wait."],
        failures_allowed=0,
        goodbye="Goodbye and good luck to you.",
        control=control,
        **failing("llm", Fault(error=BROKEN)),
    )
    assert control.done == ["hang_up"]
    assert [turn.interrupted for turn in call.turns] == [True, False]
    assert call.said[-1] == ("assistant", "Goodbye and good luck to you.")


def test_a_transfer_that_is_refused_is_told_to_the_model() -> None:
    call = converse(
        ask(),
        hears=["A human, please."],
        answers=[ToolCall("a", "transfer", '{"to": "sales"}'), "Nobody is there."],
        transfers={"sales": "https://example.com/sales.xml"},
        control=Control(refuses=True),
    )
    (result,) = [m for m in call.messages if isinstance(m, ToolResult)]
    assert "no right to" in result.text
    assert call.said[-1] == ("assistant", "Nobody is there.")


def test_a_long_answer_does_not_keep_the_audio_of_what_was_heard() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        line.phone.say(voice(1.0))
        began = await line.phone.wait_for_audio(after=1.0)
        for second in range(3, 24, 5):
            await line.phone.wait_until(began + second)
            (speaker,) = agent._speakers.values()
            kept.append(sum(len(each.spoken._frames) for each in speaker._passages) * 0.1)
        await line.phone.wait_until(began + 26.0)

    kept: list[Any] = []
    sentence = "One two three four five six seven eight nine ten. "
    call = converse(script, hears=["Count."], answers=[sentence * 8])
    assert max(kept) <= 12.0
    assert call.said[-1] == ("assistant", (sentence * 8).strip())


def test_a_question_that_was_never_answered_is_reported_at_the_end() -> None:
    call = converse(
        caller(1.0, voice(1.0), 2.8, voice(3.0), 4.5),
        hears=["Hello?"],
        llm=TimedModel(["Yes."], timing=Timing(2.0)),
    )
    (turn,) = call.turns
    assert (turn.number, turn.caller, turn.agent) == (1, "Hello?", "")
    assert turn.interrupted
    assert turn.usage.speech_seconds > 0


def test_keys_and_speech_at_once_are_one_turn() -> None:
    call = converse(
        caller(1.0, voice(1.0), 1.5, "7", 8.0), hears=["Number seven."], answers=["Seven."]
    )
    assert [role for role, _ in call.said] == ["user", "assistant"]
    assert {"[pressed 7]", "Number seven."} == set(
        re.findall(r"\[.*?\]|[^\[\]]+\.", call.said[0][1])
    )
    assert len(call.turns) == 1


def test_two_utterances_whose_transcripts_come_the_wrong_way_round_are_both_answered() -> None:
    class Uneven(TimedTranscription):
        async def transcribe(self, speech: Any) -> AsyncGenerator[Any, None]:
            self.timing = Timing(0.1 if self.uses else 2.5)
            async for transcript in super().transcribe(speech):
                yield transcript

    call = converse(
        caller(1.0, voice(1.0), 2.8, voice(0.5), 12.0),
        stt=Uneven(["I want", "a table."]),
        answers=["For how many?"],
    )
    assert set(call.said[0][1].replace("a table.", "|").split()) == {"I", "want", "|"}
    assert call.said[1:] == [("assistant", "For how many?")]
    assert call.llm.uses == 1


# The end, at any moment.


@pytest.mark.parametrize("at", np.arange(0.05, 9.0, 0.35).round(2).tolist())
def test_the_caller_may_hang_up_at_any_moment(receptionist: type[Any], at: float) -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(min(at, 1.0))
        if at > 1.0:
            line.phone.say(voice(1.0))
            await line.phone.wait_until(at)

    receptionist.seconds = 1.5
    call = converse(
        script,
        kind=receptionist,
        hears=["A table?"],
        answers=[["I will look.", find()], SENTENCES],
        greeting="Hello there.",
    )
    assert call.agent.stopped is not None
    calls = {m.id for m in call.messages if isinstance(m, ToolCall)}
    assert calls == {m.call_id for m in call.messages if isinstance(m, ToolResult)}
    spoken = " ".join(text for role, text in call.said if role == "assistant")
    assert len(spoken.split()) == pytest.approx(words_played(call.report), abs=1.0)


@pytest.mark.parametrize("format", [L16_8K, L16_24K], ids=str)
def test_speech_that_was_cut_within_samples_is_heard(format: AudioFormat) -> None:
    """Services cut their audio anywhere, and may end with half a sample."""

    class Cutting(TimedSpeech):
        async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Any, None]:
            audio = b""
            async for piece in super().speak(text, format):
                if isinstance(piece, Frame):
                    audio, format = audio + piece.payload, piece.format
            for start in range(0, len(audio), 4063):
                yield Frame(audio[start : start + 4063], format)
            yield Frame(b"\x7f", format)

    call = converse(
        ask(),
        hears=["Hello?"],
        answers=["One two three four."],
        silence_prompt=None,
        tts=Cutting(format=format, marks=False),
    )
    assert call.said[-1] == ("assistant", "One two three four.")
    assert call.turns[0].error is None
    assert call.turns[0].audio_heard == pytest.approx(1.2, abs=0.1)


# With a recogniser that is given the whole call.


HEARD = ["What", "is", "up", "Thanks", "wait", "stop", "okay"]


def test_a_recogniser_hears_the_call_and_its_words_are_answered() -> None:
    ears = ToneRecognizer(HEARD)
    call = converse(
        caller(2.0, ears.say("What is up"), 8.0, ears.say("Thanks"), 12.0),
        stt=ears,
        answers=["Not much today.", "You are welcome."],
    )
    assert call.said == [
        ("user", "What is up"),
        ("assistant", "Not much today."),
        ("user", "Thanks"),
        ("assistant", "You are welcome."),
    ]
    assert len(ears.sessions) == 1
    assert ears.session.heard == pytest.approx(12.0, abs=0.2)
    # The words were final before the caller's silence was long enough.
    assert [turn.transcript - turn.end_of_turn for turn in call.turns] == [
        pytest.approx(0.0, abs=0.01)
    ] * 2
    assert [each.text for each in call.agent.transcripts[:3]] == ["What", "What is", "What is up"]


def test_words_that_are_not_final_interrupt() -> None:
    ears = ToneRecognizer(HEARD, delay=0.05)
    call = converse(
        caller(1.0, ears.say("What"), 5.0, ears.say("stop stop"), 10.0),
        stt=ears,
        answers=[TEN, "Fine."],
        turn_taking=TurnSettings(confirm=1.4),
    )
    assert call.turns[0].interrupted
    # The first word is known 0.16 s after it has begun, and told 0.05 s later.
    assert words_played(call.report, since=5.05, until=6.0) == 0


def test_a_lost_recogniser_is_replaced_within_the_turn() -> None:
    ears = ToneRecognizer(HEARD)

    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(2.0)
        line.phone.say(ears.say("What is up"))
        await line.phone.wait_until(2.5)
        ears.session.lose()
        await line.phone.wait_until(8.0)

    call = converse(script, stt=ears, answers=["Not much today."])
    assert call.said == [("user", "What is up"), ("assistant", "Not much today.")]
    assert call.counters.turns.failures == {"tones": 1}
    assert call.turns[0].error is None


def test_the_agent_apologises_if_no_recogniser_can_be_had() -> None:
    refusals = [ServiceError("tones", "wrong key", status=401)] * 2
    ears = ToneRecognizer(HEARD, refusals=refusals)
    call = converse(
        caller(2.0, ears.say("What is up"), 8.0, ears.say("Thanks"), 14.0),
        stt=ears,
        answers=["You are welcome."],
        apology="So sorry.",
    )
    assert [turn.agent for turn in call.turns] == ["So sorry.", "You are welcome."]
    assert call.turns[0].error == "tones: wrong key"
    assert ears.attempts == 3


def test_a_recogniser_may_be_given_only_what_the_caller_says() -> None:
    ears = ToneRecognizer(HEARD)
    call = converse(
        caller(3.0, ears.say("Thanks"), 9.0),
        stt=ears,
        answers=["You are welcome."],
        recognizer_hears="speech",
    )
    assert call.said[0] == ("user", "Thanks")
    assert ears.session.heard < 1.5
    assert call.turns[0].usage.speech_seconds == pytest.approx(0.9, abs=0.3)


def test_a_recogniser_is_connected_while_it_rings_and_closed_if_no_stream_comes() -> None:
    ears = ToneRecognizer(HEARD)
    agent = Scripted(speech_to_text=ears, language_model=TimedModel(), text_to_speech=TimedSpeech())

    async def ring() -> None:
        await agent._prepare(agent._ear.prepare(MULAW_8K))
        assert ears.open == 1
        await VoiceAgent.on_stop(agent, "no stream")

    run_virtual(ring())
    assert ears.open == 0


# With a recogniser that takes the turns.


def test_the_recogniser_ends_the_callers_turn() -> None:
    ears = ToneRecognizer(HEARD, finished_after=0.3, final_after=None)
    call = converse(
        caller(2.0, ears.say("What is up"), 8.0, ears.say("Thanks"), 12.0),
        stt=ears,
        answers=["Not much today.", "You are welcome."],
    )
    assert call.said[0::2] == [("user", "What is up"), ("user", "Thanks")]
    for turn in call.turns:
        # A quarter of a second of quiet, and the recogniser's delay.
        assert turn.end_of_turn == pytest.approx(0.4, abs=0.04)
        assert turn.transcript == pytest.approx(turn.end_of_turn, abs=0.01)


def test_a_pause_ends_no_turn_before_the_recogniser_says_so() -> None:
    ears = ToneRecognizer(HEARD, finished_after=1.5, final_after=None)
    call = converse(
        caller(2.0, ears.say("What is"), 3.6, ears.say("up"), 10.0),
        stt=ears,
        answers=["Not much today."],
    )
    assert call.said == [("user", "What is up"), ("assistant", "Not much today.")]


def test_the_agent_may_take_the_turns_all_the_same() -> None:
    ears = ToneRecognizer(HEARD, finished_after=2.0)
    call = converse(
        caller(2.0, ears.say("What is up"), 8.0),
        stt=ears,
        answers=["Not much today."],
        end_of_turn_by="agent",
    )
    assert call.turns[0].end_of_turn == pytest.approx(0.6, abs=0.03)


def test_a_recogniser_that_does_not_say_that_the_turn_is_over_is_not_waited_for_long() -> None:
    ears = ToneRecognizer(HEARD, finished_after=60.0)
    call = converse(
        caller(2.0, ears.say("What is up"), 14.0), stt=ears, answers=["Not much today."]
    )
    assert call.turns[0].end_of_turn == pytest.approx(6.0, abs=0.1)
    assert call.said[0] == ("user", "What is up")


def test_words_that_the_detector_missed_are_a_turn() -> None:
    class Deaf:
        def probability(self, frame: Frame) -> float:
            return 0.0

    ears = ToneRecognizer(HEARD, finished_after=0.3, final_after=None)
    call = converse(
        caller(2.0, ears.say("What is up"), 8.0),
        stt=ears,
        answers=["Not much today."],
        voice_detector=Deaf,
    )
    assert call.said == [("user", "What is up"), ("assistant", "Not much today.")]


def test_a_caller_who_speaks_on_at_once_has_another_turn() -> None:
    ears = ToneRecognizer(HEARD, finished_after=0.2, final_after=None, delay=0.3)
    call = converse(
        caller(2.0, ears.say("What is"), 3.0, ears.say("up"), 10.0),
        stt=ears,
        answers=["Not much today.", "Nothing."],
    )
    words = " ".join(text for role, text in call.said if role == "user")
    assert words == "What is up"


def test_if_a_recogniser_that_takes_the_turns_is_lost_no_word_is() -> None:
    ears = ToneRecognizer(HEARD, finished_after=0.5, final_after=None)

    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(2.0)
        line.phone.say(ears.say("What is up"))
        await line.phone.wait_until(2.5)
        ears.session.lose()
        await line.phone.wait_until(8.0)

    call = converse(script, stt=ears, answers=["Not much today."])
    assert call.said == [("user", "What is up"), ("assistant", "Not much today.")]


# Thinking before the caller has surely finished.


def eager(**settings: Any) -> ToneRecognizer:
    return ToneRecognizer(HEARD, may_after=0.3, finished_after=1.2, final_after=None, **settings)


def test_the_model_thinks_early_and_nothing_is_played_before_the_caller_has_finished() -> None:
    ears = eager()
    call = converse(
        caller(2.0, ears.say("What is up"), 8.0),
        stt=ears,
        llm=TimedModel(["Not much today."], timing=Timing(0.4, 0.05)),
        think_early=True,
    )
    assert call.said == [("user", "What is up"), ("assistant", "Not much today.")]
    (turn,) = call.turns
    assert turn.caller == "What is up"
    assert turn.end_of_turn == pytest.approx(1.3, abs=0.05)
    # The model had answered, and the speech was made.
    assert turn.audio_heard == pytest.approx(turn.end_of_turn, abs=0.05)
    assert len(call.llm.conversations) == 1
    assert words_played(call.report, until=2.9 + 1.25) == 0


def test_what_was_thought_early_is_given_up_if_the_caller_goes_on() -> None:
    ears = eager()
    call = converse(
        caller(2.0, ears.say("What is"), 3.2, ears.say("up"), 10.0),
        stt=ears,
        answers=["What?", "Not much today."],
        think_early=True,
    )
    assert call.said == [("user", "What is up"), ("assistant", "Not much today.")]
    assert [turn.number for turn in call.turns] == [1]
    assert call.turns[0].usage.tokens_in > 0
    assert words_played(call.report) == pytest.approx(3, abs=0.1)
    assert len(call.llm.conversations) == 2


def test_no_tool_is_used_before_the_caller_has_finished() -> None:
    used: list[float] = []

    class Looking(Scripted):
        @tool
        async def look(self) -> str:
            """Look."""
            used.append(self.stream.clock())
            return "found"

    ears = eager()
    call = converse(
        caller(2.0, ears.say("What is"), 3.2, ears.say("up"), 10.0),
        kind=Looking,
        stt=ears,
        answers=[ToolCall("0", "look", "{}"), ToolCall("1", "look", "{}"), "Not much today."],
        think_early=True,
    )
    assert len(used) == 1
    assert call.said[-1] == ("assistant", "Not much today.")
    assert [m.id for m in call.messages if isinstance(m, ToolCall)] == ["1"]


def test_a_key_gives_up_what_was_thought_early() -> None:
    ears = eager()
    call = converse(
        caller(2.0, ears.say("What is up"), 3.4, "1", 12.0),
        stt=ears,
        answers=["Early.", "Not much today.", "More."],
        think_early=True,
    )
    words = " ".join(text for role, text in call.said if role == "user")
    assert words.count("What is up") == 1
    assert "[pressed 1]" in words
    assert call.said[-1][0] == "assistant"


def test_a_model_that_fails_early_is_apologised_for_in_its_turn() -> None:
    ears = eager()
    call = converse(
        caller(2.0, ears.say("What is up"), 8.0),
        stt=ears,
        llm=TimedModel(fault=Fault(error=ServiceError("model", "away"))),
        think_early=True,
        apology="So sorry.",
    )
    assert [turn.agent for turn in call.turns] == ["So sorry."]
    assert words_played(call.report, until=2.9 + 1.25) == 0
