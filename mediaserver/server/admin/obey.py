"""Carries out commands on the live calls of one process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from websockets.frames import CloseCode

from mediaserver.containment import Containment, only_ended, tell_of_failures
from mediaserver.plivo.errors import NotFoundError
from mediaserver.server.admin.commands import CallCommand, Delivery, unknown_call
from mediaserver.server.admin.traced_calls import TracedCalls
from mediaserver.server.call_control import CloseStream
from mediaserver.server.runtime import RunningCall, Runtime
from mediaserver.stream import CallControlError, Stream


MOST_SAYING: Final = 8
"""Most texts that one call may be saying, or wait to say, for its operator."""

_CLEAR_SECONDS: Final = 0.5
"""Seconds that a handler's `on_clear` is waited for."""

_HUNG_UP: Final = "hung up by an operator"
_TRANSFERRED: Final = "transferred by an operator"


class CallOperator:
    """Carries out commands on the live calls of a process.

    Args:
        runtime: the state of the process.

    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._traced = TracedCalls(runtime)
        # The tasks of the handlers' hooks, by the call.
        self._hooks: dict[RunningCall, set[asyncio.Task[str]]] = {}
        self._watching: set[asyncio.Task[None]] = set()

    async def obey(self, command: CallCommand) -> Delivery:
        """Carry out a command, and return what became of it."""
        if command.action == "trace" and self._traced.knows(command.call):
            if command.process or not self._has_another_stream(command.call):
                return await self._traced.read(command, None)
            self._traced.forget(command.call)
        found = [call for call in self._runtime.calls if is_named(call, command.call)]
        if not found:
            return unknown_call(command.call)
        if len(found) > 1:
            # One of them is enough to end the call, but only one is meant to speak or be silent.
            if command.action in ("say", "clear", "trace"):
                ids = ", ".join(call.stream.stream_id for call in found if call.stream is not None)
                return Delivery(
                    "refused",
                    f"call {command.call} has {len(found)} streams",
                    f"name the one that you mean, by its stream id: {ids}",
                )
            found.sort(key=lambda call: call.state != "live")
        call = found[0]
        if call.state == "ending":
            return Delivery(
                "refused",
                f"the stream of call {call.call_id} has ended ({call.session.end_reason})",
                "it is gone from GET /calls once its handler has returned",
            )
        stream = call.stream
        if stream is None:
            if command.action == "hangup":
                call.close(CloseCode.NORMAL_CLOSURE, _HUNG_UP)
                return Delivery("done", "the stream was closed before its start")
            return Delivery(
                "refused",
                f"the stream of call {call.call_id} has not started",
                "try again in a second",
            )
        if command.action == "trace":
            return await self._traced.read(command, call)
        if command.action == "hangup":
            return await self._hang_up(call, stream)
        if command.action == "transfer":
            return await self._transfer(call, stream, command.url)
        if command.action == "say":
            return await self._say(call, stream, command.text)
        return await self._clear(call, stream)

    def _has_another_stream(self, name: str) -> bool:
        """Tell whether a call whose stream was followed to its end has another one now."""
        return self._traced.has_ended(name) and any(
            call.state == "live" and is_named(call, name) for call in self._runtime.calls
        )

    async def _hang_up(self, call: RunningCall, stream: Stream) -> Delivery:
        try:
            with call.closed_because(_HUNG_UP):
                await stream.hang_up()
        except CallControlError as error:
            return Delivery("failed", str(error), "the call goes on")
        return Delivery("done", "the call was hung up")

    async def _transfer(self, call: RunningCall, stream: Stream, url: str) -> Delivery:
        if isinstance(self._runtime.call_control, CloseStream):
            return Delivery(
                "unable",
                "this server cannot transfer calls: it has no credentials for Plivo's API",
                "set MEDIASERVER_AUTH_ID and MEDIASERVER_AUTH_TOKEN",
            )
        try:
            with call.closed_because(_TRANSFERRED):
                await stream.transfer(url)
        except CallControlError as error:
            if isinstance(error.__cause__, NotFoundError):
                return Delivery("refused", str(error), "Plivo knows no such live call")
            return Delivery("failed", str(error), "the stream goes on")
        return Delivery("done", "the call was transferred")

    async def _say(self, call: RunningCall, stream: Stream, text: str) -> Delivery:
        say = stream.on_say
        if say is None:
            return Delivery(
                "unable",
                f"the handler {call.accepted.route.name} cannot say a text",
                "VoiceAgent and RealtimeAgent can, and so does a handler that overrides on_say",
            )
        if len(self._hooks.get(call, ())) >= MOST_SAYING:
            return Delivery(
                "too_many",
                f"the call has {MOST_SAYING} texts to say already",
                "wait until it has said one, or clear",
            )
        task = self._start(call, stream, partial(say, text), "on_say")
        # Many handlers find out at once that they cannot.
        await asyncio.sleep(0)
        return _result(task, call, "the text was given to the handler, which says it in its turn")

    async def _clear(self, call: RunningCall, stream: Stream) -> Delivery:
        unheard = stream.unheard
        clear = stream.on_clear
        dropped = f"{unheard:.2f} s of audio were taken back"
        if clear is None:
            stream.interrupt()
            return Delivery("done", dropped)
        task = self._start(call, stream, clear, "on_clear")
        await asyncio.wait([task], timeout=_CLEAR_SECONDS)
        return _result(task, call, "the handler is at it", done=dropped)

    def _start(
        self,
        call: RunningCall,
        stream: Stream,
        hook: Callable[[], Awaitable[object]],
        name: str,
    ) -> asyncio.Task[str]:
        """Run a hook of the call's handler, until the handler has returned."""
        loop = asyncio.get_running_loop()
        label = f"call {call.call_id} {call.accepted.route.name} {name}"
        task = loop.create_task(self._run(call, stream, hook), name=label)
        hooks = self._hooks.get(call)
        if hooks is None:
            hooks = self._hooks[call] = set()
            watching = loop.create_task(self._cancel_at_end(call, hooks), name=f"{label} ends")
            self._watching.add(watching)
            watching.add_done_callback(self._watching.discard)
        hooks.add(task)
        task.add_done_callback(hooks.discard)
        return task

    async def _cancel_at_end(self, call: RunningCall, hooks: set[asyncio.Task[str]]) -> None:
        await call.finished()
        del self._hooks[call]
        for task in tuple(hooks):
            task.cancel()

    async def _run(
        self, call: RunningCall, stream: Stream, hook: Callable[[], Awaitable[object]]
    ) -> str:
        """Run a hook; return what went wrong, or an empty text."""
        failed = partial(
            self._runtime.handler_failed, call=call.call_id, handler=call.accepted.route.name
        )
        tell_of_failures(failed)
        try:
            with Containment():
                await hook()
        except Exception as error:
            if only_ended(error, ended=stream.ended):
                return "the stream has ended"
            failed(error)
            return f"the handler raised {type(error).__name__}: {error}"
        return ""


def is_named(call: RunningCall, name: str) -> bool:
    """Tell whether a call, or its stream, has this id."""
    if call.stream is None:
        # A call that is not known yet has no name.
        return name == call.call_id != "?"
    return name in (call.call_id, call.stream.stream_id)


def _result(
    task: asyncio.Task[str], call: RunningCall, begun: str, *, done: str = "the text was said"
) -> Delivery:
    if not task.done():
        return Delivery("begun", begun)
    if task.cancelled():
        return Delivery("refused", f"the stream of call {call.call_id} has ended")
    if wrong := task.result():
        if call.session.ended:
            return Delivery("refused", f"the stream of call {call.call_id} has ended")
        return Delivery("failed", wrong, "the call goes on; the log has the traceback")
    return Delivery("done", done)
