import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    CallerFinished,
    CallerSpeaks,
    CallerText,
    Message,
    MisconfiguredServiceError,
    ResponseDone,
    ServiceError,
    Speech,
    SpokenText,
    Text,
    Tokens,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from mediaserver.agents.services.gemini.live import GeminiLive
from mediaserver.call import Frame
from mediaserver.testing.gemini import GeminiLiveServer, GeminiServer
from mediaserver.testing.realtime_answers import CallTool, RealtimeAnswer


LOOK = ToolSpec("look", "Looks.", {"type": "object", "properties": {"at": {"type": "integer"}}})


def speech(seconds: float = 0.02, format: AudioFormat = MULAW_8K) -> Frame:
    samples = (9000 * np.sin(np.arange(round(seconds * format.rate)) * 0.3)).astype(np.int16)
    return Frame(format.encode(samples), format)


async def speak(session: Any, seconds: float = 0.3) -> None:
    for _ in range(round(seconds / 0.02)):
        await session.hear(speech())


async def pause(session: Any, seconds: float = 0.3) -> None:
    for _ in range(round(seconds / 0.02)):
        await session.hear(Frame(MULAW_8K.silence * 160, MULAW_8K))


@asynccontextmanager
async def connected(
    *script: RealtimeAnswer,
    server: GeminiLiveServer | None = None,
    format: AudioFormat = MULAW_8K,
    tools: Sequence[ToolSpec] = (),
    conversation: Sequence[Message] = (),
    **settings: Any,
) -> AsyncIterator[Any]:
    server = server or GeminiLiveServer(*script)
    async with server.running():
        model = GeminiLive(base_url=server.base_url, api_key=server.api_key, **settings)
        session = await model.connect(
            prompt="Be kind.", tools=tools, format=format, conversation=conversation
        )
        try:
            yield session, server
        finally:
            await session.close()
            await model.close()


async def until_done(session: Any, count: int = 1) -> list[Any]:
    """Collect events up to the end of `count` responses."""
    events = []
    async with asyncio.timeout(100):
        async for event in session.events():
            events.append(event)
            count -= isinstance(event, ResponseDone)
            if not count:
                break
    assert not count, "the events ended early"
    return events


async def until_speech(session: Any) -> list[Any]:
    events = []
    async with asyncio.timeout(100):
        async for event in session.events():
            events.append(event)
            if isinstance(event, Speech):
                break
    return events


async def turn(session: Any) -> None:
    await speak(session)
    await session.end_turn()


def text_of(events: Sequence[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, SpokenText))


def audio_of(events: Sequence[Any]) -> bytes:
    return b"".join(event.frame.payload for event in events if isinstance(event, Speech))


def texts(message: Any) -> list[tuple[str, str]]:
    """Return the roles and texts of a clientContent."""
    return [(t["role"], " ".join(part["text"] for part in t["parts"])) for t in message["turns"]]


async def test_a_turn_is_heard_transcribed_and_answered() -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="It is sunny.", tokens=(50, 20, 9)), transcripts=["How is it?"]
    )
    async with connected(server=server, format=L16_16K) as (session, _):
        for _ in range(20):
            await session.hear(speech(format=L16_16K))
        await session.end_turn()
        events = await until_done(session)
    assert text_of(events) == "It is sunny."
    assert len(audio_of(events)) == round(0.9 * L16_24K.bytes_per_second)
    assert events[-2:] == [CallerText("How is it?"), ResponseDone(Tokens(50, 9, 20))]
    assert server.sessions[0].heard == round(0.4 * L16_16K.bytes_per_second)
    assert len(server.of_type("audio")) == 4
    assert server.refusals == []


