import asyncio

import numpy as np
import pytest

from audiocodecs import L16_16K, MULAW_8K
from mediaserver.agents.realtime_agent import RealtimeAgent
from mediaserver.agents.services import ServiceError, Text, ToolCall, ToolResult
from mediaserver.agents.services.openai_realtime import OpenAIRealtime
from mediaserver.agents.tools import tool
from mediaserver.agents.turns import LevelDetector, TurnSettings
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.testing import joined, run_virtual
from mediaserver.testing.openai_realtime_server import Answer, CallTool, OpenAIRealtimeServer
from mediaserver.testing.realtime import ScriptedRealtime
from mediaserver.testing.services import Fault, Timing


LONG = "the red dog ran to the big black gate and sat down in the sun"
ANSWER = AnswerRequest(call_id="1", caller="+14155550111", called="+14155550100")


def voice(seconds, rate=8000):
    times = np.arange(round(seconds * rate)) / rate
    return (9000 * np.sin(2 * np.pi * 220 * times)).astype(np.int16)


class Talking(RealtimeAgent):
    """Keeps what it reports, in a list of its class."""

    prompt = "Be kind."
    voice_detector = LevelDetector
    silence_prompt = None

    def __init__(self, **settings):
        super().__init__(**settings)
        self.turns = []
        self.transcripts = []
        self.barge_ins = []
        type(self).agents.append(self)

    async def on_turn(self, turn):
        self.turns.append(turn)

    async def on_transcript(self, transcript):
        self.transcripts.append(transcript.text)

    async def on_barge_in(self, confirmed):
        self.barge_ins.append(confirmed)


def agent_with(model, **attributes):
    return type("Agent", (Talking,), {"agents": [], "model": model, **attributes})


def converse(handler, talk, **options):
    """Run `talk` on a phone joined to an agent; return the agent, and the phone's report."""

    async def call():
        async with joined(handler, **options) as line:
            await talk(line.phone)
            report = line.phone.report()
            await line.hang_up()
        return handler.agents[-1], report

    return run_virtual(call())


async def listen(phone, seconds=1.0):
    await phone.wait_for_audio()
    await phone.wait_for_silence(seconds)


def texts(agent):
    return [
        (message.role, message.text)
        for message in agent.conversation.messages
        if isinstance(message, Text)
    ]


def test_the_greeting_is_said_word_for_word_at_once():
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


def test_two_turns_are_heard_answered_and_reported():
    model = ScriptedRealtime(
        ["It rains.", "Until noon."], transcripts=["The weather?", "How long?"]
    )

    async def talk(phone):
        for _ in range(2):
            phone.say(voice(1.0))
            await phone.wait_spoken()
            await listen(phone)

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


def test_nothing_is_sent_while_nobody_speaks():
    model = ScriptedRealtime(["Fine."])

    async def talk(phone):
        await phone.wait_until(5.0)
        phone.say(voice(0.6))
        await phone.wait_spoken()
        await listen(phone)

    converse(agent_with(model), talk)
    assert model.session.turns == [pytest.approx(1.6, abs=0.15)]


@pytest.mark.parametrize("at", [0.5, 1.1, 2.37, 3.9])
def test_a_barge_in_tells_the_model_what_the_phone_really_played(at):
    model = ScriptedRealtime([LONG, "Sure."], transcripts=["Go on.", "Stop it."])

    async def talk(phone):
        phone.say(voice(0.8))
        began = await phone.wait_for_audio()
        await phone.wait_until(began + at)
        phone.say(voice(1.0))
        await phone.wait_for_silence(0.4)
        played.append(phone.report().audio_played)
        await listen(phone)

    played = []
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


def test_a_barge_in_while_the_model_still_speaks_cancels_and_nothing_comes_late():
    slow = Timing(0.3, 0.09)  # hardly faster than it is heard
    model = ScriptedRealtime([LONG, "Sure."], timing=slow)

    async def talk(phone):
        phone.say(voice(0.8))
        began = await phone.wait_for_audio()
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


