from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from mediaserver.testing.gemini import GeminiLiveServer
from mediaserver.testing.gemini.live_server import PATH


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (PATH, {"x-goog-api-key": "wrong"}, 401),
        (f"{PATH}?key=wrong", {}, 401),
        (f"{PATH}?key=a+test+key&speed=2", {}, 400),
        ("/ws/other", {}, 404),
    ],
)
async def test_a_connection_needs_the_key_and_the_address(
    path: str, headers: Any, status: int
) -> None:
    server = GeminiLiveServer()
    async with server.running():
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws{server.base_url[4:]}{path}", additional_headers=headers)
    assert refused.value.response.status_code == status


async def test_the_key_may_be_in_the_address_and_connections_refused_by_a_script() -> None:
    server = GeminiLiveServer(refuse=(503, 1))
    async with server.running():
        url = f"ws{server.base_url[4:]}{PATH}?key=a+test+key"
        with pytest.raises(InvalidStatus, match="503"):
            await connect(url)
        async with connect(url) as socket:
            await socket.send(
                '{"setup":{"model":"models/a","generationConfig":{"responseModalities":["AUDIO"]}}}'
            )
            assert await socket.recv() == b'{"setupComplete":{}}'
            await server.wait_for("setup")
    with pytest.raises(TimeoutError, match="1 of 2 messages 'setup'"):
        await server.wait_for("setup", 2, within=0.1)
