import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import numpy as np
import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat, Samples
from mediaserver import Frame, Stream, Turn
from mediaserver.agents.conversing.realtime_agent import RealtimeAgent
from mediaserver.agents.conversing.tools import tool
from mediaserver.agents.services import (
    Message,
    ServiceError,
    Text,
    ToolCall,
    ToolResult,
    Transcript,
)
from mediaserver.agents.services.openai.realtime import OpenAIRealtime
from mediaserver.agents.turns import LevelDetector, TurnSettings
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.sandbox import CallReport, Phone
from mediaserver.testing import JoinedCall, joined, run_virtual
from mediaserver.testing.openai.realtime import CallTool, OpenAIRealtimeServer, RealtimeAnswer
from mediaserver.testing.realtime import ScriptedRealtime, ScriptedSession
from mediaserver.testing.services import Fault, Timing
from tests.agents.scripted_call import earlier_stream


LONG = "the red dog ran to the big black gate and sat down in the sun"
ANSWER = AnswerRequest(call_id="1", caller="+14155550111", called="+14155550100")


def voice(seconds: float, rate: int = 8000) -> Samples:
    times = np.arange(round(seconds * rate)) / rate
    return (9000 * np.sin(2 * np.pi * 220 * times)).astype(np.int16)


class Talking(RealtimeAgent):
    """Keeps what it reports, and each class the agents made of it."""

    agents: ClassVar[list[Any]]

    prompt = "Be kind."
    voice_detector = LevelDetector
    silence_prompt = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.agents = []

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.turns: list[Any] = []
        self.transcripts: list[Any] = []
        self.barge_ins: list[Any] = []
        type(self).agents.append(self)

    async def on_turn(self, turn: Turn) -> None:
        self.turns.append(turn)

    async def on_transcript(self, transcript: Transcript) -> None:
        self.transcripts.append(transcript.text)

    async def on_barge_in(self, confirmed: bool) -> None:
        self.barge_ins.append(confirmed)


def agent_with(
    model: OpenAIRealtime | ScriptedRealtime, kind: type[Any] = Talking, **attributes: Any
) -> type[Any]:
    return type("Agent", (kind,), {"model": model, **attributes})


def converse(
    handler: type[Any], talk: Callable[..., Any], **options: Any
) -> tuple[Any, CallReport] | tuple[Talking, CallReport]:
    """Run `talk` on a phone joined to an agent; return the agent, and the phone's report."""

    async def call() -> tuple[Any, CallReport] | tuple[Talking, CallReport]:
        async with joined(handler, **options) as line:
            await talk(line.phone)
            report = line.phone.report()
            await line.hang_up()
        return handler.agents[-1], report

    return run_virtual(call())


async def listen(phone: Phone, seconds: float = 1.0, after: float | None = None) -> None:
    await phone.wait_for_audio(after=after)
    await phone.wait_for_silence(seconds)


async def ask(phone: Phone, seconds: float, silence: float = 1.0) -> None:
    """Speak, and listen to the answer."""
    asked = phone.time
    phone.say(voice(seconds))
    await listen(phone, silence, after=asked)


def asking(seconds: float, silence: float = 1.0) -> Callable[[Phone], Awaitable[None]]:
    return lambda phone: ask(phone, seconds, silence)


def speaking_until_closed(seconds: float) -> Callable[[Phone], Awaitable[None]]:
    async def talk(phone: Phone) -> None:
        phone.say(voice(seconds))
        await phone.wait_closed()

    return talk


def texts_of(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in messages if isinstance(message, Text)]


def texts(agent: Any) -> list[tuple[str, str]]:
    return texts_of(agent.conversation.messages)


def test_the_greeting_is_said_word_for_word_at_once() -> None:
    model = ScriptedRealtime()
    agent, report = converse(agent_with(model, greeting="Hello, here is Ann."), listen)
    assert report.audio_played == pytest.approx(1.2)
    assert texts(agent) == [("assistant", "Hello, here is Ann.")]
    (greeting,) = agent.turns
    assert (greeting.number, greeting.agent, greeting.interrupted) == (
        0,
        "Hello, here is Ann.",
        False,
    )
    assert model.session.prompt == "Be kind."
    assert model.session.format is MULAW_8K
    assert model.session.closed


def test_two_turns_are_heard_answered_and_reported() -> None:
    model = ScriptedRealtime(
        ["It rains.", "Until noon."], transcripts=["The weather?", "How long?"]
    )

    async def talk(phone: Phone) -> None:
        for _ in range(2):
            await ask(phone, 1.0)

    agent, report = converse(agent_with(model), talk)
    assert texts(agent) == [
        ("user", "The weather?"),
        ("assistant", "It rains."),
        ("user", "How long?"),
        ("assistant", "Until noon."),
    ]
    assert agent.transcripts == ["The weather?", "How long?"]
    # From a little before the first sound, up to where it was decided that it was the last.
    assert model.session.turns == [pytest.approx(1.6, abs=0.1), pytest.approx(2.0, abs=0.1)]
    first, second = agent.turns
    assert (first.number, first.caller, first.agent) == (1, "The weather?", "It rains.")
    assert second.caller == "How long?"
    for turn in agent.turns:
        assert 0.5 < turn.end_of_turn < 0.75
        assert turn.end_of_turn + 0.3 == pytest.approx(turn.first_token, abs=0.03)
        assert turn.audio_sent == pytest.approx(turn.first_token, abs=0.001)
        assert turn.audio_sent <= turn.audio_heard < turn.audio_sent + 0.05
        assert turn.transcript == pytest.approx(turn.end_of_turn + 0.4, abs=0.03)
        assert (turn.usage.tokens_in, turn.usage.tokens_out) == (100, 20)
        assert turn.usage.tokens_cached == 50
        assert 1.5 < turn.usage.speech_seconds < 2.1
    assert report.errors == {}


def test_a_transcript_without_words_is_not_what_the_caller_said() -> None:
    model = ScriptedRealtime(["It rains."], transcripts=["[BLANK_AUDIO]"])
    agent, _ = converse(agent_with(model), asking(1.0))
    assert texts(agent) == [("assistant", "It rains.")]
    assert agent.turns[0].caller == ""


def test_nothing_is_sent_while_nobody_speaks() -> None:
    model = ScriptedRealtime(["Fine."])

    async def talk(phone: Phone) -> None:
        await phone.wait_until(5.0)
        await ask(phone, 0.6)

    converse(agent_with(model), talk)
    assert model.session.turns == [pytest.approx(1.6, abs=0.15)]


@pytest.mark.parametrize("at", [0.5, 1.1, 2.37, 3.9])
def test_a_barge_in_tells_the_model_what_the_phone_really_played(at: float) -> None:
    model = ScriptedRealtime([LONG, "Sure."], transcripts=["Go on.", "Stop it."])

    async def talk(phone: Phone) -> None:
        asked = phone.time
        phone.say(voice(0.8))
        began = await phone.wait_for_audio(after=asked)
        await phone.wait_until(began + at)
        phone.say(voice(1.0))
        await phone.wait_for_silence(0.4)
        played.append(phone.report().audio_played)
        await listen(phone)

    played: list[Any] = []
    agent, _ = converse(agent_with(model), talk)
    (truncation,) = model.session.truncations
    assert truncation.text == LONG
    assert truncation.seconds == pytest.approx(played[0], abs=0.06)
    # Words that were not heard are known to nobody.
    said = texts(agent)[1][1]
    assert LONG.startswith(said)
    assert abs(len(said.split()) - played[0] / 0.3) <= 1
    assert agent.turns[0].interrupted
    assert agent.turns[0].agent == said
    assert texts(agent)[2:] == [("user", "Stop it."), ("assistant", "Sure.")]
    assert agent.barge_ins == [True]


