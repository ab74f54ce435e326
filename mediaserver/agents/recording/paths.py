"""Paths of files that belong to a call."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from mediaserver.stream import Stream


FIELDS = ("call_id", "stream_id", "caller", "called")


def check_path(template: str | os.PathLike[str], *suffixes: str) -> None:
    """Check that `stream_path` can fill in a path, and that it has one of `suffixes`.

    Raises:
        ValueError: it has an unknown field, or another suffix.

    """
    path = _filled(template, dict.fromkeys(FIELDS, "x"))
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"the file must be {' or '.join(suffixes)}, not {os.fspath(template)!r}")


def stream_path(template: str | os.PathLike[str], stream: Stream) -> Path:
    """Fill in the path of a file that belongs to a stream.

    Args:
        template: the path, with the fields ``{call_id}``, ``{stream_id}``, ``{caller}``,
            ``{called}`` and ``{time}``: when it began, in UTC, which takes a format, such as
            ``{time:%Y-%m-%d}``. In the others every character except letters, digits, ``+`` and
            ``-`` becomes ``_``, because callers can choose them.
        stream: the stream.

    """
    fields = {name: getattr(stream, name) or "unknown" for name in FIELDS}
    return _filled(
        template, {name: re.sub(r"[^\w+-]", "_", value) for name, value in fields.items()}
    )


def _filled(template: str | os.PathLike[str], fields: Mapping[str, str]) -> Path:
    text = os.fspath(template)
    try:
        return Path(text.format(**fields, time=datetime.now(UTC)))
    except (KeyError, IndexError, AttributeError) as error:
        known = ", ".join(f"{{{name}}}" for name in (*FIELDS, "time"))
        raise ValueError(f"{text!r} has the unknown field {error}; allowed: {known}") from None
