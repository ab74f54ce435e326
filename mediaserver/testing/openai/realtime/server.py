"""A server of OpenAI's Realtime API on 127.0.0.1.

It never waits for a clock: an answer is sent as fast as the client takes it, unless its script has
it wait for an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from itertools import cycle
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from mediaserver.testing.openai.realtime.client_events import JsonDict
from mediaserver.testing.openai.realtime.session import ServedSession
from mediaserver.testing.realtime_answers import RealtimeAnswer


class OpenAIRealtimeServer:
    """A model that answers by a script.

    Every message of a client is checked with the types of the ``openai`` package and by the rules
    of the API's reference. A message that breaks them is refused with the API's own error.

    Args:
        *answers: what it says, one for each response; after the last it says nothing.
        transcripts: what it understands the caller to say, one for each turn.
        chunks: the sizes of the pieces of audio, in bytes, over and over.
        refuse: an HTTP status, and how many connections are refused with it.
        events: called with each message of a client that was accepted.

    Attributes:
        base_url: the base URL to give to a client.
        received: the messages of clients that were accepted, oldest first.
        refusals: what was refused: the code and the message.
        sessions: every connection so far.
        open: how many of them are open.
        transcribe: called before a turn is transcribed, if set.

    """

    session_class: ClassVar[type[ServedSession]] = ServedSession

    def __init__(
        self,
        *answers: RealtimeAnswer,
        transcripts: Sequence[str] = (),
        chunks: Sequence[int] = (800, 1, 3333),
        refuse: tuple[int, int] | None = None,
        events: Callable[[JsonDict], object] = lambda event: None,
    ) -> None:
        self.base_url = ""
        self.received: list[JsonDict] = []
        self.refusals: list[tuple[str | None, str]] = []
        self.sessions: list[ServedSession] = []
        self.open = 0
        self.transcribe: Callable[[], Awaitable[None]] | None = None
        self.api_key = "a test key"
        self._answers = iter(answers)
        self._transcripts = iter(transcripts)
        self._chunks = tuple(chunks)
        self._refuse = refuse
        self._events = events
        self._arrived = asyncio.Condition()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[OpenAIRealtimeServer]:
        """Serve on a free port of this machine."""
        async with serve(
            self.serve_connection,
            "127.0.0.1",
            0,
            process_request=self._admit,
            max_size=16 * 1024 * 1024,
            compression=None,
            close_timeout=1,
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.base_url = f"http://127.0.0.1:{port}/v1"
            yield self

    def of_type(self, kind: str) -> list[JsonDict]:
        """Return the accepted messages of one type."""
        return [event for event in self.received if event["type"] == kind]

    async def wait_for(self, kind: str, count: int = 1, *, within: float = 30.0) -> JsonDict:
        """Wait until `count` messages of one type have come, and return the last of them.

        Raises:
            TimeoutError: they have not come within `within` seconds.

        """
        try:
            async with asyncio.timeout(within), self._arrived:
                await self._arrived.wait_for(lambda: len(self.of_type(kind)) >= count)
        except TimeoutError:
            came = ", ".join(event["type"] for event in self.received) or "nothing"
            raise TimeoutError(
                f"{len(self.of_type(kind))} of {count} messages {kind!r} within {within:g} s; "
                f"received: {came}; refused: {self.refusals or 'nothing'}"
            ) from None
        return self.of_type(kind)[count - 1]

    def next_answer(self) -> RealtimeAnswer:
        """Return the next answer."""
        return next(self._answers, RealtimeAnswer())

    def next_transcript(self) -> str:
        """Return what the caller is understood to have said."""
        return next(self._transcripts, "")

    def chunks(self) -> Iterator[int]:
        """Return the sizes of the pieces of an answer's audio."""
        return cycle(self._chunks)

    async def accepted(self, event: JsonDict) -> None:
        """Note a message of a client."""
        self.received.append(event)
        self._events(event)
        async with self._arrived:
            self._arrived.notify_all()

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
        elif self._refuse is not None and self._refuse[1]:
            status, message = self._refuse[0], "The scripted refusal."
            self._refuse = (status, self._refuse[1] - 1)
        else:
            return None
        body = {"error": {"message": message, "type": "invalid_request_error", "code": None}}
        return connection.respond(HTTPStatus(status), msgspec.json.encode(body).decode())