def test_a_barge_in_while_the_model_still_speaks_cancels_and_nothing_comes_late() -> None:
    slow = Timing(0.3, 0.09)  # hardly faster than it is heard
    model = ScriptedRealtime([LONG, "Sure."], timing=slow)

    async def talk(phone: Phone) -> None:
        asked = phone.time
        phone.say(voice(0.8))
        began = await phone.wait_for_audio(after=asked)
        await phone.wait_until(began + 1.0)
        phone.say(voice(1.0))
        await phone.wait_for_silence(0.5)
        await listen(phone)

    agent, report = converse(agent_with(model), talk)
    assert model.session.cancelled == 1
    (truncation,) = model.session.truncations
    assert truncation.seconds < truncation.length < 3.0
    assert [turn.agent.split()[-1] for turn in agent.turns] == [
        agent.turns[0].agent.split()[-1],
        "Sure.",
    ]
    assert report.audio_played == pytest.approx(truncation.seconds + 0.3, abs=0.06)
    # What the cancelled response cost is not forgotten.
    assert agent.turns[1].usage.tokens_in == 110


def test_a_barge_in_over_the_greeting_is_answered() -> None:
    model = ScriptedRealtime(["Yes."], transcripts=["Hello?"])

    async def talk(phone: Phone) -> None:
        began = await phone.wait_for_audio()
        await phone.wait_until(began + 0.7)
        phone.say(voice(1.0))
        await phone.wait_for_silence(0.5)
        await listen(phone)

    agent, _ = converse(agent_with(model, greeting=LONG), talk)
    assert [turn.number for turn in agent.turns] == [0, 1]
    assert agent.turns[0].interrupted
    assert texts(agent)[1:] == [("user", "Hello?"), ("assistant", "Yes.")]


def test_a_cough_makes_a_pause_and_no_more() -> None:
    model = ScriptedRealtime([LONG])

    async def talk(phone: Phone) -> None:
        asked = phone.time
        phone.say(voice(0.8))
        began = await phone.wait_for_audio(after=asked)
        await phone.wait_until(began + 1.0)
        await ask(phone, 0.1, 2.0)

    agent, report = converse(agent_with(model), talk)
    assert agent.barge_ins == [False]
    assert report.audio_played == pytest.approx(4.5, abs=0.06)
    assert model.session.truncations == []
    assert model.session.responses == 1
    assert texts(agent) == [("assistant", LONG)]
    (turn,) = agent.turns
    assert not turn.interrupted


def over_the_agent(
    model: ScriptedRealtime, seconds: float, **settings: Any
) -> tuple[Any, CallReport]:
    """Have something said in the middle of a long answer."""

    async def talk(phone: Phone) -> None:
        asked = phone.time
        phone.say(voice(0.8))
        began = await phone.wait_for_audio(after=asked)
        await phone.wait_until(began + 1.0)
        phone.say(voice(seconds))
        await phone.wait_for_silence(2.0)

    return converse(agent_with(model, **settings), talk)


def test_a_short_word_interrupts_as_soon_as_it_is_understood() -> None:
    model = ScriptedRealtime([LONG, "Sure."], transcripts=["Go."], overheard=["Stop!"])
    agent, report = over_the_agent(model, 0.3)
    assert agent.barge_ins == [False, True]
    assert report.audio_played < 3.0
    assert texts(agent)[-2:] == [("user", "Stop!"), ("assistant", "Sure.")]
    assert model.session.told == [Text("user", "Stop!")]
    assert agent.transcripts == ["Go.", "Stop!"]
    interrupted, answered = agent.turns
    assert interrupted.interrupted
    assert (answered.caller, answered.agent) == ("Stop!", "Sure.")
    assert answered.usage.speech_seconds > 0.3


@pytest.mark.parametrize("understood", ["Mm-hmm.", ""])
def test_what_means_nothing_does_not_interrupt(understood: str) -> None:
    model = ScriptedRealtime([LONG], transcripts=["Go."], overheard=[understood])
    agent, report = over_the_agent(model, 0.3)
    assert agent.barge_ins == [False]
    assert report.audio_played == pytest.approx(4.5, abs=0.06)
    assert model.session.told == []


def test_nobody_asks_what_a_noise_meant() -> None:
    model = ScriptedRealtime([LONG], transcripts=["Go."], overheard=["Stop!"])
    agent, _ = over_the_agent(model, 0.1)
    assert agent.barge_ins == [False]
    assert model.overheard is not None
    assert next(model.overheard) == "Stop!"


def test_without_a_transcript_a_short_word_interrupts_if_the_settings_say_so() -> None:
    model = ScriptedRealtime([LONG, "Sure."])
    agent, _ = over_the_agent(model, 0.3, turn_taking=TurnSettings(confirm=0.2))
    assert agent.barge_ins == [True]


def test_a_session_that_cannot_tell_what_was_said_counts_as_failed() -> None:
    model = ScriptedRealtime([LONG], overheard=[], breaks={"transcribe": KeyError("text")})
    agent, report = over_the_agent(model, 0.3)
    assert report.audio_played == pytest.approx(4.5, abs=0.06)
    assert agent.stream.counters.turns.failures == {"realtime_model": 1}


def test_noise_while_nobody_speaks_starts_no_response() -> None:
    model = ScriptedRealtime(["What?"])

    async def talk(phone: Phone) -> None:
        phone.say(voice(0.06))
        await phone.wait_until(3.0)

    agent, report = converse(agent_with(model), talk)
    assert model.session.responses == 0
    assert report.audio_played == 0
    assert agent.turns == []


def test_a_question_is_answered_though_noise_stopped_the_answer_before_it_began() -> None:
    model = ScriptedRealtime(["Never heard.", "Fine."], timing=Timing(1.5, 0.01))

    async def talk(phone: Phone) -> None:
        phone.say(voice(0.8))
        await phone.wait_until(2.0)  # the answer is on its way
        await ask(phone, 0.06)

    agent, _ = converse(agent_with(model, barge_in="at_once"), talk)
    assert texts(agent) == [("assistant", "Fine.")]
    assert [turn.number for turn in agent.turns] == [1]


def test_tools_are_used_and_their_results_told() -> None:
    model = ScriptedRealtime([ToolCall("call_1", "weather", '{"town": "Rome"}'), "It rains."])

    class Weather(Talking):
        @tool
        async def weather(self, town: str) -> str:
            """Tell the weather."""
            return f"rain in {town}"

    agent, _ = converse(agent_with(model, Weather), asking(0.8))
    assert [spec.name for spec in model.session.tools] == ["weather", "hang_up"]
    assert model.session.told == [ToolResult("call_1", "rain in Rome")]
    assert agent.conversation.messages[-3:] == [
        ToolCall("call_1", "weather", '{"town": "Rome"}'),
        ToolResult("call_1", "rain in Rome"),
        Text("assistant", "It rains."),
    ]
    (turn,) = agent.turns
    assert turn.agent == "It rains."
    assert turn.usage.tokens_in == 200


