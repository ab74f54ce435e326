"""A server of OpenAI's Realtime API on 127.0.0.1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.openai.azure import AzureGate
from mediaserver.testing.openai.realtime.client_events import JsonDict
from mediaserver.testing.openai.realtime.session import ServedSession
from mediaserver.testing.realtime_answers import RealtimeAnswer
from mediaserver.testing.realtime_server import RealtimeServer


class OpenAIRealtimeServer(RealtimeServer):
    """A model that answers by a script.

    Every message of a client is checked with the types of the ``openai`` package and by the rules
    of the API's reference. A message that breaks them is refused with the API's own error.

    Args:
        *answers: as of `RealtimeServer`.
        transcripts: as of `RealtimeServer`.
        chunks: as of `RealtimeServer`.
        refuse: as of `RealtimeServer`.
        events: called with each message of a client that was accepted.
        azure: the resource at Azure that the server is; None is OpenAI's own.

    Attributes:
        base_url: the base URL to give to a client; of a resource at Azure, its endpoint.
        refusals: what was refused: the code and the message.
        sessions: every connection so far.
        paths: the path and the query of each connection.
        open: how many of them are open.
        transcribe: called before a turn is transcribed, if set.

    """

    session_class: ClassVar[type[ServedSession]] = ServedSession

    def __init__(
        self,
        *answers: RealtimeAnswer,
        transcripts: Sequence[str] = (),
        chunks: Sequence[int] = (800, 1, 3333),
        refuse: tuple[int, int] = (503, 0),
        events: Callable[[JsonDict], object] = lambda event: None,
        azure: AzureGate | None = None,
    ) -> None:
        super().__init__(*answers, transcripts=transcripts, chunks=chunks, refuse=refuse)
        self.base_path = "/v1" if azure is None else ""
        self.azure = azure
        if azure is not None:
            self.api_key = azure.api_key
        self.refusals: list[tuple[str | None, str]] = []
        self.sessions: list[ServedSession] = []
        self.paths: list[str] = []
        self.open = 0
        self.transcribe: Callable[[], Awaitable[None]] | None = None
        self._events = events

    def types_of(self, message: dict[str, Any]) -> Sequence[str]:
        """Return the type of a message."""
        return [message["type"]]

    def of_type(self, kind: str) -> list[JsonDict]:
        """Return the accepted messages of one type."""
        return [event for event in self.received if event["type"] == kind]

    async def accepted(self, event: JsonDict) -> None:
        """Note a message of a client."""
        self._events(event)
        await self.note(event)

    async def serve_connection(self, connection: ServerConnection) -> None:
        """Serve one client until it goes."""
        session = self.session_class(self, connection)
        self.sessions.append(session)
        self.open += 1
        try:
            await session.run()
        finally:
            self.open -= 1

    def check_query(self, query: dict[str, list[str]]) -> None:
        """Check the parameters of a connection.

        Raises:
            RefusedError: one is unknown, missing or wrong.

        """
        if not query.get("model"):
            raise RefusedError(400, "You must provide a model parameter.")
        if unknown := sorted(query.keys() - {"model"}):
            raise RefusedError(400, f"unknown query parameters: {', '.join(unknown)}")
        if self.azure is not None:
            self.azure.check_deployment(query["model"][-1])

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        path = url.path
        try:
            if self.azure is not None:
                own = ("model", "intent")
                headers = {name.lower(): value for name, value in request.headers.raw_items()}
                path, _ = self.azure.passes(path, url.query, headers, own=own)
            elif request.headers.get("Authorization") != f"Bearer {self.api_key}":
                raise RefusedError(401, "Incorrect API key provided.")
            if path == "/v1/models":
                return _json(connection, 200, {"object": "list", "data": []})
            if path != "/v1/realtime":
                raise RefusedError(404, f"there is only /v1/realtime, not {path}")
            self.check_query(parse_qs(url.query, keep_blank_values=True))
            if (status := self.next_refusal()) is not None:
                raise RefusedError(status, "The scripted refusal.")
            self.paths.append(request.path)
        except RefusedError as refused:
            kind = "invalid_request_error"
            error = {"message": refused.message, "type": kind, "code": refused.code}
            return _json(connection, refused.status, {"error": error})
        return None


def _json(connection: ServerConnection, status: int, body: JsonDict) -> Response:
    response = connection.respond(HTTPStatus(status), msgspec.json.encode(body).decode())
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response