def test_a_barge_in_over_the_greeting_is_answered():
    model = ScriptedRealtime(["Yes."], transcripts=["Hello?"])

    async def talk(phone):
        began = await phone.wait_for_audio()
        await phone.wait_until(began + 0.7)
        phone.say(voice(1.0))
        await phone.wait_for_silence(0.5)
        await listen(phone)

    agent, _ = converse(agent_with(model, greeting=LONG), talk)
    assert [turn.number for turn in agent.turns] == [0, 1]
    assert agent.turns[0].interrupted
    assert texts(agent)[1:] == [("user", "Hello?"), ("assistant", "Yes.")]


def test_a_cough_makes_a_pause_and_no_more():
    model = ScriptedRealtime([LONG])

    async def talk(phone):
        phone.say(voice(0.8))
        began = await phone.wait_for_audio()
        await phone.wait_until(began + 1.0)
        phone.say(voice(0.1))
        await listen(phone, 2.0)

    agent, report = converse(agent_with(model), talk)
    assert agent.barge_ins == [False]
    assert report.audio_played == pytest.approx(4.5, abs=0.06)
    assert model.session.truncations == []
    assert model.session.responses == 1
    assert texts(agent) == [("assistant", LONG)]
    (turn,) = agent.turns
    assert not turn.interrupted


def test_noise_while_nobody_speaks_starts_no_response():
    model = ScriptedRealtime(["What?"])

    async def talk(phone):
        phone.say(voice(0.06))
        await phone.wait_until(3.0)

    agent, report = converse(agent_with(model), talk)
    assert model.session.responses == 0
    assert report.audio_played == 0
    assert agent.turns == []


def test_a_question_is_answered_though_noise_stopped_the_answer_before_it_began():
    model = ScriptedRealtime(["Never heard.", "Fine."], timing=Timing(1.5, 0.01))

    async def talk(phone):
        phone.say(voice(0.8))
        await phone.wait_until(2.0)  # the answer is on its way
        phone.say(voice(0.06))
        await listen(phone)

    agent, _ = converse(agent_with(model, barge_in="at_once"), talk)
    assert texts(agent) == [("assistant", "Fine.")]
    assert [turn.number for turn in agent.turns] == [1]


def test_tools_are_used_and_their_results_told():
    model = ScriptedRealtime([ToolCall("call_1", "weather", '{"town": "Rome"}'), "It rains."])

    class Weather(agent_with(model)):
        agents = []  # noqa: RUF012

        @tool
        async def weather(self, town: str) -> str:
            """Tell the weather."""
            return f"rain in {town}"

    async def talk(phone):
        phone.say(voice(0.8))
        await listen(phone)

    agent, _ = converse(Weather, talk)
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


def test_tools_run_while_the_model_speaks_and_beside_each_other():
    calls = [ToolCall(f"call_{count}", "slow", "{}") for count in range(3)]
    model = ScriptedRealtime([["Let me see now", *calls], "Done."])
    running = []

    class Slow(agent_with(model)):
        agents = []  # noqa: RUF012

        @tool
        async def slow(self) -> str:
            """Take half a second."""
            running.append(1)
            most.append(len(running))
            await asyncio.sleep(0.5)
            running.pop()
            return "done"

    async def talk(phone):
        phone.say(voice(0.8))
        await listen(phone, 2.0)

    most = []
    agent, report = converse(Slow, talk)
    assert max(most) == 3
    assert texts(agent) == [("assistant", "Let me see now Done.")] or texts(agent) == [
        ("assistant", "Let me see now"),
        ("assistant", "Done."),
    ]
    # 1.2 s of words and then the answer, which was made meanwhile.
    assert report.pauses == report.gaps == []


def test_a_slow_tool_has_its_hold_phrase_said():
    model = ScriptedRealtime([ToolCall("call_1", "slow", "{}"), "Found."])

    class Slow(agent_with(model)):
        agents = []  # noqa: RUF012

        @tool(hold="One moment please.")
        async def slow(self) -> str:
            """Take three seconds."""
            await asyncio.sleep(3.0)
            return "found"

    async def talk(phone):
        phone.say(voice(0.8))
        await listen(phone, 3.5)

    agent, _ = converse(Slow, talk)
    assert agent.turns[0].agent == "One moment please. Found."