def test_tools_run_while_the_model_speaks_and_beside_each_other() -> None:
    calls = [ToolCall(f"call_{count}", "slow", "{}") for count in range(3)]
    model = ScriptedRealtime([["Let me see now", *calls], "Done."])
    running = []

    class Slow(Talking):
        @tool
        async def slow(self) -> str:
            """Take half a second."""
            running.append(1)
            most.append(len(running))
            await asyncio.sleep(0.5)
            running.pop()
            return "done"

    most: list[Any] = []
    agent, report = converse(agent_with(model, Slow), asking(0.8, 2.0))
    assert max(most) == 3
    assert texts(agent) == [("assistant", "Let me see now Done.")] or texts(agent) == [
        ("assistant", "Let me see now"),
        ("assistant", "Done."),
    ]
    # 1.2 s of words and then the answer, which was made meanwhile.
    assert report.pauses == report.gaps == []


def test_a_tool_may_speak_while_its_response_still_comes() -> None:
    class Looking(Talking):
        model = ScriptedRealtime(
            [[ToolCall("1", "look", "{}"), "I am just going to look."], "It is here."],
            transcripts=["Where is it?"],
        )

        @tool
        async def look(self) -> str:
            """Look."""
            for text in ("Let me look.", "And there."):
                await self.say(text)
            return "found"

    agent, _ = converse(Looking, asking(1.0, 2.0))
    (turn,) = agent.turns
    assert turn.agent == "I am just going to look. Let me look. And there. It is here."
    assert not turn.interrupted


def test_a_tool_that_is_interrupted_as_it_speaks_goes_on() -> None:
    class Looking(Talking):
        model = ScriptedRealtime(
            [[ToolCall("1", "look", "{}")], "Yes."],
            transcripts=["Where is it?", "Hello?"],
            timing=Timing(0.3, 0.1),  # so that it is still speaking when it is interrupted
        )

        @tool
        async def look(self) -> str:
            """Look."""
            await self.say(LONG)
            return "found"

    async def talk(phone: Phone) -> None:
        asked = phone.time
        phone.say(voice(1.0))
        await phone.wait_for_audio(after=asked)
        await ask(phone, 1.5, 2.0)

    agent, _ = converse(Looking, talk)
    assert ToolResult("1", "found") in agent.conversation.messages


class Personal(Talking):
    """Knows who calls only when the stream is there."""

    async def on_start(self) -> None:
        self.prompt = "Ann calls."
        await super().on_start()


def test_a_prompt_that_on_start_sets_counts_for_a_session_that_is_open_already() -> None:
    model = ScriptedRealtime()
    kind = type("Agent", (Personal,), {"agents": [], "model": model, "greeting": "Hello Ann."})
    converse(kind, listen, answer=ANSWER)
    assert [session.prompt for session in model.sessions] == ["Ann calls."]


def test_a_session_that_cannot_change_its_prompt_is_replaced_before_the_greeting() -> None:
    class Fixed:
        def __init__(self, session: ScriptedSession) -> None:
            self._session = session

        def __getattr__(self, name: str) -> Any:
            if name == "update":
                raise AttributeError(name)
            return getattr(self._session, name)

    class Opening(ScriptedRealtime):
        async def connect(self, **settings: Any) -> Any:
            return Fixed(await super().connect(**settings))

    model = Opening()
    kind = type("Agent", (Personal,), {"agents": [], "model": model, "greeting": "Hello Ann."})
    agent, _ = converse(kind, listen, answer=ANSWER)
    assert [session.prompt for session in model.sessions] == ["Be kind.", "Ann calls."]
    assert [session.closed for session in model.sessions] == [True, True]
    assert texts(agent) == [("assistant", "Hello Ann.")]


def test_a_missing_key_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(OpenAIRealtime):
        attempts = 0

        async def connect(self, **settings: Any) -> Any:
            self.attempts += 1
            return await super().connect(**settings)

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model = Counted(base_url="https://api.example.com/v1")
    converse(agent_with(model, greeting=None, give_up="hang_up"), _wait_a_second)
    assert model.attempts == 1


async def _wait_a_second(phone: Phone) -> None:
    await phone.wait_until(1.0)


def test_a_slow_tool_has_its_hold_phrase_said() -> None:
    model = ScriptedRealtime([ToolCall("call_1", "slow", "{}"), "Found."])

    class Slow(Talking):
        @tool(hold="One moment please.")
        async def slow(self) -> str:
            """Take three seconds."""
            await asyncio.sleep(3.0)
            return "found"

    agent, _ = converse(agent_with(model, Slow), asking(0.8, 3.5))
    assert agent.turns[0].agent == "One moment please. Found."


@pytest.mark.parametrize("overheard", [None, ["Okay."]])
@pytest.mark.parametrize(("before_end", "answers"), [(0.24, True), (2.0, False)])
def test_a_short_word_in_the_last_word_of_the_model_is_an_answer(
    before_end: float, answers: bool, overheard: list[str] | None
) -> None:
    model = ScriptedRealtime([LONG, "Then I book it."], overheard=overheard)

    async def talk(phone: Phone) -> None:
        asked = phone.time
        phone.say(voice(0.8))
        began = await phone.wait_for_audio(after=asked)
        await phone.wait_until(began + len(LONG.split()) * 0.3 - before_end)
        phone.say(voice(0.35))
        await phone.wait_until(10.0)

    agent, _ = converse(agent_with(model), talk)
    assert [turn.agent for turn in agent.turns] == [LONG, "Then I book it."][: 1 + answers]
    assert len(model.session.turns) == 1 + answers


@pytest.mark.parametrize("takes_turns", [False, True])
def test_say_waits_until_the_caller_has_finished(takes_turns: bool) -> None:
    model = ScriptedRealtime(["It comes."], takes_turns=takes_turns)

    async def talk(phone: Phone) -> None:
        await phone.wait_until(1.0)
        phone.say(voice(2.0))
        if takes_turns:
            model.session.caller_speaks()
        await phone.wait_until(2.0)
        saying = asyncio.create_task(agents[-1].say("Your taxi is here."))
        await phone.wait_until(3.5)
        if takes_turns:
            model.session.caller_finished()
        await saying

    kind = agent_with(model)
    agents = kind.agents
    agent, report = converse(kind, talk)
    assert texts(agent)[-1] == ("assistant", "It comes. Your taxi is here.")
    assert report.agent_speech[0][0] > 3.5


@pytest.mark.parametrize(("answers", "error"), [(["", "Yes?"], None), (["", ""], "no speech")])
@pytest.mark.parametrize("takes_turns", [False, True])
def test_an_empty_response_is_asked_for_once_more(
    answers: list[str], error: str | None, takes_turns: bool
) -> None:
    model = ScriptedRealtime([*answers, "Never said."], takes_turns=takes_turns)

    async def talk(phone: Phone) -> None:
        phone.say(voice(0.8))
        await phone.wait_until(2.0)
        if takes_turns:
            model.session.caller_finished()
        await phone.wait_until(6.0)

    agent, _ = converse(agent_with(model), talk)
    (turn,) = agent.turns
    assert turn.agent == (agent.apology if error else "Yes?")
    assert error is None or error in turn.error
    # Two for the answer; the apology is another.
    assert model.session.responses == (3 if error else 2)


