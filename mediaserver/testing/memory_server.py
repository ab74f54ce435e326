"""A server in the event loop of the test, which is reached by pairs of sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from mediaserver.agents.conversing.readiness import asks_services
from mediaserver.call import Clock
from mediaserver.handler import Handler, StreamHandler
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.routes import Route, Routes
from mediaserver.server.connection import StreamConnection
from mediaserver.server.runtime import Runtime
from mediaserver.server.trust.tokens import TOKEN_PARAMETER, Claims, seal
from mediaserver.settings import Settings


class TestRuntime(Runtime):
    """A server's runtime that keeps what its handlers raised."""

    __test__ = False

    errors: list[Exception]

    def __init__(self, settings: Settings, routes: Routes, *, clock: Clock) -> None:
        super().__init__(settings, routes, clock=clock, wall_clock=clock)
        self.errors = []

    def handler_failed(self, error: Exception, **ids: str) -> None:
        """Keep the exception."""
        super().handler_failed(error, **ids)
        self.errors.append(error)


@dataclass(frozen=True, slots=True)
class MemoryServer:
    """A server without a listener.

    Attributes:
        runtime: its state.
        routes: its handlers.

    """

    runtime: TestRuntime
    routes: Routes

    async def connect(self) -> socket.socket:
        """Return a socket that is connected to the server."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(partial(StreamConnection, self.runtime), ours)
        return theirs

    def address(
        self,
        path: str,
        *,
        call_id: str = "",
        caller: str | None = None,
        called: str | None = None,
    ) -> str:
        """Return the URL of a stream, whose token names its call as `/answer` does it."""
        if call_id or caller is not None or called is not None:
            runtime, settings = self.runtime, self.runtime.settings
            until = int(runtime.wall_clock() + settings.token_seconds) + 1
            token = seal(Claims(call_id, caller, called, until), settings.secret.get_secret_value())
            path += f"{'&' if '?' in path else '?'}{TOKEN_PARAMETER}={token}"
        return f"ws://phone.test{path}"

    def answer(self, request: AnswerRequest, path: str) -> None:
        """Take a request of the answer webhook: the handler's `on_answer` runs.

        Raises:
            LookupError: there is no handler at `path` for the number that was dialled.

        """
        route = self.routes.match(path.partition("?")[0], request.called)
        if route is None:
            raise LookupError(f"no handler at {path}")
        self.runtime.answered.add(request)
        self.runtime.prepared.prepare(route, request)


@asynccontextmanager
async def memory_server(
    handler: StreamHandler | type[Handler] | Routes,
    *,
    settings: Settings | None = None,
    within: float = 30.0,
) -> AsyncIterator[MemoryServer]:
    """Serve `handler` within the block, with the code that serves real calls.

    Args:
        handler: the handler, or routes.
        settings: the server's settings; if left out, the defaults, without the environment.
        within: seconds in which the routes' lifespans must open, and close again.

    Raises:
        TimeoutError: they took longer.

    """
    routes = handler if isinstance(handler, Routes) else Routes(Route(handler))
    # The defaults, whatever the environment of the tests says.
    settings = settings or Settings.model_construct()
    runtime = TestRuntime(settings, routes, clock=asyncio.get_running_loop().time)
    asks = asks_services.set(False)
    try:
        async with limited(within, "the server has not started up"):
            await runtime.startup()
    finally:
        asks_services.reset(asks)
    try:
        yield MemoryServer(runtime, routes)
    finally:
        async with limited(within, "the server has not shut down"):
            await runtime.shutdown()


@asynccontextmanager
async def limited(within: float, undone: str) -> AsyncIterator[None]:
    """Have the block end within a time, or say what is undone.

    Raises:
        TimeoutError: it has not ended.

    """
    try:
        async with asyncio.timeout(within) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TimeoutError(f"{undone} within {within:g} s") from error
