"""Async functions that a model may call."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, TypeVar, overload
from weakref import WeakKeyDictionary

import docstring_parser
import pydantic
import structlog
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
from pydantic_core import PydanticUndefined, to_json

from mediaserver.agents.services import ToolCall, ToolResult, ToolSpec
from mediaserver.agents.services.tool_arguments import meant_arguments
from mediaserver.call import StreamEndedError


log = structlog.get_logger("mediaserver.agents")

TIMEOUT: Final = 30.0
"""Seconds that a tool may take by default: no caller waits longer."""

Tool = Callable[..., Awaitable[Any]]
ToolT = TypeVar("ToolT", bound=Tool)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# Within a paragraph.
_LINE_BREAK: Final = re.compile(r"(?<!\n)\n(?!\n)")


class ToolError(TypeError):
    """A function cannot be a tool. The message says which, why, and what is allowed."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """What the decorator `tool` notes on a function."""

    name: str | None
    hold: str | None
    timeout: float | None
    lenient: bool = False


@overload
def tool(function: ToolT, /) -> ToolT: ...
@overload
def tool(
    *, hold: str | None = None, name: str | None = None, timeout: float | None = TIMEOUT
) -> Callable[[ToolT], ToolT]: ...
def tool(
    function: ToolT | None = None,
    /,
    *,
    hold: str | None = None,
    name: str | None = None,
    timeout: float | None = TIMEOUT,
) -> ToolT | Callable[[ToolT], ToolT]:
    """Mark a method of an agent, or a function, as a tool for the model.

    The model is told its name, its docstring, and its arguments: their types, their defaults, and
    their descriptions from the docstring (in the style of Google, Sphinx or NumPy)::

        @tool(hold="One moment, I am looking.")
        async def free_tables(self, day: date, people: int = 2) -> list[str]:
            '''Find the times at which a table is free.'''

    Args:
        function: the function, if the decorator is used without arguments.
        hold: a phrase to say if it takes a while.
        name: its name for the model; the function's own name if None.
        timeout: seconds after which it is cancelled, and the model is told so; None: no limit.

    Raises:
        ValueError: `timeout` is not above 0.
        ToolError: the function cannot be a tool; see `Toolbox`.

    """
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is in seconds, above 0, or None, not {timeout!r}")

    def mark(function: ToolT) -> ToolT:
        _require_async(function, name)
        function.__tool__ = _Mark(name, hold, timeout)  # type: ignore[attr-defined]
        return function

    return mark if function is None else mark(function)


def built_in(function: ToolT) -> ToolT:
    """Mark a tool of the agent's own: it ignores arguments that it does not know."""
    function.__tool__ = _Mark(None, None, TIMEOUT, lenient=True)  # type: ignore[attr-defined]
    return function


def marked_tools(owner: object) -> list[Tool]:
    """Return the bound methods of `owner` that are marked with `tool`, in their order."""
    # Found on the classes, so that no property is evaluated.
    found: dict[str, Any] = {}
    for base in reversed(type(owner).__mro__):
        found.update(vars(base))
    return [
        getattr(owner, name)
        for name, each in found.items()
        if isinstance(getattr(getattr(each, "__func__", each), "__tool__", None), _Mark)
    ]


