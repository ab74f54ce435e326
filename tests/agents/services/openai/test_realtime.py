import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import structlog

from audiocodecs import L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    CallerFinished,
    CallerSpeaks,
    CallerText,
    Message,
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
from mediaserver.agents.services.openai.realtime import OpenAIRealtime
from mediaserver.agents.services.openai.realtime_session import OpenAIRealtimeSession
from mediaserver.call import Frame
from mediaserver.testing.openai.realtime import CallTool, OpenAIRealtimeServer, RealtimeAnswer
from tests.agents.virtual_network import VirtualNetworkLoop


WEATHER = ToolSpec(
    "weather",
    "The weather in a town.",
    {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
)


def speech(seconds: float = 0.02, format: AudioFormat = MULAW_8K) -> Frame:
    samples = (9000 * np.sin(np.arange(round(seconds * format.rate)) * 0.3)).astype(np.int16)
    return Frame(format.encode(samples), format)


def model_of(server: OpenAIRealtimeServer, **settings: Any) -> OpenAIRealtime:
    return OpenAIRealtime(base_url=server.base_url, api_key=server.api_key, **settings)


@asynccontextmanager
async def connected(
    *answers: Any,
    format: AudioFormat = MULAW_8K,
    tools: Sequence[ToolSpec] = (),
    conversation: Sequence[Message] = (),
    server: OpenAIRealtimeServer | None = None,
    **settings: Any,
) -> AsyncIterator[Any]:
    server = server or OpenAIRealtimeServer(*answers)
    async with server.running():
        model = model_of(server, **settings)
        session = await model.connect(
            prompt="Be kind.", tools=tools, format=format, conversation=conversation
        )
        try:
            yield session, server
        finally:
            await session.close()


async def until_done(session: OpenAIRealtimeSession, count: int = 1) -> Any:
    """Collect events up to the end of `count` responses."""
    events = []
    async for event in session.events():
        events.append(event)
        if isinstance(event, ResponseDone):
            count -= 1
            if not count:
                return events
    raise AssertionError("the events ended early")


def audio_of(
    events: list[CallerText | Speech | SpokenText]
    | list[ResponseDone | Speech | SpokenText]
    | list[Speech | SpokenText],
) -> bytes:
    return b"".join(event.frame.payload for event in events if isinstance(event, Speech))


def text_of(events: Any) -> str:
    return "".join(event.text for event in events if isinstance(event, SpokenText))


async def test_a_mulaw_call_is_passed_through_without_transcoding() -> None:
    samples = (5000 * np.sin(np.arange(8000) * 0.2)).astype(np.int16)
    async with connected(RealtimeAnswer(text="Hello there.", samples=samples)) as (session, server):
        await session.respond()
        events = await until_done(session)
    assert audio_of(events) == MULAW_8K.encode(samples)
    assert {event.frame.format for event in events if isinstance(event, Speech)} == {MULAW_8K}
    assert text_of(events) == "Hello there."
    (update,) = server.of_type("session.update")
    audio = update["session"]["audio"]
    assert audio["input"]["format"] == audio["output"]["format"] == {"type": "audio/pcmu"}
    assert server.refusals == []


async def test_an_l16_call_goes_at_24_khz() -> None:
    server = OpenAIRealtimeServer(RealtimeAnswer(text="One two three."), chunks=(1, 7, 4001))
    async with connected(server=server, format=L16_16K) as (session, _):
        for _ in range(10):
            await session.hear(speech(0.02, L16_16K))
        await session.end_turn()
        events = await until_done(session)
        await server.wait_for("response.create")
    assert len(audio_of(events)) == round(0.9 * L16_24K.bytes_per_second)
    assert all(
        len(event.frame.payload) % 2 == 0 and event.frame.format is L16_24K
        for event in events
        if isinstance(event, Speech)
    )
    sent = sum(len(event["audio"]) for event in server.of_type("input_audio_buffer.append"))
    assert sent * 3 / 4 == pytest.approx(0.2 * L16_24K.bytes_per_second, rel=0.1)
    assert server.refusals == []


async def test_a_turn_is_heard_transcribed_and_answered() -> None:
    server = OpenAIRealtimeServer(
        RealtimeAnswer(text="Sunny.", tokens=(50, 20, 9)), transcripts=["How is it?"]
    )
    async with connected(server=server) as (session, _):
        for _ in range(20):
            await session.hear(speech())
        await session.end_turn()
        events = await until_done(session)
    (heard,) = [event for event in events if isinstance(event, CallerText)]
    assert heard.text == "How is it?"
    assert heard.seconds == pytest.approx(0.4)
    assert events[-1] == ResponseDone(Tokens(50, 9, 20))
    # Few messages while the caller speaks, and all of it is there at the end.
    assert len(server.of_type("input_audio_buffer.append")) == 4
    assert server.refusals == []


async def test_a_turn_too_short_for_the_api_is_filled_up_with_silence() -> None:
    async with connected(RealtimeAnswer(text="Yes?")) as (session, server):
        await session.hear(speech(0.02))
        await session.end_turn()
        assert text_of(await until_done(session)) == "Yes?"
    assert server.refusals == []


async def test_what_was_said_can_be_asked_without_a_turn() -> None:
    server = OpenAIRealtimeServer(
        RealtimeAnswer(text="Yes?"), transcripts=["Stop!", "The weather?"]
    )
    async with connected(server=server) as (session, _):
        reading = asyncio.create_task(until_done(session))
        understood = await session.transcribe([speech()] * 3)
        assert understood == CallerText("Stop!", seconds=0.1)
        await session.hear(speech(0.3))
        await session.end_turn()
        events = await reading
        await server.wait_for("conversation.item.delete")
        (served,) = server.sessions
        roles = [item.value["role"] for item in served.items.values()]
    assert roles == ["user", "assistant"]
    assert [event.text for event in events if isinstance(event, CallerText)] == ["The weather?"]
    assert server.refusals == []


async def test_what_was_said_in_the_midst_of_a_turn_is_not_asked() -> None:
    async with connected() as (session, server):
        await session.hear(speech(0.3))
        assert await session.transcribe([speech()]) == CallerText("")
    assert server.of_type("input_audio_buffer.commit") == []


async def test_a_model_without_transcription_cannot_tell_what_was_said() -> None:
    async with connected(transcription=None) as (session, server):
        assert await session.transcribe([speech()] * 30) == CallerText("")
    assert server.of_type("input_audio_buffer.append") == []


async def test_a_transcript_that_does_not_come_is_not_waited_for() -> None:
    async with connected(first_timeout=0.05) as (session, _):
        # Nobody reads what comes.
        assert await session.transcribe([speech()] * 30) == CallerText("")


async def test_nobody_waits_for_a_transcript_from_a_lost_connection() -> None:
    async with connected() as (session, server):
        reading = asyncio.create_task(until_done(session))
        server.transcribe = lambda: server.sessions[0].drop()
        assert await session.transcribe([speech()] * 30) == CallerText("")
        with pytest.raises(ServiceError):
            await reading


async def test_tools_are_offered_used_and_answered() -> None:
    async with connected(
        RealtimeAnswer(text="Let me see.", calls=[CallTool("weather", {"town": "Rome"})]),
        RealtimeAnswer(text="Rain."),
        tools=[WEATHER],
    ) as (session, server):
        await session.respond()
        events = await until_done(session)
        (call,) = [event for event in events if isinstance(event, ToolCall)]
        assert (call.name, call.arguments) == ("weather", '{"town":"Rome"}')
        await session.tell(ToolResult(call.id, "rain"))
        await session.respond()
        assert text_of(await until_done(session)) == "Rain."
    (update,) = server.of_type("session.update")
    assert update["session"]["tools"][0]["parameters"] == WEATHER.parameters
    assert server.refusals == []


async def test_a_response_that_is_asked_for_during_another_waits_for_its_end() -> None:
    answers = [
        RealtimeAnswer(text="One."),
        RealtimeAnswer(text="Two."),
        RealtimeAnswer(text="Three."),
    ]
    async with connected(*answers) as (session, server):
        for _ in answers:
            await session.respond()
        assert text_of(await until_done(session, 3)) == "One.Two.Three."
    assert server.refusals == []


async def test_what_is_to_be_said_comes_with_the_prompt() -> None:
    async with connected(RealtimeAnswer(text="Hello.")) as (session, server):
        await session.say("Greet the caller.")
        await until_done(session)
    (create,) = server.of_type("response.create")
    assert create["response"] == {
        "instructions": "Be kind.\n\nGreet the caller.",
        "tool_choice": "none",
    }
    assert server.refusals == []


async def test_nothing_of_a_cancelled_response_comes_late() -> None:
    answer = RealtimeAnswer(text="This is a rather long story about very little.", wait_at=3)
    async with connected(answer, RealtimeAnswer(text="Sorry?")) as (session, server):
        await session.respond()
        before = []
        async for event in session.events():
            before.append(event)
            if sum(isinstance(event, Speech) for event in before) == 1:
                break
        await session.cancel()
        await session.cancel()
        events = await until_done(session)
        assert not any(isinstance(event, Speech | SpokenText) for event in events)
        assert events[-1] == ResponseDone(Tokens(100, 10, 0), cancelled=True)
        await session.respond()
        assert text_of(await until_done(session)) == "Sorry?"
    assert len(server.of_type("response.cancel")) == 1
    assert server.refusals == []


async def test_cancelling_when_nothing_is_said_sends_nothing() -> None:
    async with connected(RealtimeAnswer(text="Hello.")) as (session, server):
        await session.cancel()
        await session.respond()
        await until_done(session)
        await session.cancel()
    assert server.of_type("response.cancel") == []


@pytest.mark.parametrize(
    ("heard", "told"), [(0.0, [0]), (0.25, [250]), (0.6, []), (7.0, []), (-1.0, [0])]
)
async def test_truncation_is_to_what_was_heard_once_and_never_beyond_the_end(
    heard: float, told: list[int]
) -> None:
    async with connected(RealtimeAnswer(text="Good morning."), RealtimeAnswer()) as (
        session,
        server,
    ):
        await session.respond()
        events = await until_done(session)
        item_id = next(event.item_id for event in events if isinstance(event, Speech))
        await session.truncate(item_id, heard)
        await session.truncate(item_id, heard)
        await session.truncate("unheard of", heard)
        await session.respond()
        await until_done(session)
    truncations = server.of_type("conversation.item.truncate")
    assert [event["audio_end_ms"] for event in truncations] == told
    assert server.refusals == []


async def test_an_item_cut_off_while_it_was_made_is_truncated_to_what_came() -> None:
    """More may have been made than came here, so that all of it was not heard."""
    async with connected(
        RealtimeAnswer(text="One two three four.", wait_at=3), RealtimeAnswer()
    ) as (
        session,
        server,
    ):
        await session.respond()
        received = b""
        async for event in session.events():
            if isinstance(event, Speech):
                received += event.frame.payload
                if len(received) == 800 + 1 + 3333:
                    break
        await session.cancel()
        await session.truncate(event.item_id, 9.0)
        await until_done(session)
        await session.respond()
        await until_done(session)
    (truncation,) = server.of_type("conversation.item.truncate")
    assert truncation["audio_end_ms"] == int(len(received) / 8)
    assert server.refusals == []


async def test_a_lost_conversation_is_told_to_the_new_session() -> None:
    before: list[Message] = [
        Text("user", "The weather?"),
        ToolCall("call_9", "weather", "{}"),
        ToolResult("call_9", "rain"),
        Text("assistant", "Rain."),
        Text("system", "The caller pressed 5."),
    ]
    async with connected(RealtimeAnswer(text="So."), conversation=before) as (session, server):
        await session.respond()
        await until_done(session)
        (served,) = server.sessions
        kinds = [item.value.get("role", item.value["type"]) for item in served.items.values()]
    assert kinds == [
        "user",
        "function_call",
        "function_call_output",
        "assistant",
        "system",
        "assistant",
    ]
    assert server.refusals == []


async def test_the_api_takes_the_turns_where_it_is_told_to() -> None:
    server = OpenAIRealtimeServer(RealtimeAnswer(text="Fine."), transcripts=["And you?"])
    turns = {"type": "server_vad", "silence_duration_ms": 200}
    async with connected(server=server, turn_detection=turns) as (session, _):
        assert session.takes_turns
        for _ in range(20):
            await session.hear(speech())
        for _ in range(15):
            await session.hear(Frame(MULAW_8K.silence * 160, MULAW_8K))
        events = await until_done(session)
    told = [event for event in events if not isinstance(event, Speech | SpokenText)]
    assert [type(event) for event in told] == [
        CallerSpeaks,
        CallerFinished,
        CallerText,
        ResponseDone,
    ]
    assert server.refusals == []


@asynccontextmanager
async def asked_while_the_api_begins_an_answer() -> AsyncIterator[Any]:
    answers = [RealtimeAnswer(text="Fine."), RealtimeAnswer(text="Anything else?")]
    turns = {"type": "server_vad", "silence_duration_ms": 20}
    async with connected(*answers, turn_detection=turns) as (session, server):
        await session.hear(speech(0.2))
        await session.hear(Frame(MULAW_8K.silence * 400, MULAW_8K))
        await session.say("Ask whether there is anything else.")
        yield session, server


async def test_a_response_the_api_began_by_itself_is_waited_for() -> None:
    """Asked for at the same moment, ours is refused, and asked for again."""
    async with asked_while_the_api_begins_an_answer() as (session, server):
        events = await until_done(session, 2)
    assert text_of(events) == "Fine.Anything else?"
    assert [code for code, _ in server.refusals] == ["conversation_already_has_active_response"]


async def test_further_settings_are_laid_over() -> None:
    extra = {"reasoning": {"effort": "low"}, "audio": {"output": {"speed": 1.2}}}
    async with connected(session=extra, voice="cedar", language="it") as (_, server):
        (update,) = server.of_type("session.update")
    assert update["session"]["reasoning"] == {"effort": "low"}
    output = {"format": {"type": "audio/pcmu"}, "voice": "cedar", "speed": 1.2}
    assert update["session"]["audio"]["output"] == output
    assert update["session"]["audio"]["input"]["transcription"]["language"] == "it"


async def test_a_law_is_passed_through_too() -> None:
    samples = (5000 * np.sin(np.arange(8000) * 0.2)).astype(np.int16)
    alaw = AudioFormat("alaw", 8000)
    async with connected(RealtimeAnswer(text="Hi.", samples=samples), format=alaw) as (
        session,
        server,
    ):
        await session.respond()
        events = await until_done(session)
    assert audio_of(events) == alaw.encode(samples)
    assert server.refusals == []


# What goes wrong.


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_refused_handshake_says_its_status(status: int) -> None:
    server = OpenAIRealtimeServer(refuse=(status, 1))
    with pytest.raises(ServiceError, match=r"refused with \d+: The scripted refusal") as raised:
        async with connected(server=server):
            pass
    assert raised.value.status == status
    assert raised.value.service == "openai_realtime"


async def test_a_wrong_key_is_refused() -> None:
    async with OpenAIRealtimeServer().running() as server:
        model = OpenAIRealtime(base_url=server.base_url, api_key="wrong")
        with pytest.raises(ServiceError, match="Incorrect API key"):
            await model.connect(prompt="", tools=[], format=MULAW_8K)


async def test_a_missing_key_is_a_service_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ServiceError, match="OPENAI_API_KEY"):
        await OpenAIRealtime().connect(prompt="", tools=[], format=MULAW_8K)


