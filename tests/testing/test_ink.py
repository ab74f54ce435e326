import json
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from mediaserver.testing import in_virtual_time
from mediaserver.testing.ink import InkServer


QUERY = "?model=ink-2&encoding=pcm_mulaw&sample_rate=8000"


async def opened(
    server: InkServer, path: str = "/stt/websocket", query: str = QUERY, **headers: str
) -> ClientConnection:
    headers = {"x-api-key": server.api_key, "cartesia-version": "2026-03-01", **headers}
    return await connect(f"{server.base_url}{path}{query}", additional_headers=headers)


@pytest.mark.parametrize(
    ("path", "query", "status", "reason"),
    [
        ("/stt", QUERY, "404", "there is no /stt"),
        ("/stt/websocket", QUERY + "&modle=ink-2", "400", "unknown parameter 'modle'"),
        ("/stt/websocket", QUERY + "&turn_end_threshold=0.3", "400", "unknown parameter"),
        ("/stt/websocket", QUERY + "&language=en-US", "400", "'language' cannot be"),
        ("/stt/websocket", QUERY + "&model=ink-2", "400", "given 2 times"),
        ("/stt/websocket", "?model=ink-2&encoding=pcm_mulaw", "400", "'sample_rate' is missing"),
        ("/stt/websocket", QUERY + "&keyterm=a" * 101, "400", "too many keyterms"),
        ("/stt/turns/websocket", QUERY + "&language=en", "400", "unknown parameter 'language'"),
        ("/stt/turns/websocket", QUERY.replace("ink-2", "ink-whisper"), "400", "'model'"),
        ("/stt/turns/websocket", QUERY + "&turn_end_threshold=none", "400", "cannot be 'none'"),
        ("/stt/turns/websocket", QUERY + "&turn_end_threshold=0.45", "400", "end < eager_end"),
    ],
)
@in_virtual_time
async def test_a_request_that_is_not_published_is_refused(
    path: str, query: str, status: str, reason: str
) -> None:
    async with InkServer().running() as server:
        with pytest.raises(InvalidStatus, match=status):
            await opened(server, path, query)
        assert reason in server.refusals[0]


@in_virtual_time
async def test_a_wrong_key_or_version_is_refused() -> None:
    async with InkServer().running() as server:
        with pytest.raises(InvalidStatus, match="401"):
            await opened(server, **{"x-api-key": "another"})
        with pytest.raises(InvalidStatus, match="400"):
            await opened(server, **{"cartesia-version": "2020-01-01"})


@pytest.mark.parametrize(
    ("path", "message", "reason"),
    [
        ("/stt/websocket", "done", "must be finalize or close"),
        ("/stt/websocket", '{"type":"close"}', "must be finalize or close"),
        ("/stt/turns/websocket", "close", "not JSON"),
        ("/stt/turns/websocket", '{"type":"finalize"}', "Invalid enum value 'finalize'"),
        ("/stt/turns/websocket", '{"type":"config","trun":{}}', "unknown field `trun`"),
        ("/stt/turns/websocket", '{"type":"close","turn":{}}', "close has no turn"),
    ],
)
@in_virtual_time
async def test_a_message_that_is_not_published_is_refused(
    path: str, message: str, reason: str
) -> None:
    async with InkServer().running() as server:
        client = await opened(server, path)
        await client.send(message)
        told: list[dict[str, Any]] = []
        with suppress(ConnectionClosedError):
            while True:
                told.append(json.loads(await client.recv()))
        assert client.close_code == 1008
        assert told[-1]["type"] == "error"
        assert reason in told[-1]["message"]


@in_virtual_time
async def test_an_encoding_that_it_cannot_hear_is_refused() -> None:
    async with InkServer().running() as server:
        client = await opened(server, query=QUERY.replace("pcm_mulaw", "pcm_f32le"))
        assert "does not hear pcm_f32le" in json.loads(await client.recv())["message"]


@in_virtual_time
async def test_what_was_not_told_is_told_before_the_session_ends() -> None:
    async with InkServer("Yes, please.").running() as server:
        for path, end in (
            ("/stt/websocket", "close"),
            ("/stt/turns/websocket", '{"type":"close"}'),
        ):
            server.texts.extend(["Yes, please."] * (not server.texts))
            client = await opened(server, path)
            await client.send(b"\x00" * 4800)
            await client.send(end)
            told = [json.loads(message) async for message in client]
            said = [each.get("transcript", each.get("text", "")) for each in told]
            assert any(text.startswith("Yes,") for text in said)
        assert server.received == [{"type": "close"}] * 2