def test_an_empty_response_after_a_tool_is_nothing_to_complain_of_once_the_model_spoke() -> None:
    model = ScriptedRealtime([["I note it.", ToolCall("call_1", "hint", "null")]])

    class Noting(Talking):
        @tool
        async def hint(self) -> str:
            """Note it."""
            return "noted"

    agent, _ = converse(agent_with(model, Noting), asking(0.8, 3.0))
    assert (agent.turns[0].agent, agent.turns[0].error) == ("I note it.", None)


def test_a_model_that_repeats_a_call_that_was_refused_has_failed() -> None:
    call = ToolCall("call_1", "slow", '{"how": "quickly"}')
    model = ScriptedRealtime([call, call, "Never said."])
    agent, _ = converse(agent_with(model, Slow), asking(0.8, 2.0))
    assert "repeated a call of slow" in agent.turns[0].error
    assert agent.turns[0].agent == agent.apology
    assert "Never said." not in [text for _, text in texts(agent)]


def test_a_model_that_only_asks_for_tools_is_a_failure() -> None:
    calls = [ToolCall(f"call_{n}", "slow", f'{{"how": {n}}}') for n in range(30)]
    agent, _ = converse(agent_with(ScriptedRealtime(calls), Slow), asking(0.8, 8.0))
    assert "without an answer" in agent.turns[0].error


class Slow(Talking):
    @tool
    async def slow(self) -> str:
        """Take four seconds."""
        await asyncio.sleep(4.0)
        return "found"


def test_two_calls_that_are_refused_alike_in_one_response_are_no_repetition() -> None:
    wrong = [ToolCall("call_1", "slow", '{"at": 1}'), ToolCall("call_2", "slow", '{"at": 1}')]
    model = ScriptedRealtime([wrong, "I cannot look."])
    agent, _ = converse(agent_with(model, Slow), asking(0.8))
    (turn,) = agent.turns
    assert (turn.agent, turn.error) == ("I cannot look.", None)


@pytest.mark.parametrize("seconds", [1.0, 4.0], ids=["the caller is silent", "the caller speaks"])
def test_a_result_that_comes_after_its_turn_is_told_once_both_are_quiet(seconds: float) -> None:
    model = ScriptedRealtime(
        [["Looking.", ToolCall("call_1", "slow", "{}")], "Yes?", "Found it.", "Never said."]
    )

    async def talk(phone: Phone) -> None:
        asked = phone.time
        phone.say(voice(0.8))
        began = await phone.wait_for_audio(after=asked)
        await phone.wait_until(began + 0.8)
        phone.say(voice(seconds))
        await phone.wait_until(12.0)

    agent, _ = converse(agent_with(model, Slow), talk)
    assert model.session.told == [ToolResult("call_1", "found")]
    # One that comes while the caller speaks is answered with what they say.
    told = ["Yes?", "Found it."] if seconds == 1.0 else ["Yes?"]
    assert [turn.agent for turn in agent.turns[1:]] == told


@pytest.mark.parametrize("speaks", [False, True])
def test_a_late_result_is_told_to_a_model_that_takes_the_turns(speaks: bool) -> None:
    model = ScriptedRealtime(
        [["Looking.", ToolCall("call_1", "slow", "{}")], "Yes?", "Found it."], takes_turns=True
    )

    async def talk(phone: Phone) -> None:
        await phone.wait_until(1.0)
        session = model.session
        session.caller_finished()
        await phone.wait_until(2.5)
        session.caller_speaks()
        await phone.wait_until(3.0)
        if not speaks:
            session.caller_finished()
        await phone.wait_until(6.0)  # the result came at 5.3
        said.append(session.responses)
        if speaks:
            session.caller_finished()
        await phone.wait_until(9.0)

    said: list[Any] = []
    agent, _ = converse(agent_with(model, Slow), talk)
    assert said == [1 if speaks else 3]
    assert [turn.agent for turn in agent.turns[1:]] == ["Yes?", "Found it."][: 1 if speaks else 2]


def test_the_agent_hangs_up_when_its_farewell_was_heard() -> None:
    model = ScriptedRealtime([["Good bye then my friend", ToolCall("call_1", "hang_up", "{}")]])

    agent, report = converse(agent_with(model), speaking_until_closed(0.8))
    assert report.ended_by == "server"
    assert report.audio_played == pytest.approx(1.5)
    assert agent.turns[0].agent == "Good bye then my friend"
    assert not agent.turns[0].interrupted


@pytest.mark.parametrize("overheard", [None, ["Okay."], ["Wait!"]])
def test_a_word_into_the_last_one_of_goodbye(overheard: list[str] | None) -> None:
    goodbye: list[Any] = ["Good bye then my friend", ToolCall("call_1", "hang_up", "{}")]
    model = ScriptedRealtime([goodbye, "Yes?"], overheard=overheard)
    stays = overheard == ["Wait!"]

    async def talk(phone: Phone) -> None:
        asked = phone.time
        phone.say(voice(0.8))
        began = await phone.wait_for_audio(after=asked)
        await phone.wait_until(began + 1.5 - 0.44)
        phone.say(voice(0.3))
        if stays:
            await listen(phone)
        else:
            await phone.wait_closed()

    agent, _ = converse(agent_with(model), talk)
    assert agent.turns[-1].agent == ("Yes?" if stays else goodbye[0])


def test_who_hangs_up_without_a_word_says_goodbye() -> None:
    model = ScriptedRealtime([ToolCall("call_1", "hang_up", "{}")])

    agent, report = converse(agent_with(model, goodbye="So long."), speaking_until_closed(0.8))
    assert report.ended_by == "server"
    assert agent.turns[0].agent == "So long."


def test_silence_is_asked_about_and_then_ended() -> None:
    model = ScriptedRealtime()
    handler = agent_with(
        model,
        silence_prompt="Are you there?",
        goodbye="Bye.",
        turn_taking=TurnSettings(silence=3.0),
    )

    async def talk(phone: Phone) -> None:
        await phone.wait_closed()

    agent, report = converse(handler, talk)
    assert report.ended_by == "server"
    assert " ".join(text for _, text in texts(agent)) == "Are you there? Are you there? Bye."
    assert 9 < report.duration < 14


def test_keys_interrupt_and_are_told() -> None:
    model = ScriptedRealtime(["Number five."])

    async def talk(phone: Phone) -> None:
        began = await phone.wait_for_audio()
        await phone.wait_until(began + 0.5)
        phone.press("51#")
        await phone.wait_for_silence(0.2)
        await listen(phone)

    agent, _ = converse(agent_with(model, greeting=LONG), talk)
    assert model.session.told == [Text("user", "[pressed 51]")]
    assert agent.turns[-1].agent == "Number five."
    assert model.session.truncations[0].seconds < 0.7


def test_a_call_of_another_format_is_heard_and_spoken_in_it() -> None:
    model = ScriptedRealtime(["It rains."])

    async def talk(phone: Phone) -> None:
        phone.say(voice(0.8, 16000))
        await listen(phone)

    agent, report = converse(agent_with(model), talk, format=L16_16K)
    assert model.session.format is L16_16K
    assert report.audio_played == pytest.approx(0.6, abs=0.01)
    assert agent.turns[0].agent == "It rains."