async def test_a_server_that_is_not_there_is_a_service_error() -> None:
    async with OpenAIRealtimeServer().running() as server:
        model = model_of(server)
    with pytest.raises(ServiceError, match="cannot connect"):
        await model.connect(prompt="", tools=[], format=MULAW_8K)


async def test_settings_that_the_api_refuses_are_a_service_error() -> None:
    with pytest.raises(ServiceError, match=r"Unknown parameter: 'session\.moood'"):
        async with connected(session={"moood": "good"}):
            pass


async def test_a_server_that_never_answers_is_given_up() -> None:
    left = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.set()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        model = OpenAIRealtime(
            base_url=f"http://127.0.0.1:{port}/v1", api_key="x", connect_timeout=0.05
        )
        with pytest.raises(ServiceError, match=r"no session within 0\.05 s"):
            await model.connect(prompt="", tools=[], format=MULAW_8K)
        await left.wait()


async def test_a_lost_connection_ends_the_events() -> None:
    async with connected(RealtimeAnswer(text="One two three.", drop_at=2)) as (session, _):
        await session.respond()
        with pytest.raises(ServiceError, match="the connection was lost"):
            await until_done(session)
        # Nothing more can be sent, which is no further error.
        await session.hear(speech(1.0))
        await session.end_turn()


