"""Routes: which handler takes which call."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, cast

from mediaserver.checks import check_handler, check_lifespan, is_async, try_out
from mediaserver.handler import Handler, HandlerError, Lifespan, Served, StreamHandler
from mediaserver.importing import find_attribute, import_named
from mediaserver.path_patterns import PathPatternError, path_pattern
from mediaserver.plivo.numbers import phone_key
from mediaserver.plivo.stream_options import StreamOptions
from mediaserver.stream import Stream


@dataclass(frozen=True, slots=True)
class Route:
    """A handler, and the calls it takes: by the path of the stream URL and by the number dialled.

    Args:
        handler: an async function that takes a `Stream`, or a `Handler` subclass.
        path: the path of the stream URL. It may have parameters, such as ``/t/{tenant}``, which
            the handler gets as `Stream.path_params` (see `PathPattern`).
        number: the dialled number, in any form of `phone_key`. None means any number.
        settings: keyword arguments for the handler.
        stream: how its calls are streamed, where that differs from the server's settings.
        max_calls: most simultaneous calls, on all machines of a fleet; further callers get the
            busy message. None for no limit but the server's.

    Raises:
        HandlerError: if `handler` is not a handler or does not take the settings, `path` does not
            begin with a slash or is malformed, `number` is neither a phone number nor a SIP
            address, or `max_calls` is less than 1.

    """

    handler: StreamHandler | type[Handler]
    path: str = "/stream"
    number: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    stream: StreamOptions = field(default_factory=StreamOptions)
    max_calls: int | None = None

    def __post_init__(self) -> None:
        path: object = self.path
        if not isinstance(path, str) or not path.startswith("/"):
            raise HandlerError(f"a route's path must begin with a slash: {path!r} does not")
        try:
            path_pattern(self.path)
        except PathPatternError as error:
            raise HandlerError(f"a route's path is malformed: {error}") from None
        number: object = self.number
        if number is not None and (not isinstance(number, str) or phone_key(number) is None):
            raise HandlerError(
                "a route's number is a phone number with its country code, such as +14155550100, "
                f"or a SIP address, such as sip:user@host; not {number!r}"
            )
        if not isinstance(cast(Any, self.stream), StreamOptions):
            raise HandlerError(f"a route's stream must be StreamOptions(…), not {self.stream!r}")
        if self.max_calls is not None and self.max_calls < 1:
            raise HandlerError(f"a route's max_calls is at least 1, not {self.max_calls}")
        check_handler(self.handler, self.settings)

    @property
    def label(self) -> str:
        """What tells the route from the others: its path, and its number if it has one."""
        return f"{self.path} {self.number}" if self.number else self.path

    @property
    def name(self) -> str:
        """The handler's name, for logs."""
        return getattr(self.handler, "__qualname__", type(self.handler).__qualname__)

    def path_params(self, path: str) -> Mapping[str, Any] | None:
        """Return the parameters in the path of a stream URL; None if this is not the route's."""
        return path_pattern(self.path).match(path)

    def is_at(self, path: str) -> bool:
        """Return whether this is the path of the route's streams."""
        return self.path_params(path) is not None

    def prepare(self) -> Handler | None:
        """Return an instance of the handler for a call whose stream has not connected yet.

        None unless the handler is a class that overrides `on_answer`: only those are made early.
        """
        handler: object = self.handler
        if not isinstance(handler, type) or not issubclass(handler, Handler):
            return None
        if handler.on_answer is Handler.on_answer:
            return None
        return handler(**self.settings)

    async def run(self, stream: Stream) -> None:
        """Run the handler on `stream`; if it is a class, make an instance of it first."""
        if isinstance(self.handler, type):
            await self.handler(**self.settings)(stream)
        else:
            await self.handler(stream, **self.settings)