# Getting ready.


def test_the_session_is_open_before_the_stream_comes() -> None:
    model = ScriptedRealtime()
    RealtimeAgent._usual_format = MULAW_8K

    async def call() -> Any:
        handler = agent_with(model, greeting="Hello.")
        async with joined(handler, answer=ANSWER, start=False) as line:
            while not model.sessions:
                await asyncio.sleep(0.01)
            await line.phone.start()
            await listen(line.phone)
        assert len(model.sessions) == 1
        return handler.agents

    agents = run_virtual(call())
    assert len(agents) == 1
    assert model.session.closed


def test_a_session_opened_for_another_format_is_replaced() -> None:
    model = ScriptedRealtime()
    RealtimeAgent._usual_format = MULAW_8K

    async def call() -> None:
        handler = agent_with(model, greeting="Hello.")
        async with joined(handler, answer=ANSWER, start=False, format=L16_16K) as line:
            while not model.sessions:
                await asyncio.sleep(0.01)
            await line.phone.start()
            await listen(line.phone)

    run_virtual(call())
    assert [session.format for session in model.sessions] == [MULAW_8K, L16_16K]
    assert all(session.closed for session in model.sessions)
    assert RealtimeAgent._usual_format is L16_16K
    RealtimeAgent._usual_format = MULAW_8K


def connecting_slowly(seconds: float) -> Any:
    """A model whose sessions take so long to open; it counts those under way."""

    class Slow(ScriptedRealtime):
        under_way = 0

        async def connect(self, **settings: Any) -> ScriptedSession:
            self.under_way += 1
            try:
                await asyncio.sleep(seconds)
                return await super().connect(**settings)
            finally:
                self.under_way -= 1

    return Slow()


def test_a_session_that_is_still_being_opened_when_the_stream_starts_is_waited_for() -> None:
    model = connecting_slowly(1.0)

    async def call() -> Any:
        handler = agent_with(model, greeting="Hello.")
        async with joined(handler, answer=ANSWER, start=False) as line:
            while not model.under_way:
                await asyncio.sleep(0.01)
            await line.phone.start()
            assert not model.sessions
            await listen(line.phone)
            return handler.agents[-1].turns

    (greeting,) = run_virtual(call())
    assert greeting.agent == "Hello."
    assert len(model.sessions) == 1
    assert model.session.closed


@pytest.mark.parametrize("hangs_up_after", [0.1, 0.5, 0.99, 1.0, 1.01])
def test_a_session_that_is_being_opened_when_the_caller_hangs_up_is_not_left_open(
    hangs_up_after: float,
) -> None:
    model = connecting_slowly(1.0)

    class Leaving(Talking):
        async def on_stop(self, reason: str) -> None:
            await super().on_stop(reason)
            await asyncio.sleep(1.5)

    async def call() -> None:
        async with joined(
            agent_with(model, Leaving, greeting="Hello."), answer=ANSWER, start=False
        ) as line:
            while not model.under_way:
                await asyncio.sleep(0.01)
            await line.phone.start()
            await line.phone.wait_until(hangs_up_after)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert left == []

    run_virtual(call())
    assert model.under_way == 0
    assert all(session.closed for session in model.sessions)


def test_a_session_that_is_lost_over_the_greeting_does_not_cost_it() -> None:
    model = ScriptedRealtime(fault=Fault(0, ServiceError("scripted", "gone"), uses=1))
    agent, _ = converse(agent_with(model, greeting="Hello."), listen)
    (greeting,) = agent.turns
    assert (greeting.agent, greeting.error) == ("Hello.", None)
    assert len(model.sessions) == 2


async def test_a_session_whose_stream_never_comes_is_closed() -> None:
    model = ScriptedRealtime()
    agent = agent_with(model)()
    await agent.on_answer(ANSWER, None)
    assert not model.session.closed
    await agent.on_stop("the stream never came")
    assert model.session.closed


# The model takes the turns.


def test_a_model_that_takes_the_turns_hears_everything_and_answers_by_itself() -> None:
    model = ScriptedRealtime(["It rains."], transcripts=["The weather?"], takes_turns=True)

    async def talk(phone: Phone) -> None:
        phone.say(voice(1.0))
        await phone.wait_until(2.0)
        model.session.caller_speaks()
        model.session.caller_finished()
        await listen(phone)

    agent, _ = converse(agent_with(model), talk)
    assert model.session.turns == [pytest.approx(2.0, abs=0.1)]
    assert texts(agent) == [("user", "The weather?"), ("assistant", "It rains.")]
    (turn,) = agent.turns
    assert (turn.number, turn.caller, turn.agent) == (1, "The weather?", "It rains.")
    assert agent.barge_ins == []


def test_its_word_that_the_caller_speaks_interrupts() -> None:
    model = ScriptedRealtime([LONG, "Sure."], transcripts=["Go.", "Stop."], takes_turns=True)

    async def talk(phone: Phone) -> None:
        await phone.wait_until(0.5)
        model.session.caller_finished()
        began = await phone.wait_for_audio(after=0.5)
        phone.say(voice(0.1))  # heard here, and nobody's business
        await phone.wait_until(began + 1.0)
        model.session.caller_speaks()
        await phone.wait_for_silence(0.3)
        played.append(phone.report().audio_played)
        model.session.caller_finished()
        await listen(phone)

    played: list[Any] = []
    agent, _ = converse(agent_with(model), talk)
    (truncation,) = model.session.truncations
    assert truncation.seconds == pytest.approx(played[0], abs=0.06)
    assert [turn.interrupted for turn in agent.turns] == [True, False]
    assert agent.barge_ins == [True]
    assert texts(agent)[-2:] == [("user", "Stop."), ("assistant", "Sure.")]


def test_an_interruption_of_an_answer_that_is_complete_does_not_cancel_the_next_one() -> None:
    model = ScriptedRealtime(
        [LONG, "Sure."], transcripts=["Go.", "Stop."], takes_turns=True, timing=Timing(0.0, 0.0)
    )

    async def talk(phone: Phone) -> None:
        await phone.wait_until(0.5)
        model.session.caller_finished()
        began = await phone.wait_for_audio(after=0.5)
        await phone.wait_until(began + 1.0)
        model.session.caller_speaks()
        model.session.caller_finished()
        await listen(phone)

    agent, _ = converse(agent_with(model), talk)
    assert [turn.interrupted for turn in agent.turns] == [True, False]
    assert texts(agent)[-2:] == [("user", "Stop."), ("assistant", "Sure.")]


def test_keys_that_are_pressed_while_it_hears_the_caller_are_answered_after_that() -> None:
    model = ScriptedRealtime(["It rains.", "Number five."], takes_turns=True)

    async def talk(phone: Phone) -> None:
        await phone.wait_until(1.0)
        model.session.caller_speaks()
        phone.press("5#")
        await phone.wait_until(2.0)
        assert model.session.responses == 0
        model.session.caller_finished()
        await phone.wait_until(5.0)

    agent, _ = converse(agent_with(model), talk)
    assert model.session.told == [Text("user", "[pressed 5]")]
    assert [turn.agent for turn in agent.turns] == ["It rains.", "Number five."]