async def test_closing_ends_the_events_without_an_error() -> None:
    async with connected() as (session, _):

        async def read() -> list[Any]:
            return [event async for event in session.events()]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        await session.close()
        assert await reading == []


@pytest.mark.parametrize("wait_at", [0, 2])
async def test_a_response_that_stalls_is_a_service_error(wait_at: int) -> None:
    answer = RealtimeAnswer(text="One two three.", wait_at=wait_at)
    async with connected(answer, first_timeout=0.05, stall_timeout=0.05) as (session, _):
        await session.respond()
        with pytest.raises(ServiceError, match="stalled"):
            await until_done(session)


async def test_a_stall_is_noticed_by_one_who_was_waiting_already() -> None:
    answer = RealtimeAnswer(text="One two three.", wait_at=0)
    async with connected(answer, first_timeout=0.05) as (session, _):
        reading = asyncio.create_task(until_done(session))
        await asyncio.sleep(0)
        await session.respond()
        with pytest.raises(ServiceError, match="stalled"):
            await reading


async def test_a_slow_first_byte_is_waited_for() -> None:
    answer = RealtimeAnswer(text="One two.", wait_at=0)
    async with connected(answer) as (session, server):
        await session.respond()
        reading = asyncio.create_task(until_done(session))
        await server.wait_for("response.create")
        answer.go.set()
        assert text_of(await reading) == "One two."