def test_a_tool_that_outlives_its_turn_tells_the_model_all_the_same():
    model = ScriptedRealtime([["Looking.", ToolCall("call_1", "slow", "{}")], "Yes?"])

    class Slow(agent_with(model)):
        agents = []  # noqa: RUF012

        @tool
        async def slow(self) -> str:
            """Take four seconds."""
            await asyncio.sleep(4.0)
            return "found"

    async def talk(phone):
        phone.say(voice(0.8))
        await phone.wait_for_audio()
        phone.say(voice(1.0))
        await phone.wait_until(8.0)

    agent, _ = converse(Slow, talk)
    assert model.session.told == [ToolResult("call_1", "found")]
    assert agent.turns[-1].agent == "Yes?"


def test_the_agent_hangs_up_when_its_farewell_was_heard():
    model = ScriptedRealtime([["Good bye then my friend", ToolCall("call_1", "hang_up", "{}")]])

    async def talk(phone):
        phone.say(voice(0.8))
        await phone.wait_closed()

    agent, report = converse(agent_with(model), talk)
    assert report.ended_by == "server"
    assert report.audio_played == pytest.approx(1.5)
    assert agent.turns[0].agent == "Good bye then my friend"
    assert not agent.turns[0].interrupted


def test_who_hangs_up_without_a_word_says_goodbye():
    model = ScriptedRealtime([ToolCall("call_1", "hang_up", "{}")])

    async def talk(phone):
        phone.say(voice(0.8))
        await phone.wait_closed()

    agent, report = converse(agent_with(model, goodbye="So long."), talk)
    assert report.ended_by == "server"
    assert agent.turns[0].agent == "So long."


def test_silence_is_asked_about_and_then_ended():
    model = ScriptedRealtime()
    handler = agent_with(
        model,
        silence_prompt="Are you there?",
        goodbye="Bye.",
        turn_taking=TurnSettings(silence=3.0),
    )

    async def talk(phone):
        await phone.wait_closed()

    agent, report = converse(handler, talk)
    assert report.ended_by == "server"
    assert " ".join(text for _, text in texts(agent)) == "Are you there? Are you there? Bye."
    assert 9 < report.duration < 14


def test_keys_interrupt_and_are_told():
    model = ScriptedRealtime(["Number five."])

    async def talk(phone):
        began = await phone.wait_for_audio()
        await phone.wait_until(began + 0.5)
        phone.press("51#")
        await phone.wait_for_silence(0.2)
        await listen(phone)

    agent, _ = converse(agent_with(model, greeting=LONG), talk)
    assert model.session.told == [Text("user", "[pressed 51]")]
    assert agent.turns[-1].agent == "Number five."
    assert model.session.truncations[0].seconds < 0.7


def test_a_call_of_another_format_is_heard_and_spoken_in_it():
    model = ScriptedRealtime(["It rains."])

    async def talk(phone):
        phone.say(voice(0.8, 16000))
        await listen(phone)

    agent, report = converse(agent_with(model), talk, format=L16_16K)
    assert model.session.format is L16_16K
    assert report.audio_played == pytest.approx(0.6, abs=0.01)
    assert agent.turns[0].agent == "It rains."


# Getting ready.


def test_the_session_is_open_before_the_stream_comes():
    model = ScriptedRealtime()
    RealtimeAgent._usual_format = MULAW_8K

    async def call():
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


def test_a_session_opened_for_another_format_is_replaced():
    model = ScriptedRealtime()
    RealtimeAgent._usual_format = MULAW_8K

    async def call():
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


async def test_a_session_whose_stream_never_comes_is_closed():
    model = ScriptedRealtime()
    agent = agent_with(model)()
    await agent.on_answer(ANSWER, None)
    assert not model.session.closed
    await agent.on_stop("the stream never came")
    assert model.session.closed


# The model takes the turns.


def test_a_model_that_takes_the_turns_hears_everything_and_answers_by_itself():
    model = ScriptedRealtime(["It rains."], transcripts=["The weather?"], takes_turns=True)

    async def talk(phone):
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


