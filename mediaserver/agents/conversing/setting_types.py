"""Whether a value can be that of a setting, by the setting's annotation."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError


class SettingType:
    """The type of a setting: one that pydantic knows, or one of some protocols.

    A protocol is a service, such as `LanguageModel`.
    """

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation
        self._adapter: TypeAdapter[Any] | None = None
        is_union = get_origin(annotation) in (Union, UnionType)
        choices = get_args(annotation) if is_union else (annotation,)
        self._protocols = choices if all(map(_is_protocol, choices)) else ()
        is_class = is_dataclass(annotation) or self._protocols
        if not is_class and get_origin(annotation) is not Literal:
            self._adapter = TypeAdapter(
                annotation, config=ConfigDict(strict=True, arbitrary_types_allowed=True)
            )

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a value, as in ``must be …, not 3``; None if nothing is."""
        annotation = self._annotation
        if self._adapter is not None:
            return _invalid(self._adapter, value)
        if get_origin(annotation) is Literal:
            allowed = get_args(annotation)
            if value in allowed:
                return None
            return f"must be one of {', '.join(map(repr, allowed))}, not {value!r}"
        if is_dataclass(annotation):
            if isinstance(value, cast(type, annotation)):
                return None
            return f"must be of the class {cast(type, annotation).__name__}, not {value!r:.80}"
        return self._lack(value)

    def _lack(self, value: Any) -> str | None:
        """Say what keeps a value from being what one of the protocols describes."""
        meant = [each for each in self._protocols if any(hasattr(value, m) for m in _methods(each))]
        problems = [next(_lacks(each, value), None) for each in meant or self._protocols]
        if None in problems:
            return None
        if meant or len(problems) == 1 or isinstance(value, type):
            return problems[0]
        kinds = (
            f"a {each.__name__}, with a method {_methods(each)[0]!r}," for each in self._protocols
        )
        return f"must be {' or '.join(kinds)} not {value!r:.80}"


def check_service(name: str, value: Any, protocol: Any) -> None:
    """Raise a `ValueError` unless a value is a service, as a protocol such as `SpeechToText` says.

    Args:
        name: the name of the argument, for the message.
        value: what should be the service.
        protocol: what it must be; or several such protocols, with ``|``.

    """
    problem = SettingType(protocol).problem(value)
    if problem is not None:
        raise ValueError(f"{name} {problem}")


def _invalid(adapter: TypeAdapter[Any], value: Any) -> str | None:
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_context=False)[0]
        message = detail["msg"].replace("Input should be", "must be", 1)
        keys = [each for each in detail["loc"] if not str(each).startswith("function-")]
        where = f"[{keys[0]!r}] " if keys and isinstance(value, dict) else ""
        return f"{where}{message}, not {detail['input']!r:.80}"
    return None


def _is_protocol(annotation: Any) -> bool:
    return bool(getattr(annotation, "_is_protocol", False))


def _methods(protocol: type) -> list[str]:
    return [
        name
        for name, described in vars(protocol).items()
        if not name.startswith("_") and inspect.isfunction(described)
    ]


def _lacks(protocol: type, value: Any) -> Iterator[str]:
    """Yield what keeps a value from being what a protocol describes."""
    name = protocol.__name__
    if isinstance(value, type):
        yield f"must be an instance: write {value.__qualname__}(…), not {value.__qualname__}"
        return
    for method in _methods(protocol):
        described = vars(protocol)[method]
        own = getattr(value, method, None)
        if not callable(own) or getattr(own, "__func__", None) is described:
            yield f"must be a {name}, with a method {method!r}, not {value!r:.80}"
            return
        where = f"must be a {name}: its {method!r}"
        if inspect.iscoroutinefunction(own) and not inspect.iscoroutinefunction(described):
            yield f"{where} must `yield` what it makes, as an async generator does"
        elif not _takes(own, described):
            yield f"{where} must take {_written(described)}, not {inspect.signature(own)}"


def _takes(own: Any, described: Any) -> bool:
    """Return whether a method can be called as the one that a protocol describes."""
    parameters = list(inspect.signature(described).parameters.values())[1:]
    given = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY]
    named = {each.name: each for each in parameters if each.kind is each.KEYWORD_ONLY}
    try:
        inspect.signature(own).bind(*given, **named)
    except TypeError:
        return False
    except ValueError:
        pass  # it tells no signature
    return True


def _written(described: Any) -> str:
    parameters = list(inspect.signature(described).parameters.values())[1:]
    return f"({', '.join(each.name for each in parameters)})"
