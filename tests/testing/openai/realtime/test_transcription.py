import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pybase64
import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from audiocodecs import MULAW_8K
from mediaserver.testing.openai import AzureGate
from mediaserver.testing.openai.realtime import OpenAITranscriptionServer
from mediaserver.testing.services import tones
from mediaserver.testing.socket_server import SocketFault


DONE = "conversation.item.input_audio_transcription.completed"


@asynccontextmanager
async def connected(server: OpenAITranscriptionServer) -> AsyncIterator[Any]:
    query = {"intent": "transcription"}
    async with (
        server.running(),
        AsyncOpenAI(base_url=server.base_url, api_key=server.api_key) as client,
        client.realtime.connect(extra_query=query) as connection,
    ):
        yield connection


async def set_up(connection: Any, model: str = "gpt-live-transcribe", **heard: Any) -> Any:
    transcription = {"model": model, **heard.pop("transcription", {})}
    heard = {"format": {"type": "audio/pcmu"}, "transcription": transcription, **heard}
    session = {"type": "transcription", "audio": {"input": heard}}
    await connection.session.update(session=session)
    assert (await connection.recv()).type == "session.created"
    return await connection.recv()


async def say(connection: Any, words: int, quiet: float) -> None:
    audio = MULAW_8K.encode(tones(words, 8000)) + MULAW_8K.silence * round(8000 * quiet)
    for at in range(0, len(audio), 160):
        piece = pybase64.b64encode(audio[at : at + 160]).decode()
        await connection.input_audio_buffer.append(audio=piece)


async def until(connection: Any, kind: str) -> list[Any]:
    events: list[Any] = []
    async with asyncio.timeout(10):
        while not events or events[-1].type != kind:
            events.append(await connection.recv())
    return events


def kinds(events: list[Any]) -> list[str]:
    return [event.type.rpartition(".")[2] for event in events]


async def test_it_serves_openais_own_client_as_the_audio_comes() -> None:
    server = OpenAITranscriptionServer("Good morning.", "Yes.")
    async with connected(server) as connection:
        assert (await set_up(connection)).type == "session.updated"
        await say(connection, 2, 0.3)
        first = [await connection.recv(), await connection.recv()]
        assert [event.delta for event in first] == ["Good", " morning."]
        await connection.input_audio_buffer.commit()
        rest = await until(connection, DONE)
        assert kinds(rest) == ["committed", "added", "done", "completed"]
        assert {event.item_id for event in (*first, rest[0], rest[-1])} == {first[0].item_id}
        assert rest[-1].transcript == "Good morning."
        assert rest[-1].usage.seconds == pytest.approx(0.9)
        await say(connection, 1, 0.3)
        await connection.input_audio_buffer.commit()
        later = await until(connection, DONE)
        assert later[-1].transcript == "Yes."
    assert server.refusals == []
    assert server.paths == ["/v1/realtime?intent=transcription"]


async def test_a_model_that_waits_for_the_turn_tells_its_words_after_it() -> None:
    async with connected(OpenAITranscriptionServer("Good morning.")) as connection:
        await set_up(connection, "gpt-4o-transcribe", turn_detection=None)
        await say(connection, 2, 0.3)
        await connection.input_audio_buffer.commit()
        events = await until(connection, DONE)
        assert kinds(events) == ["committed", "added", "done", "delta", "delta", "completed"]
        assert events[-1].usage.input_tokens == 9