async def test_no_response_is_expected_while_none_is_made() -> None:
    async with connected(RealtimeAnswer(text="One."), first_timeout=0.01, stall_timeout=0.01) as (
        session,
        server,
    ):
        await session.respond()
        await until_done(session)
        reading = asyncio.create_task(until_done(session))
        done, _ = await asyncio.wait([reading], timeout=0.03)
        assert not done
        reading.cancel()
        assert server.refusals == []


@pytest.mark.parametrize(
    "garbage",
    [
        "this is no JSON",
        "[1, 2]",
        '{"type": 7}',
        '{"type":"response.output_audio.delta"}',
        '{"type":"response.output_audio.delta","item_id":"item_1","delta":"%%%not base64%%%"}',
        '{"type":"an event of the future","with":{"anything":[]}}',
        b"\xff\xfe",
    ],
)
async def test_a_malformed_event_is_passed_over(garbage: bytes | str) -> None:
    answer = RealtimeAnswer(text="One two three.", insert_at=1, insert=garbage)
    async with connected(answer) as (session, _):
        await session.respond()
        try:
            events = await until_done(session)
        except ServiceError:
            # A text message that is no UTF-8 ends the connection, by the WebSocket's own rules.
            assert isinstance(garbage, bytes)
            return
    assert len(audio_of(events)) == round(0.9 * 8000)
    assert text_of(events) == "One two three."