def test_its_word_that_the_caller_speaks_interrupts():
    model = ScriptedRealtime([LONG, "Sure."], transcripts=["Go.", "Stop."], takes_turns=True)

    async def talk(phone):
        await phone.wait_until(0.5)
        model.session.caller_finished()
        began = await phone.wait_for_audio()
        phone.say(voice(0.1))  # heard here, and nobody's business
        await phone.wait_until(began + 1.0)
        model.session.caller_speaks()
        await phone.wait_for_silence(0.3)
        played.append(phone.report().audio_played)
        model.session.caller_finished()
        await listen(phone)

    played = []
    agent, _ = converse(agent_with(model), talk)
    (truncation,) = model.session.truncations
    assert truncation.seconds == pytest.approx(played[0], abs=0.06)
    assert [turn.interrupted for turn in agent.turns] == [True, False]
    assert agent.barge_ins == [True]
    assert texts(agent)[-2:] == [("user", "Stop."), ("assistant", "Sure.")]


# What goes wrong.


def test_a_session_lost_before_the_answer_began_is_replaced_unnoticed():
    fault = Fault(0, ServiceError("scripted", "gone"), uses=1)
    model = ScriptedRealtime(["Lost.", "It rains."], transcripts=["", "The weather?"], fault=fault)

    async def talk(phone):
        phone.say(voice(1.0))
        await listen(phone)

    agent, report = converse(agent_with(model), talk)
    first, second = model.sessions
    assert first.closed
    # The second one has heard the caller too.
    assert second.turns == first.turns
    assert texts(agent) == [("user", "The weather?"), ("assistant", "It rains.")]
    assert report.audio_played == pytest.approx(0.6)
    (turn,) = agent.turns
    assert turn.error is None


def test_a_session_lost_in_the_middle_of_an_answer_is_replaced_with_an_apology():
    fault = Fault(5, ServiceError("scripted", "gone"), uses=1)
    model = ScriptedRealtime(
        [LONG, "It rains."], transcripts=["The weather?", "Again."], fault=fault
    )

    async def talk(phone):
        phone.say(voice(1.0))
        await listen(phone)
        phone.say(voice(1.0))
        await phone.wait_spoken()
        await listen(phone)

    agent, _ = converse(agent_with(model, apology="Sorry again."), talk)
    assert len(model.sessions) == 2
    # What the caller heard before is told to the one that goes on.
    assert model.session.conversation == [
        Text("user", "The weather?"),
        Text("assistant", "one two"),
    ] or model.session.conversation[-1].text.startswith("the")
    first, second = agent.turns
    assert first.agent.endswith("Sorry again.")
    assert "gone" in first.error
    assert second.agent == "It rains."


def test_a_session_lost_while_nobody_speaks_is_replaced_at_once():
    model = ScriptedRealtime(["It rains."])

    async def talk(phone):
        await phone.wait_until(1.0)
        model.session.lose()
        await phone.wait_until(2.0)
        assert len(model.sessions) == 2
        phone.say(voice(1.0))
        await listen(phone)

    agent, _ = converse(agent_with(model, greeting="Hello."), talk)
    assert agent.turns[-1].agent == "It rains."
    assert agent.turns[-1].error is None
    assert model.session.conversation == [Text("assistant", "Hello.")]


def test_connecting_is_tried_again():
    busy = ServiceError("scripted", "busy", status=429)
    model = ScriptedRealtime(refusals=[busy, busy])
    agent, _ = converse(agent_with(model, greeting="Hello."), listen)
    assert model.attempts == 3
    assert agent.turns[0].agent == "Hello."


def test_a_wrong_key_is_not_tried_again_and_again_and_the_call_ends():
    refused = ServiceError("scripted", "wrong key", status=401)
    model = ScriptedRealtime(refusals=[refused] * 100)

    async def talk(phone):
        phone.say(voice(1.0))
        await phone.wait_closed()

    agent, report = converse(agent_with(model, greeting="Hello.", failures_allowed=2), talk)
    assert report.ended_by == "server"
    assert report.audio_played == 0
    assert model.attempts < 10
    assert "wrong key" in agent.turns[-1].error


