import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mediaserver.testing import in_virtual_time
from mediaserver.testing.cartesia import CartesiaServer
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.services import Timing
from mediaserver.testing.voice_server import ServedWord, VoiceFault, decode_closed, pieces


def test_odd_pieces_end_within_a_sample() -> None:
    audio = bytes(range(12))
    assert pieces(audio, odd=False) == [audio]
    first, second = pieces(audio, odd=True)
    assert len(first) % 2 == 1
    assert first + second == audio


def test_what_is_no_json_or_of_another_type_is_refused() -> None:
    assert decode_closed("[1, 2]", list[int]) == [1, 2]
    with pytest.raises(RefusedError, match="not JSON"):
        decode_closed("[", list[int])
    with pytest.raises(RefusedError, match="invalid message: Expected `int`"):
        decode_closed('["one"]', list[int])
    assert ServedWord("Yes.", b"", 0.0, 0.24).text == "Yes."


REQUEST: dict[str, Any] = {
    "model_id": "sonic-3",
    "voice": "anna",
    "output_format": {"container": "raw", "encoding": "pcm_mulaw", "sample_rate": 8000},
    "context_id": "a",
    "transcript": "One two three",
}


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[CartesiaServer, ClientConnection]]:
    async with CartesiaServer(**options) as server:
        url = f"{server.base_url}/tts/websocket?cartesia_version=2026-03-01&api_key=key"
        async with connect(url) as client:
            yield server, client


async def kinds(client: ClientConnection) -> list[str]:
    kinds: list[str] = []
    while "done" not in kinds:
        kinds.append(json.loads(await client.recv())["type"])
    return kinds


@in_virtual_time
async def test_words_come_when_they_are_due() -> None:
    loop = asyncio.get_running_loop()
    async with opened(timing=Timing(0.5, 0.2)) as (server, client):
        asked = loop.time()
        await client.send(json.dumps(REQUEST))
        await client.recv()
        assert loop.time() - asked == pytest.approx(0.5)
        assert await kinds(client) == ["chunk", "chunk", "done"]
        assert loop.time() - asked == pytest.approx(0.9)
        assert server.sessions[0].received == [REQUEST]


@in_virtual_time
async def test_what_is_cancelled_is_not_spoken() -> None:
    async with opened(timing=Timing(0.5, 0.2)) as (_, client):
        await client.send(json.dumps(REQUEST))
        await client.recv()
        await client.send(json.dumps({"context_id": "a", "cancel": True}))
        assert await kinds(client) == ["done"]


@pytest.mark.parametrize("kind", ["disconnect", "limit"])
@in_virtual_time
async def test_a_connection_ends_after_so_many_words_and_the_next_does_not(kind: Any) -> None:
    async with opened(fault=VoiceFault(kind, after=1)) as (server, client):
        await client.send(json.dumps(REQUEST))
        assert json.loads(await client.recv())["type"] == "chunk"
        with pytest.raises(ConnectionClosed):
            await client.recv()
        url = f"{server.base_url}/tts/websocket?cartesia_version=2026-03-01&api_key=key"
        async with connect(url) as following:
            await following.send(json.dumps(REQUEST))
            assert await kinds(following) == ["chunk", "chunk", "chunk", "done"]


@in_virtual_time
async def test_a_stalled_connection_says_nothing_and_a_malformed_one_no_json() -> None:
    async with opened(fault=VoiceFault("stall")) as (_, client):
        await client.send(json.dumps(REQUEST))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 60)
    async with opened(fault=VoiceFault("malformed")) as (_, client):
        await client.send(json.dumps(REQUEST))
        with pytest.raises(json.JSONDecodeError):
            json.loads(await client.recv())


@in_virtual_time
async def test_connections_are_refused_as_often_as_the_test_says() -> None:
    async with opened() as (server, client):
        server.refuse(429)
        url = f"{server.base_url}/tts/websocket?cartesia_version=2026-03-01&api_key=key"
        with pytest.raises(InvalidStatus, match="429"):
            await connect(url)
        async with connect(url):
            pass
        server.sessions[0].drop()
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert server.refused == ["refused by the test"]