async def test_a_failed_response_says_why() -> None:
    failed = ("rate_limit_exceeded", "Rate limit reached.")
    async with connected(RealtimeAnswer(failed=failed), RealtimeAnswer(text="Now.")) as (
        session,
        _,
    ):
        await session.respond()
        events = await until_done(session)
        assert events[-1] == ResponseDone(None, "Rate limit reached. (rate_limit_exceeded)")
        await session.respond()
        assert text_of(await until_done(session)) == "Now."


async def test_a_request_for_a_response_that_is_refused_fails_that_response() -> None:
    async with connected(RealtimeAnswer(text="Now.")) as (session, server):
        await session._ask({"no such": "setting"})
        events = await until_done(session)
        assert events[-1].error.startswith("Unknown parameter")
        await session.respond()
        assert text_of(await until_done(session)) == "Now."
        assert [code for code, _ in server.refusals] == ["unknown_parameter"]


async def test_a_cancelled_request_for_a_response_that_is_refused_is_a_cancelled_response() -> None:
    async with connected(RealtimeAnswer(text="Now.")) as (session, _):
        await session._ask({"no such": "setting"})
        await session.cancel()
        await session.respond()
        events = await until_done(session, 2)
    (refused, answered) = [event for event in events if isinstance(event, ResponseDone)]
    assert refused.cancelled
    assert answered.error is None
    assert text_of(events) == "Now."


