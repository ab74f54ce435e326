from typing import Any

import pytest

from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.openai.client import OpenAIClient
from mediaserver.agents.services.openai.realtime_connection import RealtimeConnection
from mediaserver.testing.openai.realtime import OpenAIRealtimeServer


QUERY = {"model": "any"}
UPDATE = {"type": "session.update", "session": {"type": "realtime"}}


def client_of(server: OpenAIRealtimeServer, **settings: Any) -> OpenAIClient:
    return OpenAIClient(
        "test", **{"base_url": server.base_url, "api_key": server.api_key} | settings
    )


async def test_it_is_set_up_and_stays_open_after_the_block() -> None:
    server = OpenAIRealtimeServer()
    async with server.running():
        client = client_of(server)
        async with RealtimeConnection.opened(client, "any", QUERY, within=1.0) as connection:
            await connection.send(UPDATE)
            await connection.agreed()
        await connection.append(b"")
        await connection.append(b"\xff" * 10)
        event = await server.wait_for("input_audio_buffer.append")
        assert event["audio"] == "/////////////w=="
        assert len(server.received) == 2
        await connection.close()
        await connection.close()
        await client.close()


async def set_up(client: OpenAIClient, update: dict[str, Any]) -> None:
    async with RealtimeConnection.opened(client, "any", QUERY, within=0.5) as connection:
        await connection.send(update)
        await connection.agreed()


async def test_what_the_api_refuses_is_told_and_the_connection_closed() -> None:
    server = OpenAIRealtimeServer()
    wrong = {"type": "session.update", "session": {"type": "realtime", "moood": 1}}
    async with server.running():
        client = client_of(server)
        with pytest.raises(ServiceError, match=r"test: Unknown parameter: 'session\.moood'"):
            await set_up(client, wrong)
        await client.close()
    assert server.open == 0


async def test_a_lost_connection_is_raised_by_receive_alone() -> None:
    server = OpenAIRealtimeServer()
    async with server.running():
        client = client_of(server)
        async with RealtimeConnection.opened(client, "any", QUERY, within=1.0) as connection:
            await connection.receive()
        await server.sessions[0].drop()
        with pytest.raises(ServiceError, match="test: the connection was lost"):
            await connection.receive()
        await connection.send(UPDATE)
        await connection.append(b"\xff")
        await client.close()


@pytest.mark.parametrize(
    ("settings", "query", "reason"),
    [
        ({"api_key": "wrong"}, QUERY, "refused with 401: Incorrect API key provided"),
        ({}, {"model": "any", "modle": "x"}, "refused with 400: unknown query parameters: modle"),
        ({"base_url": "http://127.0.0.1:9/v1"}, QUERY, "cannot connect to http://127.0.0.1:9"),
    ],
)
async def test_a_connection_that_cannot_be_had_is_told(
    settings: dict[str, str], query: dict[str, str], reason: str
) -> None:
    server = OpenAIRealtimeServer()
    async with server.running():
        client = client_of(server, **settings)
        with pytest.raises(ServiceError, match=reason):
            async with RealtimeConnection.opened(client, "any", query, within=1.0):
                pass
        await client.close()


async def test_a_set_up_has_a_time_limit() -> None:
    server = OpenAIRealtimeServer()
    async with server.running():
        client = client_of(server)
        with pytest.raises(ServiceError, match=r"no session within 0\.5 s"):
            await set_up(client, {"type": "input_audio_buffer.clear"})
        await client.close()
