"""Paths with parameters, such as ``/t/{tenant}``, as in Starlette and FastAPI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final


_PARAMETER: Final = re.compile(r"{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?}")


class PathPatternError(ValueError):
    """The pattern is malformed; the message says what is wrong and what would be right."""


class PathPattern:
    """A path in which ``{name}`` stands for any text without a slash.

    ``{name:int}``, ``{name:float}`` and ``{name:uuid}`` stand for values of these types,
    ``{name:path}`` for any text.

    Raises:
        PathPatternError: a brace, a name or a type is wrong, or a name stands twice.

    """

    def __init__(self, pattern: str) -> None:
        self.has_parameters = "{" in pattern or "}" in pattern
        """Whether there are parameters."""
        self._path = pattern.rstrip("/")
        self.shape = _PARAMETER.sub(r"{\2}", self._path)
        """The same for patterns that differ only in the names of their parameters."""
        if self.has_parameters:
            # Not at the top: whoever writes a handler imports this, and Starlette takes its time.
            from starlette.routing import compile_path

            _check(pattern)
            self._regex, _, self._convertors = compile_path(self._path)

    def match(self, path: str) -> Mapping[str, Any] | None:
        """Return the parameters in a path, or None if the path is another one."""
        path = path.rstrip("/")
        if not self.has_parameters:
            return {} if path == self._path else None
        matched = self._regex.match(path)
        if matched is None:
            return None
        found = matched.groupdict().items()
        try:
            return {name: self._convertors[name].convert(text) for name, text in found}
        except ValueError:
            return None  # an integer of thousands of digits


@lru_cache(maxsize=1_000)
def path_pattern(pattern: str) -> PathPattern:
    """Return the pattern of a path; each is made once."""
    return PathPattern(pattern)


def _check(pattern: str) -> None:
    from starlette.convertors import CONVERTOR_TYPES

    names: set[str] = set()
    for name, kind in _PARAMETER.findall(pattern):
        if kind and kind not in CONVERTOR_TYPES:
            known = ", ".join(sorted(CONVERTOR_TYPES))
            raise PathPatternError(f"{pattern!r}: {kind!r} is not a type; there are {known}")
        if name in names:
            raise PathPatternError(f"{pattern!r}: the parameter {name!r} stands twice")
        names.add(name)
    if re.search("[{}]", _PARAMETER.sub("", pattern)):
        raise PathPatternError(
            f"{pattern!r}: a parameter is written {{name}} or {{name:type}}, with a name of "
            "letters, digits and underscores"
        )