async def test_a_response_cancelled_before_the_apis_own_was_over_is_not_asked_for_again() -> None:
    async with asked_while_the_api_begins_an_answer() as (session, server):
        await session.cancel()
        events = await until_done(session)
        await session.say("Now ask.")
        assert text_of(await until_done(session)) == "Anything else?"
    assert text_of(events) == ""
    (created,) = server.of_type("response.create")
    assert created["response"]["instructions"].endswith("Now ask.")


@pytest.mark.parametrize(
    ("reason", "text", "error"),
    [
        ("max_output_tokens", "", "the response was cut off (max_output_tokens)"),
        ("max_output_tokens", "One two.", None),
        ("content_filter", "One two.", "the response was cut off (content_filter)"),
    ],
)
async def test_a_response_that_was_cut_off_fails_unless_most_of_it_was_said(
    reason: str, text: str, error: str | None
) -> None:
    async with connected(RealtimeAnswer(text=text, incomplete=reason)) as (session, _):
        await session.respond()
        done = (await until_done(session))[-1]
    assert (done.error, done.cancelled) == (error, False)


async def test_a_tool_call_that_was_cut_off_is_not_used() -> None:
    answer = RealtimeAnswer(calls=[CallTool("weather")], incomplete="max_output_tokens")
    async with connected(answer) as (session, _):
        await session.respond()
        events = await until_done(session)
    assert [type(event) for event in events] == [ResponseDone]


async def test_a_response_that_the_api_cancelled_by_itself_fails() -> None:
    async with connected(RealtimeAnswer(text="One.", wait_at=0)) as (session, server):
        await session.respond()
        await server.wait_for("response.create")
        await server.sessions[0].stop("client_cancelled")
        done = (await until_done(session))[-1]
    assert done.error == "the response was cancelled"
    assert not done.cancelled


