"""Routes: which handler takes which call."""

from __future__ import annotations

import importlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from mediaserver.handler import Handler, HandlerError, Lifespan, StreamHandler, check_handler
from mediaserver.stream import Stream


@dataclass(frozen=True, slots=True)
class Route:
    """A handler, and the calls it takes: by the path of the stream URL and by the number dialled.

    Args:
        handler: an async function that takes a `Stream`, or a `Handler` subclass.
        path: the path of the stream URL.
        number: the dialled number; its punctuation does not matter. None means any number.
        settings: keyword arguments for the handler.

    Raises:
        HandlerError: if `handler` is not a handler, `path` does not begin with a slash, or `number`
            has no digits.

    """

    handler: StreamHandler | type[Handler]
    path: str = "/stream"
    number: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise HandlerError(f"a route's path must begin with a slash: {self.path!r} does not")
        if self.number is not None and not _digits(self.number):
            raise HandlerError(f"a route's number must have digits: {self.number!r} has none")
        check_handler(self.handler)

    @property
    def name(self) -> str:
        """The handler's name, for logs."""
        return getattr(self.handler, "__qualname__", type(self.handler).__qualname__)

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
        """Make routes from the arguments of a command line.

        Args:
            *specs: ``package.module:Name``, or the same after a path or a number, as in
                ``/sales=shop.calls:Sales`` and ``+14155550100=shop.calls:Support``.
                The name may also be that of a `Routes` object.
            path: the path of specs without one.

        Raises:
            HandlerError: says what is wrong with which spec.

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
                        f"{name} is a Routes object and has its own lifespan: serve it alone"
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
        """Return the route for a call to the number `called` whose stream is at `path`, or None."""
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
        """Enter the lifespan of the routes and that of each handler, each once.

        Then enter `Handler.serving` of each route's handler.
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
    """Import the object that ``package.module:Name`` names.

    Raises:
        HandlerError: says which part of the name does not exist.

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


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)
