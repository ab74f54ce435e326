"""A server of the page that says what a test tells it to say."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from mediaserver.pages import PAGES
from mediaserver.server.admin.quiet_refusals import QuietRefusals


POLICY = (
    "default-src 'self'; connect-src 'self' ws:; img-src 'self' data: blob:; media-src 'self' blob:"
)


class Feed:
    """Lines for one reader after the other, until it is closed."""

    def __init__(self, lines: list[dict[str, Any]], *, goes_on: bool) -> None:
        self.lines = lines
        self.goes_on = goes_on
        self.changed = asyncio.Event()

    async def read(self) -> AsyncIterator[str]:
        """Yield the lines, and those that come."""
        taken = 0
        while True:
            self.changed.clear()
            for line in self.lines[taken:]:
                yield json.dumps(line) + "\n"
            taken = len(self.lines)
            if not self.goes_on:
                return
            await self.changed.wait()


class FakeServer:
    """Serves the page, calls, traces and a phone, in a thread.

    Attributes:
        offers: what ``page.json`` says.
        calls: the live calls.
        past: the past calls.
        page: how many of them are found at once.
        away: whether none can be found now.
        token: what it wants; None for nothing.
        asked: what the page has asked the phone for.
        frames: the audio that the phone was given.
        frames_before: for each of `asked`, how many frames came before it.
        recording: the file with the audio of every past call.
        heard: the calls whose traces were asked for with audio.
        queries: the parameters of each search of past calls.
        starts: how often the agent was to start again.
        watching: how many pages are being told of the agent.

    """

    def __init__(self) -> None:
        self.offers = {
            "mode": "dev",
            "title": "my_agent:Agent",
            "phone": True,
            "audio": True,
            "past": False,
        }
        self.calls: list[dict[str, Any]] = []
        self.past: list[dict[str, Any]] = []
        self.page = 50
        self.away = False
        self.recording = b""
        self.token: str | None = None
        self.asked: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self.frames_before: list[int] = []
        self.queries: list[dict[str, str]] = []
        self.heard: list[str] = []
        self.starts = 0
        self.watching = 0
        self._feeds: dict[str, Feed] = {}
        self._audio: dict[str, Feed] = {}
        self._refused: dict[str, Response] = {}
        self._agent = Feed([{"what": "agent", "state": "ready", "problem": ""}], goes_on=True)
        self._phone: WebSocket | None = None
        self._has_phone = asyncio.Event()
        self._answers = asyncio.Event()
        self._answers.set()
        self._loop = asyncio.new_event_loop()
        app: ASGIApp = Starlette(
            routes=[
                Route("/page.json", self._offer),
                Route("/agent", self._tell_agent),
                Route("/agent/start", self._start, methods=["POST"]),
                Route("/calls", self._list),
                Route("/calls/{id}", self._show),
                Route("/calls/{id}/trace", self._trace),
                Route("/past", self._search),
                Route("/past/{id}/trace", self._trace),
                Route("/past/{id}/recording", self._play),
                WebSocketRoute("/phone", self._serve_phone),
                Mount("/", StaticFiles(directory=PAGES, html=True)),
            ]
        )
        app = QuietRefusals(_guarded(app))
        config = uvicorn.Config(
            app, port=0, log_level="error", ws="websockets-sansio", lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "FakeServer":
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            assert self._thread.is_alive(), "the server did not start"
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._server.serve())
        self._loop.close()

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self._server.servers[0].sockets[0].getsockname()[:2]
        return f"http://{host}:{port}/"

    # What tests say.

    def call(self, call_id: str, *lines: dict[str, Any], live: bool = True, **details: Any) -> None:
        """Have a call, whose trace has these lines so far."""
        self._feeds[call_id] = Feed(list(lines), goes_on=live)
        numbers = {"caller": "+14155550100", "called": "+14155550199"}
        entry = {"call_id": call_id, "id": call_id, "handler": "Agent", **numbers, **details}
        if live:
            form = "audio/x-mulaw;rate=8000"
            self.calls.append(
                {"stream_id": f"s{call_id}", "state": "live", "format": form, **entry}
            )
        else:
            self.past.append({"began": "2027-01-15T08:00:00Z", "seconds": 9.5, **entry})

    def audio(self, call_id: str, *lines: dict[str, Any], live: bool = True) -> None:
        """Have other lines for whoever asks for audio."""
        self._audio[call_id] = Feed(list(lines), goes_on=live)

    def tell(self, call_id: str, *lines: dict[str, Any]) -> None:
        """Add lines to a trace."""
        self._add(self._feeds[call_id], *lines)

    def refuse(self, call_id: str, status: int, error: str, hint: str) -> None:
        """Refuse to tell the trace of a call."""
        self._refused[call_id] = JSONResponse({"error": error, "hint": hint}, status)

    def end(self, call_id: str) -> None:
        """End a trace."""
        self.calls = [call for call in self.calls if call["call_id"] != call_id]
        self.cut(call_id)

    def cut(self, call_id: str) -> None:
        """End a trace, though its call goes on."""
        self._feeds[call_id].goes_on = False
        self._add(self._feeds[call_id])

    def goes_on(self, call_id: str) -> None:
        """Keep a trace open from now on."""
        self._feeds[call_id].goes_on = True

    def break_off(self) -> None:
        """Close all connections, whatever is still to be told."""

        def close() -> None:
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()

        self._loop.call_soon_threadsafe(close)

    def fall_silent(self) -> None:
        """Tell nobody which calls there are, until `answer_again`."""
        self._loop.call_soon_threadsafe(self._answers.clear)

    def answer_again(self) -> None:
        """Tell it to those who have waited for it as well."""
        self._loop.call_soon_threadsafe(self._answers.set)

    def agent(self, state: str, problem: str = "") -> None:
        """Tell the state of the agent."""
        self._add(self._agent, {"what": "agent", "state": state, "problem": problem})

    def ring(self, **told: Any) -> None:
        """Have the phone tell something."""
        self._send(json.dumps(told))

    def speak(self, frame: bytes) -> None:
        """Have the phone be heard."""
        self._send(frame)

    def drop(self) -> None:
        """Have the phone lose its connection."""

        async def drop() -> None:
            assert self._phone is not None
            await self._phone.close()

        asyncio.run_coroutine_threadsafe(drop(), self._loop).result(10)

    def _add(self, feed: Feed, *lines: dict[str, Any]) -> None:
        def add() -> None:
            feed.lines.extend(lines)
            feed.changed.set()

        self._loop.call_soon_threadsafe(add)

    def _send(self, message: str | bytes) -> None:
        async def send() -> None:
            await self._has_phone.wait()
            assert self._phone is not None
            if isinstance(message, str):
                await self._phone.send_text(message)
            else:
                await self._phone.send_bytes(message)

        asyncio.run_coroutine_threadsafe(send(), self._loop).result(10)

    # What the page asks for.

    def _refusal(self, request: Request) -> Response | None:
        if self.token in (None, request.headers.get("authorization", "").removeprefix("Bearer ")):
            return None
        return JSONResponse({"error": "a token is needed", "hint": "send it"}, 401)

    async def _offer(self, request: Request) -> Response:
        return JSONResponse({"token": True} if self._refusal(request) else self.offers)

    async def _tell_agent(self, request: Request) -> Response:
        async def told() -> AsyncIterator[str]:
            self.watching += 1
            try:
                async for line in self._agent.read():
                    yield line
            finally:
                self.watching -= 1

        return StreamingResponse(told(), media_type="application/x-ndjson")

    async def _start(self, request: Request) -> Response:
        self.starts += 1
        return Response(status_code=202)

    async def _list(self, request: Request) -> Response:
        async with asyncio.timeout(20):
            await self._answers.wait()
        return self._refusal(request) or JSONResponse({"calls": self.calls, "next": None})

    async def _show(self, request: Request) -> Response:
        found = [each for each in self.calls if each["call_id"] == request.path_params["id"]]
        if not found:
            return JSONResponse({"error": "there is no such call", "hint": "it is over"}, 404)
        return self._refusal(request) or JSONResponse(found[0])

    async def _trace(self, request: Request) -> Response:
        call_id = request.path_params["id"]
        if call_id in self._refused:
            return self._refused[call_id]
        if call_id not in self._feeds:
            return JSONResponse({"error": "there is no such call", "hint": "it is over"}, 404)
        feed = self._feeds[call_id]
        if request.query_params.get("audio") == "1":
            self.heard.append(call_id)
            feed = self._audio.get(call_id, feed)
        return StreamingResponse(feed.read(), media_type="application/x-ndjson")

    async def _search(self, request: Request) -> Response:
        self.queries.append(dict(request.query_params))
        if self.away:
            return JSONResponse({"error": "the database is away", "hint": "try again"}, 503)
        first = int(request.query_params.get("after", 0))
        last = first + self.page
        more = str(last) if len(self.past) > last else None
        return JSONResponse({"calls": self.past[first:last], "next": more})

    async def _play(self, request: Request) -> Response:
        return Response(self.recording, media_type="audio/wav")

    async def _serve_phone(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self._phone = websocket
        await websocket.send_json({"what": "ready", "noises": ["street", "hum"], "troubles": {}})
        self._has_phone.set()
        try:
            while True:
                message: Message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if message.get("text"):
                    self.frames_before.append(len(self.frames))
                    self.asked.append(json.loads(message["text"]))
                else:
                    self.frames.append(message["bytes"])
        except WebSocketDisconnect:
            return


def _guarded(app: ASGIApp) -> ASGIApp:
    """Send the page's security policy with each answer."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"content-security-policy", POLICY.encode()))
            await send(message)

        await app(scope, receive, sending if scope["type"] == "http" else send)

    return guarded
