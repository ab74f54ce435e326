"""What a handler subclasses, and how calls find their handler."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

from mediaserver.call import (
    Checkpoint,
    Control,
    Frame,
    Interrupt,
    StreamEndedError,
    StreamStatus,
    Turn,
)
from mediaserver.protocol import Dtmf, StreamError
from mediaserver.stream import Stream, contained_exit


if TYPE_CHECKING:
    from mediaserver.plivo.callbacks import AnswerRequest

StreamHandler = Callable[[Stream], Awaitable[object]]
"""The primitive: takes a stream, and returns when it is done with it."""

Lifespan = Callable[[], AbstractAsyncContextManager[Any]]
"""Opened once per worker; what it yields is every call's ``stream.shared``."""


MAX_REACTIONS = 100
"""Hooks for keys, checkpoints and the like that run at once in one call."""


class HandlerError(ValueError):
    """A handler cannot be found, or is none."""


class Handler:
    """A handler with hooks. Subclass it and write those you need.

    There is one instance per call, so a call's state belongs on ``self``. Hooks do not hold each
    other up: `on_start` runs beside the rest; `on_audio` takes one frame at a time; every other
    event gets a task of its own, started in the order of arrival. An exception in any of them ends
    the call.
    """

    stream: Stream
    """The call's stream, there before the first hook runs."""

    lifespan: ClassVar[Lifespan | None] = None
    """Opened once per worker; what it yields is ``self.stream.shared``."""

    @classmethod
    @asynccontextmanager
    async def serving(cls, settings: Mapping[str, Any]) -> AsyncIterator[None]:
        """Get a worker ready for calls of this handler, and tidy up when it stops.

        For those who write handlers for others to use; applications have `lifespan`, which is open
        longer. It is entered once for each route. A worker where it raises does not start. Write it
        with ``@classmethod`` and ``@asynccontextmanager``, around that of ``super()``.

        Args:
            settings: the route's.

        """
        yield

    async def on_answer(self, answer: AnswerRequest, shared: Any) -> None:
        """The call was answered by this server, and its stream will come: get ready.

        There is no ``self.stream`` yet, and `on_start` does not wait for this. An exception is
        logged and counted, and the call goes on. If the stream does not come, this is cancelled,
        and `on_stop` says so.

        Args:
            answer: all that Plivo told of the call.
            shared: what will be ``self.stream.shared``.

        """

    async def on_start(self) -> None:
        """The stream has started."""

    async def on_audio(self, frame: Frame) -> None:
        """Audio came: usually 20 ms of the caller."""

    async def on_dtmf(self, digit: str) -> None:
        """A key was pressed: one of ``0-9*#A-D``."""

    async def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        """A checkpoint that ``self.stream.checkpoint(name)`` set was heard, or was cleared."""

    async def on_interrupt(self, interrupt: Interrupt) -> None:
        """Playback was interrupted."""

    async def on_error(self, error: StreamError) -> None:
        """Plivo could not do what it was asked to."""

    async def on_status(self, status: StreamStatus) -> None:
        """Plivo reported on the stream, where it was asked to."""

    async def on_turn(self, turn: Turn) -> None:
        """An agent has reported a turn of the conversation."""

    async def on_stop(self, reason: str) -> None:
        """The stream has ended; nothing can be played any more."""

    async def __call__(self, stream: Stream) -> None:
        """Run the hooks until the stream ends."""
        self.stream = stream
        task = asyncio.current_task()
        assert task is not None, "a handler runs in a task"
        call = task.get_name()
        try:
            async with asyncio.TaskGroup() as hooks:

                def run(name: str, hook: Awaitable[None]) -> asyncio.Task[None]:
                    # Named as the call's own task is, for whoever looks at what blocks the loop.
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
                    if len(reactions) >= MAX_REACTIONS:
                        # The others wait in the inbox, which has a limit of its own.
                        await asyncio.wait(reactions, return_when=asyncio.FIRST_COMPLETED)
                if hearing is not None:
                    # What came before the end is heard before it.
                    await asyncio.wait([hearing])
                run("on_stop", self.on_stop(stream.end_reason))
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _hear(self) -> None:
        async for frame in self.stream.audio():
            await self.on_audio(frame)

    async def _react(self, event: Control) -> None:
        if isinstance(event, Dtmf):
            await self.on_dtmf(event.digit)
        elif isinstance(event, Checkpoint):
            await self.on_checkpoint(event)
        elif isinstance(event, Interrupt):
            await self.on_interrupt(event)
        elif isinstance(event, StreamStatus):
            await self.on_status(event)
        elif isinstance(event, Turn):
            await self.on_turn(event)
        else:
            await self.on_error(event)

    async def _until_end(self, hook: Awaitable[None]) -> None:
        with contained_exit():
            try:
                await hook
            except (StreamEndedError, StopAsyncIteration):
                pass


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the exception that ended a task group; the others only follow from it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


