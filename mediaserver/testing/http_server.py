"""An HTTP server on this machine whose replies a test sets, down to their bytes and pauses."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Self

import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from mediaserver.testing.replies import At, Disconnect, HttpReply, Received, ScriptedReply


class RefusedError(ValueError):
    """A request that the service would refuse.

    Attributes:
        status: the HTTP status.
        message: what is wrong.
        code: the service's code for it, if it has one.

    """

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


class Endpoint:
    """One endpoint: what it will reply, and what it received.

    Attributes:
        received: the requests that were accepted, oldest first.
        answer: its reply if none was set with `will`.

    """

    def __init__(self, answer: ScriptedReply) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self._ordered: deque[ScriptedReply] = deque()

    def will(self, *answers: ScriptedReply) -> None:
        """Set the replies to the next requests, one each."""
        self._ordered.extend(answers)

    def reply(self, request: Received) -> HttpReply:
        """Keep a request, and return the reply to it."""
        self.received.append(request)
        answer = self._ordered.popleft() if self._ordered else self.answer
        return answer if isinstance(answer, HttpReply) else answer(request)


class ScriptedServer:
    """A server on 127.0.0.1, as an async context manager. Subclasses say what it replies.

    Args:
        port: where to listen; 0 is any free port.

    Attributes:
        refused: why requests were refused, oldest first.
        opened: the number of connections over which requests came.

    """

    def __init__(self, *, port: int = 0) -> None:
        self.refused: list[str] = []
        self._port = port
        self._clients: set[int] = set()
        self._state = ServerState()

    def reply(self, request: Request, body: bytes, client: int) -> HttpReply:
        """Return the reply to a request from the port `client`.

        Raises:
            RefusedError: the service would refuse the request.

        """
        raise NotImplementedError

    def refusal(self, refused: RefusedError) -> HttpReply:
        """Return the service's reply to a request that it refuses."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        """The host and the port."""
        return f"127.0.0.1:{self._port}"

    @property
    def opened(self) -> int:
        """The number of connections over which requests came."""
        return len(self._clients)

    async def __aenter__(self) -> Self:
        config = uvicorn.Config(self, log_config=None, log_level="critical", lifespan="off")
        config.load()
        protocol: Any = config.http_protocol_class
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: protocol(config=config, server_state=self._state, app_state={}),
            host="127.0.0.1",
            port=self._port,
        )
        self._port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._state.tasks:
            task.cancel()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)
        for connection in list(self._state.connections):
            connection.shutdown()
        await self._listener.wait_closed()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the server is an ASGI application too."""
        came = time.monotonic()
        request = Request(scope, receive)
        body = await request.body()
        assert request.client is not None, "a TCP connection has a peer"
        self._clients.add(request.client.port)
        try:
            reply = self.reply(request, body, request.client.port)
        except RefusedError as refused:
            self.refused.append(refused.message)
            reply = self.refusal(refused)
        sending = asyncio.create_task(_send_reply(reply, send, came))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            gone.cancel()
            await asyncio.wait((sending, gone))


async def _send_reply(reply: HttpReply, send: Send, came: float) -> None:
    named = {"content-type": reply.content_type, **reply.headers}
    headers = [(name.encode(), value.encode()) for name, value in named.items() if value]
    start = {"type": "http.response.start", "status": reply.status, "headers": headers}
    started = False
    for piece in reply.body:
        if isinstance(piece, At):
            await asyncio.sleep(came + piece.seconds - time.monotonic())
        elif isinstance(piece, Disconnect):
            return  # uvicorn closes the connection of a response without an end
        elif isinstance(piece, bytes):
            if not started:
                await send(start)
                started = True
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        else:
            await piece.wait()
    if not started:
        await send(start)
    await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