async def test_a_session_is_set_up_as_asked() -> None:
    async with connected(
        tools=[LOOK],
        voice="Kore",
        language="en-US",
        keyterms=["Plivo"],
        session={"generationConfig": {"temperature": 0.5}},
    ) as (_, server):
        (setup,) = server.of_type("setup")
    assert setup == {
        "model": "models/gemini-3.8-live",
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
            "temperature": 0.5,
        },
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "look",
                        "description": "Looks.",
                        "parametersJsonSchema": LOOK.parameters,
                        "behavior": "BLOCKING",
                    }
                ]
            }
        ],
        "realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}},
        "sessionResumption": {},
        "contextWindowCompression": {"slidingWindow": {}},
        "inputAudioTranscription": {"languageCodes": ["en-US"], "customVocabulary": ["Plivo"]},
        "outputAudioTranscription": {},
    }


async def test_tools_are_used_and_the_model_goes_on_with_their_results() -> None:
    calls = [CallTool("look", {"at": 1}), CallTool("look", {"at": 2})]
    async with connected(
        RealtimeAnswer(text="Let me see.", calls=calls), RealtimeAnswer(text="Rain."), tools=[LOOK]
    ) as (session, server):
        await turn(session)
        events = await until_done(session)
        first, second = (event for event in events if isinstance(event, ToolCall))
        assert (first.name, first.arguments) == ("look", '{"at":1}')
        await session.tell(ToolResult(second.id, "two"))
        await session.tell(ToolResult(first.id, "one"))
        await session.respond()
        assert text_of(await until_done(session)) == "Rain."
    (results,) = server.of_type("toolResponse")
    assert [(r["id"], r["response"]) for r in results["functionResponses"]] == [
        (first.id, {"output": "one"}),
        (second.id, {"output": "two"}),
    ]
    assert server.refusals == []


async def test_something_is_said_while_a_tool_still_runs() -> None:
    async with connected(
        RealtimeAnswer(calls=[CallTool("look")]),
        RealtimeAnswer(text="One moment."),
        RealtimeAnswer(text="Rain."),
    ) as (session, server):
        await turn(session)
        (call,) = [event for event in await until_done(session) if isinstance(event, ToolCall)]
        await session.say("Say one moment.")
        assert text_of(await until_done(session)) == "One moment."
        await session.tell(ToolResult(call.id, "rain"))
        await session.respond()
        assert text_of(await until_done(session)) == "Rain."
    (meanwhile,) = server.of_type("toolResponse")[0]["functionResponses"]
    assert meanwhile["response"]["meanwhile"] == "Say one moment."
    assert texts(server.of_type("clientContent")[0]) == [("user", "(look has returned: rain)")]
    assert server.refusals == []


async def test_what_is_told_goes_with_what_is_asked_next() -> None:
    script = [RealtimeAnswer(text=text) for text in ("Hello.", "One?", "Two?", "Well.")]
    async with connected(*script) as (session, server):
        await session.say("Greet the caller.")
        await until_done(session)
        await session.tell(Text("user", "1"))
        await session.respond()
        await until_done(session)
        await session.tell(Text("user", "2"))
        await turn(session)
        await until_done(session)
        await session.respond()
        assert text_of(await until_done(session)) == "Well."
    contents = [texts(each) for each in server.of_type("clientContent")]
    assert contents == [
        [("user", "Greet the caller.")],
        [("user", "1")],
        [("user", "(Please go on.)")],
    ]
    assert server.of_type("text") == ["2"]
    assert server.refusals == []


async def test_responses_are_made_in_the_order_in_which_they_were_asked_for() -> None:
    hold = RealtimeAnswer(text="One two.", wait_at=1)
    server = GeminiLiveServer(
        hold,
        RealtimeAnswer(text="Two."),
        RealtimeAnswer(text="Three."),
        transcripts=["And now?"],
    )
    async with connected(server=server) as (session, _):
        await session.say("One.")
        await until_speech(session)
        await turn(session)
        await session.respond()
        hold.go.set()
        events = await until_done(session, 3)
        assert text_of(events) == "One two.Two.Three."[len("One ") :]
        assert not any(
            event.error or event.cancelled for event in events if isinstance(event, ResponseDone)
        )
    assert server.sessions[0].turns[1:3] == [("model", "One two."), ("user", "And now?")]
    assert server.refusals == []


