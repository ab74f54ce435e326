"""xAI's voice agent as a realtime model: what is different from OpenAI's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import (
    CallerFinished,
    CallerSpeaks,
    CallerText,
    MisconfiguredServiceError,
    RealtimeSession,
    ResponseDone,
    ServiceError,
    Speech,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from mediaserver.agents.services.realtime import RealtimeEvent
from mediaserver.agents.services.xai.realtime import XAIRealtime
from mediaserver.call import Frame
from mediaserver.testing.realtime_answers import CallTool, RealtimeAnswer
from mediaserver.testing.xai import XAIRealtimeServer


WEATHER = ToolSpec("weather", "The weather.", {"type": "object", "properties": {}})


@asynccontextmanager
async def connected(
    server: XAIRealtimeServer, format: AudioFormat = MULAW_8K, **settings: Any
) -> AsyncIterator[RealtimeSession]:
    async with server.running():
        model = XAIRealtime(base_url=server.base_url, api_key=server.api_key, **settings)
        session = await model.connect(prompt="Be brief.", tools=[WEATHER], format=format)
        try:
            yield session
        finally:
            await session.close()
            await model.close()


async def until(session: RealtimeSession, kind: type[Any]) -> list[RealtimeEvent]:
    events = []
    async for event in session.events():
        events.append(event)
        if isinstance(event, kind):
            break
    return events


def tone(format: AudioFormat, seconds: float, loudness: int = 9000) -> Frame:
    time = np.arange(round(seconds * format.rate)) / format.rate
    wave = loudness * np.sin(2 * np.pi * 300 * time)
    return Frame(format.encode(wave.astype(np.int16)), format)


@pytest.mark.parametrize("format", [MULAW_8K, AudioFormat("alaw", 8000), L16_16K])
async def test_a_call_is_heard_and_answered_in_its_own_format(format: AudioFormat) -> None:
    server = XAIRealtimeServer(RealtimeAnswer(text="Hi."), transcripts=["hello"])
    async with connected(server, format) as session:
        await session.hear(tone(format, 0.2))
        await session.end_turn()
        events = await until(session, ResponseDone)

    frames = [event.frame for event in events if isinstance(event, Speech)]
    assert {frame.format for frame in frames} == {format}
    assert [event.text for event in events if isinstance(event, CallerText)] == ["hello"]


async def test_a_greeting_is_asked_for_by_the_instructions_of_its_response() -> None:
    server = XAIRealtimeServer(RealtimeAnswer(text="Good morning."))
    async with connected(server) as session:
        await session.say("Greet the caller.")
        await until(session, ResponseDone)

    (asked,) = server.of_type("response.create")
    assert asked["response"] == {"instructions": "Be brief.\n\nGreet the caller."}
    assert server.of_type("conversation.item.create") == []
    assert server.refusals == []


async def test_the_model_is_told_how_much_of_an_answer_was_heard() -> None:
    server = XAIRealtimeServer(RealtimeAnswer(text="Good morning to you."))
    async with connected(server) as session:
        await session.respond()
        events = await until(session, ResponseDone)
        item = next(event.item_id for event in events if isinstance(event, Speech))
        await session.truncate(item, 0.1)
        await server.wait_for("conversation.item.truncate")

    (told,) = server.of_type("conversation.item.truncate")
    assert (told["item_id"], told["content_index"], told["audio_end_ms"]) == (item, 0, 100)
    assert server.refusals == []


async def test_a_tool_is_used_once_and_answered() -> None:
    server = XAIRealtimeServer(
        RealtimeAnswer(calls=[CallTool("weather", {"town": "Bonn"})]), RealtimeAnswer(text="Sunny.")
    )
    async with connected(server) as session:
        await session.respond()
        events = await until(session, ResponseDone)
        calls = [event for event in events if isinstance(event, ToolCall)]
        await session.tell(ToolResult(calls[0].id, "sunny"))
        await session.respond()
        await until(session, ResponseDone)

    assert [(call.name, call.arguments) for call in calls] == [("weather", '{"town":"Bonn"}')]
    assert server.refusals == []


async def test_a_tool_of_a_cancelled_response_is_not_used() -> None:
    answer = RealtimeAnswer(text="One moment.", calls=[CallTool("weather")], wait_at=1)
    server = XAIRealtimeServer(answer)
    async with connected(server) as session:
        await session.respond()
        await until(session, Speech)
        await session.cancel()
        events = await until(session, ResponseDone)

    assert [type(event) for event in events] == [ResponseDone]


async def test_the_api_takes_the_turns_where_it_is_told_to() -> None:
    answers = RealtimeAnswer(text="A long story.", wait_at=1), RealtimeAnswer(text="Yes?")
    server = XAIRealtimeServer(*answers)
    async with connected(server, turn_detection={"type": "server_vad"}) as session:
        assert session.takes_turns
        await session.respond()
        await until(session, Speech)
        await session.hear(tone(MULAW_8K, 0.5))
        interrupted = await until(session, ResponseDone)
        await session.hear(tone(MULAW_8K, 1.0, loudness=0))
        answered = await until(session, ResponseDone)

    assert any(isinstance(event, CallerSpeaks) for event in interrupted)
    assert interrupted[-1] == ResponseDone(interrupted[-1].tokens, cancelled=True)  # type: ignore[union-attr]
    assert any(isinstance(event, CallerFinished) for event in answered)


async def test_what_xai_does_not_have_is_not_sent() -> None:
    server = XAIRealtimeServer(RealtimeAnswer(text="Good morning.", wait_at=1))
    async with connected(server) as session:
        await session.respond()
        await until(session, Speech)
        await session.cancel()
        await until(session, ResponseDone)
        await session.update(prompt="Be kind.", tools=[])  # type: ignore[attr-defined]
        assert await session.transcribe([tone(MULAW_8K, 0.2)]) == CallerText("")  # type: ignore[attr-defined]
        await session.tell(Text("user", "Hello?"))
        await server.wait_for("conversation.item.create")

    changed = server.of_type("session.update")[-1]["session"]
    assert changed == {"instructions": "Be kind.", "tools": []}
    assert server.refusals == []


async def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(ServiceError, match="voise"):
        async with connected(XAIRealtimeServer(), session={"voise": "ara"}):
            pass


async def test_a_failure_has_xais_name() -> None:
    server = XAIRealtimeServer(RealtimeAnswer(text="Good morning.", drop_at=1))
    async with connected(server) as session:
        await session.respond()
        with pytest.raises(ServiceError, match="xai_realtime"):
            await until(session, ResponseDone)


@pytest.mark.parametrize("status", [401, 429])
async def test_a_refused_connection_says_its_status(status: int) -> None:
    with pytest.raises(ServiceError) as refused:
        async with connected(XAIRealtimeServer(refuse=(status, 1))):
            pass

    assert refused.value.status == status


async def test_a_response_that_stalls_is_a_lost_connection() -> None:
    server = XAIRealtimeServer(RealtimeAnswer(text="Good morning.", wait_at=1))
    async with connected(server, stall_timeout=0.05) as session:
        await session.respond()
        with pytest.raises(ServiceError, match="stalled"):
            await until(session, ResponseDone)


async def test_a_malformed_event_is_passed_over() -> None:
    broken = '{"type":"response.done"}'
    server = XAIRealtimeServer(RealtimeAnswer(text="Good morning.", insert_at=1, insert=broken))
    async with connected(server) as session:
        await session.respond()
        events = await until(session, ResponseDone)

    assert isinstance(events[-1], ResponseDone)
    assert events[-1].error is None


async def test_a_wrong_key_is_found_by_check() -> None:
    async with XAIRealtimeServer().running() as server:
        model = XAIRealtime(base_url=server.base_url, api_key="another")
        with pytest.raises(MisconfiguredServiceError, match="check api_key"):
            await model.check()
        await model.close()


def test_the_url_is_xais_whatever_openais_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")

    assert XAIRealtime().provider == "api.x.ai"


async def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XAI_API_KEY", raising=False)
    with pytest.raises(MisconfiguredServiceError, match="set XAI_API_KEY"):
        await XAIRealtime().connect(prompt="", tools=[], format=MULAW_8K)


@pytest.mark.parametrize(
    "setting", [{"speed": 2.0}, {"keyterms": "Plivo"}, {"keyterms": ["x" * 51]}]
)
def test_a_setting_that_xai_would_refuse_is_a_value_error(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        XAIRealtime(**setting)