async def test_a_model_that_takes_turns_does_so_unless_it_is_told_not_to() -> None:
    async with connected(OpenAITranscriptionServer("Good morning.")) as connection:
        await set_up(connection, "gpt-transcribe")
        await say(connection, 2, 0.6)
        events = await until(connection, DONE)
        assert kinds(events)[:3] == ["speech_started", "speech_stopped", "committed"]
        assert events[-1].transcript == "Good morning."


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"turn_detection": {"type": "server_vad"}}, "Turn detection is not supported"),
        ({"model": "gpt-4o-transcribe", "transcription": {"keywords": ["a"]}}, "'keywords' is not"),
        ({"model": "gpt-transcribe", "transcription": {"delay": "low"}}, "'delay' is not"),
        ({"model": "gpt-realtime-whisper", "transcription": {"prompt": "a"}}, "'prompt' is not"),
        ({"transcription": {"keyword": ["a"]}}, "Unknown parameter: .*keyword"),
        ({"model": "your-ears"}, "deployment for this resource does not exist"),
    ],
)
async def test_settings_that_the_api_does_not_take_are_refused(
    settings: dict[str, Any], reason: str
) -> None:
    own = ["my-ears", "gpt-live-transcribe"]
    azure = AzureGate(deployments=own) if settings.get("model") == "your-ears" else None
    server = OpenAITranscriptionServer(azure=azure)
    async with server.running():
        headers = {"api-key": server.api_key, "authorization": f"Bearer {server.api_key}"}
        where = server.base_url.replace("http", "ws") + ("/openai/v1" if azure else "")
        url = f"{where}/realtime?intent=transcription"
        async with connect(url, additional_headers=headers) as socket:
            transcription = {
                "model": settings.get("model", "gpt-live-transcribe"),
                **settings.get("transcription", {}),
            }
            others = {k: v for k, v in settings.items() if k not in ("model", "transcription")}
            heard = {"transcription": transcription, **others}
            session = {"type": "transcription", "audio": {"input": heard}}
            await socket.send(json.dumps({"type": "session.update", "session": session}))
            await socket.recv()
            error = json.loads(await socket.recv())["error"]
    ((_, refusal),) = server.refusals
    assert refusal == error["message"]
    assert re.search(reason, refusal)


async def test_a_conversation_and_a_transcription_are_different_sessions() -> None:
    server = OpenAITranscriptionServer()
    async with connected(server) as connection:
        await connection.recv()
        await connection.session.update(session={"type": "realtime"})
        error = (await connection.recv()).error
        assert error.message.startswith("Passing a realtime session update event to a transcri")
        await connection.response.create()
        assert "not allowed in a transcription" in (await connection.recv()).error.message


@pytest.mark.parametrize("query", ["", "?model=gpt-live-transcribe", "?intent=transcription&a=b"])
async def test_a_connection_must_be_for_a_transcription(query: str) -> None:
    server = OpenAITranscriptionServer()
    async with server.running():
        url = server.base_url.replace("http", "ws") + f"/realtime{query}"
        with pytest.raises(InvalidStatus, match="400"):
            await connect(url, additional_headers={"authorization": f"Bearer {server.api_key}"})


@pytest.mark.parametrize(
    ("then", "last"),
    [("malformed", 'b\'{"type":"error","error":\''), ("expire", "session_expired")],
)
async def test_a_session_ends_as_it_is_told_to(then: Any, last: str) -> None:
    server = OpenAITranscriptionServer("Yes.", faults=[SocketFault(then=then, after=1)])
    async with connected(server) as connection:
        await set_up(connection)
        await say(connection, 1, 0.3)
        await connection.recv()
        await connection.input_audio_buffer.commit()
        assert last in str(await connection.recv_bytes())
        if then == "expire":
            with pytest.raises(ConnectionClosed, match="1001"):
                await connection.recv_bytes()


async def test_what_was_not_told_is_said_again_on_the_next_connection() -> None:
    server = OpenAITranscriptionServer("Yes.", faults=[SocketFault(then="disconnect")])
    async with connected(server) as connection:
        await set_up(connection)
        await say(connection, 1, 0.3)
        with pytest.raises(ConnectionClosed):
            await connection.recv_bytes()
        async with AsyncOpenAI(base_url=server.base_url, api_key=server.api_key) as client:
            query = {"intent": "transcription"}
            async with client.realtime.connect(extra_query=query) as other:
                await set_up(other)
                await say(other, 1, 0.3)
                delta: Any = await other.recv()
                assert delta.delta == "Yes."
