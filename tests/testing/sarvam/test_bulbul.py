import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mediaserver.testing import in_virtual_time
from mediaserver.testing.sarvam import BulbulServer


CONFIG: dict[str, Any] = {
    "language_code": "hi-IN",
    "speaker": "ritu",
    "model": "bulbul:v3",
    "output_audio_codec": "mulaw",
    "speech_sample_rate": 8000,
}


async def opened(
    server: BulbulServer, query: str = "", *, key: str = "key", path: str = "/text-to-speech/ws"
) -> ClientConnection:
    headers = {"api-subscription-key": key}
    return await connect(f"{server.base_url}{path}{query}", additional_headers=headers)


@pytest.mark.parametrize(
    ("query", "how", "status"),
    [
        ("?modle=bulbul:v3", {}, "400"),
        ("?model=bulbul:v1", {}, "400"),
        ("?send_completion_event=false", {}, "400"),
        ("", {"key": "another"}, "403"),
        ("", {"path": "/text-to-speech"}, "404"),
    ],
)
@in_virtual_time
async def test_a_request_that_is_not_published_is_refused(
    query: str, how: dict[str, str], status: str
) -> None:
    async with BulbulServer() as server:
        with pytest.raises(InvalidStatus, match=status):
            await opened(server, query, **how)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"type": "config", "data": {**CONFIG, "spaeker": "ritu"}}, "unknown field `spaeker`"),
        ({"type": "config", "data": {**CONFIG, "language_code": "or-IN"}}, "Invalid enum value"),
        ({"type": "config", "data": {**CONFIG, "speech_sample_rate": 44100}}, "Invalid enum value"),
        ({"type": "config", "data": {**CONFIG, "speaker": "anushka"}}, "not one of bulbul:v3"),
        ({"type": "config", "data": {**CONFIG, "pace": 2.5}}, "pace must be from 0.5 to 2"),
        ({"type": "config", "data": {**CONFIG, "temperature": 2}}, "<= 1.0"),
        ({"type": "text", "data": {"text": "Hello"}}, "the first message must be config"),
        ({"type": "flush"}, "the first message must be config"),
        ({"type": "clear"}, "Invalid value 'clear'"),
    ],
)
@in_virtual_time
async def test_a_message_that_is_not_published_is_refused(
    message: dict[str, Any], reason: str
) -> None:
    async with BulbulServer() as server, await opened(server) as client:
        await client.send(json.dumps(message))
        error = json.loads(await client.recv())
        assert (error["type"], error["data"]["code"]) == ("error", 400)
        assert reason in error["data"]["message"]
        with pytest.raises(ConnectionClosed):
            await client.recv()


@in_virtual_time
async def test_a_text_that_is_too_long_is_refused() -> None:
    async with BulbulServer() as server, await opened(server) as client:
        await client.send(json.dumps({"type": "config", "data": CONFIG}))
        await client.send(json.dumps({"type": "text", "data": {"text": "a" * 2501}}))
        assert "length <= 2500" in json.loads(await client.recv())["data"]["message"]


@in_virtual_time
async def test_what_was_flushed_is_spoken_and_its_end_is_told() -> None:
    async with BulbulServer() as server, await opened(server) as client:
        for message in (
            {"type": "config", "data": CONFIG},
            {"type": "ping"},
            {"type": "text", "data": {"text": "Good "}},
            {"type": "text", "data": {"text": "morning."}},
            {"type": "flush"},
        ):
            await client.send(json.dumps(message))
        told = [json.loads(await client.recv()) for _ in range(3)]
        assert [each["type"] for each in told] == ["audio", "audio", "event"]
        assert told[-1]["data"]["event_type"] == "final"
