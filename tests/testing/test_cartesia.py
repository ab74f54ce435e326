import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mediaserver.testing import in_virtual_time
from mediaserver.testing.cartesia import CartesiaServer


REQUEST: dict[str, Any] = {
    "model_id": "sonic-3",
    "voice": {"mode": "id", "id": "anna"},
    "output_format": {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000},
    "context_id": "a",
    "transcript": "Hello ",
    "continue": True,
}


async def opened(
    server: CartesiaServer,
    query: str = "",
    *,
    version: str = "2026-03-01",
    path: str = "/tts/websocket",
) -> ClientConnection:
    headers = {"x-api-key": "key", "cartesia-version": version}
    return await connect(f"{server.base_url}{path}{query}", additional_headers=headers)


@in_virtual_time
async def test_an_unknown_parameter_version_or_path_is_refused() -> None:
    async with CartesiaServer() as server:
        with pytest.raises(InvalidStatus, match="400"):
            await opened(server, "?version=2026-03-01")
        with pytest.raises(InvalidStatus, match="400"):
            await opened(server, version="2030-01-01")
        with pytest.raises(InvalidStatus, match="404"):
            await opened(server, path="/tts")
        assert "unknown parameters: version" in server.refused[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"transcipt": "Hello"}, "unknown field `transcipt`"),
        ({"output_format": {"container": "wav"}}, "Invalid enum value 'wav'"),
        ({"generation_config": {"speed": 3}}, "<= 1.5"),
        ({"voice": {"mode": "embedding", "id": "a"}}, "Invalid enum value 'embedding'"),
        ({"max_buffer_delay_ms": -1}, ">= 0"),
        ({"cancel": True}, "unknown field"),
    ],
)
@in_virtual_time
async def test_a_message_that_is_not_published_is_refused(
    changes: dict[str, Any], reason: str
) -> None:
    async with CartesiaServer() as server, await opened(server) as client:
        await client.send(json.dumps(REQUEST | changes))
        error = json.loads(await client.recv())
        assert (error["type"], error["context_id"], error["status_code"]) == ("error", "a", 400)
        assert reason in error["message"]


@in_virtual_time
async def test_the_fields_of_a_context_stay_the_same() -> None:
    async with CartesiaServer() as server, await opened(server) as client:
        await client.send(json.dumps(REQUEST))
        await client.send(json.dumps(REQUEST | {"model_id": "sonic-2"}))
        assert "must stay the same" in json.loads(await client.recv())["message"]


@in_virtual_time
async def test_times_come_only_if_they_were_asked_for() -> None:
    async with CartesiaServer() as server, await opened(server) as client:
        await client.send(json.dumps(REQUEST | {"continue": False}))
        assert [json.loads(await client.recv())["type"] for _ in range(2)] == ["chunk", "done"]


@in_virtual_time
async def test_a_binary_message_is_refused() -> None:
    async with CartesiaServer() as server, await opened(server) as client:
        await client.send(b"{}")
        assert "binary" in json.loads(await client.recv())["message"]
        with pytest.raises(ConnectionClosed, match="1008"):
            await client.recv()