def test_a_model_that_takes_the_turns_and_cannot_be_reached_again_ends_the_call() -> None:
    model = ScriptedRealtime(takes_turns=True)

    async def talk(phone: Phone) -> None:
        await phone.wait_until(1.0)
        model.refuse(*[ServiceError("scripted", "gone")] * 100)
        model.session.lose()
        await phone.wait_closed()

    _, report = converse(agent_with(model, failures_allowed=1), talk)
    assert report.ended_by == "server"
    assert report.duration < 10


def test_a_model_that_takes_the_turns_and_comes_late_answers_once() -> None:
    refused = ServiceError("scripted", "not now", status=403)
    model = ScriptedRealtime(["It rains."], takes_turns=True, refusals=[refused])

    async def talk(phone: Phone) -> None:
        phone.say(voice(0.8))
        await phone.wait_until(2.0)
        assert model.session.turns == []  # heard, and not told that it was a turn
        model.session.caller_finished()
        await listen(phone)

    agent, _ = converse(agent_with(model), talk)
    assert model.session.turns == [pytest.approx(1.8, abs=0.3)]
    assert [turn.agent for turn in agent.turns] == ["It rains."]


# What goes wrong.


def test_a_session_lost_before_the_answer_began_is_replaced_unnoticed() -> None:
    fault = Fault(0, ServiceError("scripted", "gone"), uses=1)
    model = ScriptedRealtime(["Lost.", "It rains."], transcripts=["", "The weather?"], fault=fault)

    agent, report = converse(agent_with(model), asking(1.0))
    first, second = model.sessions
    assert first.closed
    # The second one has heard the caller too.
    assert second.turns == first.turns
    assert texts(agent) == [("user", "The weather?"), ("assistant", "It rains.")]
    assert report.audio_played == pytest.approx(0.6)
    (turn,) = agent.turns
    assert turn.error is None


def test_a_session_lost_in_the_middle_of_an_answer_is_replaced_with_an_apology() -> None:
    fault = Fault(5, ServiceError("scripted", "gone"), uses=1)
    model = ScriptedRealtime(
        [LONG, "It rains."], transcripts=["The weather?", "Again."], fault=fault
    )

    async def talk(phone: Phone) -> None:
        await ask(phone, 1.0)
        await ask(phone, 1.0)

    agent, _ = converse(agent_with(model, apology="Sorry again."), talk)
    assert len(model.sessions) == 2
    # What the caller heard before is told to the one that goes on.
    assert model.session.conversation == [
        Text("user", "The weather?"),
        Text("assistant", "one two"),
    ] or texts_of(model.session.conversation)[-1][1].startswith("the")
    first, second = agent.turns
    assert first.agent.endswith("Sorry again.")
    assert "gone" in first.error
    assert second.agent == "It rains."


def test_a_session_lost_while_nobody_speaks_is_replaced_at_once() -> None:
    model = ScriptedRealtime(["It rains."])

    async def talk(phone: Phone) -> None:
        await phone.wait_until(1.0)
        model.session.lose()
        await phone.wait_until(2.0)
        assert len(model.sessions) == 2
        await ask(phone, 1.0)

    agent, _ = converse(agent_with(model, greeting="Hello."), talk)
    assert agent.turns[-1].agent == "It rains."
    assert agent.turns[-1].error is None
    assert model.session.conversation == [Text("assistant", "Hello.")]


@pytest.mark.parametrize("error", [KeyError("choices"), ServiceError("scripted", "gone"), None])
def test_however_a_session_ends_it_is_replaced(error: KeyError | ServiceError | None) -> None:
    model = ScriptedRealtime(["It rains."])

    async def talk(phone: Phone) -> None:
        await phone.wait_until(1.0)
        model.session.lose(error)
        await phone.wait_until(2.0)
        await ask(phone, 1.0)

    agent, _ = converse(agent_with(model), talk)
    assert len(model.sessions) == 2
    assert model.sessions[0].closed
    assert agent.turns[-1].agent == "It rains."
    assert sum(agent.stream.counters.turns.failures.values()) == 1


@pytest.mark.parametrize("error", [KeyError("choices"), ServiceError("scripted", "gone")])
@pytest.mark.parametrize(
    "method", ["hear", "end_turn", "say", "tell", "respond", "cancel", "truncate", "close"]
)
def test_whatever_a_session_fails_at_the_call_goes_on(
    method: str, error: KeyError | ServiceError
) -> None:
    calls = [ToolCall("call_1", "weather", "{}")]
    model = ScriptedRealtime(
        [calls, LONG, "Sure.", "Sure."],
        timing=Timing(0.3, 0.09),
        breaks={method: error},
    )

    async def weather() -> str:
        """Tell the weather."""
        return "rain"

    async def talk(phone: Phone) -> None:
        await listen(phone)
        asked = phone.time
        phone.say(voice(0.8))
        began = await phone.wait_for_audio(after=asked)
        await phone.wait_until(began + 1.0)
        await ask(phone, 0.8)

    agent, report = converse(
        agent_with(model, greeting="Hello.", tools=[weather], failures_allowed=0), talk
    )
    assert report.ended_by is None
    assert [turn.error for turn in agent.turns] == [None] * len(agent.turns)
    assert agent.turns[0].agent == "Hello."
    assert agent.turns[-1].agent == "Sure."
    assert len(model.sessions) == (1 if method == "close" else 2)
    assert method == "close" or all(session.closed for session in model.sessions)
    assert agent.stream.counters.turns.failures.total() == (method != "close")


def test_a_session_that_is_lost_as_it_is_told_of_keys_is_not_waited_for() -> None:
    model = ScriptedRealtime(["Number one."], breaks={"tell": ServiceError("scripted", "gone")})

    async def talk(phone: Phone) -> None:
        await phone.wait_until(0.5)
        phone.press("1#")
        await phone.wait_until(4.0)

    agent, _ = converse(agent_with(model), talk)
    assert texts(agent) == [("user", "[pressed 1]"), ("assistant", "Number one.")]
    assert model.session.conversation == [Text("user", "[pressed 1]")]
    assert agent.stream.counters.turns.failures == {"scripted": 1}


def test_a_session_that_cannot_be_opened_again_counts_once() -> None:
    refused = [ServiceError("scripted", "busy")] * 3
    model = ScriptedRealtime(["Number one."])

    async def talk(phone: Phone) -> None:
        await phone.wait_until(0.5)
        model.refuse(*refused)
        model.session.lose()
        phone.press("1#")
        await phone.wait_until(4.0)

    agent, _ = converse(agent_with(model, apology=None), talk)
    assert agent.stream.counters.turns.failures == {"scripted": 2}  # the loss, and the refusal


def test_a_model_that_raises_anything_is_one_that_cannot_be_reached() -> None:
    model = ScriptedRealtime(refusals=[KeyError("choices")] * 100)

    _, report = converse(agent_with(model, failures_allowed=1), speaking_until_closed(1.0))
    assert report.ended_by == "server"
    assert report.audio_played == 0


