import asyncio
import json

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from mediaserver.testing import in_virtual_time
from mediaserver.testing.deepgram import DeepgramServer


async def connected(
    server: DeepgramServer, address: str, key: str = "a test key"
) -> ClientConnection:
    headers = {"authorization": f"Token {key}"}
    return await connect(server.base_url + address, additional_headers=headers, compression=None)


@in_virtual_time
async def test_a_connection_without_the_key_is_refused() -> None:
    async with DeepgramServer().running() as server:
        with pytest.raises(InvalidStatus, match="401"):
            await connected(server, "/v1/listen?model=nova-3", key="another")
        assert server.refusals == ["Invalid credentials."]


@in_virtual_time
async def test_a_connection_without_audio_is_closed_after_ten_seconds() -> None:
    async with DeepgramServer().running() as server:
        client = await connected(server, "/v1/listen?model=nova-3")
        began = asyncio.get_running_loop().time()
        with pytest.raises(ConnectionClosedError, match="NET-0001"):
            await client.recv()
        assert asyncio.get_running_loop().time() - began == pytest.approx(10)


@in_virtual_time
async def test_audio_for_a_voice_is_refused() -> None:
    async with DeepgramServer().running() as server:
        client = await connected(server, "/v1/speak?model=aura-2-thalia-en")
        assert json.loads(await client.recv())["type"] == "Metadata"
        await client.send(b"\xff" * 160)
        with pytest.raises(ConnectionClosedError, match="a voice takes no audio"):
            await client.recv()


@in_virtual_time
async def test_an_encoding_that_it_cannot_hear_is_refused() -> None:
    async with DeepgramServer().running() as server:
        address = "/v1/listen?model=nova-3&encoding=opus&sample_rate=8000"
        client = await connected(server, address)
        with pytest.raises(ConnectionClosedError, match="does not hear opus"):
            await client.recv()
