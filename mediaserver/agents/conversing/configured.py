"""Settings that are attributes of a class and keyword arguments of its instances."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_type_hints
from weakref import WeakKeyDictionary

from mediaserver.agents.conversing.setting_types import SettingType


class Configured:
    """Accepts the attributes that its subclasses declare as keyword arguments, and no others.

    Raises:
        TypeError: a setting does not exist, or has no value. The message has a line for each thing
            that is wrong, and names the nearest setting.
        ValueError: a value is not allowed.

    """

    def __init__(self, **settings: Any) -> None:
        kind = type(self)
        unnamed = [*_unknown(kind, settings), *_misspelt(kind)]
        for name in settings.keys() & set(self.setting_names()):
            setattr(self, name, settings[name])
        unnamed += self._missing()
        wrong = [*self._wrong_types(settings)]
        wrong = wrong or [*self.wrong_values()]
        if unnamed:
            raise TypeError("\n".join(unnamed + wrong))
        if wrong:
            raise ValueError("\n".join(wrong))
        _checked.setdefault(kind, True)

    @classmethod
    def setting_names(cls) -> list[str]:
        """Return the names of the settings: the public attributes that the classes declare."""
        names: dict[str, None] = {}
        for kind in reversed(cls.__mro__):
            if issubclass(kind, Configured):
                names.update(dict.fromkeys(inspect.get_annotations(kind)))
        return [name for name in names if not name.startswith("_")]

    def wrong_values(self) -> Iterator[str]:
        """Yield a line for each value that is not allowed, although its type is."""
        yield from ()

    def _missing(self) -> Iterator[str]:
        for name in _types_of(type(self)):
            if not hasattr(self, name):
                yield (
                    f"{type(self).__qualname__} has no {name}: set it as an attribute of the "
                    "class, or as a setting of its route"
                )

    def _wrong_types(self, settings: dict[str, Any]) -> Iterator[str]:
        # The attributes of a class are checked once.
        for name, declared in _types_of(type(self)).items():
            if hasattr(self, name) and (name in settings or type(self) not in _checked):
                problem = declared.problem(getattr(self, name))
                if problem is not None:
                    yield f"{type(self).__qualname__}.{name} {problem}"


_checked: WeakKeyDictionary[type, bool] = WeakKeyDictionary()
_types: WeakKeyDictionary[type, dict[str, SettingType]] = WeakKeyDictionary()


def _types_of(kind: type) -> dict[str, SettingType]:
    """Return the types of the settings that this package declares.

    Applications may annotate what they please, with names that exist for a type checker alone.
    """
    if kind not in _types:
        found: dict[str, SettingType] = {}
        for base in reversed(kind.__mro__):
            if _is_ours(base) and issubclass(base, Configured):
                hints = get_type_hints(base)
                declared = inspect.get_annotations(base)
                found |= {name: SettingType(hints[name]) for name in declared if name[0] != "_"}
        _types[kind] = found
    return _types[kind]


def _unknown(kind: type[Configured], settings: dict[str, Any]) -> Iterator[str]:
    names = kind.setting_names()
    for name in settings:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f": it has {', '.join(names)}"
            yield f"{kind.__qualname__} has no setting {name!r}{hint}"


def _misspelt(kind: type[Configured]) -> Iterator[str]:
    """Yield a line for each attribute of an application's class that is almost a setting.

    It must have a value that the setting could have: ``prompts = {…}`` is the application's own.
    """
    if kind in _checked:
        return
    types = _types_of(kind)
    names = set(kind.setting_names())
    for base in kind.__mro__:
        if base is object or _is_ours(base):
            continue
        for name, value in vars(base).items():
            if name in names or name.startswith("_") or inspect.isroutine(value):
                continue
            near = get_close_matches(name, types, n=1, cutoff=0.8)
            if near and not isinstance(value, property) and not types[near[0]].problem(value):
                yield (
                    f"{base.__qualname__} has no setting {name!r}; did you mean {near[0]!r}? "
                    f"(If it is your own, annotate it: {name}: {type(value).__name__} = …)"
                )


def _is_ours(kind: type) -> bool:
    return f"{kind.__module__}.".startswith("mediaserver.")