class Routes:
    """Which handler takes which call.

    Args:
        *routes: tried in order, but a route with a number comes before one without.
        lifespan: entered once per worker; what it yields is ``stream.shared`` for every route whose
            handler has no `Handler.lifespan`.

    """

    def __init__(self, *routes: Route, lifespan: Lifespan | None = None) -> None:
        if not routes:
            raise HandlerError("there must be at least one route")
        for other in (each for each in cast(Any, routes) if not isinstance(each, Route)):
            name = getattr(other, "__qualname__", "…")
            mend = f"write Routes(Route({name}))"
            if isinstance(other, Routes):
                mend = "give it those of the other Routes, as in Routes(*others.routes)"
            elif isinstance(other, Sequence):
                mend = "write an asterisk before a list of them, as in Routes(*routes)"
            raise HandlerError(f"Routes takes Route objects, not {type(other).__name__}: {mend}")
        seen: set[tuple[str, str | None]] = set()
        for route in routes:
            number = None if route.number is None else phone_key(route.number)
            key = (path_pattern(route.path).shape, number)
            if key in seen:
                of_number = f" and the number {route.number}" if route.number else ""
                raise HandlerError(f"two routes have the path {route.path}{of_number}")
            seen.add(key)
        for problem in check_lifespan("lifespan", lifespan):
            raise HandlerError(problem)
        self.routes = routes
        self._lifespan = lifespan
        self._shared: dict[int, Any] = {}
        self._unready: list[Mapping[str, str]] = []
        self.opening = ""
        """What `lifespan` is entering, for the log."""

    @classmethod
    def load(cls, *specs: str, path: str = "/stream") -> Routes:
        """Make routes from the arguments of a command line.

        Args:
            *specs: what `load_name` takes, or the same after a path or a number, as in
                ``/sales=shop.calls:Sales`` and ``+14155550100=shop.calls:Support``.
                The name may also be that of a `Routes` object.
            path: the path of specs without one.

        Raises:
            HandlerError: says what is wrong with which spec.

        """
        routes: list[Route] = []
        problems: list[str] = []
        for spec in specs:
            try:
                target = _load_spec(spec, path)
            except HandlerError as error:
                problems.append(str(error))
                continue
            if isinstance(target, Route):
                routes.append(target)
            elif len(specs) == 1:
                return target
            else:
                problems.append(
                    f"{spec} is a Routes object and has its own lifespan: serve it alone"
                )
        if problems:
            raise HandlerError("\n".join(problems))
        return cls(*routes)

    @property
    def paths(self) -> list[str]:
        """The paths that have a handler."""
        return list(dict.fromkeys(route.path for route in self.routes))

    def match(self, path: str, called: str | None = None) -> Route | None:
        """Return the route for a call to the number `called` whose stream is at `path`, or None."""
        return self._for_number(called, [each for each in self.routes if each.is_at(path)])

    def has_path(self, path: str) -> bool:
        """Return whether some route's streams are at `path`, for whatever number."""
        return any(route.is_at(path) for route in self.routes)

    def for_number(self, called: str | None) -> Route | None:
        """Return the route for a call to the number `called`, whatever its path, or None.

        Routes whose path has parameters are left out: the number does not tell them.
        """
        routes = [each for each in self.routes if not path_pattern(each.path).has_parameters]
        return self._for_number(called, routes)

    def _for_number(self, called: str | None, routes: Sequence[Route]) -> Route | None:
        key = phone_key(called or "")
        anyone: Route | None = None
        for route in routes:
            if route.number is None:
                anyone = anyone or route
            elif key is not None and phone_key(route.number) == key:
                return route
        return anyone

    def shared(self, route: Route) -> Any:
        """Return what the lifespan of `route` yielded."""
        return self._shared.get(id(route))

    def check_streams(self, options: StreamOptions) -> None:
        """Check that every route's calls can be streamed, given the options of the server.

        Raises:
            HandlerError: Plivo would refuse those of a route.

        """
        problems = []
        for route in self.routes:
            try:
                route.stream.over(options).check()
            except ValueError as error:
                problems.append(f"the stream of {route.name}, at {route.path}: {error}")
        if problems:
            raise HandlerError("\n".join(problems))

    def try_out(self) -> None:
        """Make an instance of each handler class, to see that its calls can.

        A server does this once `lifespan` is entered, so that an ``__init__`` finds what it will
        find in a call.

        Raises:
            HandlerError: an instance cannot be made.

        """
        problems: dict[str, None] = {}
        for route in self.routes:
            try:
                try_out(route.handler, route.settings)
            except HandlerError as error:
                problems[str(error)] = None
        if problems:
            raise HandlerError("\n".join(problems))

    @property
    def unready(self) -> dict[str, str]:
        """Why the handlers are not ready for calls, by the names of their services."""
        return {name: reason for each in self._unready for name, reason in each.items()}

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Enter the lifespan of the routes and that of each handler, each once.

        Then enter `Handler.serving` of each route's handler.
        """
        async with AsyncExitStack() as stack:
            self.opening = "the lifespan of Routes"
            common = await self._entered(stack, self._lifespan) if self._lifespan else None
            opened: dict[int, Any] = {}
            for route in self.routes:
                own: Lifespan | None = getattr(route.handler, "lifespan", None)
                self.opening = f"the lifespan of {route.name}"
                if own is not None and id(route.handler) not in opened:
                    opened[id(route.handler)] = await self._entered(stack, own)
                self._shared[id(route)] = opened.get(id(route.handler), common)
            try:
                for route in self.routes:
                    self.opening = f"what {route.name} prepares before its first call"
                    if isinstance(route.handler, Served):
                        serving = route.handler.serving(route.settings)
                        unready = await stack.enter_async_context(serving)
                        self._unready.append(unready or {})
                self.opening = ""
                yield
            finally:
                self._shared.clear()
                self._unready.clear()

    async def _entered(self, stack: AsyncExitStack, lifespan: Lifespan) -> Any:
        try:
            context = lifespan()
            if isinstance(context, AbstractAsyncContextManager):
                return await stack.enter_async_context(context)
        except SystemExit as error:
            raise HandlerError(f"{self.opening} called sys.exit({error.code!r})") from error
        except RuntimeError as error:
            if str(error) != "generator didn't yield":
                raise
            raise HandlerError(f"{self.opening} has ended without a `yield`") from error
        raise HandlerError(
            f"{self.opening} must be a function with @asynccontextmanager: it returned "
            f"{type(context).__name__}"
        )


def _load_spec(spec: str, path: str) -> Route | Routes:
    condition, _, name = spec.rpartition("=")
    target = load_name(name)
    if isinstance(target, Route):
        raise HandlerError(
            f"{name} is a Route: put it into Routes, as in ROUTES = Routes(Route(…)), and serve "
            "those"
        )
    if isinstance(target, Routes):
        if condition:
            raise HandlerError(f"{name} is a Routes object and has its own paths: {spec!r}")
        return target
    if not condition:
        return Route(target, path)
    if condition.startswith("/"):
        return Route(target, condition)
    if phone_key(condition) is None:
        raise HandlerError(f"{condition!r} is neither a path (/sales) nor a number (+14155550100)")
    return Route(target, path, condition)


def load_name(spec: str) -> Any:
    """Import the object that a command line names.

    Args:
        spec: ``package.module:Name`` or ``my_agent.py:Name``. Without the name, the module must
            have one handler, or one `Routes` object.

    Raises:
        HandlerError: says which part of the name does not exist, or why the module fails. Where the
            name was left out and several are possible, the message lists them.

    """
    module, name = import_named(spec)
    if name:
        return find_attribute(module, name)
    names = _handlers_in(module) or _definitions_in(module)
    if len(names) == 1:
        return getattr(module, names[0])
    if not _handlers_in(module):
        raise HandlerError(
            f"{spec} has no handler: write `async def agent(stream)` or a subclass of "
            "mediaserver.Handler in it, or name one as package.module:Name"
        )
    raise HandlerError(
        f"{spec} has several handlers: name one, as in {spec}:{names[0]}; it has {', '.join(names)}"
    )


def _handlers_in(module: ModuleType) -> list[str]:
    """Return the names of the `Routes` of a module, of a `Route`, or else of its handlers."""
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    for kind in (Routes, Route):
        if routes := [name for name, value in public.items() if isinstance(value, kind)]:
            return routes
    handlers = {name: value for name, value in public.items() if _is_handler(value, module)}
    bases = {
        base for each in handlers.values() if isinstance(each, type) for base in each.__mro__[1:]
    }
    return [name for name, value in handlers.items() if value not in bases]


def _is_handler(value: Any, module: ModuleType) -> bool:
    if isinstance(value, type):
        is_one = issubclass(value, Handler) and not inspect.isabstract(value)
    elif inspect.isroutine(value):
        # Other async functions of the module help its handlers.
        is_one = is_async(value) and _takes_stream(value)
    else:
        return callable(value) and inspect.iscoroutinefunction(type(value).__call__)
    return is_one and _is_defined_in(module, value)


def _definitions_in(module: ModuleType) -> list[str]:
    """Return the names of the functions and classes that a module defines for others."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isroutine(value) or isinstance(value, type))
        and _is_defined_in(module, value)
    ]


def _is_defined_in(module: ModuleType, value: object) -> bool:
    home = getattr(value, "__module__", None) or ""
    return f"{home}.".startswith(f"{module.__name__}.")


def _takes_stream(function: Any) -> bool:
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if first is None:
        return False
    annotation = first.annotation
    if isinstance(annotation, str):
        # As it is written: a module may import it under any name.
        annotation = annotation.strip("'\"").rpartition(".")[2]
    return first.name == "stream" or annotation in (Stream, "Stream")
