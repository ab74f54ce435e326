"""The local server of xAI's voices is closed."""

import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mediaserver.testing import in_virtual_time
from mediaserver.testing.services import Timing
from mediaserver.testing.xai import XAIVoiceServer


QUERY = "?language=en&voice=eve&codec=mulaw&sample_rate=8000"
DONE = {"type": "text.done"}
HELLO = {"type": "text.delta", "delta": "Hello there."}


async def opened(
    server: XAIVoiceServer, query: str = QUERY, *, key: str = "key", path: str = "/v1/tts"
) -> ClientConnection:
    headers = {"authorization": f"Bearer {key}"}
    return await connect(f"{server.base_url}{path}{query}", additional_headers=headers)


async def answers(client: ClientConnection, *messages: dict[str, Any]) -> dict[str, Any]:
    """Send messages, and return the first answer."""
    for message in messages:
        await client.send(json.dumps(message))
    answer: dict[str, Any] = json.loads(await client.recv())
    return answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"query": QUERY + "&vioce=ara"}, 400),
        ({"query": "?voice=eve&codec=mulaw"}, 400),
        ({"query": "?language=tlh&codec=mulaw"}, 400),
        ({"query": "?language=en&codec=opus"}, 400),
        ({"query": "?language=en&codec=mulaw&sample_rate=11025"}, 400),
        ({"query": "?language=en&codec=mulaw&speed=2"}, 400),
        ({"query": "?language=en&codec=mulaw&voice=evo"}, 404),
        ({"key": "another"}, 401),
        ({"path": "/v1/audio/speech"}, 404),
    ],
)
@in_virtual_time
async def test_what_is_not_published_is_refused_before_the_upgrade(
    request_: dict[str, str], status: int
) -> None:
    async with XAIVoiceServer() as server:
        with pytest.raises(InvalidStatus, match=str(status)):
            await opened(server, **request_)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"type": "text.delta", "dleta": "Hello"}], "unknown field `dleta`"),
        ([HELLO | {"voice": "ara"}], "unknown field `voice`"),
        ([{"type": "text.delta", "delta": "x" * 15_001}], "<= 15000"),
        ([{"type": "text.flush"}], "Invalid value 'text.flush'"),
        ([DONE], "without any text"),
        ([HELLO, DONE, HELLO], "before the audio.done"),
        ([{"type": "session.update", "replace": {"C++": "x"}}], "matching regex"),
        ([HELLO | {"delta": "x" * 15_000}] * 5, "too long"),
    ],
)
@in_virtual_time
async def test_a_message_that_is_not_published_is_refused(
    messages: list[dict[str, Any]], reason: str
) -> None:
    async with XAIVoiceServer() as server, await opened(server) as client:
        answer = await answers(client, *messages)
        assert answer["type"] == "error"
        assert reason in answer["message"]
        with pytest.raises(ConnectionClosed, match="1008"):
            await client.recv()


@in_virtual_time
async def test_replacements_are_confirmed() -> None:
    update = {"type": "session.update", "replace": {"Plivo": "Pleevo"}}
    async with XAIVoiceServer() as server, await opened(server) as client:
        assert await answers(client, update) == {**update, "type": "session.updated"}


@in_virtual_time
async def test_an_utterance_is_audio_without_times_unless_they_are_asked_for() -> None:
    async with XAIVoiceServer() as server, await opened(server) as client:
        first = await answers(client, HELLO, DONE)
        second = json.loads(await client.recv())
        assert {*first} == {*second} == {"type", "delta"}
        assert json.loads(await client.recv())["type"] == "audio.done"


@in_virtual_time
async def test_characters_have_their_times_in_the_utterance() -> None:
    async with (
        XAIVoiceServer() as server,
        await opened(server, QUERY + "&with_timestamps=true") as client,
    ):
        times = (await answers(client, HELLO, DONE))["audio_timestamps"]
        assert "".join(times["graph_chars"]) == "Hello"
        assert times["graph_times"][0][0] == 0
        times = json.loads(await client.recv())["audio_timestamps"]
        assert "".join(times["graph_chars"]) == " there."
        assert times["graph_times"][0][0] == pytest.approx(0.3)


@in_virtual_time
async def test_a_clear_ends_an_utterance_and_is_answered_at_any_time() -> None:
    async with XAIVoiceServer(timing=Timing(0.1, 1.0)) as server, await opened(server) as client:
        assert await answers(client, {"type": "text.clear"}) == {"type": "audio.clear"}
        assert (await answers(client, HELLO, DONE))["type"] == "audio.delta"
        assert await answers(client, {"type": "text.clear"}) == {"type": "audio.clear"}
        assert (await answers(client, HELLO, DONE))["type"] == "audio.delta"