async def test_the_callers_turn_stops_a_cancelled_response_and_nothing_of_it_comes_late() -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="A long story about very little.", wait_at=3),
        RealtimeAnswer(text="Sorry?"),
        transcripts=["Stop, please."],
    )
    async with connected(server=server) as (session, _):
        await session.say("Tell a story.")
        (*_, spoken) = await until_speech(session)
        await session.cancel()
        await session.truncate(spoken.item_id, 0.01)
        await turn(session)
        events = await until_done(session, 2)
    cancelled, done = (event for event in events if isinstance(event, ResponseDone))
    assert (cancelled.cancelled, done.cancelled, done.error) == (True, False, None)
    assert text_of(events) == "Sorry?"
    assert server.of_type("text") == [
        "(The caller heard only the first 0.0 seconds of your last answer.)"
    ]
    assert server.refusals == []


@pytest.mark.parametrize(
    ("quiet", "heard"),
    [(False, ["The weather", "in Rome?"]), (True, ["The weather in Rome?", ""])],
)
async def test_a_turn_that_is_cancelled_before_its_answer_began_is_not_answered(
    quiet: bool, heard: list[str]
) -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="Never.", wait_at=0),
        RealtimeAnswer(text="Both."),
        transcripts=["The weather", "in Rome?"],
        quiet=quiet,
    )
    async with connected(server=server) as (session, _):
        await turn(session)
        await server.wait_for("activityEnd")
        await session.cancel()
        await turn(session)
        events = await until_done(session, 2)
    assert [event.text for event in events if isinstance(event, CallerText)] == heard
    assert text_of(events) == "Both."
    assert server.refusals == []


async def test_what_was_under_way_of_a_cancelled_response_does_not_end_the_next() -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="Never more.", wait_at=1), RealtimeAnswer(text="Well.")
    )
    async with connected(server=server) as (session, _):
        await session.respond()
        await server.wait_for("clientContent")
        await session.cancel()
        await asyncio.sleep(0.1)
        await session.respond()
        events = await until_done(session, 2)
    assert text_of(events).endswith("Well.")
    assert events[-1].error is None
    assert server.refusals == []


async def test_a_turn_that_waits_is_heard_with_the_next_if_it_is_cancelled() -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="One two.", wait_at=0),
        RealtimeAnswer(text="Both."),
        transcripts=["The weather in Rome?"],
    )
    async with connected(server=server) as (session, _):
        await session.say("One two.")
        await server.wait_for("clientContent")
        await turn(session)
        await session.cancel()
        await turn(session)
        events = await until_done(session, 2)
    assert text_of(events) == "Both."
    heard = [event.text for event in events if isinstance(event, CallerText)]
    assert heard == ["The weather in Rome?", ""]
    assert server.sessions[0].heard == round(0.6 * L16_16K.bytes_per_second)
    assert server.refusals == []


async def test_a_tool_whose_caller_interrupted_is_a_note() -> None:
    async with connected(
        RealtimeAnswer(calls=[CallTool("look"), CallTool("look")]), RealtimeAnswer(text="Yes?")
    ) as (session, server):
        await turn(session)
        first, second = [e for e in await until_done(session) if isinstance(e, ToolCall)]
        await session.tell(ToolResult(first.id, "rain"))
        await turn(session)
        assert text_of(await until_done(session)) == "Yes?"
        await session.tell(ToolResult(second.id, "sun"))
        await session.respond()
        await until_done(session)
    assert server.of_type("text") == ["(look has returned: rain)"]
    assert texts(server.of_type("clientContent")[0]) == [("user", "(look has returned: sun)")]
    assert server.refusals == []