class Toolbox:
    """Describes functions to a model, and calls them as the model asks.

    Args:
        functions: async functions or bound methods. Every argument needs a type hint that pydantic
            knows.

    Raises:
        ToolError: a function is not async, has no name, has an argument without a type hint or
            ``*args`` or the like; or two functions have the same name.

    """

    def __init__(self, *functions: Tool) -> None:
        self._functions: dict[str, _Function] = {}
        for function in functions:
            made = _Function(function, _described(function))
            if made.name in self._functions:
                raise ToolError(
                    f"there are two tools named {made.name!r}; @tool(name=...) gives another name"
                )
            self._functions[made.name] = made
        self.specs: tuple[ToolSpec, ...] = tuple(
            function.spec for function in self._functions.values()
        )
        """The descriptions for a model."""

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def __len__(self) -> int:
        return len(self._functions)

    def hold(self, name: str) -> str | None:
        """Return the hold phrase of a tool; None if it has none, or there is no such tool."""
        function = self._functions.get(name)
        return function.hold if function else None

    def refusal(self, call: ToolCall) -> str | None:
        """Return why a call is refused, for the model to read; None if it is in order."""
        function = self._functions.get(call.name)
        if function is None:
            known = ", ".join(self._functions) or "none"
            return f"There is no tool {call.name!r}. There are: {known}."
        try:
            function.arguments(call.arguments)
        except pydantic.ValidationError as error:
            return function.explain(error)
        return None

    async def use(self, call: ToolCall) -> ToolResult:
        """Call a tool as the model asks, and return a result for the model to read.

        Wrong arguments are explained. An exception in the tool is logged, and the model is told
        only that the tool failed. A tool that takes longer than its `timeout` is cancelled.
        """
        refusal = self.refusal(call)
        if refusal is not None:
            return ToolResult(call.id, refusal, error="refused")
        function = self._functions[call.name]
        arguments = function.arguments(call.arguments)
        waiting = asyncio.timeout(function.timeout)
        try:
            async with waiting:
                return ToolResult(call.id, _as_text(await function.call(**arguments)))
        except StreamEndedError:
            return ToolResult(call.id, "The call has ended meanwhile.")
        except Exception as error:
            if waiting.expired():
                log.warning("tool timed out", tool=call.name, timeout=function.timeout)
                return ToolResult(
                    call.id,
                    f"{call.name} took too long, more than {function.timeout:g} s, and was given "
                    "up. It is not known whether it had any effect.",
                    error="timeout",
                )
            log.exception("tool failed", tool=call.name)
            return ToolResult(
                call.id,
                f"{call.name} failed. It is not known whether it had any effect.",
                error=type(error).__name__,
            )


@dataclass(frozen=True, slots=True)
class _Function:
    """A function, or a bound method, and its description."""

    call: Tool
    description: _Description

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def hold(self) -> str | None:
        return self.description.hold

    @property
    def timeout(self) -> float | None:
        return self.description.timeout

    @property
    def spec(self) -> ToolSpec:
        return self.description.spec

    def arguments(self, text: str) -> dict[str, Any]:
        return self.description.arguments(text)

    def explain(self, error: pydantic.ValidationError) -> str:
        return self.description.explain(error)


# By function, and whether it is bound. A schema takes half a millisecond, and every call makes an
# agent.
_descriptions: WeakKeyDictionary[Any, dict[tuple[bool, _Mark], _Description]] = WeakKeyDictionary()


def _described(function: Tool) -> _Description:
    """Return the description of a function; it is made once for all objects with this method."""
    bound = getattr(function, "__func__", None)
    if not inspect.isfunction(bound or function):
        return _Description(function)
    kept = _descriptions.setdefault(bound or function, {})
    key = bound is not None, _mark_of(function)
    if key not in kept:
        kept[key] = _Description(function)
    return kept[key]


def _mark_of(function: Tool) -> _Mark:
    return getattr(function, "__tool__", None) or _Mark(None, None, TIMEOUT)


