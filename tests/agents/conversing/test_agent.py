"""What does not depend on the kind of agent, tried on a `VoiceAgent`."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
import structlog

from mediaserver import Turn
from mediaserver.agents import Agent, RealtimeAgent, VoiceAgent, tool
from mediaserver.agents.services import ServiceError, ToolCall, Transcript
from mediaserver.agents.turns import LevelDetector, TurnSettings
from mediaserver.call import StreamEndedError
from mediaserver.handler import HandlerError
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.routes import Route, Routes
from mediaserver.stream import Stream
from mediaserver.testing import JoinedCall, run_virtual
from mediaserver.testing.realtime import ScriptedRealtime
from mediaserver.testing.services import (
    Fault,
    TimedModel,
    TimedSpeech,
    TimedTranscription,
    Timing,
)
from mediaserver.testing.virtual_time import VirtualTimeLoop
from tests.agents.both_tracks import call_with_both_tracks
from tests.agents.scripted_call import Scripted, caller, converse, earlier_stream, voice


ANSWER = AnswerRequest(call_id="1", caller="+14155550111", called="+14155550100")


def services() -> dict[str, TimedModel | TimedSpeech | TimedTranscription]:
    return {
        "speech_to_text": TimedTranscription(),
        "language_model": TimedModel(),
        "text_to_speech": TimedSpeech(),
    }


# Settings.


def test_an_agent_of_no_kind_is_no_agent() -> None:
    with pytest.raises(TypeError, match="abstract"):
        cast(Any, Agent)()


def test_settings_are_attributes_or_arguments() -> None:
    class Mine(VoiceAgent):
        prompt = "Be kind."

    agent = Mine(**services(), greeting="Hello.")
    assert (agent.prompt, agent.greeting) == ("Be kind.", "Hello.")
    assert Mine.greeting is None


def test_a_subclass_may_have_settings_of_its_own() -> None:
    class Mine(VoiceAgent):
        customer: str = "nobody"

    assert Mine(**services(), customer="Ann").customer == "Ann"


@pytest.mark.parametrize(
    ("name", "near"), [("greating", "greeting"), ("tool", "tools"), ("barge", "barge_in")]
)
def test_a_setting_that_does_not_exist_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(TypeError, match=f"no setting '{name}'; did you mean '{near}'"):
        VoiceAgent(**services(), **{name: "x"})


def test_a_setting_like_no_other_is_refused_with_all_there_are() -> None:
    with pytest.raises(TypeError, match=r"it has .*greeting.*text_to_speech"):
        VoiceAgent(**services(), xyzzy=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"barge_in": "never"}, "barge_in must be one of 'decide', 'at_once', 'notify'"),
        ({"give_up": "desk"}, "give_up must be one of 'hang_up', not 'desk'"),
        ({"silence_prompts": -1}, "silence_prompts must be 0 or more"),
        ({"failures_allowed": -1}, "failures_allowed must be 0 or more"),
        ({"hold_after": -0.1}, "hold_after must be 0 or more"),
    ],
)
def test_a_setting_without_sense_is_refused(
    settings: dict[str, float] | dict[str, int] | dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        VoiceAgent(**services(), **settings)


@pytest.mark.parametrize("name", ["speech_to_text", "language_model", "text_to_speech"])
def test_a_voice_agent_needs_its_services(name: str) -> None:
    given = services()
    del given[name]
    with pytest.raises(TypeError, match=f"has no {name}"):
        VoiceAgent(**given)


def test_hang_up_and_transfer_are_there_as_the_settings_say() -> None:
    def names(**settings: Any) -> list[str]:
        return [spec.name for spec in VoiceAgent(**services(), **settings).toolbox.specs]

    assert names() == ["hang_up"]
    assert names(can_hang_up=False) == []
    assert names(transfers={"sales": "https://example.com/s.xml"}) == ["hang_up", "transfer"]


def test_the_model_is_told_where_it_may_transfer_to() -> None:
    urls = {"sales": "https://example.com/s.xml", "support": "https://example.com/t.xml"}
    agent = VoiceAgent(**services(), transfers=urls)
    assert agent.toolbox.specs[-1].parameters["properties"]["to"]["enum"] == ["sales", "support"]


def test_plain_functions_are_tools() -> None:
    async def time() -> str:
        """Tell the time."""
        return "noon"

    agent = VoiceAgent(**services(), tools=[time], can_hang_up=False)
    assert [spec.name for spec in agent.toolbox.specs] == ["time"]


def test_a_tool_may_not_take_the_place_of_a_method() -> None:
    class Shop(VoiceAgent):
        @tool
        async def open(self) -> None:
            """Open the shop."""

    with pytest.raises(TypeError, match=r"agents have a method of that name.*name='open'"):
        Shop(**services())


def test_a_function_may_make_the_detector() -> None:
    made = []

    def make() -> LevelDetector:
        made.append(LevelDetector())
        return made[-1]

    class Mine(VoiceAgent):
        voice_detector = make

    detector = run_virtual(Mine(**services())._make_detector())
    assert detector is made[0]


def test_a_route_takes_the_class_and_not_an_instance() -> None:
    Route(VoiceAgent, settings=services())
    with pytest.raises(HandlerError, match="give the class"):
        Route(VoiceAgent(**services()))


# The caller is silent.


def quiet(until: float) -> Callable[..., Any]:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(until)
        assert not line.phone.ended

    return script


def test_a_silent_caller_is_asked_twice_then_told_goodbye_and_hung_up_on() -> None:
    call = converse(caller(None), turn_taking=TurnSettings(silence=3.0))
    assert call.said == [("assistant", "Are you still there? Are you still there? Goodbye.")]
    assert call.report.ended_by == "server"
    starts = [start for start, _ in call.report.agent_speech]
    assert starts[0] == pytest.approx(3.2, abs=0.3)
    # From the end of what it said, 1.2 s of it.
    assert starts[1] - starts[0] == pytest.approx(1.2 + 3.0, abs=0.5)


def test_who_answers_is_asked_anew() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        for at in (6.0, 14.0, 22.0):
            await line.phone.wait_until(at)
            line.phone.say(voice(0.6))
        await line.phone.wait_until(25.0)
        assert not line.phone.ended

    call = converse(
        script,
        hears=["Yes."] * 3,
        answers=["Good."] * 3,
        turn_taking=TurnSettings(silence=4.0),
        silence_prompts=1,
    )
    assert [text for role, text in call.said if role == "user"] == ["Yes."] * 3


@pytest.mark.parametrize("before_end", [0.24, 0.8])
def test_who_says_yeah_into_the_question_is_there(before_end: float) -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        for _ in range(4):
            began = await line.phone.wait_for_audio(after=line.phone.time)
            await line.phone.wait_until(began + 1.2 - before_end)
            line.phone.say(voice(0.3))
            await line.phone.wait_until(line.phone.time + 1.5)
            assert not line.phone.ended

    call = converse(
        script,
        hears=["Yeah."] * 4,
        answers=["Good."] * 4,
        turn_taking=TurnSettings(silence=3.0),
        silence_prompts=1,
    )
    heard = [text for role, text in call.said if role == "user"]
    assert heard == (["Yeah."] * 4 if before_end == 0.24 else [])


def test_no_silence_prompt_leaves_the_caller_alone() -> None:
    call = converse(quiet(12.0), silence_prompt=None, turn_taking=TurnSettings(silence=2.0))
    assert call.messages == []


def test_who_waits_for_a_slow_model_is_not_silent() -> None:
    call = converse(
        caller(1.0, voice(1.0), 9.0),
        hears=["Hello?"],
        llm=TimedModel(["Hello."], timing=Timing(5.0, 0.02)),
        turn_taking=TurnSettings(silence=2.0),
    )
    assert call.said[:2] == [("user", "Hello?"), ("assistant", "Hello.")]


# Keys.


def press(keys: str, *, at: float = 1.0, until: float = 8.0) -> Callable[..., Any]:
    return caller(at, keys, until)


def test_keys_are_something_the_caller_says() -> None:
    call = converse(press("12"), answers=["Twelve."])
    assert call.said == [("user", "[pressed 12]"), ("assistant", "Twelve.")]
    (turn,) = call.turns
    assert turn.caller == "[pressed 12]"
    assert turn.end_of_turn is None
    # A pause of 1.5 s tells that no more will come.
    assert turn.first_token == pytest.approx(1.5 + 0.2, abs=0.05)


def test_the_hash_key_ends_them() -> None:
    call = converse(press("123#"), answers=["Thanks."])
    assert call.said[0] == ("user", "[pressed 123]")
    assert call.turns[0].first_token == pytest.approx(0.2, abs=0.05)


def test_the_hash_key_alone_is_a_key() -> None:
    assert converse(press("#"), answers=["Yes?"]).said[0] == ("user", "[pressed #]")


def test_a_key_interrupts() -> None:
    call = converse(
        press("1"), answers=["One."], greeting="One two three four five six seven eight."
    )
    assert call.turns[0].interrupted
    assert call.report.interrupts[0].seconds <= 0.04
    assert call.said[1:] == [("user", "[pressed 1]"), ("assistant", "One.")]


# The other party.


@pytest.mark.parametrize("kind", ["voice", "realtime", "realtime that takes the turns"])
def test_an_agent_listens_to_the_caller_alone(kind: str) -> None:
    stt = TimedTranscription(["Hello?"])
    settings: dict[str, Any] = {
        **services(),
        "speech_to_text": stt,
        "language_model": TimedModel(["Yes."]),
    }
    model = ScriptedRealtime(["Yes."], takes_turns=kind.endswith("turns"))
    agent: Any = VoiceAgent
    if kind != "voice":
        agent, settings = RealtimeAgent, {"model": model}
    routes = Routes(Route(agent, settings={**settings, "voice_detector": LevelDetector}))
    call_with_both_tracks(routes, caller=(1.0, 2.0), other=(0.5, 3.5), until=5.0)
    if kind == "voice":
        assert stt.heard == [pytest.approx(2.0, abs=0.1)]
    elif kind == "realtime":
        assert model.session.turns == [pytest.approx(2.0, abs=0.1)]
    else:
        assert model.session._heard == pytest.approx(5.0, abs=0.1)


# Of its own accord.


def test_say_returns_when_it_was_heard() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        await agent.say("One two three.")
        said.append(line.phone.time)
        await line.phone.wait_until(5.0)

    said: list[Any] = []
    call = converse(script)
    assert said[0] == pytest.approx(1.0 + 0.15 + 0.9, abs=0.1)
    assert call.said == [("assistant", "One two three.")]
    assert call.turns == []


def test_say_waits_for_what_is_being_said() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(0.5)
        await agent.say("Four five.")

    call = converse(script, greeting="One two three.")
    assert call.said == [("assistant", "One two three. Four five.")]
    assert not call.turns[0].interrupted


def saying_while_the_caller_speaks(**options: Any) -> Callable[..., Any]:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        line.phone.say(voice(3.0))
        await line.phone.wait_until(2.0)
        await agent.say("Your taxi is here.", **options)
        await line.phone.wait_until(9.0)

    return script


def test_say_waits_until_the_caller_has_finished_and_was_answered() -> None:
    call = converse(saying_while_the_caller_speaks(), hears=["A car?"], answers=["It comes."])
    assert call.said == [("user", "A car?"), ("assistant", "It comes. Your taxi is here.")]
    assert not call.turns[0].interrupted
    assert call.report.agent_speech[0][0] > 4.6


def test_say_waits_until_what_the_caller_said_is_known_to_be_nothing() -> None:
    call = converse(saying_while_the_caller_speaks(), hears=["[cough]"])
    assert call.said == [("assistant", "Your taxi is here.")]
    assert call.report.agent_speech[0][0] == pytest.approx(4.6 + 0.1 + 0.2, abs=0.15)


def test_say_at_once_does_not_wait_for_the_caller() -> None:
    call = converse(
        saying_while_the_caller_speaks(at_once=True), hears=["A car?"], answers=["It comes."]
    )
    assert call.report.agent_speech[0][0] == pytest.approx(2.2, abs=0.1)
    assert call.said[0] == ("assistant", "Your taxi is here.")


@pytest.mark.parametrize("longest", [1.5, None])
def test_say_does_not_wait_for_ever(longest: float | None, monkeypatch: Any) -> None:
    monkeypatch.setattr("mediaserver.agents.conversing.agent.LONGEST_WAIT", 1.5)

    class Deaf(Scripted):
        async def hear(self, utterance: Any) -> str:
            await asyncio.sleep(20.0)
            return ""

    call = converse(
        saying_while_the_caller_speaks(),
        kind=Deaf,
        turn_taking=TurnSettings(longest=longest, silence=None),
    )
    assert call.report.agent_speech[0][0] == pytest.approx(2.0 + 1.5 + 0.2, abs=0.1)


def test_say_that_waits_is_forgotten_at_an_interrupt() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        line.phone.say(voice(3.0))
        await line.phone.wait_until(2.0)
        saying = asyncio.create_task(agent.say("Your taxi is here."))
        await line.phone.wait_until(3.0)
        agent.interrupt()
        await saying
        await line.phone.wait_until(7.0)

    assert converse(script).said == []


def test_say_that_waits_when_the_stream_ends_says_so() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        line.phone.say(voice(3.0))
        await line.phone.wait_until(2.0)
        saying = asyncio.create_task(agent.say("Your taxi is here."))
        await line.phone.wait_until(3.0)
        await line.hang_up()
        with pytest.raises(StreamEndedError):
            await saying

    converse(script)


def test_say_after_the_end_says_that_the_stream_has_ended() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(0.5)
        await line.hang_up()
        with pytest.raises(StreamEndedError):
            await agent.say("Too late.")

    converse(script)


def test_interrupt_stops_what_is_said() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        agent.interrupt()
        await line.phone.wait_until(3.0)

    call = converse(script, greeting="One two three four five six.")
    assert call.report.agent_speech[-1][1] < 1.1
    assert len(call.said[0][1].split()) == pytest.approx(2.5, abs=1)


# Getting ready.


class Warmed(TimedSpeech):
    warmed = 0

    async def prewarm(self) -> None:
        self.warmed += 1


def test_services_are_warmed_and_phrases_made_at_the_answer() -> None:
    async def answer() -> None:
        agent = VoiceAgent(**{**services(), "text_to_speech": speech}, greeting="Hello.")
        await agent.on_answer(ANSWER, None)
        await asyncio.sleep(0)

    speech = Warmed()
    run_virtual(answer())
    assert speech.warmed == 1
    assert "Hello." in speech.texts
    assert VoiceAgent.apology in speech.texts
    made = len(speech.texts)
    call = converse(quiet(3.0), tts=speech, greeting="Hello.")
    # It is all there: the greeting plays at once, and nothing is made again.
    assert call.report.first_speech <= 0.06
    assert len(speech.texts) == made


def test_a_synthesis_that_is_dead_from_the_start_does_not_end_the_call() -> None:
    fault = Fault(error=ServiceError("text_to_speech", "gone"))
    call = converse(quiet(5.0), tts=TimedSpeech(fault=fault), greeting="Hello.")
    assert call.turns[0].error == "text_to_speech: gone"
    assert call.report.audio_played == 0


def test_phrases_that_cannot_be_made_at_the_answer_do_not_matter() -> None:
    fault = Fault(error=ServiceError("text_to_speech", "gone"))
    agent = VoiceAgent(**{**services(), "text_to_speech": TimedSpeech(fault=fault)})
    run_virtual(agent.on_answer(ANSWER, None))


# Odd moments.


def test_nobody_is_asked_whether_they_are_there_while_their_words_are_transcribed() -> None:
    call = converse(
        caller(1.0, voice(1.0), 12.0),
        stt=TimedTranscription(["Hello?"], timing=Timing(5.0)),
        answers=["Hello."],
        turn_taking=TurnSettings(silence=2.0),
        silence_prompts=9,
    )
    assert call.said[0] == ("user", "Hello?")


def test_the_silence_prompt_gives_way_to_who_speaks_at_that_moment() -> None:
    call = converse(
        caller(2.95, voice(1.0), 8.0),
        hears=["I am."],
        answers=["Good."],
        turn_taking=TurnSettings(silence=3.0),
    )
    assert call.said[-2:] == [("user", "I am."), ("assistant", "Good.")]
    assert call.agent.dialogue.silences == 0


def test_an_interruption_by_the_application_before_the_answer_began_is_the_end_of_it() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        line.phone.say(voice(1.0))
        await line.phone.wait_until(2.8)  # the model is asked
        agent.interrupt()
        await line.phone.wait_until(9.0)

    call = converse(
        script,
        hears=["Hello?"],
        llm=TimedModel(["Never heard.", "Nor this."], timing=Timing(0.6)),
        turn_taking=TurnSettings(silence=4.0),
    )
    assert call.llm.uses == 1
    # And silence is noticed as ever.
    assert call.said == [("user", "Hello?"), ("assistant", call.agent.silence_prompt)]


class OpensSlowly(Scripted):
    """Needs a second before it can greet."""

    async def open(self) -> None:
        await asyncio.sleep(1.0)
        await super().open()


def test_a_noise_before_the_greeting_does_not_cost_it() -> None:
    call = converse(
        caller(0.5, voice(0.1), 6.0),
        kind=OpensSlowly,
        stt=TimedTranscription([""], timing=Timing(0.5)),
        greeting="Hello there.",
    )
    assert call.said == [("assistant", "Hello there.")]
    assert call.turns[0].number == 0


def test_who_speaks_before_the_greeting_is_answered_instead() -> None:
    call = converse(
        caller(0.5, voice(1.0), 6.0),
        kind=OpensSlowly,
        hears=["Anybody there?"],
        answers=["Yes, hello."],
        greeting="Hello there.",
    )
    assert call.said == [("user", "Anybody there?"), ("assistant", "Yes, hello.")]
    assert [turn.number for turn in call.turns] == [1]
    assert call.turns[0].end_of_turn == pytest.approx(0.6, abs=0.05)


def test_an_agent_that_cannot_open_may_give_up_at_once() -> None:
    class Broken(Scripted):
        async def open(self) -> None:
            raise ServiceError("text_to_speech", "gone")

    call = converse(caller(None), kind=Broken, failures_allowed=0, goodbye="Goodbye then.")
    assert call.said == [("assistant", "Goodbye then.")]
    assert call.agent._speakers == {}


def test_a_key_after_the_end_is_not_taken() -> None:
    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(0.5)
        await line.hang_up()
        await agent.on_dtmf("1")
        await agent.on_dtmf("#")
        await asyncio.sleep(3.0)

    assert converse(script).messages == []


def test_say_may_be_used_in_any_hook() -> None:
    class Talkative(Scripted):
        async def on_start(self) -> None:
            await self.say("Welcome.")
            await super().on_start()
            await self.say("Tell me.")

        async def on_transcript(self, transcript: Transcript) -> None:
            await self.say("I heard.")

        async def on_turn(self, turn: Turn) -> None:
            if turn.number == 1:
                await self.say("And done.")

        async def on_stop(self, reason: str) -> None:
            await self.say("Never said.")

    call = converse(
        caller(5.0, voice(1.0), 14.0),
        kind=Talkative,
        hears=["Hello."],
        answers=["Hi."],
        greeting="I am Ann.",
    )
    assert call.said == [
        ("assistant", "Welcome. I am Ann. Tell me. I heard."),
        ("user", "Hello."),
        ("assistant", "Hi. And done."),
    ]


def test_say_about_a_partial_transcript_waits_until_the_caller_has_finished() -> None:
    class Talkative(Scripted):
        async def on_transcript(self, transcript: Transcript) -> None:
            if not transcript.final and not self.transcripts:
                self.transcripts.append(transcript)
                await self.say("I hear you.")

    call = converse(
        caller(1.0, voice(2.0), 9.0),
        kind=Talkative,
        stt=TimedTranscription(["Hello there, my friend."], partial_every=0.3),
        answers=["Hi."],
    )
    assert call.report.agent_speech[0][0] == pytest.approx(3.6 + 0.2, abs=0.15)
    assert [text for _, text in call.said] == ["I hear you.", "Hello there, my friend.", "Hi."]


def test_the_greetings_delay_is_told() -> None:
    call = converse(quiet(4.0), tts=TimedSpeech(timing=Timing(0.7, 0.01)), greeting="Hello there.")
    (turn,) = call.turns
    assert turn.audio_sent == pytest.approx(0.7, abs=0.03)
    assert turn.audio_heard == pytest.approx(call.report.first_speech, abs=0.05)
    assert (turn.end_of_turn, turn.transcript, turn.first_token) == (None, None, None)


# What would hold up every other call.


def test_the_detector_is_made_in_a_thread_the_first_time_and_before_the_stream_comes() -> None:
    made = []

    def make() -> LevelDetector:
        made.append(threading.current_thread())
        return LevelDetector()

    async def answer() -> None:
        for _ in range(2):
            agent = VoiceAgent(**services(), voice_detector=make)
            await agent.on_answer(ANSWER, None)

    asyncio.run(answer())
    assert made[0] is not threading.main_thread()
    assert made[1] is threading.main_thread()


def test_a_call_without_an_answer_webhook_makes_it_in_a_thread_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def make() -> LevelDetector:
        return LevelDetector()

    def run_in_executor(
        loop: VirtualTimeLoop, executor: None, function: Callable[..., Any], *args: Any
    ) -> Any:
        threads.append(function)
        return run(loop, executor, function, *args)

    run = VirtualTimeLoop.run_in_executor
    monkeypatch.setattr(VirtualTimeLoop, "run_in_executor", run_in_executor)
    threads: list[Any] = []
    for _ in range(2):
        converse(quiet(0.5), voice_detector=make)
        assert len(threads) == 1


def test_failures_are_logged_without_words() -> None:
    with structlog.testing.capture_logs() as logs:
        call = converse(
            caller(1.0, voice(1.0), 5.0, "4", 9.0),
            hears=["My secret."],
            answers=["Your secret.", "Four."],
            tts=TimedSpeech(fault=Fault(error=ServiceError("text_to_speech", "gone"))),
            greeting="The secret.",
            apology=None,
            failures_allowed=9,
        )
    assert call.counters.turns.failures.total() >= 2
    assert any(each["event"] == "service failed" for each in logs)
    assert "secret" not in repr(logs)


# The end.


def test_a_key_that_waits_when_a_hook_fails_is_forgotten() -> None:
    class Wrong(Scripted):
        async def on_dtmf(self, digit: str) -> None:
            await super().on_dtmf(digit)
            raise LookupError("no such key")

    async def script(line: JoinedCall, agent: Any) -> None:
        await line.phone.wait_until(1.0)
        line.phone.press("1")
        await line.phone.wait_closed()
        await asyncio.sleep(3.0)

    call = converse(script, kind=Wrong, raises=False)
    assert [type(error) for error in call.line.runtime.errors] == [LookupError]
    assert call.messages == []


def test_the_last_turn_is_reported_to_the_handler_too() -> None:
    call = converse(
        caller(1.0, voice(1.0), None),
        hears=["Bye."],
        answers=[["Bye.", ToolCall("a", "hang_up", "{}")]],
    )
    assert [turn.agent for turn in call.turns] == ["Bye."]
    assert not call.turns[0].interrupted
    assert call.counters.turns.turns == 1


def test_who_hangs_up_in_the_middle_has_heard_no_more() -> None:
    call = converse(caller(1.0), greeting="One two three four five six.")
    assert call.turns[0].interrupted
    assert len(call.said[0][1].split()) == pytest.approx(2.5, abs=1)
    assert call.agent.stopped is not None


# A call whose earlier stream was lost.


class Resumed(Scripted):
    """Has lost the stream in which these turns were."""

    known: tuple[Turn, ...] = (Turn(number=1, caller="A car?", agent="It comes at"),)

    async def __call__(self, stream: Stream) -> None:
        stream.previous = earlier_stream(*self.known)
        await super().__call__(stream)


def test_an_agent_that_comes_back_says_so_and_knows_what_was_said() -> None:
    call = converse(
        caller(3.0, voice(1.0), 8.0),
        kind=Resumed,
        hears=["At what time?"],
        answers=["At ten."],
        greeting="Hello there.",
        resumption="We were cut off.",
    )
    assert call.said == [
        ("user", "A car?"),
        ("assistant", "It comes at We were cut off."),
        ("user", "At what time?"),
        ("assistant", "At ten."),
    ]


def test_an_agent_that_comes_back_may_say_nothing() -> None:
    call = converse(caller(2.0), kind=Resumed, greeting="Hello there.", resumption=None)
    assert call.said == [("user", "A car?"), ("assistant", "It comes at")]


def test_an_agent_that_was_not_greeting_says_that_it_comes_back() -> None:
    call = converse(caller(3.0), kind=type("Unknowing", (Resumed,), {"known": ()}))
    assert call.said == [("assistant", VoiceAgent.resumption)]