def test_failed_responses_are_apologised_for_and_then_given_up():
    fault = Fault(0, ServiceError("scripted", "gone"))
    model = ScriptedRealtime([LONG] * 10, fault=fault)

    async def talk(phone):
        while not phone.ended:
            phone.say(voice(1.0))
            await phone.wait_until(phone.time + 4.0)

    async def call():
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


def test_an_agent_without_a_model_says_so():
    with pytest.raises(TypeError, match="RealtimeAgent has no model"):
        RealtimeAgent()


# The same over OpenAI's protocol, in real time.


async def test_over_openais_protocol_a_tool_is_used_and_the_call_ended():
    server = OpenAIRealtimeServer(
        Answer(text="Hi."),
        Answer(calls=[CallTool("weather", {"town": "Rome"})]),
        Answer(text="Rain.", calls=[CallTool("hang_up")]),
        transcripts=["The weather in Rome?"],
    )

    async def weather(town: str) -> str:
        """Tell the weather."""
        return f"rain in {town}"

    async with server.running():
        model = OpenAIRealtime(base_url=server.base_url, api_key=server.api_key)
        handler = agent_with(model, greeting="Hi.", tools=[weather])
        async with joined(handler) as line:
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


async def test_over_openais_protocol_a_barge_in_truncates_at_what_was_played():
    server = OpenAIRealtimeServer(Answer(text=LONG), Answer(text="Sure."), transcripts=["Stop."])
    async with server.running():
        model = OpenAIRealtime(base_url=server.base_url, api_key=server.api_key)
        handler = agent_with(model, greeting="This is said first of all.")
        async with joined(handler) as line:
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


async def test_over_openais_protocol_a_failed_response_is_apologised_for():
    failed = ("rate_limit_exceeded", "Rate limit reached.")
    server = OpenAIRealtimeServer(Answer(text="Hi."), Answer(failed=failed), Answer(text="Sorry."))
    async with server.running():
        model = OpenAIRealtime(base_url=server.base_url, api_key=server.api_key)
        handler = agent_with(model, greeting="Hi.", apology="Sorry.")
        async with joined(handler) as line:
            await listen(line.phone, 0.1)
            line.phone.say(voice(0.3))
            await server.wait_for("response.create", 3)
            await listen(line.phone, 0.1)
    (agent,) = handler.agents
    assert agent.turns[-1].agent == "Sorry."
    assert agent.turns[-1].error == "realtime_model: Rate limit reached. (rate_limit_exceeded)"
    assert server.refusals == []


async def test_over_openais_protocol_a_broken_connection_is_replaced_and_the_caller_heard_again():
    server = OpenAIRealtimeServer(
        Answer(text="Hi."),
        Answer(text="Lost.", drop_at=0),
        Answer(text="Rain."),
        transcripts=["The weather?", "The weather?"],
    )
    async with server.running():
        model = OpenAIRealtime(base_url=server.base_url, api_key=server.api_key)
        handler = agent_with(model, greeting="Hi.")
        async with joined(handler) as line:
            await listen(line.phone, 0.1)
            line.phone.say(voice(0.3))
            await server.wait_for("response.create", 3)
            await listen(line.phone, 0.1)
    (agent,) = handler.agents
    assert len(server.sessions) == 2
    assert texts(agent) == [("assistant", "Hi."), ("user", "The weather?"), ("assistant", "Rain.")]
    assert agent.turns[-1].error is None
    assert server.refusals == []


def test_a_question_that_was_interrupted_while_the_session_was_replaced_is_heard_too():
    model = ScriptedRealtime(["Fine."])
    busy = ServiceError("scripted", "busy")

    async def talk(phone):
        await phone.wait_until(0.5)
        phone.say(voice(0.4))
        await phone.wait_until(1.3)
        model.refuse(busy, busy)
        model.session.lose()
        await phone.wait_until(1.6)  # it is about to be answered, once there is a session
        phone.say(voice(0.8))
        await listen(phone)

    agent, _ = converse(agent_with(model), talk)
    assert len(model.sessions) == 2
    assert agent.turns[-1].agent == "Fine."
    (turn,) = model.session.turns
    assert turn > 2.2
