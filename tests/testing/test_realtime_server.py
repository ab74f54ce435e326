import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response

from mediaserver.testing.realtime_answers import RealtimeAnswer
from mediaserver.testing.realtime_server import RealtimeServer


class Server(RealtimeServer):
    """Accepts every message that is JSON."""

    base_path = "/v1"
    refusals: Sequence[Any] = ()

    async def serve_connection(self, connection: ServerConnection) -> None:
        async for message in connection:
            await self.note(json.loads(message))

    def types_of(self, message: dict[str, Any]) -> Sequence[str]:
        return [message["type"]]

    def of_type(self, kind: str) -> list[Any]:
        return [message for message in self.received if message["type"] == kind]

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        status = self.next_refusal()
        return None if status is None else connection.respond(HTTPStatus(status), "no")


async def test_messages_are_noted_and_waited_for() -> None:
    server = Server()
    async with server.running(), connect(f"ws{server.base_url[4:]}") as socket:
        assert server.base_url.endswith("/v1")
        await socket.send('{"type": "hear", "number": 1}')
        await socket.send('{"type": "hear", "number": 2}')
        assert await server.wait_for("hear", 2) == {"type": "hear", "number": 2}
        with pytest.raises(
            TimeoutError, match=r"0 of 1 messages 'say'.*received: hear, hear; refused: nothing"
        ):
            await server.wait_for("say", within=0.01)


async def test_connections_are_refused_by_a_script() -> None:
    server = Server(refuse=(429, 1))
    async with server.running():
        url = f"ws{server.base_url[4:]}"
        with pytest.raises(InvalidStatus, match="429"):
            await connect(url)
        async with connect(url):
            pass
        server.refuse(500)
        with pytest.raises(InvalidStatus, match="500"):
            await connect(url)


def test_a_script_that_is_over_says_nothing() -> None:
    answer = RealtimeAnswer(text="Yes.")
    server = Server(answer, transcripts=["So?"], chunks=[1, 2])
    assert [server.next_answer().text, server.next_answer().text] == ["Yes.", ""]
    assert [server.next_transcript(), server.next_transcript()] == ["So?", ""]
    sizes = server.chunks()
    assert [next(sizes) for _ in range(3)] == [1, 2, 1]
