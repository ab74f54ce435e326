"""A server of OpenAI's Realtime API on 127.0.0.1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

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

    Attributes:
        refusals: what was refused: the code and the message.
        sessions: every connection so far.
        open: how many of them are open.
        transcribe: called before a turn is transcribed, if set.

    """

    base_path: ClassVar[str] = "/v1"
    session_class: ClassVar[type[ServedSession]] = ServedSession

    def __init__(
        self,
        *answers: RealtimeAnswer,
        transcripts: Sequence[str] = (),
        chunks: Sequence[int] = (800, 1, 3333),
        refuse: tuple[int, int] = (503, 0),
        events: Callable[[JsonDict], object] = lambda event: None,
    ) -> None:
        super().__init__(*answers, transcripts=transcripts, chunks=chunks, refuse=refuse)
        self.refusals: list[tuple[str | None, str]] = []
        self.sessions: list[ServedSession] = []
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

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        if url.path != "/v1/realtime":
            return connection.respond(HTTPStatus.NOT_FOUND, "there is only /v1/realtime\n")
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            status, message = 401, "Incorrect API key provided."
        elif not parse_qs(url.query).get("model"):
            status, message = 400, "You must provide a model parameter."
        elif (refused := self.next_refusal()) is not None:
            status, message = refused, "The scripted refusal."
        else:
            return None
        body = {"error": {"message": message, "type": "invalid_request_error", "code": None}}
        return connection.respond(HTTPStatus(status), msgspec.json.encode(body).decode())