@dataclass(frozen=True, slots=True)
class Route:
    """Where calls go: a handler, by the path of the stream URL or by the number dialled.

    Args:
        handler: an async function that takes a `Stream`, or a `Handler` subclass.
        path: the path of the stream URL.
        number: the dialled number; its punctuation does not matter. None takes all numbers.
        settings: keyword arguments for the handler, of this route's own.

    Raises:
        HandlerError: if `handler` is none, or `path` does not begin with a slash.

    """

    handler: StreamHandler | type[Handler]
    path: str = "/stream"
    number: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise HandlerError(f"a route's path begins with a slash: {self.path!r} does not")
        if self.number is not None and not _digits(self.number):
            raise HandlerError(f"a route's number has digits: {self.number!r} has none")
        check_handler(self.handler)

    @property
    def name(self) -> str:
        """The handler's name, for logs."""
        return getattr(self.handler, "__qualname__", type(self.handler).__qualname__)

    def prepare(self) -> Handler | None:
        """Return an instance of the handler for a call whose stream is yet to come.

        None if the handler has no use for it: only a class with an `on_answer` of its own has.
        """
        handler: object = self.handler
        if not isinstance(handler, type) or not issubclass(handler, Handler):
            return None
        if handler.on_answer is Handler.on_answer:
            return None
        return handler(**self.settings)

    async def run(self, stream: Stream) -> None:
        """Run the handler on `stream`, a new instance of it if it is a class."""
        if isinstance(self.handler, type):
            await self.handler(**self.settings)(stream)
        else:
            await self.handler(stream, **self.settings)


