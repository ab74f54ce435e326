"""The session of a call with a realtime model: opened, and replaced when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.agents.conversing.conversation import Conversation
from mediaserver.agents.conversing.served import broken
from mediaserver.agents.services import (
    Message,
    RealtimeEvent,
    RealtimeModel,
    RealtimeSession,
    ServiceError,
    ToolSpec,
    Updatable,
)
from mediaserver.call import StreamEndedError


REALTIME_MODEL: Final = "realtime_model"
"""The name under which a failure is counted if the model does not name itself."""

_RETRY_DELAYS: Final = (0.25, 1.0)
"""Seconds before the second and before the third, last attempt to connect."""

_HOPELESS: Final = frozenset({400, 401, 403, 404})
"""HTTP statuses after which another attempt would end the same."""


class KeptSession:
    """Holds the session of one call.

    Args:
        model: opens sessions.
        conversation: what a session is told when it is opened.
        instructions: returns the prompt and the tools as they are now.
        take: takes what the model says and does, once the stream has started.
        lost: told of the error when a session was lost; not called once the call has ended.
        connecting: called before each attempt to connect.
        ended: tells whether the call has ended.

    Attributes:
        current: the session, or None if there is none now.
        takes_turns: whether the model's side takes the turns, as the latest session said.

    """

    def __init__(
        self,
        model: RealtimeModel,
        conversation: Conversation,
        instructions: Callable[[], tuple[str, Sequence[ToolSpec]]],
        *,
        take: Callable[[RealtimeEvent], Awaitable[None]],
        lost: Callable[[ServiceError], None],
        connecting: Callable[[], None],
        ended: Callable[[], bool],
    ) -> None:
        self.current: RealtimeSession | None = None
        self.takes_turns = False
        self._model = model
        self._conversation = conversation
        self._instructions = instructions
        self._take = take
        self._lost = lost
        self._connecting = connecting
        self._ended = ended
        self._lock = asyncio.Lock()
        self._refusal: ServiceError | None = None
        # From the start of the stream on.
        self._tasks: CallTasks | None = None
        # What the current session was opened with, and told since.
        self._format: AudioFormat = MULAW_8K
        self._told: tuple[str, Sequence[ToolSpec]] = ("", ())
        self._messages: list[Message] = []

    async def prepare(self, format: AudioFormat) -> None:
        """Open a session before the stream has started, for the `format` that it will likely have.

        Raises:
            ServiceError: no session could be opened.
            StreamEndedError: the call has ended.

        """
        if self._tasks is None:
            self._format = format
            await self._connected()

    async def open(self, tasks: CallTasks, format: AudioFormat) -> None:
        """Begin to take what the model says, as the stream has started in `format`.

        A session that was opened for another format, or with another conversation, is replaced;
        one that was opened for another prompt as well, if it cannot be updated.

        Raises:
            ServiceError: no session could be opened.
            StreamEndedError: the call has ended.

        """
        async with self._lock:
            self._tasks = tasks
            session = self.current
            fits = (
                self._format is format
                and self._messages == self._conversation.messages
                and (not self._has_changed or isinstance(session, Updatable))
            )
            self._format = format
            if session is not None and fits:
                tasks.start(self._follow(session), "hears the model")
            elif session is not None:
                self.current = None
                tasks.start(_let_go(session), "closes a session", finishes=True)
        await self.ready()

    async def ready(self) -> RealtimeSession:
        """Return the session, opening one if there is none, with the prompt and tools of now.

        Raises:
            ServiceError: no session could be opened.
            StreamEndedError: the call has ended.

        """
        session = await self._connected()
        updatable: object = session
        if session is self.current and self._has_changed and isinstance(updatable, Updatable):
            prompt, tools = self._told = self._instructions()
            await self.do(session, updatable.update(prompt=prompt, tools=tools))
        return session

    async def do(self, session: RealtimeSession, work: Awaitable[None]) -> None:
        """Have a session do something. If it fails, the session is lost."""
        try:
            await work
        except ServiceError as error:
            self._replace(session, error)
        except Exception as error:
            self._replace(session, broken(REALTIME_MODEL, error))

    async def close(self) -> None:
        """Close the session, if there is one."""
        session, self.current = self.current, None
        if session is not None:
            await _let_go(session)

    @property
    def _has_changed(self) -> bool:
        """Whether the prompt or the tools have changed since the session was told them."""
        return self._told != self._instructions()

    async def _connected(self) -> RealtimeSession:
        waits = self._lock.locked()
        async with self._lock:
            if self.current is not None:
                return self.current
            if waits and self._refusal is not None:
                raise self._refusal  # all attempts were made while this one waited
            session = await self._connect()
            if self._ended():
                await _let_go(session)
                raise StreamEndedError("the stream has ended: no session was opened")
            self.current = session
            self.takes_turns = session.takes_turns
            if self._tasks is not None:
                self._tasks.start(self._follow(session), "hears the model")
            return session

    async def _connect(self) -> RealtimeSession:
        self._refusal = None
        for delay in (*_RETRY_DELAYS, None):
            if self._ended():
                break
            self._connecting()
            prompt, tools = self._told = self._instructions()
            self._messages = self._conversation.messages
            try:
                return await self._model.connect(
                    prompt=prompt,
                    tools=tools,
                    format=self._format,
                    conversation=self._messages,
                )
            except ServiceError as error:
                self._refusal = error
            except Exception as error:
                self._refusal = broken(REALTIME_MODEL, error)
            if delay is None or self._refusal.status in _HOPELESS:
                raise self._refusal
            await asyncio.sleep(delay)
        raise StreamEndedError("the stream has ended: no session was opened")

    async def _follow(self, session: RealtimeSession) -> None:
        """Take what the model says, until the session ends."""
        events = aiter(session.events())
        while True:
            try:
                event = await anext(events)
            except StopAsyncIteration:
                lost = ServiceError(REALTIME_MODEL, "the session has ended")
            except ServiceError as error:
                lost = error
            except Exception as error:
                lost = broken(REALTIME_MODEL, error)
            else:
                await self._take(event)
                continue
            self._replace(session, lost)
            return

    def _replace(self, session: RealtimeSession, lost: ServiceError) -> None:
        if session is not self.current or self._ended():
            return
        self.current = None
        if self._tasks is not None:
            self._tasks.start(_let_go(session), "closes a session", finishes=True)
        self._lost(lost)


async def _let_go(session: RealtimeSession) -> None:
    try:
        await session.close()
    except Exception as error:
        broken(REALTIME_MODEL, error)