def test_without_an_apology_all_that_was_said_before_the_failure_is_heard_and_kept() -> None:
    fault = Fault(10, ServiceError("scripted", "gone"), uses=1)
    model = ScriptedRealtime([LONG], fault=fault)

    agent, report = converse(agent_with(model, apology=None), asking(1.0))
    assert report.audio_played == pytest.approx(1.0, abs=0.06)
    (turn,) = agent.turns
    assert turn.agent == texts(agent)[-1][1] == "the red dog ran"


def test_who_waits_for_the_same_session_does_not_try_it_again() -> None:
    """A caller would otherwise hear the silence of all attempts, one after the other."""
    model = ScriptedRealtime()
    busy = [ServiceError("scripted", "busy")] * 100

    async def talk(phone: Phone) -> None:
        await phone.wait_until(1.0)
        model.refuse(*busy)
        model.session.lose()
        phone.press("1#")
        await phone.wait_until(3.0)

    converse(agent_with(model, apology=None), talk)
    assert model.attempts == 1 + 3


class Loudness:
    """Never gets used to a sound."""

    def probability(self, frame: Frame) -> float:
        return float(np.abs(frame.samples).max() > 1000)


def test_only_the_last_of_a_monologue_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediaserver.agents.conversing.unanswered_speech._REMEMBERED", 6.0)
    model = ScriptedRealtime(["Goodness."])

    async def talk(phone: Phone) -> None:
        phone.say(voice(10.0))
        await phone.wait_until(9.0)
        kept.append(sum(frame.seconds for frame in agents[-1]._heard.frames))
        await phone.wait_spoken()
        await listen(phone)

    kept: list[Any] = []
    handler = agent_with(model, voice_detector=Loudness, turn_taking=TurnSettings(longest=None))
    agents = handler.agents
    agent, _ = converse(handler, talk)
    assert kept == [pytest.approx(6.0, abs=0.1)]
    # The session that was there all the time has heard everything.
    assert model.session.turns == [pytest.approx(10.6, abs=0.1)]
    assert agent.turns[-1].agent == "Goodness."


def test_connecting_is_tried_again() -> None:
    busy = ServiceError("scripted", "busy", status=429)
    model = ScriptedRealtime(refusals=[busy, busy])
    agent, _ = converse(agent_with(model, greeting="Hello."), listen)
    assert model.attempts == 3
    assert agent.turns[0].agent == "Hello."


def test_a_wrong_key_is_not_tried_again_and_again_and_the_call_ends() -> None:
    refused = ServiceError("scripted", "wrong key", status=401)
    model = ScriptedRealtime(refusals=[refused] * 100)

    agent, report = converse(
        agent_with(model, greeting="Hello.", failures_allowed=2), speaking_until_closed(1.0)
    )
    assert report.ended_by == "server"
    assert report.audio_played == 0
    assert model.attempts < 10
    assert "wrong key" in agent.turns[-1].error


def test_failed_responses_are_apologised_for_and_then_given_up() -> None:
    fault = Fault(0, ServiceError("scripted", "gone"))
    model = ScriptedRealtime([LONG] * 10, fault=fault)

    async def talk(phone: Phone) -> None:
        while not phone.ended:
            phone.say(voice(1.0))
            await phone.wait_until(phone.time + 4.0)

    async def call() -> tuple[Any, CallReport]:
        handler = agent_with(model, failures_allowed=1)
        async with joined(handler) as line:
            talking = asyncio.create_task(talk(line.phone))
            await line.phone.wait_closed()
            talking.cancel()
            return handler.agents[-1], line.phone.report()

    agent, report = run_virtual(call())
    assert report.ended_by == "server"
    assert report.audio_played == 0
    assert len(agent.turns) == 2


def test_an_agent_without_a_model_says_so() -> None:
    with pytest.raises(TypeError, match="RealtimeAgent has no model"):
        RealtimeAgent()


# The same over OpenAI's protocol.


@asynccontextmanager
async def over_openai(
    server: OpenAIRealtimeServer,
    *,
    format: AudioFormat = MULAW_8K,
    seconds_allowed: float | None = None,
    **attributes: Any,
) -> AsyncIterator[tuple[JoinedCall, type[Any]]]:
    """Join a phone to an agent whose model is `server`; yield the call, and the agent's class."""
    async with server.running():
        limits: dict[str, Any] = {}
        if seconds_allowed is not None:
            limits = {"first_timeout": seconds_allowed, "stall_timeout": seconds_allowed}
        model = OpenAIRealtime(base_url=server.base_url, api_key=server.api_key, **limits)
        handler = agent_with(model, **attributes)
        async with joined(handler, format=format) as line:
            yield line, handler


async def test_over_openais_protocol_a_tool_is_used_and_the_call_ended() -> None:
    server = OpenAIRealtimeServer(
        RealtimeAnswer(text="Hi."),
        RealtimeAnswer(calls=[CallTool("weather", {"town": "Rome"})]),
        RealtimeAnswer(text="Rain.", calls=[CallTool("hang_up")]),
        transcripts=["The weather in Rome?"],
    )

    async def weather(town: str) -> str:
        """Tell the weather."""
        return f"rain in {town}"

    async with over_openai(server, greeting="Hi.", tools=[weather]) as (line, handler):
        await listen(line.phone, 0.1)
        line.phone.say(voice(0.3))
        await line.phone.wait_closed()
        report = line.phone.report()
    (agent,) = handler.agents
    assert server.refusals == []
    assert report.ended_by == "server"
    assert report.audio_played == pytest.approx(0.3 + 0.3)
    assert [turn.agent for turn in agent.turns] == ["Hi.", "Rain."]
    assert agent.turns[-1].caller == "The weather in Rome?"
    outputs = [event["item"]["output"] for event in server.of_type("conversation.item.create")]
    assert outputs[0] == "rain in Rome"


async def test_over_openais_protocol_a_barge_in_truncates_at_what_was_played() -> None:
    server = OpenAIRealtimeServer(
        RealtimeAnswer(text=LONG), RealtimeAnswer(text="Sure."), transcripts=["Stop."]
    )
    async with over_openai(server, greeting="This is said first of all.") as (line, _):
        began = await line.phone.wait_for_audio()
        await line.phone.wait_until(began + 0.5)
        line.phone.say(voice(0.8))
        truncation = await server.wait_for("conversation.item.truncate")
        played = line.phone.report().audio_played
        await server.wait_for("response.create", 2)
    assert truncation["audio_end_ms"] / 1000 == pytest.approx(played, abs=0.06)
    # All of it had come long ago, so that there was nothing to cancel.
    assert server.of_type("response.cancel") == []
    assert server.refusals == []


async def test_over_openais_protocol_a_failed_response_is_apologised_for() -> None:
    failed = ("rate_limit_exceeded", "Rate limit reached.")
    server = OpenAIRealtimeServer(
        RealtimeAnswer(text="Hi."), RealtimeAnswer(failed=failed), RealtimeAnswer(text="Sorry.")
    )
    async with over_openai(server, greeting="Hi.", apology="Sorry.") as (line, handler):
        await listen(line.phone, 0.1)
        line.phone.say(voice(0.3))
        await server.wait_for("response.create", 3)
        await listen(line.phone, 0.1)
    (agent,) = handler.agents
    assert agent.turns[-1].agent == "Sorry."
    assert agent.turns[-1].error == "realtime_model: Rate limit reached. (rate_limit_exceeded)"
    assert server.refusals == []


