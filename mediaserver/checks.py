"""What can be known about a handler before the first call.

`check_handler` looks at the handler and its settings when a route is made. `try_out` makes an
instance when a worker starts. Each raises a `HandlerError` with one line for each thing that is
wrong.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from difflib import get_close_matches
from typing import Any

from mediaserver.containment import Containment
from mediaserver.error_lines import error_lines
from mediaserver.handler import Handler, HandlerError


def check_handler(handler: Any, settings: Mapping[str, Any] | None = None) -> None:
    """Raise an error unless `handler` can be a handler that gets these settings.

    Args:
        handler: what should be an async function that takes a stream, or a `Handler` subclass.
        settings: the keyword arguments that it will get; None if they are not known yet.

    Raises:
        HandlerError: says in a line each what is wrong and what would be right.

    """
    if settings is not None and not isinstance(settings, Mapping):
        raise HandlerError(f"the settings of a route are a mapping, not {settings!r}")
    kind = handler if isinstance(handler, type) else None
    problems = list(_of_function(handler, settings) if kind is None else _of_class(kind, settings))
    if not problems and kind is not None and settings is not None and not _has_own_init(kind):
        # Classes of this package have no side effects when they are made.
        problems = _trial(kind, settings)
    if problems:
        raise HandlerError("\n".join(problems))


def try_out(handler: Any, settings: Mapping[str, Any]) -> None:
    """Make an instance of a handler class that has an ``__init__`` of its own, as each call does.

    Call it in the event loop of the calls, in which such an ``__init__`` may rely on.

    Raises:
        HandlerError: an instance cannot be made, or `Handler.check_at_start` refuses it.

    """
    if isinstance(handler, type) and _has_own_init(handler):
        problems = _trial(handler, settings)
        if problems:
            raise HandlerError("\n".join(problems))


def _trial(handler: type[Handler], settings: Mapping[str, Any]) -> list[str]:
    try:
        with Containment():
            handler(**settings).check_at_start()
    except Exception as error:
        name = handler.__qualname__
        # Where no line of the application has a part in it, the class says where to look.
        named = (name, *re.findall(r"^\S+:\d+: ", error_lines(error)[0]))
        return [
            line if line.startswith(named) else f"{name}: {line}" for line in error_lines(error)
        ]
    return []


def is_async(function: object) -> bool:
    """Tell whether a function is async, or passes on what the async function in it returns.

    The latter do decorators that are written with `functools.wraps`.
    """
    return inspect.iscoroutinefunction(function) or (
        callable(function) and inspect.iscoroutinefunction(inspect.unwrap(function))
    )


# Functions.


def _of_function(handler: Any, settings: Mapping[str, Any] | None) -> Iterator[str]:
    if isinstance(handler, Handler):
        name = type(handler).__qualname__
        yield (
            f"{name}() is an instance: give the class {name} instead, so that each call gets an "
            "instance, and give its arguments as the route's settings"
        )
        return
    if inspect.iscoroutine(handler):
        handler.close()
        name = handler.__qualname__
        yield f"{name}() has been called: give the function {name} itself, without parentheses"
        return
    if not callable(handler):
        yield (
            f"{handler!r} is not a handler: give an async function "
            "or a subclass of mediaserver.Handler"
        )
        return
    call = getattr(handler, "func", handler)  # the function inside a functools.partial
    if not inspect.isroutine(call):
        call = call.__call__
    named = call if isinstance(handler, functools.partial) else handler
    name = getattr(named, "__qualname__", None) or type(named).__qualname__
    if inspect.isasyncgenfunction(call):
        yield f"{name!r} is an async generator: a handler awaits stream.play(…), and has no `yield`"
    elif not is_async(call):
        yield f"{name!r} is not async: write `async def` and take one argument, the stream"
    elif (
        inspect.isfunction(handler)
        and next(iter(inspect.signature(handler).parameters), "") == "self"
    ):
        yield (
            f"{name} is a method of a class: give that of an instance, or a subclass of "
            "mediaserver.Handler"
        )
    else:
        yield from _of_arguments(name, handler, ("stream",), settings)


def _of_arguments(
    name: str, function: Any, given: tuple[str, ...], settings: Mapping[str, Any] | None
) -> Iterator[str]:
    """Yield why a function cannot be called with positional arguments and with settings."""
    try:
        signature = inspect.signature(function)
    except ValueError as error:
        if isinstance(function, functools.partial):
            yield f"{name} does not take what functools.partial gives it: {error}"
        return  # what it takes is not known
    parameters = list(signature.parameters.values())
    taken = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, _EITHER)]
    open_ended = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    if len(taken) < len(given) and not open_ended:
        short = name.rpartition(".")[2]
        yield f"{name}{signature} takes no argument: write `async def {short}({', '.join(given)})`"
        return
    if settings is None:
        return
    named = {each.name for each in taken[len(given) :]}
    named |= {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    needed = [
        each.name
        for each in parameters
        if each.name in named and each.default is each.empty and each.name not in settings
    ]
    if needed:
        values = ", ".join(f'"{each}": …' for each in needed)
        yield (
            f"{name} needs {' and '.join(needed)}: set it in its route, as in Route({name}, "
            f"settings={{{values}}}), or give it a default"
        )
    if not any(each.kind is each.VAR_KEYWORD for each in parameters):
        for other in settings:
            if other not in named:
                yield f"{name} has no setting {other!r}{_nearest(other, named)}"


_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD


def _nearest(name: str, names: set[str]) -> str:
    near = get_close_matches(name, names, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f": it has {', '.join(sorted(names))}" if names else ": it takes none"


def check_callback(name: str, function: Any, given: tuple[str, ...]) -> None:
    """Raise an error unless a function is async and takes these arguments.

    Raises:
        HandlerError: says what it should be.

    """
    call = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004
    written = f"`async def {getattr(function, '__name__', name)}({', '.join(given)})`"
    if not callable(function) or not is_async(call):
        raise HandlerError(f"{name} must be an async function: write {written}, not {function!r}")
    try:
        inspect.signature(function).bind(*given)
    except TypeError:
        raise HandlerError(
            f"{name} takes {inspect.signature(function)}, but must be {written}"
        ) from None


# Classes.


def _of_class(handler: type, settings: Mapping[str, Any] | None) -> Iterator[str]:
    name = handler.__qualname__
    if not issubclass(handler, Handler):
        hint = ""
        if inspect.iscoroutinefunction(handler.__call__):
            hint = f": name an instance of it, as in agent = {name}(…)"
        yield f"the class {name} is not a subclass of mediaserver.Handler{hint}"
        return
    if inspect.isabstract(handler):
        lacks = ", ".join(sorted(getattr(handler, "__abstractmethods__", ())))
        yield f"{name} cannot be used by itself: a subclass must have {lacks}"
        return
    if inspect.iscoroutinefunction(handler.__init__):
        yield f"{name}.__init__ is async: write `def`, and await in on_start"
    yield from _of_hooks(handler)
    yield from check_lifespan(f"{name}.lifespan", handler.lifespan)
    if settings is not None:
        yield from _of_arguments(name, handler, (), settings)


def check_lifespan(name: str, lifespan: Any) -> Iterator[str]:
    """Yield why something cannot be a lifespan."""
    if lifespan is None:
        return
    if isinstance(lifespan, AbstractAsyncContextManager):
        yield f"{name} has been called: give the function itself, without parentheses"
    elif not callable(lifespan):
        yield f"{name} must be a function with @asynccontextmanager, not {lifespan!r}"
    elif inspect.iscoroutinefunction(lifespan) or inspect.isasyncgenfunction(lifespan):
        yield f"{name} is an async function: put @asynccontextmanager above it, and `yield` in it"
    else:
        try:
            inspect.signature(lifespan).bind()
        except TypeError:
            signature = inspect.signature(lifespan)
            hint = ": put @staticmethod above it" if "self" in signature.parameters else ""
            yield f"{name}{signature} must take no argument{hint}"
        except ValueError:
            pass  # it tells no signature


def _of_hooks(handler: type[Handler]) -> Iterator[str]:
    hooks: dict[str, Callable[..., Any]] = {}
    for base in reversed(handler.__mro__):
        if _is_ours(base) and issubclass(base, Handler):
            hooks |= {name: each for name, each in vars(base).items() if name.startswith("on_")}
    listed = ", ".join(sorted(hooks))
    hooks["__call__"] = Handler.__call__
    bases = [base for base in reversed(handler.__mro__) if not _is_ours(base)]
    own = {name: each for base in bases for name, each in vars(base).items()}
    homes = {base.__module__ for base in bases if issubclass(base, Handler)}
    foreign = {name for base in bases if base.__module__ not in homes for name in vars(base)}
    suspects: dict[str, str | None] = {}
    for name, method in own.items():
        if name in hooks:
            yield from _of_hook(f"{handler.__qualname__}.{name}", method, hooks[name])
        elif _is_method(method) and name not in foreign:
            near = _hook_meant(name, hooks)
            if near or name.startswith("on_"):
                suspects[name] = near
    # Few handlers have any, and reading source takes its time.
    used, decorated = _names_in(homes) if suspects else (set(), set())
    for name, near in suspects.items():
        where = f"{handler.__qualname__}.{name}"
        # Names may also be put together from "on_" and another part.
        if name in used or "on_" in used:
            continue
        if near:
            yield f"{where} is not a hook; did you mean {near!r}?"
        elif name not in decorated:
            yield (
                f"{where} is not a hook, and nothing calls it: the hooks are "
                f"{listed}; give a method of your own another name"
            )


def _is_method(value: Any) -> bool:
    return inspect.isroutine(value) or isinstance(value, staticmethod | classmethod)


def _hook_meant(name: str, hooks: Mapping[str, Any]) -> str | None:
    plain = {hook.replace("_", ""): hook for hook in hooks}
    if exact := plain.get(name.replace("_", "").lower()):
        return exact
    near = get_close_matches(name, hooks, n=1, cutoff=0.8) if name.startswith("on_") else []
    return near[0] if near else None


def _of_hook(where: str, method: Any, hook: Callable[..., Any]) -> Iterator[str]:
    function = method.__func__ if isinstance(method, staticmethod | classmethod) else method
    if isinstance(method, functools.partialmethod):
        function = method.func
    if inspect.isasyncgenfunction(function):
        yield f"{where} is an async generator: a hook has no `yield`"
        return
    if not is_async(function):
        yield f"{where} is not async: write `async def`"
        return
    if isinstance(method, functools.partialmethod):
        method = function = method.__get__(None, Handler)
    expected = list(inspect.signature(hook).parameters)
    given = expected[1:] if isinstance(method, staticmethod) else expected
    signature = inspect.signature(function)
    try:
        signature.bind(*given)
    except TypeError:
        name = where.rpartition(".")[2]
        extra = set(signature.parameters) - set(expected)
        hint = ": the stream is self.stream" if "stream" in extra else ""
        if isinstance(method, staticmethod):
            hint = ", without @staticmethod"
        yield f"{where}{signature} must be `async def {name}({', '.join(expected)})`{hint}"


def _names_in(modules: set[str]) -> tuple[set[str], set[str]]:
    """Return the names that the source of these modules uses, and those that it decorates.

    A decorator may register what it gets, and so call it under any name.
    """
    used: set[str] = set()
    decorated: set[str] = set()
    for module in modules & sys.modules.keys():
        try:
            tree = ast.parse(inspect.getsource(sys.modules[module]))
        except (OSError, TypeError, SyntaxError):
            used.add("on_")  # nothing is known of it: it may use any hook
            continue
        for node in ast.walk(tree):
            match node:
                case (
                    ast.Attribute(attr=name, ctx=ast.Load())
                    | ast.Name(id=name, ctx=ast.Load())
                    | ast.Constant(value=str(name))
                ):
                    used.add(name)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    if node.decorator_list:
                        decorated.add(name)
                case _:
                    pass
    return used, decorated


def _has_own_init(handler: type) -> bool:
    return any("__init__" in vars(base) for base in handler.__mro__ if not _is_ours(base))


def _is_ours(kind: type) -> bool:
    return kind is object or f"{kind.__module__}.".startswith("mediaserver.")