async def test_where_the_api_takes_the_turns_it_tells_of_them() -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="It is sunny today.", wait_at=4),
        RealtimeAnswer(text="Bye."),
        transcripts=["How is it?", "Stop."],
    )
    async with connected(server=server, turn_detection={"silenceDurationMs": 100}) as (session, _):
        assert session.takes_turns
        await speak(session)
        await pause(session)
        first = await until_speech(session)
        await speak(session)
        await pause(session)
        events = first + await until_done(session, 2)
    shown = [e for e in events if not isinstance(e, Speech | SpokenText)]
    done, last = Tokens(120, 40, 80), ResponseDone
    assert shown == [
        CallerSpeaks(),
        CallerFinished(),
        CallerSpeaks(),
        CallerText("How is it?"),
        last(None, None, cancelled=True),
        CallerFinished(),
        CallerText("Stop."),
        last(done),
    ]
    assert server.refusals == []


async def test_where_the_api_takes_the_turns_it_can_be_told_of_their_end() -> None:
    server = GeminiLiveServer(RealtimeAnswer(text="Yes."), transcripts=["So?"])
    async with connected(server=server, turn_detection={}) as (session, _):
        await session.hear(speech(0.01))
        await session.end_turn()
        events = await until_done(session)
    assert text_of(events) == "Yes."
    assert [event.text for event in events if isinstance(event, CallerText)] == ["So?"]
    assert [*server.received[1]["realtimeInput"], *server.received[2]["realtimeInput"]] == [
        "audio",
        "audioStreamEnd",
    ]
    assert server.refusals == []


async def test_silence_is_not_heard_again_over_another_connection() -> None:
    server = GeminiLiveServer(RealtimeAnswer(text="One."), RealtimeAnswer(text="Two."))
    async with connected(server=server, turn_detection={}) as (session, _):
        await speak(session)
        await pause(session, 0.6)
        await until_done(session)
        reading = asyncio.create_task(until_done(session))
        await asyncio.sleep(0)
        await pause(session, 20)
        await server.wait_for("audio", 1000)
        await server.sessions[0].drop()
        await server.wait_for("setup", 2)
        await speak(session)
        await pause(session, 0.6)
        assert text_of(await reading) == "Two."
        assert server.sessions[1].heard / L16_16K.bytes_per_second <= 3 + 0.9
    assert server.refusals == []


async def test_a_session_is_not_ended_by_an_early_replacement_that_fails() -> None:
    server = GeminiLiveServer(*[RealtimeAnswer(text=text) for text in ("One.", "Two.", "Three.")])
    async with connected(server=server) as (session, _):
        await turn(session)
        await until_done(session)
        server.refuse(503)
        await server.sessions[0].go_away(5)
        await turn(session)
        assert text_of(await until_done(session)) == "Two."
        await server.sessions[0].drop()
        reading = asyncio.create_task(until_done(session))
        await server.wait_for("setup", 2)
        await turn(session)
        assert text_of(await reading) == "Three."
    assert server.refusals == []


async def test_a_prompt_that_changes_while_the_connection_is_replaced_is_told() -> None:
    server = GeminiLiveServer(RealtimeAnswer(text="One."), RealtimeAnswer(text="Two."))
    async with connected(server=server) as (session, _):
        await turn(session)
        await until_done(session)
        reading = asyncio.create_task(until_done(session))
        await server.sessions[0].drop()
        await server.wait_for("setup", 2)
        await session.update(prompt="Be brief.", tools=[])
        await turn(session)
        await reading
        instruction = server.sessions[1].setup.system_instruction
        assert instruction is not None
        assert instruction.parts[0].text == "Be brief."
    assert server.refusals == []


async def test_a_prompt_can_be_taken_away() -> None:
    async with connected(RealtimeAnswer(text="Yes."), tools=[LOOK]) as (session, server):
        await session.update(prompt="", tools=[])
        await session.respond()
        await until_done(session)
        instruction = server.sessions[0].setup.system_instruction
        assert instruction is not None
        assert instruction.parts[0].text == ""
        assert server.sessions[0].setup.tools == []
    assert server.refusals == []


