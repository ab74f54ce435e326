import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mediaserver.testing import in_virtual_time
from mediaserver.testing.sarvam import SaarasServer


QUERY = "?language_code=hi-IN&endpointing=manual&encoding=mulaw&sample_rate=8000"


async def opened(
    server: SaarasServer, query: str = QUERY, *, path: str = "/speech-to-text-realtime/ws"
) -> ClientConnection:
    headers = {"api-subscription-key": server.api_key}
    return await connect(f"{server.base_url}{path}{query}", additional_headers=headers)


async def rejected(client: ClientConnection) -> tuple[dict[str, Any], int]:
    """Return the error that is told, and the close code."""
    error: dict[str, Any] = {}
    with suppress(ConnectionClosed):
        while True:
            error = json.loads(await client.recv())
    assert client.close_code is not None
    return error, client.close_code


@in_virtual_time
async def test_another_path_is_refused() -> None:
    async with SaarasServer().running() as server:
        with pytest.raises(InvalidStatus, match="404"):
            await opened(server, path="/speech-to-text/ws")
        assert server.refusals == ["Not Found"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("&kyeterms=a", "unknown parameter 'kyeterms'"),
        ("&mode=summarize", "'mode' cannot be 'summarize'"),
    ],
)
@in_virtual_time
async def test_a_parameter_that_is_not_published_is_refused(change: str, reason: str) -> None:
    async with SaarasServer().running() as server:
        error, code = await rejected(await opened(server, QUERY + change))
        assert (error["event"], error["is_fatal"], error["status_code"], code) == (
            "error",
            True,
            400,
            4000,
        )
        assert reason in error["message"]


@pytest.mark.parametrize(
    "query", [QUERY.replace("mulaw", "linear32"), QUERY.replace("manual", "vad")]
)
@in_virtual_time
async def test_what_it_cannot_do_is_refused(query: str) -> None:
    async with SaarasServer().running() as server:
        error, _ = await rejected(await opened(server, query))
        assert "this server" in error["message"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('{"event":"audio_input","audoi":""}', "unknown field `audoi`"),
        ('{"event":"audio_input","audio":"//8="}', "must take turns"),
        ('{"event":"speech_end"}', "must take turns"),
        ('{"event":"finish"}', "Invalid value 'finish'"),
        ('{"event":"ping","times":2}', "unknown field `times`"),
        ("{", "not JSON"),
        (b"\xff", "a binary message"),
    ],
)
@in_virtual_time
async def test_a_message_that_is_not_published_is_refused(message: Any, reason: str) -> None:
    async with SaarasServer().running() as server:
        client = await opened(server)
        await client.send(message)
        error, code = await rejected(client)
        assert reason in error["message"]
        assert code == 4000
        assert server.refusals == [error["message"]]


@in_virtual_time
async def test_a_connection_on_which_nothing_comes_is_closed_after_a_minute() -> None:
    async with SaarasServer().running() as server:
        began = asyncio.get_running_loop().time()
        ended, code = await rejected(await opened(server))
        assert (ended["event"], code) == ("session.end", 1008)
        assert asyncio.get_running_loop().time() - began == pytest.approx(60)


@in_virtual_time
async def test_settings_can_be_changed_and_words_flushed() -> None:
    async with SaarasServer(final_after=0.0).running() as server:
        client = await opened(server)
        for message in (
            {"event": "config.update", "mode": "verbatim"},
            {"event": "speech_start"},
            {"event": "flush"},
            {"event": "speech_end"},
        ):
            await client.send(json.dumps(message))
        told = [json.loads(await client.recv()) for _ in range(4)]
        assert told[0]["config"]["turn_detection"] == "manual"
        assert told[1:] == [
            {"event": "config.updated", "applied": ["mode"]},
            {"event": "transcript.final", "utterance_idx": 0, "text": ""},
            {"event": "transcript.final", "utterance_idx": 1, "text": ""},
        ]
        await client.close()
