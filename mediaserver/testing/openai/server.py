"""OpenAI's HTTP services on this machine: chat completions, transcriptions and speech.

The server says what a test tells it to say::

    async with OpenAIServer() as openai:
        openai.chat.will(says("Good ", "morning."), fails(429, retry_after=0.1))
        model = OpenAIChat("any", base_url=openai.base_url)

A request for which nothing is scripted gets a reply that works.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Self

import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from mediaserver.testing.openai.chat import says
from mediaserver.testing.openai.replies import (
    At,
    Disconnect,
    HttpReply,
    Received,
    ScriptedReply,
    fails,
)
from mediaserver.testing.openai.requests import (
    Dialect,
    RefusedError,
    check_chat,
    check_speech,
    read_form,
    read_json,
)
from mediaserver.testing.openai.speech import hums
from mediaserver.testing.openai.transcription import hears


_CHAT: Final = "/v1/chat/completions"
_TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"
_SPEECH: Final = "/v1/audio/speech"


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


class OpenAIServer:
    """A server of OpenAI's protocol on 127.0.0.1, as an async context manager.

    Args:
        api_key: the key that requests must bring; None accepts requests with any key, or without
            one.
        models: the names of the models that it has; None has every model.
        dialect: ``"groq"`` takes what Groq's speech endpoint takes: mu-law, and a sample rate.
        port: where to listen; 0 is any free port.

    Attributes:
        chat, transcription, speech: the endpoints.
        refused: why requests were refused, oldest first.
        opened: the number of connections over which requests came.

    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        models: Sequence[str] | None = None,
        dialect: Dialect = "openai",
        port: int = 0,
    ) -> None:
        self.chat = Endpoint(says("Good morning. ", "How can I help?"))
        self.transcription = Endpoint(hears("Good morning."))
        self.speech = Endpoint(hums)
        self.refused: list[str] = []
        self._api_key = api_key
        self._models = models
        self._dialect: Dialect = dialect
        self._port = port
        self._clients: set[int] = set()
        self._state = ServerState()

    @property
    def base_url(self) -> str:
        """The base URL to give to clients."""
        return f"http://127.0.0.1:{self._port}/v1"

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
        try:
            reply = self._reply(request, body)
        except RefusedError as refused:
            self.refused.append(refused.message)
            reply = fails(refused.status, refused.message, code=refused.code)
        sending = asyncio.create_task(_send_reply(reply, send, came))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            gone.cancel()
            await asyncio.wait((sending, gone))

    def _reply(self, request: Request, body: bytes) -> HttpReply:
        assert request.client is not None, "a TCP connection has a peer"
        client, path = request.client.port, request.url.path
        headers = dict(request.headers)
        self._clients.add(client)
        if request.method == "HEAD":
            return HttpReply([b""], status=404)
        if self._api_key is not None and headers.get("authorization") != f"Bearer {self._api_key}":
            raise RefusedError(401, "Incorrect API key provided.", "invalid_api_key")
        if request.method == "GET" and path.startswith("/v1/models"):
            return self._list_models(path.removeprefix("/v1/models").removeprefix("/"))
        if request.method != "POST":
            raise RefusedError(405, f"{request.method} is not allowed")
        if path == _CHAT:
            params = check_chat(read_json(body))
            return self.chat.reply(Received(params, b"", headers, client))
        if path == _SPEECH:
            params = check_speech(read_json(body), self._dialect)
            return self.speech.reply(Received(params, b"", headers, client))
        if path == _TRANSCRIPTIONS:
            params, file = read_form(headers.get("content-type", ""), body)
            return self.transcription.reply(Received(params, file, headers, client))
        raise RefusedError(404, f"there is no {path}")

    def _list_models(self, name: str) -> HttpReply:
        if not name:
            listed = [{"id": each, "object": "model"} for each in self._models or ()]
            return HttpReply([json.dumps({"object": "list", "data": listed}).encode()])
        if self._models is not None and name not in self._models:
            return fails(404, f"The model '{name}' does not exist", code="model_not_found")
        return HttpReply([json.dumps({"id": name, "object": "model"}).encode()])


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
