"""Gemini's Live API on this machine: the model says what a script says.

It waits for a clock only where a test asks it to: an answer is sent as fast as the client takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from mediaserver.testing.gemini.live_session import LiveTurns, ServedLive
from mediaserver.testing.gemini.schema import LiveClientMessage
from mediaserver.testing.realtime_answers import RealtimeAnswer
from mediaserver.testing.realtime_server import RealtimeServer


PATH: Final = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"


class GeminiLiveServer(RealtimeServer):
    """A model that answers by a script.

    Every message of a client is checked against the published types, closed, and by the rules of
    the API's reference. At one that breaks them the connection is closed, as the API does.

    Args:
        *answers: as of `RealtimeServer`.
        transcripts: as of `RealtimeServer`.
        chunks: as of `RealtimeServer`.
        refuse: as of `RealtimeServer`.
        playback: whether a turn of the model lasts as long as its speech.
        resumable: whether the session can be resumed.
        quiet: whether an answer that is stopped before it begins ends without a message.
        setup_seconds: seconds that the API takes for the settings. Nothing may be sent meanwhile.

    Attributes:
        refusals: why messages were refused.
        sessions: every connection so far.
        states: what the model knows, by the handles of sessions that can be resumed.

    """

    def __init__(
        self,
        *answers: RealtimeAnswer,
        transcripts: Sequence[str] = (),
        chunks: Sequence[int] = (800, 1, 3333),
        refuse: tuple[int, int] = (503, 0),
        playback: bool = False,
        resumable: bool = True,
        quiet: bool = False,
        setup_seconds: float = 0.0,
    ) -> None:
        super().__init__(*answers, transcripts=transcripts, chunks=chunks, refuse=refuse)
        self.refusals: list[str] = []
        self.sessions: list[ServedLive] = []
        self.states: dict[str, LiveTurns] = {}
        self.playback = playback
        self.resumable = resumable
        self.quiet = quiet
        self.setup_seconds = setup_seconds

    def types_of(self, message: dict[str, Any]) -> Sequence[str]:
        """Return the names of a message's fields, and of those of its ``realtimeInput``."""
        return [*message, *message.get("realtimeInput", ())]

    def of_type(self, kind: str) -> list[Any]:
        """Return what a field of accepted messages held: ``setup``, ``audio``, ``activityEnd``."""
        messages = [{**each, **each.get("realtimeInput", {})} for each in self.received]
        return [message[kind] for message in messages if kind in message]

    def keep(self, turns: LiveTurns) -> str:
        """Keep what the model knows, and return the handle to resume it with."""
        handle = f"handle-{len(self.states) + 1}"
        self.states[handle] = [*turns]
        return handle

    async def accepted(self, message: LiveClientMessage) -> None:
        """Note a message of a client."""
        await self.note(msgspec.to_builtins(message))

    async def serve_connection(self, connection: ServerConnection) -> None:
        """Serve one client until it goes."""
        session = ServedLive(self, connection)
        self.sessions.append(session)
        await session.run()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        query = dict(parse_qsl(url.query))
        key = request.headers.get("x-goog-api-key") or query.pop("key", None)
        if url.path != PATH:
            status, message = 404, f"there is only {PATH}"
        elif query:
            status, message = 400, f"unknown query parameters: {', '.join(query)}"
        elif key != self.api_key:
            status, message = 401, "API key not valid. Please pass a valid API key."
        elif (refused := self.next_refusal()) is not None:
            status, message = refused, "The scripted refusal."
        else:
            return None
        return connection.respond(HTTPStatus(status), message)
