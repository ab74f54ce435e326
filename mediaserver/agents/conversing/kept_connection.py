"""The session of a call with a service: opened, and let go of when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Generic, Protocol, TypeVar

from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.agents.conversing.served import broken
from mediaserver.agents.services import ServiceError
from mediaserver.call import StreamEndedError


class Closable(Protocol):
    """Something that is closed when it is not needed any more."""

    async def close(self) -> None:
        """Close it. Does nothing if it is closed."""


S = TypeVar("S", bound=Closable)
E = TypeVar("E")

_RETRY_DELAYS: Final = (0.25, 1.0)
"""Seconds before the second and before the third, last attempt to connect."""

HOPELESS: Final = frozenset({400, 401, 403, 404})
"""HTTP statuses after which another attempt would end the same."""


class KeptConnection(Generic[S]):
    """Holds the session of one call.

    Args:
        service: the name under which a failure is counted if the service does not name itself.
        connect: makes one attempt to open a session.
        opened: told of each session that was opened.
        lost: told of the error when a session was lost; not called once the call has ended.
        ended: tells whether the call has ended.

    Attributes:
        current: the session, or None if there is none now.
        tasks: the tasks of the call, once its stream has started.

    """

    def __init__(
        self,
        service: str,
        connect: Callable[[], Awaitable[S]],
        *,
        opened: Callable[[S], object],
        lost: Callable[[ServiceError], object],
        ended: Callable[[], bool],
    ) -> None:
        self.current: S | None = None
        self.tasks: CallTasks | None = None
        self._service = service
        self._attempt = connect
        self._opened = opened
        self._lost = lost
        self._ended = ended
        self._lock = asyncio.Lock()
        self._refusal: ServiceError | None = None

    async def ready(self) -> S:
        """Return the session, opening one if there is none.

        Raises:
            ServiceError: no session could be opened.
            StreamEndedError: the call has ended.

        """
        waits = self._lock.locked()
        async with self._lock:
            if self.current is not None:
                return self.current
            if waits and self._refusal is not None:
                raise self._refusal  # all attempts were made while this one waited
            return await self._open()

    async def renew(self) -> None:
        """Replace the session by a new one, which is open before the old one is closed.

        Raises:
            ServiceError: no session could be opened; the old one is kept.
            StreamEndedError: the call has ended.

        """
        async with self._lock:
            former = self.current
            await self._open()
            if former is not None:
                self.let_go(former)

    async def do(self, session: S, work: Awaitable[None]) -> None:
        """Have a session do something. If it fails, the session is lost."""
        try:
            await work
        except ServiceError as error:
            self.lose(session, error)
        except Exception as error:
            self.lose(session, broken(self._service, error))

    async def follow(
        self, session: S, events: AsyncIterator[E], take: Callable[[E], Awaitable[None]]
    ) -> None:
        """Take the events of a session until it ends, which is its loss, or is replaced.

        What a session still tells when it is closed counts from its own beginning, not from that of
        the session in its place, which is told the same again.
        """
        while True:
            try:
                event = await anext(events)
            except StopAsyncIteration:
                lost = ServiceError(self._service, "the session has ended")
            except ServiceError as error:
                lost = error
            except Exception as error:
                lost = broken(self._service, error)
            else:
                if session is not self.current:
                    return
                await take(event)
                continue
            self.lose(session, lost)
            return

    def lose(self, session: S, error: ServiceError) -> None:
        """Let go of a session that was lost, if it is the current one and the call goes on."""
        if session is not self.current or self._ended():
            return
        self.current = None
        self.let_go(session)
        self._lost(error)

    def let_go(self, session: S) -> None:
        """Close a session in a task of the call."""
        if self.tasks is not None:
            self.tasks.start(self._close(session), "closes a session", finishes=True)

    async def close(self) -> None:
        """Close the session, if there is one."""
        session, self.current = self.current, None
        if session is not None:
            await self._close(session)

    async def _open(self) -> S:
        session = await self._connect()
        if self._ended():
            await self._close(session)
            raise StreamEndedError("the stream has ended: no session was opened")
        self.current = session
        self._opened(session)
        return session

    async def _connect(self) -> S:
        self._refusal = None
        for delay in (*_RETRY_DELAYS, None):
            if self._ended():
                break
            try:
                return await self._attempt()
            except ServiceError as error:
                self._refusal = error
            except Exception as error:
                self._refusal = broken(self._service, error)
            if delay is None or self._refusal.status in HOPELESS:
                raise self._refusal
            await asyncio.sleep(delay)
        raise StreamEndedError("the stream has ended: no session was opened")

    async def _close(self, session: S) -> None:
        try:
            await session.close()
        except Exception as error:
            broken(self._service, error)
