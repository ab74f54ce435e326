import json
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mediaserver.testing import in_virtual_time
from mediaserver.testing.scribe import ScribeServer


QUERY = "?model_id=scribe_v2_realtime&audio_format=ulaw_8000"
CHUNK: dict[str, Any] = {
    "message_type": "input_audio_chunk",
    "audio_base_64": "//8=",
    "commit": False,
    "sample_rate": 8000,
}


async def opened(
    server: ScribeServer, query: str = QUERY, *, path: str = "/v1/speech-to-text/realtime"
) -> ClientConnection:
    headers = {"xi-api-key": server.api_key}
    return await connect(f"{server.base_url}{path}{query}", additional_headers=headers)


async def rejected(client: ClientConnection) -> dict[str, Any]:
    """Return the last message before the connection is closed."""
    told: dict[str, Any] = {}
    with suppress(ConnectionClosed):
        while True:
            told = json.loads(await client.recv())
    assert client.close_code == 1008
    return told


@in_virtual_time
async def test_another_path_is_refused() -> None:
    async with ScribeServer().running() as server:
        with pytest.raises(InvalidStatus, match="404"):
            await opened(server, path="/v1/speech-to-text")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (QUERY + "&keyterm=a", "unknown parameter 'keyterm'"),
        (QUERY + "&keyterms=" + "a" * 21, "'keyterms' cannot be"),
        (QUERY + "&keyterms=a" * 51, "too many keyterms"),
        (QUERY + "&language_code=en-US", "'language_code' cannot be"),
        (QUERY + "&vad_threshold=1", "'vad_threshold' cannot be"),
        (QUERY + "&audio_format=ulaw_8000", "given 2 times"),
        (QUERY + "&commit_strategy=vad", "takes only manual commits"),
        ("?audio_format=ulaw_8000", "'model_id' is missing"),
        (QUERY.replace("ulaw_8000", "alaw_8000"), "'audio_format' cannot be"),
    ],
)
@in_virtual_time
async def test_a_parameter_that_is_not_published_is_refused(query: str, reason: str) -> None:
    async with ScribeServer().running() as server:
        told = await rejected(await opened(server, query))
        assert told["message_type"] == "invalid_request"
        assert reason in told["error"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"comit": True}, "unknown field `comit`"),
        ({"message_type": "commit"}, "Invalid enum value 'commit'"),
        ({"commit": "yes"}, "Expected `bool`"),
        ({"sample_rate": 16000}, "sample_rate must be 8000"),
    ],
)
@in_virtual_time
async def test_a_message_that_is_not_published_is_refused(
    changes: dict[str, Any], reason: str
) -> None:
    async with ScribeServer().running() as server:
        client = await opened(server)
        await client.send(json.dumps({**CHUNK, **changes}))
        assert reason in (await rejected(client))["error"]


@in_virtual_time
async def test_binary_messages_are_refused() -> None:
    async with ScribeServer().running() as server:
        client = await opened(server)
        await client.send(b"\xff")
        assert "a binary message" in (await rejected(client))["error"]


@in_virtual_time
async def test_a_commit_of_too_little_audio_is_throttled() -> None:
    async with ScribeServer().running() as server:
        client = await opened(server)
        await client.send(json.dumps({**CHUNK, "commit": True}))
        told = [json.loads(await client.recv())["message_type"] for _ in range(2)]
        assert told == ["session_started", "commit_throttled"]
        await client.close()
