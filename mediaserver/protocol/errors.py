"""The error that this package raises."""

from __future__ import annotations

import re
import reprlib
from typing import Final, Literal, TypeAlias, get_args


ErrorReason: TypeAlias = Literal[
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

REASONS: tuple[ErrorReason, ...] = get_args(ErrorReason)
"""Every value that `ProtocolError.reason` can have, so that counters can be labelled in advance."""


class _Quoting(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to print an integer of more than 14,000 bits. From 3.14 on `Repr` describes
        # it instead, with its address.
        return super().repr_int(x, level) if x.bit_length() <= 10_000 else "a huge int"


_quoting = _Quoting()
_quoting.maxstring = _quoting.maxother = _quoting.maxlong = 40
_quoting.maxlevel = 1
_quoting.maxdict = _quoting.maxlist = _quoting.maxtuple = 1


class ProtocolError(ValueError):
    """A message that cannot be read, or a value that may not be sent.

    Attributes:
        reason: a short fixed code, one of `REASONS`, for counters and for `match`.

    `str(error)` says what was given and what is allowed. It never repeats audio and quotes at most
    a few dozen characters of the input, so it is safe to log.

    """

    reason: ErrorReason

    def __init__(self, reason: ErrorReason, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


def quote(value: object) -> str:
    """Return `repr(value)` shortened to fit an error message."""
    text = _quoting.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def without_quote(reason: str) -> str:
    """Return what a `ProtocolError` says without what it quotes of the message."""
    return _GOT.sub("got …", reason)


_GOT: Final = re.compile(r"\bgot .*", re.DOTALL)
