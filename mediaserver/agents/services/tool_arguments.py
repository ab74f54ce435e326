"""Reads tool calls as models write them, and writes them as servers take them."""

from __future__ import annotations

import json
import re
from typing import Any, Final


_NOT_OF_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_MAX_NAME: Final = 64


def meant_arguments(text: str) -> str:
    """Return the JSON that a model meant by the arguments of a tool call.

    Some models write ``null``, ``[]`` or nothing for no arguments, and some encode the JSON object
    as a string, once or several times. Text that cannot be read is returned as it is.
    """
    given: Any = text
    while isinstance(given, str):
        text = given.strip()
        if not text:
            return "{}"
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):  # no JSON, or nested too deeply
            return text
    return "{}" if given is None or given == [] else text


def arguments_object(text: str) -> dict[str, Any]:
    """Return the arguments of a tool call as an object; a text that cannot be read is its field."""
    try:
        meant = json.loads(meant_arguments(text))
    except (ValueError, RecursionError):
        meant = None
    return meant if isinstance(meant, dict) else {"arguments": text}


def accepted_name(name: str) -> str:
    """Return the name of a tool that a model made up, in letters that servers take."""
    return _NOT_OF_A_NAME.sub("_", name)[:_MAX_NAME] or "unknown"