async def test_a_turn_that_the_api_does_not_complete_holds_nobody_up() -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="One.", unended=True), RealtimeAnswer(text="Two."), resumable=False
    )
    async with connected(server=server, stall_timeout=1) as (session, _):
        await turn(session)
        events = await until_done(session)
        assert text_of(events) == "One."
        assert events[-1].error is None
        await turn(session)
        assert text_of(await until_done(session)) == "Two."
    assert len(server.sessions) == 1


async def test_what_is_told_reaches_a_model_that_takes_the_turns() -> None:
    server = GeminiLiveServer(RealtimeAnswer(text="Sales."), transcripts=["And now?"])
    async with connected(server=server, turn_detection={}) as (session, _):
        await session.tell(Text("user", "1"))
        await speak(session)
        await pause(session, 0.6)
        await until_done(session)
        assert server.sessions[0].turns == [
            ("user", "1"),
            ("user", "And now?"),
            ("model", "Sales."),
        ]
    assert server.refusals == []


async def test_a_sign_of_the_callers_voice_is_told_once() -> None:
    began = '{"voiceActivity":{"voiceActivityType":"ACTIVITY_START"}}'
    server = GeminiLiveServer(RealtimeAnswer(text="Yes."), transcripts=["So?"])
    async with connected(server=server, turn_detection={}) as (session, _):
        for _ in range(2):
            await server.sessions[0].send_raw(began)
        await speak(session)
        await pause(session, 0.6)
        events = await until_done(session)
    assert events[:2] == [CallerSpeaks(), CallerFinished()]
    assert events.count(CallerSpeaks()) == 1


async def test_what_comes_late_of_a_cancelled_response_does_not_end_the_next() -> None:
    next_one = RealtimeAnswer(text="Well.", wait_at=0)
    server = GeminiLiveServer(RealtimeAnswer(wait_at=0), next_one, quiet=True)
    async with connected(server=server) as (session, _):
        await session.respond()
        await server.wait_for("clientContent")
        await session.cancel()
        await session.respond()
        await server.wait_for("clientContent", 2)
        late = '{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":"AAA="}}'
        for content in (
            f'{{"modelTurn":{{"parts":[{late}]}}}}',
            '{"interrupted":true}',
            '{"turnComplete":true}',
        ):
            await server.sessions[0].send_raw(f'{{"serverContent":{content}}}')
        next_one.go.set()
        events = await until_done(session, 2)
    assert text_of(events) == "Well."
    first, last = (event for event in events if isinstance(event, ResponseDone))
    assert (first.cancelled, last.cancelled, last.error) == (True, False, None)


async def test_the_tools_of_a_cancelled_response_are_not_used() -> None:
    answer = RealtimeAnswer(text="So.", calls=[CallTool("look")], wait_at=1)
    async with connected(answer, RealtimeAnswer(text="Yes.")) as (session, server):
        await session.say("So.")
        await until_speech(session)
        await session.cancel()
        answer.go.set()
        events = await until_done(session)
        assert not any(isinstance(event, ToolCall) for event in events)
        await session.respond()
        assert text_of(await until_done(session)) == "Yes."
    assert server.refusals == []


async def test_the_prompt_and_the_tools_can_change() -> None:
    async with connected(RealtimeAnswer(text="Yes.")) as (session, server):
        await session.update(prompt="Be brief.", tools=[LOOK])
        await session.respond()
        await until_done(session)
        assert server.sessions[0].setup.system_instruction.parts[0].text == "Be brief."
        assert server.sessions[0].setup.tools[0].function_declarations[0].name == "look"
    assert server.refusals == []


async def test_a_new_session_is_told_the_conversation() -> None:
    conversation: list[Message] = [
        Text("assistant", "Hello."),
        Text("user", "The weather?"),
        ToolCall("a", "look", "{}"),
        ToolResult("a", "rain"),
        Text("system", "The caller is in Rome."),
    ]
    async with connected(RealtimeAnswer(text="Rain."), conversation=conversation) as (
        session,
        server,
    ):
        await session.respond()
        assert text_of(await until_done(session)) == "Rain."
        assert server.sessions[0].turns[:2] == [
            ("model", "Hello."),
            ("user", "The weather? (look has returned: rain) (The caller is in Rome.)"),
        ]
    assert server.refusals == []


