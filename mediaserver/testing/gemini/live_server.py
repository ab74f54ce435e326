"""Gemini's Live API on this machine: the model says what a script says.

It waits for a clock only where a test asks it to: an answer is sent as fast as the client takes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from itertools import cycle
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from mediaserver.testing.gemini.live_session import LiveTurns, ServedLive
from mediaserver.testing.gemini.schema import LiveClientMessage
from mediaserver.testing.realtime_answers import RealtimeAnswer


PATH: Final = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"


class GeminiLiveServer:
    """A model that answers by a script.

    Every message of a client is checked against the published types, closed, and by the rules of
    the API's reference. At one that breaks them the connection is closed, as the API does.

    Args:
        *answers: what it says, one for each response; after the last it says nothing.
        transcripts: what it understands the caller to say, one for each turn.
        chunks: the sizes of the pieces of audio, in bytes, over and over.
        refuse: an HTTP status, and how many connections are refused with it.
        playback: whether a turn of the model lasts as long as its speech.
        resumable: whether the session can be resumed.
        quiet: whether an answer that is stopped before it begins ends without a message.

    Attributes:
        base_url: the base URL to give to a client.
        api_key: the key that clients must bring.
        received: the messages of clients that were accepted, as the API has them, oldest first.
        refusals: why messages were refused.
        sessions: every connection so far.
        states: what the model knows, by the handles of sessions that can be resumed.

    """

    def __init__(
        self,
        *answers: RealtimeAnswer,
        transcripts: Sequence[str] = (),
        chunks: Sequence[int] = (800, 1, 3333),
        refuse: tuple[int, int] | None = None,
        playback: bool = False,
        resumable: bool = True,
        quiet: bool = False,
    ) -> None:
        self.base_url = ""
        self.api_key = "a test key"
        self.received: list[dict[str, Any]] = []
        self.refusals: list[str] = []
        self.sessions: list[ServedLive] = []
        self.states: dict[str, LiveTurns] = {}
        self.playback = playback
        self.resumable = resumable
        self.quiet = quiet
        self._answers = iter(answers)
        self._transcripts = iter(transcripts)
        self._chunks = tuple(chunks)
        self._refuse = refuse
        self._arrived = asyncio.Condition()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[GeminiLiveServer]:
        """Serve on a free port of this machine."""
        async with serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._admit,
            max_size=16 * 1024 * 1024,
            compression=None,
            close_timeout=1,
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.base_url = f"http://127.0.0.1:{port}"
            yield self

    def of_kind(self, kind: str) -> list[Any]:
        """Return the accepted messages of a kind, such as ``setup``, ``audio``, ``activityEnd``."""
        messages = [{**each, **each.get("realtimeInput", {})} for each in self.received]
        return [message[kind] for message in messages if kind in message]

    async def wait_for(self, kind: str, count: int = 1, *, within: float = 30.0) -> Any:
        """Wait until `count` messages of a kind have come, and return the last of them.

        Raises:
            TimeoutError: they have not come within `within` seconds.

        """
        try:
            async with asyncio.timeout(within), self._arrived:
                await self._arrived.wait_for(lambda: len(self.of_kind(kind)) >= count)
        except TimeoutError:
            came = ", ".join(name for each in self.received for name in each) or "nothing"
            raise TimeoutError(
                f"{len(self.of_kind(kind))} of {count} messages {kind!r} within {within:g} s; "
                f"received: {came}; refused: {self.refusals or 'nothing'}"
            ) from None
        return self.of_kind(kind)[count - 1]

    def refuse(self, status: int, count: int = 1) -> None:
        """Refuse the next connections with an HTTP status."""
        self._refuse = (status, count)

    def next_answer(self) -> RealtimeAnswer:
        """Return the next answer."""
        return next(self._answers, RealtimeAnswer())

    def next_transcript(self) -> str:
        """Return what the caller is understood to have said."""
        return next(self._transcripts, "")

    def chunks(self) -> Iterator[int]:
        """Return the sizes of the pieces of an answer's audio."""
        return cycle(self._chunks)

    def keep(self, turns: LiveTurns) -> str:
        """Keep what the model knows, and return the handle to resume it with."""
        handle = f"handle-{len(self.states) + 1}"
        self.states[handle] = [*turns]
        return handle

    async def accepted(self, message: LiveClientMessage) -> None:
        """Note a message of a client."""
        self.received.append(msgspec.to_builtins(message))
        async with self._arrived:
            self._arrived.notify_all()

    async def _serve(self, connection: ServerConnection) -> None:
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
        elif self._refuse is not None and self._refuse[1]:
            status, message = self._refuse[0], "The scripted refusal."
            self._refuse = (status, self._refuse[1] - 1)
        else:
            return None
        return connection.respond(HTTPStatus(status), message)