class _Description:
    """Describes a function to a model, and reads the arguments that the model gives."""

    def __init__(self, function: Tool) -> None:
        mark = _mark_of(function)
        self.hold = mark.hold
        self.timeout = mark.timeout
        self._lenient = mark.lenient
        self.name: str = mark.name or getattr(function, "__name__", None) or ""
        if not _NAME.fullmatch(self.name):
            raise ToolError(
                f"{function!r} has no name for a model: up to 64 letters, digits and underscores. "
                "Write `async def`, or @tool(name=...)"
            )
        _require_async(function, self.name)
        description, of_arguments = _read_docstring(inspect.getdoc(function) or "")
        self._fields: list[str] = []
        self._model = self._describe_arguments(function, of_arguments)
        schema = self._model.model_json_schema(schema_generator=_Schema)
        for decoration in ("title", "description"):
            schema.pop(decoration, None)
        schema.setdefault("properties", {})
        self.spec = ToolSpec(self.name, description, schema)

    def _describe_arguments(
        self, function: Tool, descriptions: Mapping[str, str]
    ) -> type[pydantic.BaseModel]:
        fields: dict[str, Any] = {}
        hints = self._hints(function)
        for parameter in inspect.signature(function).parameters.values():
            name = parameter.name
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise ToolError(
                    f"the tool {self.name} cannot have {parameter}: a model gives arguments by name"
                )
            if name == "self" and not fields and parameter.annotation is parameter.empty:
                continue  # a method that is not bound yet
            if name not in hints:
                raise ToolError(f"the argument {name!r} of the tool {self.name} has no type hint")
            required = parameter.default is parameter.empty
            field: FieldInfo = pydantic.Field(
                PydanticUndefined if required else parameter.default,
                alias=name,
                **_description(hints[name], descriptions.get(name)),
            )
            # Its own name may be one that pydantic's models use.
            fields[f"argument{len(self._fields)}"] = (hints[name], field)
            self._fields.append(name)
        config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=False)
        try:
            return pydantic.create_model(self.name, __config__=config, **fields)
        except pydantic.PydanticUserError as error:
            raise ToolError(
                f"an argument of the tool {self.name} has a type that cannot be sent as JSON: "
                f"{error.message.splitlines()[0]}"
            ) from error

    def _hints(self, function: Tool) -> dict[str, Any]:
        plain = inspect.unwrap(getattr(function, "__func__", function))
        if not hasattr(plain, "__globals__"):
            plain = type(plain).__call__
        hints = {
            name: hint
            for name, hint in getattr(plain, "__annotations__", {}).items()
            if name != "return"  # its type may be imported for type checkers only
        }
        try:
            return typing.get_type_hints(
                SimpleNamespace(__annotations__=hints),
                getattr(plain, "__globals__", {}),
                include_extras=True,
            )
        except NameError as error:
            raise ToolError(
                f"a type hint of the tool {self.name} cannot be found when the program runs: "
                f"{error}. Import it outside of `if TYPE_CHECKING:`, at the top of the module"
            ) from error

    def arguments(self, text: str) -> dict[str, Any]:
        """Return the arguments that the model gave, as values of the function's types.

        Raises:
            pydantic.ValidationError: the function does not take them.

        """
        text = meant_arguments(text)
        if self._lenient:
            text = self._known(text)
        checked = self._model.model_validate_json(text)
        return {
            name: getattr(checked, f"argument{index}")
            for index, name in enumerate(self._fields)
            if f"argument{index}" in checked.model_fields_set
        }

    def _known(self, text: str) -> str:
        """Return the arguments without those that the function does not have."""
        if not self._fields:
            return "{}"
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if not isinstance(given, dict):
            return text
        return json.dumps({name: given[name] for name in self._fields if name in given})

    def explain(self, error: pydantic.ValidationError) -> str:
        """Return what is wrong with the arguments, for the model to read."""
        reasons = []
        for each in error.errors(include_url=False):
            where = ".".join(map(str, each["loc"]))
            given = (
                "" if each["type"] in ("missing", "json_invalid") else f", not {each['input']!r}"
            )
            reasons.append(f"{where or 'arguments'}: {each['msg']}{given}")
        expected = json.dumps(self.spec.parameters, ensure_ascii=False)
        return (
            f"{self.name} was not called, because its arguments were wrong. "
            f"{'; '.join(reasons)}. Expected is a JSON object of this schema: {expected}"
        )


def _require_async(function: Tool, name: str | None) -> None:
    called = getattr(function, "__call__", None)  # noqa: B004 - its type matters
    if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)):
        shown = name or getattr(function, "__name__", repr(function))
        raise ToolError(f"the tool {shown} must be an async function that returns: `async def`")


class _Schema(GenerateJsonSchema):
    """Leaves out titles, which repeat the names, and defaults that JSON cannot express."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"non-serializable-default"}  # noqa: RUF012

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return that no field has a title."""
        return False


def _description(hint: Any, text: str | None) -> dict[str, Any]:
    """Return a description for a field, unless its type hint has one."""
    said = any(
        isinstance(extra, FieldInfo) and extra.description
        for extra in getattr(hint, "__metadata__", ())
    )
    return {} if said or not text else {"description": text}


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of a function, and of each argument, without line breaks."""
    try:
        docstring = docstring_parser.parse(text)
    except (docstring_parser.ParseError, IndexError):
        return text, {}  # no style that it knows: the model reads it as it is
    description = _LINE_BREAK.sub(" ", docstring.description or "").strip()
    arguments = {
        param.arg_name: " ".join((param.description or "").split()) for param in docstring.params
    }
    return description, arguments


def _as_text(value: Any) -> str:
    if value is None:
        return "Done."
    return value if isinstance(value, str) else to_json(value, fallback=str).decode()