async def test_a_connection_that_goes_away_is_replaced_between_turns() -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="One."), RealtimeAnswer(text="Two."), transcripts=["First", "Second"]
    )
    async with connected(server=server) as (session, _):
        await turn(session)
        await until_done(session)
        reading = asyncio.create_task(until_done(session))
        await server.sessions[0].go_away(5)
        await server.wait_for("setup", 2)
        await turn(session)
        events = await reading
        assert text_of(events) == "Two."
        assert [e.text for e in events if isinstance(e, CallerText)] == ["Second"]
        assert server.sessions[1].turns == [
            ("user", "First"),
            ("model", "One."),
            ("user", "Second"),
            ("model", "Two."),
        ]
    assert server.of_type("setup")[1]["sessionResumption"] == {"handle": "handle-1"}
    assert server.refusals == []


@pytest.mark.parametrize("ended", [False, True])
async def test_a_turn_is_heard_again_if_its_connection_is_lost_before_the_answer(
    ended: bool,
) -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="One."),
        *[RealtimeAnswer(text="Never.", wait_at=0)] * ended,
        RealtimeAnswer(text="Two."),
        transcripts=["First", *["Second"] * ended, "Second"],
    )
    async with connected(server=server) as (session, _):
        await turn(session)
        await until_done(session)
        reading = asyncio.create_task(until_done(session))
        for _ in range(20):
            await session.hear(speech())
        await server.wait_for("audio", 7)
        if ended:
            await session.end_turn()
            await server.wait_for("activityEnd", 2)
        await server.sessions[0].drop()
        await server.wait_for("audio", 10)
        if not ended:
            await session.end_turn()
        events = await reading
        assert text_of(events) == "Two."
        assert server.sessions[1].heard == round(0.4 * L16_16K.bytes_per_second)
        assert server.sessions[1].turns[:3] == [
            ("user", "First"),
            ("model", "One."),
            ("user", "Second"),
        ]
    assert server.refusals == []


async def test_an_answer_that_is_cut_off_says_so_and_the_session_goes_on() -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="One."),
        RealtimeAnswer(text="Two three four.", drop_at=4),
        RealtimeAnswer(text="Five."),
        transcripts=["First", "Second", "Third"],
    )
    async with connected(server=server) as (session, _):
        for _ in range(2):
            await turn(session)
            events = await until_done(session)
        assert events[-1].error == "the connection was lost in mid-answer"
        reading = asyncio.create_task(until_done(session))
        await server.wait_for("clientContent")
        await turn(session)
        assert text_of(await reading) == "Five."
        assert server.sessions[1].turns[:3] == [
            ("user", "First"),
            ("model", "One."),
            ("user", "Second"),
        ]
        assert server.sessions[1].turns[3][0] == "model"
    assert server.refusals == []


async def test_the_results_of_tools_are_told_to_a_resumed_session() -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="One."),
        RealtimeAnswer(calls=[CallTool("look")]),
        RealtimeAnswer(text="Never.", wait_at=0),
        RealtimeAnswer(text="Rain."),
        transcripts=["First", "The weather?"],
    )
    async with connected(server=server) as (session, _):
        for _ in range(2):
            await turn(session)
            events = await until_done(session)
        (call,) = [event for event in events if isinstance(event, ToolCall)]
        await session.tell(ToolResult(call.id, "rain"))
        await session.respond()
        await server.wait_for("toolResponse")
        await server.sessions[0].drop()
        assert text_of(await until_done(session)) == "Rain."
        assert server.sessions[1].turns == [
            ("user", "First"),
            ("model", "One."),
            ("user", "The weather?"),
            ("user", "(look has returned: rain) (Please go on.)"),
            ("model", "Rain."),
        ]
    assert server.refusals == []