async def test_over_openais_protocol_a_broken_connection_is_replaced_and_the_caller_reheard() -> (
    None
):
    server = OpenAIRealtimeServer(
        RealtimeAnswer(text="Hi."),
        RealtimeAnswer(text="Lost.", drop_at=0),
        RealtimeAnswer(text="Rain."),
        transcripts=["The weather?", "The weather?"],
    )
    async with over_openai(server, greeting="Hi.") as (line, handler):
        await listen(line.phone, 0.1)
        line.phone.say(voice(0.3))
        await server.wait_for("response.create", 3)
        await listen(line.phone, 0.1)
    (agent,) = handler.agents
    assert len(server.sessions) == 2
    assert texts(agent) == [("assistant", "Hi."), ("user", "The weather?"), ("assistant", "Rain.")]
    assert agent.turns[-1].error is None
    assert server.refusals == []


async def test_over_openais_protocol_a_short_word_interrupts() -> None:
    server = OpenAIRealtimeServer(
        RealtimeAnswer(text=LONG),
        RealtimeAnswer(text="Sure."),
        transcripts=["Stop!"],
        chunks=(777,),
    )
    async with over_openai(server, greeting=LONG) as (line, handler):
        began = await line.phone.wait_for_audio()
        await line.phone.wait_until(began + 0.3)
        line.phone.say(voice(0.3))
        await server.wait_for("response.create", 2)
        await listen(line.phone, 0.5)
    (agent,) = handler.agents
    assert agent.barge_ins == [False, True]
    assert texts(agent)[1:] == [("user", "Stop!"), ("assistant", "Sure.")]
    assert server.refusals == []


@pytest.mark.parametrize(
    ("wait_at", "heard", "sessions"),
    [(0, "Rain.", 2), (1, "Sorry.", 2)],
    ids=["before the first byte", "in the middle"],
)
async def test_over_openais_protocol_a_response_that_stalls_is_not_waited_for(
    wait_at: int, heard: str, sessions: int
) -> None:
    stalls = RealtimeAnswer(text="It will most probably be so", wait_at=wait_at)
    server = OpenAIRealtimeServer(
        RealtimeAnswer(text="Hi."), stalls, RealtimeAnswer(text=heard), chunks=(2400,)
    )
    async with over_openai(server, greeting="Hi.", apology="Sorry.", timeout=0.2) as (
        line,
        handler,
    ):
        await listen(line.phone, 0.1)
        asked = line.phone.time
        line.phone.say(voice(0.3))
        await server.wait_for("response.create", 3)
        await listen(line.phone, 0.5, after=asked)
    (agent,) = handler.agents
    assert len(server.sessions) == sessions
    assert agent.turns[-1].agent.endswith(heard)
    assert (agent.turns[-1].error is None) == (wait_at == 0)
    assert server.refusals == []
    assert server.open == 0


async def test_over_openais_protocol_a_rate_limit_at_the_door_is_waited_out() -> None:
    server = OpenAIRealtimeServer(RealtimeAnswer(text="Hi."), refuse=(429, 1))
    async with over_openai(server, greeting="Hi.") as (line, handler):
        await listen(line.phone, 0.1)
    assert handler.agents[-1].turns[0].agent == "Hi."


@pytest.mark.parametrize(
    "server", [OpenAIRealtimeServer(refuse=(401, 99)), OpenAIRealtimeServer(refuse=(403, 99))]
)
async def test_over_openais_protocol_a_key_that_is_not_taken_ends_the_call(
    server: OpenAIRealtimeServer,
) -> None:
    async with over_openai(server, greeting="Hi.", failures_allowed=0) as (line, _):
        await line.phone.wait_closed()
        report = line.phone.report()
    assert (report.ended_by, report.audio_played) == ("server", 0)


@pytest.mark.parametrize("chunks", [(33,), (641, 1, 7), (40001,)])
@pytest.mark.parametrize("format", [MULAW_8K, L16_16K])
async def test_over_openais_protocol_odd_pieces_and_garbage_between_them_are_no_noise(
    format: AudioFormat, chunks: tuple[int, int, int] | tuple[int]
) -> None:
    samples = voice(0.2, 8000 if format is MULAW_8K else 24000)
    server = OpenAIRealtimeServer(
        RealtimeAnswer(text="Hello.", samples=samples, insert_at=0, insert="{no JSON"),
        chunks=chunks,
    )
    async with over_openai(server, greeting="Hello.", format=format) as (line, _):
        await line.phone.wait_until(0.6)
        recording = line.phone.report().recording
    assert recording is not None
    played = recording[:, 1]
    heard = played[np.flatnonzero(played)[0] : np.flatnonzero(played)[-1]].astype(float)
    assert len(heard) == pytest.approx(0.2 * format.rate, abs=0.01 * format.rate)
    # One tone, and nothing else.
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard)))) ** 2
    peak = round(220 * len(heard) / format.rate)
    assert spectrum[peak - 5 : peak + 6].sum() > 0.99 * spectrum.sum()


@pytest.mark.parametrize("milliseconds", [0, 5, 20, 60, 150, 400])
async def test_over_openais_protocol_nothing_is_left_open_whenever_the_caller_hangs_up(
    milliseconds: int,
) -> None:
    server = OpenAIRealtimeServer(RealtimeAnswer(text=LONG), *[RealtimeAnswer(text="Sure.")] * 9)
    async with server.running():
        model = OpenAIRealtime(base_url=server.base_url, api_key=server.api_key)
        handler = agent_with(model, greeting=LONG)
        before = asyncio.all_tasks()
        for _ in range(3):
            async with joined(handler, answer=ANSWER) as line:
                line.phone.say(voice(0.3))
                await line.phone.wait_until(milliseconds / 1000)
        await model._client.close()
        async with asyncio.timeout(5):
            while server.open or asyncio.all_tasks() - before - serving():
                await asyncio.sleep(0.01)
    assert server.refusals == []


def serving() -> set[Any]:
    """Return the tasks of the servers' own connections."""
    return {task for task in asyncio.all_tasks() if "conn_handler" in repr(task.get_coro())}


def test_a_question_that_was_interrupted_while_the_session_was_replaced_is_heard_too() -> None:
    model = ScriptedRealtime(["Fine."])
    busy = ServiceError("scripted", "busy")

    async def talk(phone: Phone) -> None:
        await phone.wait_until(0.5)
        phone.say(voice(0.4))
        await phone.wait_until(1.3)
        model.refuse(busy, busy)
        model.session.lose()
        await phone.wait_until(1.6)  # it is about to be answered, once there is a session
        await ask(phone, 0.8)

    agent, _ = converse(agent_with(model), talk)
    assert len(model.sessions) == 2
    assert agent.turns[-1].agent == "Fine."
    (turn,) = model.session.turns
    assert turn > 2.2


def test_an_agent_that_comes_back_tells_the_model_what_was_said_before() -> None:
    class Resumed(Talking):
        async def __call__(self, stream: Stream) -> None:
            stream.previous = earlier_stream(Turn(number=1, caller="A car?", agent="It comes."))
            await super().__call__(stream)

    model = ScriptedRealtime()
    converse(agent_with(model, Resumed, resumption="Sorry."), listen, answer=ANSWER)
    assert texts_of(model.session.conversation) == [("user", "A car?"), ("assistant", "It comes.")]
