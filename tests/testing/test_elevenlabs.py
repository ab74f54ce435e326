import json

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mediaserver.testing import in_virtual_time
from mediaserver.testing.elevenlabs import ElevenLabsServer


async def opened(
    server: ElevenLabsServer,
    query: str = "output_format=ulaw_8000",
    path: str = "/v1/text-to-speech/anna/multi-stream-input",
) -> ClientConnection:
    headers = {"xi-api-key": "key"}
    return await connect(f"{server.base_url}{path}?{query}", additional_headers=headers)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("output_format=ulaw_8000&modelid=x", "unknown field `modelid`"),
        ("output_format=ulaw_16000", "Invalid enum value 'ulaw_16000'"),
        ("output_format=ulaw_8000&inactivity_timeout=181", "<= 180"),
        ("output_format=ulaw_8000&sync_alignment=yes", "Invalid enum value 'yes'"),
        ("output_format=ulaw_8000&seed=1&seed=2", "seed is there 2 times"),
        ("output_format=ulaw_8000&model_id=eleven_v3", "eleven_v3 has no"),
        ("model_id=x", "missing required field `output_format`"),
    ],
)
@in_virtual_time
async def test_a_parameter_that_is_not_published_is_refused(query: str, reason: str) -> None:
    async with ElevenLabsServer() as server:
        with pytest.raises(InvalidStatus, match="400"):
            await opened(server, query)
        assert reason in server.refused[0]


@in_virtual_time
async def test_another_path_is_not_there() -> None:
    async with ElevenLabsServer() as server:
        with pytest.raises(InvalidStatus, match="404"):
            await opened(server, path="/v1/text-to-speech/anna")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"text": " ", "contextID": "a"}, "unknown field `contextID`"),
        ({"text": "Hello ", "context_id": "a"}, "has to be a space"),
        ({"flush": True, "context_id": "a"}, "there is no context a"),
        ({"text": " ", "context_id": "a", "voice_settings": {"speed": 2}}, "<= 1.2"),
        ({"text": " ", "context_id": "a", "voice_settings": {"sped": 1}}, "unknown field `sped`"),
    ],
)
@in_virtual_time
async def test_a_message_that_is_not_published_closes_the_connection(
    message: dict[str, object], reason: str
) -> None:
    async with ElevenLabsServer() as server, await opened(server) as client:
        await client.send(json.dumps(message))
        assert reason in json.loads(await client.recv())["message"]
        with pytest.raises(ConnectionClosed, match="1008"):
            await client.recv()


@in_virtual_time
async def test_a_sixth_context_closes_the_connection() -> None:
    async with ElevenLabsServer() as server, await opened(server) as client:
        for number in range(6):
            await client.send(json.dumps({"text": " ", "context_id": str(number)}))
        assert json.loads(await client.recv())["error"] == "max_active_conversations"


@in_virtual_time
async def test_a_context_without_messages_is_closed_after_its_time() -> None:
    async with ElevenLabsServer() as server, await opened(server) as client:
        await client.send(json.dumps({"text": " ", "context_id": "a"}))
        assert json.loads(await client.recv()) == {"isFinal": True, "contextId": "a"}


@in_virtual_time
async def test_times_come_only_if_they_were_asked_for() -> None:
    async with ElevenLabsServer() as server, await opened(server) as client:
        await client.send(json.dumps({"text": " "}))
        await client.send(json.dumps({"text": "Hello ", "flush": True}))
        assert json.loads(await client.recv()).keys() == {"audio", "contextId", "isFinal"}
        await client.send(json.dumps({"close_socket": True}))
        with pytest.raises(ConnectionClosed, match="1000"):
            await client.recv()


@in_virtual_time
async def test_enough_text_is_spoken_without_a_flush() -> None:
    async with ElevenLabsServer() as server, await opened(server) as client:
        await client.send(json.dumps({"text": " "}))
        await client.send(json.dumps({"text": "word " * 24}))
        assert "audio" in json.loads(await client.recv())