async def test_asking_for_something_just_as_a_response_stalls_is_no_error() -> None:
    async with connected(RealtimeAnswer(wait_at=0)) as (session, _):
        loop = asyncio.get_running_loop()
        reading = asyncio.create_task(until_done(session))
        await session.respond()
        while session._patience is None:
            await asyncio.sleep(0)
        # Both come due in the same turn of the loop, the deadline first.
        due = loop.time()
        session._patience.reschedule(due)
        failures = []

        def ask() -> None:
            try:
                session._expect(5.0)
            except Exception as error:
                failures.append(error)

        loop.call_at(due, ask)
        with pytest.raises(ServiceError, match="stalled"):
            await reading
    assert failures == []


@pytest.mark.parametrize("key", ["sk-secret"])
async def test_no_error_tells_the_key(key: str) -> None:
    failed = ("invalid", f"No such key: {key}.")
    server = OpenAIRealtimeServer(RealtimeAnswer(failed=failed))
    server.api_key = key
    async with connected(server=server) as (session, _):
        await session.respond()
        assert key not in (await until_done(session))[-1].error
        await server.sessions[0].drop(f"key {key} was withdrawn")
        with pytest.raises(ServiceError) as raised:
            await until_done(session)
    assert "withdrawn" in str(raised.value)
    assert key not in str(raised.value)


async def test_a_request_of_another_kind_that_is_refused_changes_nothing() -> None:
    async with connected(RealtimeAnswer(text="Now.")) as (session, server):
        await session.tell(ToolResult("call_77", "too late"))
        await session.respond()
        assert text_of(await until_done(session)) == "Now."
        assert [code for code, _ in server.refusals] == ["invalid_tool_call_id"]


async def test_prompt_and_tools_may_change_in_an_open_session() -> None:
    async with connected(RealtimeAnswer(text="Hi.")) as (session, server):
        await session.update(prompt="Be brief.", tools=[WEATHER])
        await session.respond()
        await until_done(session)
        assert server.sessions[-1].settings["instructions"] == "Be brief."
        assert [tool["name"] for tool in server.sessions[-1].settings["tools"]] == ["weather"]
        assert server.refusals == []


async def test_no_client_is_left_when_the_model_is_closed() -> None:
    server = OpenAIRealtimeServer()
    async with server.running():
        model = model_of(server)
        await model.prewarm()
        client = model._client.get()
        await model.close()
        assert client.is_closed()


async def test_prewarming_without_a_key_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model = OpenAIRealtime(base_url="https://api.example.com/v1")
    with structlog.testing.capture_logs() as logs:
        await model.prewarm()
    assert "set OPENAI_API_KEY" in logs[0]["error"]


def test_a_service_that_stops_reading_does_not_hold_up_the_call() -> None:
    async def hear_on() -> None:
        clock = asyncio.get_running_loop().time
        async with connected(format=L16_16K) as (session, server):
            reading = asyncio.create_task(until_done(session))
            server.sessions[0]._connection.transport.pause_reading()
            while not reading.done():
                before = clock()
                await session.hear(speech(format=L16_16K))
                assert clock() == before
                await asyncio.sleep(0.02)
            assert clock() < 15
            with pytest.raises(ServiceError, match="it has taken nothing for"):
                await reading

    with asyncio.Runner(loop_factory=VirtualNetworkLoop) as runner:
        runner.run(asyncio.wait_for(hear_on(), 60))


def test_a_session_is_opened_again_by_the_agent_and_has_no_retries() -> None:
    with pytest.raises(TypeError, match="OpenAIRealtime takes no max_retries: an agent opens"):
        OpenAIRealtime(max_retries=1)  # type: ignore[call-arg]


async def test_an_answer_that_the_api_does_not_begin_by_itself_is_a_stall() -> None:
    async with connected(turn_detection={"type": "server_vad"}, first_timeout=0.2) as (
        session,
        server,
    ):
        stopped = "input_audio_buffer.speech_stopped"
        await server.sessions[0]._send(stopped, item_id="a", audio_end_ms=100)
        with pytest.raises(ServiceError, match="a response stalled"):
            await until_done(session)