class Routes:
    """Which handler takes which call.

    Args:
        *routes: tried in order; one with a number comes before one without.
        lifespan: opened once per worker; what it yields is ``stream.shared`` for every route whose
            handler has no lifespan of its own.

    """

    def __init__(self, *routes: Route, lifespan: Lifespan | None = None) -> None:
        if not routes:
            raise HandlerError("there must be at least one route")
        seen: set[tuple[str, str | None]] = set()
        for route in routes:
            key = (route.path.rstrip("/"), None if route.number is None else _digits(route.number))
            if key in seen:
                number = f" and the number {route.number}" if route.number else ""
                raise HandlerError(f"two routes have the path {route.path}{number}")
            seen.add(key)
        self.routes = routes
        self._lifespan = lifespan
        self._shared: dict[int, Any] = {}

    @classmethod
    def load(cls, *specs: str, path: str = "/stream") -> Routes:
        """Make routes from what stands on a command line.

        Args:
            *specs: ``package.module:Name``; or with a path or a number before it, as in
                ``/sales=shop.calls:Sales`` and ``+14155550100=shop.calls:Support``.
                A name may also stand for a `Routes` object.
            path: the path of specs that name none.

        Raises:
            HandlerError: saying what is wrong with which spec.

        """
        routes: list[Route] = []
        for spec in specs:
            condition, _, name = spec.rpartition("=")
            target = load_name(name)
            if isinstance(target, Routes):
                if condition:
                    raise HandlerError(f"{name} is a Routes object and has its own paths: {spec!r}")
                if len(specs) > 1:
                    raise HandlerError(
                        f"{name} is a Routes object, with its own lifespan: it is served alone"
                    )
                return target
            if condition.startswith("/"):
                routes.append(Route(target, condition))
            elif condition:
                if not _digits(condition):
                    raise HandlerError(
                        f"{condition!r} is neither a path (/sales) nor a number (+14155550100)"
                    )
                routes.append(Route(target, path, condition))
            else:
                routes.append(Route(target, path))
        return cls(*routes)

    @property
    def paths(self) -> list[str]:
        """The paths that have a handler."""
        return list(dict.fromkeys(route.path for route in self.routes))

    def match(self, path: str, called: str | None = None) -> Route | None:
        """Return the route for a stream at `path` of a call to the number `called`, or None."""
        path = path.rstrip("/") or "/"
        number = _digits(called or "")
        anyone: Route | None = None
        for route in self.routes:
            if (route.path.rstrip("/") or "/") != path:
                continue
            if route.number is None:
                anyone = anyone or route
            elif number and _digits(route.number) == number:
                return route
        return anyone

    def for_number(self, called: str | None) -> Route | None:
        """Return the route for a call to the number `called`, whatever its path, or None."""
        for path in self.paths:
            route = self.match(path, called)
            if route is not None and route.number is not None:
                return route
        return next((route for route in self.routes if route.number is None), None)

    def shared(self, route: Route) -> Any:
        """Return what the lifespan of `route` yielded."""
        return self._shared.get(id(route))

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Open the lifespans: that of the routes, and each handler's own, once.

        Then each route's handler gets ready: see `Handler.serving`.
        """
        async with AsyncExitStack() as stack:
            common = await stack.enter_async_context(self._lifespan()) if self._lifespan else None
            opened: dict[int, Any] = {}
            for route in self.routes:
                own: Lifespan | None = getattr(route.handler, "lifespan", None)
                if own is not None and id(route.handler) not in opened:
                    opened[id(route.handler)] = await stack.enter_async_context(own())
                self._shared[id(route)] = opened.get(id(route.handler), common)
            try:
                for route in self.routes:
                    handler: object = route.handler
                    if isinstance(handler, type) and issubclass(handler, Handler):
                        await stack.enter_async_context(handler.serving(route.settings))
                yield
            finally:
                self._shared.clear()


def load_name(name: str) -> Any:
    """Import what ``package.module:Name`` names.

    Raises:
        HandlerError: saying which part of it does not exist.

    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise HandlerError(f"a handler is named package.module:Name, not {name!r}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise HandlerError(
            f"there is no module {error.name!r} (from {name!r}): "
            "check the spelling, and that you are in the folder that holds it"
        ) from None
    target: Any = module
    for part in attribute.split("."):
        if not hasattr(target, part):
            near = get_close_matches(part, dir(target), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise HandlerError(f"{module_name!r} has no {attribute!r}{hint}")
        target = getattr(target, part)
    return target


def check_handler(handler: Any) -> None:
    """Refuse what cannot be a handler.

    Raises:
        HandlerError: saying what it is and what it should be.

    """
    if isinstance(handler, Handler):
        name = type(handler).__qualname__
        raise HandlerError(
            f"{name}() is one call's handler: give the class {name}, of which each call gets "
            "an instance, and its arguments as the route's settings"
        )
    if isinstance(handler, type):
        if issubclass(handler, Handler):
            _check_hooks(handler)
            return
        raise HandlerError(
            f"the class {handler.__qualname__} is no subclass of mediaserver.Handler"
        )
    if not callable(handler):
        raise HandlerError(
            f"{handler!r} is no handler: give an async function "
            "or a subclass of mediaserver.Handler"
        )
    call = getattr(handler, "func", handler)  # what a functools.partial stands for
    if not inspect.isroutine(call):
        call = call.__call__
    if not inspect.iscoroutinefunction(call):
        raise HandlerError(
            f"{getattr(handler, '__qualname__', handler)!r} is not async: "
            "write `async def` and take one argument, the stream"
        )


def _check_hooks(handler: type[Handler]) -> None:
    hooks = [name for name in vars(Handler) if name.startswith("on_")]
    for name in dir(handler):
        if name in hooks and not inspect.iscoroutinefunction(getattr(handler, name)):
            raise HandlerError(f"{handler.__qualname__}.{name} is not async: write `async def`")


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)