async def test_a_loss_is_raised_if_the_session_cannot_be_resumed() -> None:
    server = GeminiLiveServer(RealtimeAnswer(text="One."), resumable=False)
    async with connected(server=server) as (session, _):
        await turn(session)
        await until_done(session)
        await server.sessions[0].drop()
        with pytest.raises(ServiceError, match="was lost"):
            await until_done(session)


async def test_a_session_that_is_lost_again_at_once_is_not_resumed_forever() -> None:
    never = [RealtimeAnswer(wait_at=0)] * 3
    server = GeminiLiveServer(RealtimeAnswer(text="One."), *never)
    async with connected(server=server, first_timeout=1) as (session, _):
        await turn(session)
        await until_done(session)
        await turn(session)
        with pytest.raises(ServiceError, match="a response stalled"):
            await until_done(session)
    assert len(server.sessions) == 2


async def test_an_answer_that_pauses_too_long_is_a_loss() -> None:
    server = GeminiLiveServer(RealtimeAnswer(text="One two.", wait_at=1), resumable=False)
    async with connected(server=server) as (session, _):
        await turn(session)
        with pytest.raises(ServiceError, match="a response stalled"):
            await until_done(session)


async def test_an_answer_that_is_played_longer_than_it_is_made_is_no_stall() -> None:
    server = GeminiLiveServer(RealtimeAnswer(text="word " * 40), playback=True)
    async with connected(server=server) as (session, _):
        await turn(session)
        assert (await until_done(session))[-1].error is None


async def test_a_malformed_message_does_not_end_the_session() -> None:
    answer = RealtimeAnswer(text="One two.", insert_at=1, insert='{"serverContent":7}')
    async with connected(answer) as (session, _):
        await turn(session)
        assert text_of(await until_done(session)) == "One two."


async def test_an_answer_that_was_stopped_says_why() -> None:
    answer = RealtimeAnswer(text="Well", incomplete="GENERATED_AUDIO_SAFETY")
    async with connected(answer) as (session, _):
        await turn(session)
        done = (await until_done(session))[-1]
    assert done.error == "the response was stopped (GENERATED_AUDIO_SAFETY)"


async def test_a_field_that_the_api_does_not_have_is_refused() -> None:
    with pytest.raises(ServiceError, match=r"closed the connection with 1007.*voicee"):
        async with connected(session={"voicee": "Puck"}):
            pass


async def test_a_wrong_key_and_a_lack_of_a_key_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = GeminiLiveServer(refuse=(429, 1))
    async with server.running():
        for key, error, said in (
            ("wrong", MisconfiguredServiceError, "401: API key not valid"),
            (None, MisconfiguredServiceError, "GEMINI_API_KEY"),
            (server.api_key, ServiceError, "refused the connection with 429"),
        ):
            model = GeminiLive(base_url=server.base_url, api_key=key)
            with pytest.raises(error, match=said):
                await model.connect(prompt="", tools=[], format=MULAW_8K)


async def test_the_model_is_checked_for_live_sessions(gemini: GeminiServer) -> None:
    model = GeminiLive(base_url=gemini.base_url, api_key=gemini.api_key)
    await model.prewarm()
    with pytest.raises(MisconfiguredServiceError, match="no bidiGenerateContent"):
        await model.check()
    await model.close()
    assert model.provider == "127.0.0.1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"voice": ""}, "voice must be a text"),
        ({"keyterms": "Plivo"}, "keyterms must be several"),
        ({"turn_detection": {"disabled": True}}, "turn_detection=None"),
        ({"session": {"tools": []}}, "sets itself"),
        ({"stall_timeout": -1}, "stall_timeout"),
    ],
)
def test_a_wrong_setting_is_refused_at_once(settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GeminiLive(**settings)


def test_a_session_is_opened_again_by_the_agent_and_has_no_retries() -> None:
    with pytest.raises(TypeError, match="no max_retries: an agent opens"):
        GeminiLive(max_retries=1)  # type: ignore[call-arg]
