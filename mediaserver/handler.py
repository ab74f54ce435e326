"""Handlers: the application's code for a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from mediaserver.call import (
    Checkpoint,
    Control,
    Frame,
    Interrupt,
    Reconnected,
    StreamReport,
    StreamStatus,
    Turn,
)
from mediaserver.containment import Containment, leaves, only_ended
from mediaserver.protocol import Dtmf, StreamError
from mediaserver.stream import Stream


if TYPE_CHECKING:
    from mediaserver.plivo.callbacks import AnswerRequest
    from mediaserver.plivo.stream_options import StreamOptions

StreamHandler = Callable[[Stream], Awaitable[object]]
"""The simplest handler: takes a stream, and returns when it has finished with it."""

Lifespan = Callable[[], AbstractAsyncContextManager[Any]]
"""Entered once per worker; what it yields is ``stream.shared`` of every call."""


_MAX_REACTIONS = 100
"""Most hooks for keys, checkpoints and other events that run at the same time in one call."""


class HandlerError(ValueError):
    """The name does not exist, the object is not a handler, or the route is invalid."""


@runtime_checkable
class Served(Protocol):
    """A handler that prepares a worker for its calls, as the classes of handlers do."""

    def serving(
        self, settings: Mapping[str, Any], /
    ) -> AbstractAsyncContextManager[Mapping[str, str] | None]:
        """Prepare a worker: see `Handler.serving`."""


class Handler:
    """A handler with hooks. Subclass it and override the hooks that you need.

    Each call gets an instance, so a call's state belongs on ``self``. Hooks do not block each
    other: `on_start` runs in a task, `on_audio` in another, one frame at a time, and each other
    event gets a task for its hook, started in the order of arrival. An exception in a hook ends the
    call.
    """

    stream: Stream
    """The call's stream, set before `on_start` runs."""

    lifespan: ClassVar[Lifespan | None] = None
    """Entered once per worker; what it yields is ``self.stream.shared``."""

    @classmethod
    @asynccontextmanager
    async def serving(cls, settings: Mapping[str, Any]) -> AsyncIterator[Mapping[str, str] | None]:
        """Prepare a worker for calls of this handler, and clean up when the worker stops.

        Meant for handlers that others subclass; applications use `lifespan`, which opens before
        this and closes after it. It is entered once for each route. If it raises, the worker does
        not start. It may yield a mapping that says why the worker is not ready for calls, for as
        long as it is not empty. Override it with ``@classmethod`` and ``@asynccontextmanager``, and
        enter that of ``super()`` in it.

        Args:
            settings: the route's settings.

        """
        yield None

    def check_at_start(self) -> None:
        """Check what can be known before a call, such as whether files exist.

        Meant for handlers that others subclass. When a worker starts, it makes an instance with the
        route's settings, calls this, and drops the instance.

        Raises:
            ValueError: something is wrong. The message has a line for each thing.

        """

    async def on_answer(self, answer: AnswerRequest, shared: Any) -> StreamOptions | None:
        """This server has answered the call, and its stream will connect: get ready.

        ``self.stream`` does not exist yet, and `on_start` does not wait for this hook. An exception
        is logged and counted, and the call continues. If the stream does not connect, this hook is
        cancelled, and `on_stop` is called with the reason.

        It may return how the call is to be streamed, where that differs from the route. If it has
        to await something before, declare it with ``-> StreamOptions``: the answer to Plivo then
        waits for it, for at most the setting ``answer_timeout``.

        Args:
            answer: Plivo's answer request, with all that it says about the call.
            shared: what will be ``self.stream.shared``.

        """
        return None

    async def on_start(self) -> None:
        """The stream has started."""

    async def on_audio(self, frame: Frame) -> None:
        """A frame of audio came, usually 20 ms of the caller."""

    async def on_dtmf(self, digit: str) -> None:
        """The caller pressed a key: one of ``0-9*#A-D``.

        Keys of the other party, on a stream with the outbound track, are in ``stream.events()``
        and ``stream.controls()`` only.
        """

    async def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        """A checkpoint set by ``self.stream.checkpoint(name)`` was heard or cleared."""

    async def on_interrupt(self, interrupt: Interrupt) -> None:
        """Playback was interrupted."""

    async def on_error(self, error: StreamError) -> None:
        """Plivo could not carry out a command."""

    async def on_reconnect(self, reconnected: Reconnected) -> None:
        """The stream was lost and is back: the call goes on, with the same `stream`."""

    async def on_status(self, status: StreamStatus) -> None:
        """Plivo reported on the stream; it does so if the setting ``status_callbacks`` is on."""

    async def on_turn(self, turn: Turn) -> None:
        """An agent has reported a turn of the conversation."""

    async def on_say(self, text: str) -> None:
        """Whoever operates the server wants the caller to hear `text`: say it.

        The admin listener calls it (``POST /calls/{id}/say``), and tells the operator that this
        handler cannot say anything if the class does not override it. An exception is logged and
        counted, and the call continues. It is cancelled when the handler has returned.
        """

    async def on_clear(self) -> None:
        """Whoever operates the server wants you to fall silent: drop what was not heard.

        The admin listener calls it (``POST /calls/{id}/clear``). What it raises is treated as in
        `on_say`.
        """
        self.stream.interrupt()

    async def on_end(self) -> None:
        """The stream has ended, and `on_audio` has received all of its audio.

        Meant for handlers that others subclass, to finish what they started; applications use
        `on_stop`, which runs after this has returned.
        """

    async def on_stop(self, reason: str) -> None:
        """The stream has ended, and nothing more can be played."""

    async def on_ended(self, report: StreamReport) -> None:
        """The call is over: do what may take its time, such as a summary, an entry or an upload.

        It runs after `on_stop` in a task of its own, whatever ended the call, and is given
        ``after_call_seconds`` (a setting). A server that is asked to stop waits for it. It is not
        called if the stream never came.

        Args:
            report: what is known of the stream, with its turns and its recording.

        """

    async def __call__(self, stream: Stream) -> None:
        """Run the hooks until the stream ends."""
        self.stream = stream
        if type(self).on_ended is not Handler.on_ended:
            stream.after_call(self.on_ended)
        if type(self).on_say is not Handler.on_say:
            stream.on_say = self.on_say
        if type(self).on_clear is not Handler.on_clear:
            stream.on_clear = self.on_clear
        failure: BaseException | None = None
        try:
            await self._run_hooks(stream)
        except BaseExceptionGroup as group:
            # The first is the one that ended the task group.
            failure = next(leaves(group))
            # It refers to the group, and each exception to the frames of its own traceback: taken
            # apart, they are freed with the call.
            group.__traceback__ = None
        finally:
            # They refer back to this object.
            stream.on_say = stream.on_clear = None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure

    async def _run_hooks(self, stream: Stream) -> None:
        task = asyncio.current_task()
        assert task is not None, "a handler runs in a task"
        call = task.get_name()
        async with asyncio.TaskGroup() as hooks:

            def run(name: str, hook: Awaitable[None]) -> asyncio.Task[None]:
                # Named after the call's task, so that reports of a blocked loop name the call.
                return hooks.create_task(self._until_end(hook), name=f"{call} {name}")

            run("on_start", self.on_start())
            hearing: asyncio.Task[None] | None = None
            if type(self).on_audio is Handler.on_audio:
                stream.ignore_audio()
            else:
                hearing = run("on_audio", self._hear())
            reactions: set[asyncio.Task[None]] = set()
            async for event in stream.controls():
                reaction = run(type(event).__name__, self._react(event))
                reactions.add(reaction)
                reaction.add_done_callback(reactions.discard)
                if len(reactions) >= _MAX_REACTIONS:
                    # Further events wait in the inbox.
                    await asyncio.wait(reactions, return_when=asyncio.FIRST_COMPLETED)
            if hearing is not None:
                # on_audio gets all audio from before the end before on_stop runs.
                await asyncio.wait([hearing])
            else:
                await self._until_end(self.on_end())
            run("on_stop", self.on_stop(stream.end_reason))

    async def _hear(self) -> None:
        try:
            async for frame in self.stream.audio():
                await self.on_audio(frame)
        except Exception as error:
            if not only_ended(error, ended=self.stream.ended):
                raise
        await self.on_end()

    async def _react(self, event: Control) -> None:
        if isinstance(event, Dtmf):
            if event.track == "inbound":
                await self.on_dtmf(event.digit)
        elif isinstance(event, Checkpoint):
            await self.on_checkpoint(event)
        elif isinstance(event, Interrupt):
            await self.on_interrupt(event)
        elif isinstance(event, Reconnected):
            await self.on_reconnect(event)
        elif isinstance(event, StreamStatus):
            await self.on_status(event)
        elif isinstance(event, Turn):
            await self.on_turn(event)
        else:
            await self.on_error(event)

    async def _until_end(self, hook: Awaitable[None]) -> None:
        try:
            with Containment():
                await hook
        except Exception as error:
            if not only_ended(error, ended=self.stream.ended):
                raise
