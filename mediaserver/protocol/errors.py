"""The one error of this package."""

from __future__ import annotations

import reprlib
from typing import Literal, TypeAlias, get_args


Reason: TypeAlias = Literal[
    "too_large",
    "not_utf8",
    "not_json",
    "not_object",
    "too_deep",
    "missing_field",
    "bad_value",
    "bad_base64",
    "unsupported_format",
    "bad_extra_headers",
]

REASONS: tuple[Reason, ...] = get_args(Reason)
"""Every value `ProtocolError.reason` can take, so that a counter can be labelled in advance."""

_quoting = reprlib.Repr()
_quoting.maxstring = _quoting.maxother = _quoting.maxlong = 40
_quoting.maxlevel = 1
_quoting.maxdict = _quoting.maxlist = _quoting.maxtuple = 1


class ProtocolError(ValueError):
    """A message that cannot be read, or a value that may not be sent.

    Attributes:
        reason: a short fixed code, one of `REASONS`, meant for counters and for `match`.

    `str(error)` says what was given and what is allowed. It never repeats audio, and quotes at
    most a few dozen characters of the input, so that it can be logged as it is.

    """

    reason: Reason

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


def quote(value: object) -> str:
    """Return `repr(value)` shortened to fit an error message."""
    try:
        text = _quoting.repr(value)
    except ValueError:  # an integer with more digits than Python is willing to print
        return f"a huge {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
