"""A phone joined to a handler, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from mediaserver.handler import Handler, StreamHandler
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.routes import Routes
from mediaserver.sandbox import CallEnded, CallFailed, Phone
from mediaserver.sandbox.wire.messages import StreamIdentity
from mediaserver.server.server_call import ServerCall
from mediaserver.settings import Settings
from mediaserver.stream import Stream
from mediaserver.testing.memory_server import TestRuntime, limited, memory_server
from mediaserver.testing.tasks import standing


@dataclass(frozen=True, slots=True)
class JoinedCall:
    """Both ends of a call.

    Attributes:
        phone: the caller's end.
        runtime: the server's end.

    """

    phone: Phone
    runtime: TestRuntime

    @property
    def call(self) -> ServerCall:
        """The server's side of the call.

        Raises:
            LookupError: if there is no call, or it has ended and its handler returned.

        """
        for call in self.runtime.calls:
            assert isinstance(call, ServerCall)
            return call
        raise LookupError("there is no live call on this line")

    @property
    def stream(self) -> Stream:
        """The stream, as the handler has it.

        Raises:
            LookupError: if there is no call, or its ``start`` has not arrived yet.

        """
        stream = self.call.stream
        if stream is None:
            raise LookupError("the stream has not started yet")
        return stream

    @property
    def has_begun(self) -> bool:
        """Whether the stream has started, or the call has ended already."""
        return self.phone.ended or any(call.stream is not None for call in self.runtime.calls)

    async def hang_up(self, *, within: float = 30.0) -> None:
        """Have the caller hang up, and wait until the handler has returned too.

        Args:
            within: seconds of the call's own time in which the handler must return. The server
                cancels it after `Settings.grace`.

        Raises:
            TimeoutError: it has not returned. The message has the line that it waits at.

        """
        await self.phone.hang_up()
        until = asyncio.get_running_loop().time() + within
        while self.runtime.calls:
            await asyncio.sleep(0.02)
            if asyncio.get_running_loop().time() > until:
                name = f"call {self.call.call_id} "
                tasks = [each for each in asyncio.all_tasks() if each.get_name().startswith(name)]
                raise TimeoutError(
                    f"the handler has not returned within {within:g} s after the caller hung up: "
                    + "; ".join(map(standing, tasks))
                )


@asynccontextmanager
async def joined(
    handler: StreamHandler | type[Handler] | Routes,
    *,
    settings: Settings | None = None,
    path: str = "/stream",
    caller: str | None = None,
    called: str | None = None,
    answer: AnswerRequest | None = None,
    start: bool = True,
    raises: bool = True,
    within: float = 30.0,
    **phone: Any,
) -> AsyncIterator[JoinedCall]:
    """Call `handler` with a phone that is joined to it by a pair of sockets.

    The code that serves real calls runs, from the WebSocket's bytes on. In `run_virtual` a call
    takes no real time. When the block is left, the caller hangs up and the handler returns.

    Args:
        handler: the handler, or routes.
        settings: the server's settings; if left out, the defaults, without the environment.
        path: the path of the stream URL, with a query if need be.
        caller: the caller's number, as from the answer webhook.
        called: the number that was dialled, likewise.
        answer: what the answer webhook received, for a call that came by it: the handler's
            `on_answer` runs, and the call has its numbers. The call id is the phone's.
        start: whether the call is made at once; if not, call ``line.phone.start()``.
        raises: whether an exception in the handler is raised when the block is left.
            ``line.runtime.errors`` has every exception.
        within: seconds of the call's own time in which the stream must start; and, on leaving, the
            handler must return and the routes' lifespans must close.
        **phone: arguments of `Phone`.

    Raises:
        CallFailed: the server refuses the call.
        TimeoutError: something took longer than `within`. The message says what, and where it
            stands.

    """
    if answer is not None:
        caller, called = answer.caller, answer.called
        answer = replace(answer, call_id=phone.setdefault("identity", StreamIdentity.new()).call_id)
    async with memory_server(handler, settings=settings, within=within) as server:
        call_id = "" if answer is None else answer.call_id
        url = server.address(path, call_id=call_id or "", caller=caller, called=called)
        sock = await server.connect()
        if answer is not None:
            server.answer(answer, path)
        line = JoinedCall(
            Phone(url, sock=sock, another_sock=server.connect, **phone), server.runtime
        )
        try:
            if start:
                async with limited(within, "the stream has not started"):
                    await line.phone.start()
                    await _begun(line)
            yield line
        except CallEnded:
            if raises and server.runtime.errors:
                # The call ended under the test because the handler failed.
                raise server.runtime.errors[0] from None
            raise
        finally:
            if line.phone.started:
                await line.hang_up(within=within)
            else:
                sock.close()
            await server.runtime.after_calls.finish()
    if raises and server.runtime.errors:
        raise server.runtime.errors[0]


async def _begun(line: JoinedCall) -> None:
    turns = 0
    while not (line.phone.misbehaviour.no_start or line.has_begun):
        turns += 1
        # It takes a few turns of the loop, in which no time passes.
        await asyncio.sleep(0 if turns < 1000 else 0.02)


__all__ = ["CallFailed", "JoinedCall", "TestRuntime", "joined"]
